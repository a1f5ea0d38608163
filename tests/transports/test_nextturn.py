"""
The next turn of the reactor.
"""

from __future__ import annotations

from typing import NoReturn

import pytest
from twisted.internet.task import Clock
from twisted.python.reflect import namedAny

from tests.support.clients import installedReactor
from tests.support.waiting import turn, within
from tests.support.wall import HOUR, settableWall
from twisted_tcpdemo.fast.reactor import fastReactor
from twisted_tcpdemo.nextturn import PRIVATE_NAMES, NextTurn


@pytest.mark.parametrize("owner", PRIVATE_NAMES)
def test_privateNames(owner: str) -> None:
    """
    The installed Twisted has the private attributes that are used.
    """
    found = namedAny(owner)
    made = installedReactor()
    assert isinstance(made, found)
    assert [name for name in PRIVATE_NAMES[owner] if not hasattr(made, name)] == []


async def test_nextTurn() -> None:
    """
    A call for the next turn is made then, after those that are due, though the system's
    clock is set back.
    """
    reactor, made = installedReactor(), list[str]()
    await turn()  # the deadline of the test is among the calls
    before = set(reactor.getDelayedCalls())
    with settableWall() as wall:
        reactor.callLater(0, made.append, "before")
        call = NextTurn(reactor, lambda: made.append("call"))
        cancelled = NextTurn(reactor, lambda: made.append("cancelled"))
        assert made == []
        cancelled.cancel()
        await turn()
        assert made == ["before", "call"]
        assert set(reactor.getDelayedCalls()) == before
        call.cancel()
        NextTurn(reactor, lambda: made.append("late"))
        wall.set(-HOUR)
        assert await within(5, lambda: len(made) > 2)
        assert made[2:] == ["late"]


def test_otherCalls(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    It is not looked for among the other calls: an application may have ten thousand.
    """

    def look(call: object) -> NoReturn:
        raise AssertionError("all calls have been looked at")

    reactor = installedReactor()
    monkeypatch.setattr(reactor, "_moveCallLaterSooner", look)
    for asked in (reactor, fastReactor(reactor)):
        before = reactor.getDelayedCalls()
        call = NextTurn(asked, lambda: None)
        assert len(reactor.getDelayedCalls()) > len(before)
        call.cancel()
        assert reactor.getDelayedCalls() == before


def test_clock() -> None:
    """
    A clock that is no reactor is advanced by whoever has it.
    """
    clock, made = Clock(), list[str]()
    NextTurn(clock, lambda: made.append("call"))
    NextTurn(clock, lambda: made.append("cancelled")).cancel()
    assert made == []
    clock.advance(0)
    assert made == ["call"]
