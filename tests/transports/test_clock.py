"""
Time that only goes forward.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from time import monotonic, sleep
from typing import Any

import pytest
from twisted.internet.interfaces import IReactorTime
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from tests.support.clients import installedReactor
from tests.support.hygiene import LoggedErrors
from tests.support.processes import running
from tests.support.waiting import turn, until, within
from tests.support.wall import HOUR, settableWall
from twisted_tcpdemo.clock import FEW, KernelClock, SteadyClock, steady
from twisted_tcpdemo.fast.reactor import fastReactor


@pytest.fixture(params=["kernel", "reactor"])
def clock(request: pytest.FixtureRequest) -> Iterator[SteadyClock]:
    """
    The clock of the reactor, or the one that it has where the kernel has no timers.
    """
    reactor = installedReactor()
    clock: Any = steady(reactor) if request.param == "kernel" else SteadyClock(reactor)
    yield clock
    assert clock.getDelayedCalls() == []


def test_one() -> None:
    """
    A reactor and its views have one clock, any other clock is its own.
    """
    reactor, other = installedReactor(), Clock()
    assert steady(reactor) is steady(fastReactor(reactor)) is steady(steady(reactor))
    assert isinstance(steady(reactor), KernelClock) or sys.platform != "linux"
    assert steady(other) is other and steady(None) is None
    assert verifyObject(IReactorTime, steady(reactor))


def test_ownTime() -> None:
    """
    A reactor of an application that has a time of its own keeps it.
    """

    class Own(SelectReactor):
        seconds = staticmethod(lambda: 5.0)

    own = Own.__new__(Own)
    assert steady(own) is own


async def test_calls(clock: SteadyClock) -> None:
    """
    Calls are made in order, with their arguments, and not early; one that is cancelled
    is not made.
    """
    made: list[Any] = []
    began = monotonic()
    clock.callLater(0.03, made.append, 3)
    clock.callLater(0.01, made.append, 1)
    clock.callLater(0.02, made.append, 2).cancel()
    later = clock.callLater(0.01, made.append, 4)
    later.delay(0.03)
    sooner = clock.callLater(60, made.append, 0)
    sooner.reset(0)
    assert "made" in repr(clock) or "append" in repr(clock)
    await until(lambda: len(made) == 4)
    assert made == [0, 1, 3, 4] and 0.04 <= monotonic() - began < 1
    assert not (later.active() or sooner.active())


async def test_callsMakeCalls(clock: SteadyClock) -> None:
    """
    A call may make others, and cancel them; a call of now comes in a later turn.
    """
    made: list[int] = []

    def first() -> None:
        clock.callLater(0, made.append, 1)
        second.cancel()
        assert made == []

    clock.callLater(0.01, first)
    second = clock.callLater(0.01, made.append, 2)
    await until(lambda: made)
    assert made == [1]


async def test_callThatRaises(clock: SteadyClock, loggedErrors: LoggedErrors) -> None:
    """
    A call that raises is logged, and keeps no other from being made.
    """
    made: list[int] = []
    clock.callLater(0.01, lambda: 1 / 0)
    clock.callLater(0.011, made.append, 1)
    await until(lambda: made)
    assert len(loggedErrors.take(ZeroDivisionError)) == 1


async def test_cancelledCalls(clock: SteadyClock) -> None:
    """
    Calls that are cancelled take no memory until their time.
    """
    stays = clock.callLater(60, lambda: None)
    for number in range(1000):
        clock.callLater(30 + number, lambda: None).cancel()
    assert len(clock._calls) < 2 * FEW + 3
    stays.cancel()
    assert clock._calls == []


@pytest.mark.parametrize("by", [-HOUR, HOUR], ids=["back", "forward"])
@pytest.mark.deadline(3 * HOUR)
async def test_set(by: float) -> None:
    """
    A call comes in time, whatever happens to the system's clock.
    """
    clock, made = steady(installedReactor()), list[float]()
    with settableWall() as wall:
        began = monotonic()
        clock.callLater(0.1, lambda: made.append(monotonic() - began))
        wall.set(by)
        assert await within(3, lambda: made)
        await turn()
    assert 0.1 <= made[0] < 1


@pytest.mark.deadline(3 * HOUR)
async def test_setForwardWithoutTimer() -> None:
    """
    Without a timer of the kernel a call still never comes early.
    """
    clock, made = SteadyClock(installedReactor()), list[float]()
    with settableWall() as wall:
        began = monotonic()
        clock.callLater(0.1, lambda: made.append(monotonic() - began))
        wall.set(HOUR)
        assert await within(3, lambda: made)
    assert 0.1 <= made[0] < 1


async def test_eventsFirst(clock: SteadyClock) -> None:
    """
    When something has held the reactor up, events come before the calls that are due.
    """
    reactor, happened = installedReactor(), list[str]()
    clock.callLater(0.01, happened.append, "call")

    def hold() -> None:
        reactor.callFromThread(lambda: reactor.callLater(0, happened.append, "event"))
        sleep(0.05)

    reactor.callLater(0, hold)
    await until(lambda: len(happened) == 2)
    assert happened == ["event", "call"]


async def test_readersRemoved() -> None:
    """
    A test runner removes all readers without telling them; calls made later are
    made all the same.
    """
    clock, made = steady(installedReactor()), list[int]()
    stale = clock.callLater(30, made.append, 1)
    installedReactor().removeReader(clock)
    clock.callLater(60, made.append, 2).cancel()
    assert clock in installedReactor().getReaders()
    stale.cancel()
    assert clock not in installedReactor().getReaders()


def test_collected() -> None:
    """
    A clock that nobody has any more is collected, and closes its timer.
    """
    clock: Any = steady(SelectReactor())
    timer = clock.fileno()
    del clock
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        __import__("os").fstat(timer)


SCRIPT = """
import sys, time
from twisted.internet import {name}reactor
{name}reactor.install()
from twisted.internet import reactor
from twisted_tcpdemo.clock import steady

by, began, clock = 0.0, time.monotonic(), steady(reactor)
type(reactor).seconds = staticmethod(lambda: time.time() + by)

def set(to):
    global by
    by = to

def made():
    assert 0.3 <= time.monotonic() - began < 3, time.monotonic() - began
    assert steady(reactor) is clock
    print("made")
    reactor.callFromThread(reactor.stop)

clock.callLater(0.3, made)
reactor.callLater(0.1, set, {by})
reactor.run()
"""


@pytest.mark.parametrize("by", [-HOUR, HOUR], ids=["back", "forward"])
@pytest.mark.parametrize("name", ["epoll", "poll", "select", "asyncio"])
async def test_everyReactor(name: str, by: float) -> None:
    """
    A call comes in time on each of Twisted's reactors.
    """
    async with running([sys.executable, "-c", SCRIPT.format(name=name, by=by)]) as child:
        assert await child.whenEnded() == 0, child.err
        assert "made" in child.out
