"""
The stock reactors with our ports, connectors and transports in place of Twisted's.

They have the names of the stock ones, because these names become part of the names
of tests.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import asyncioreactor, epollreactor, pollreactor, selectreactor
from twisted.internet.test import reactormixins

from tests.system.lane.onlane import putOnLane

STOCK = {
    "epoll": "twisted.internet.epollreactor.EPollReactor",
    "poll": "twisted.internet.pollreactor.PollReactor",
    "select": "twisted.internet.selectreactor.SelectReactor",
    "asyncio": "twisted.internet.test.reactormixins.AsyncioSelectorReactor",
}


class EPollReactor(epollreactor.EPollReactor):
    """
    epoll(7).
    """


class PollReactor(pollreactor.PollReactor):
    """
    poll(2).
    """


class SelectReactor(selectreactor.SelectReactor):
    """
    select(2).
    """


class OurAsyncioReactor(asyncioreactor.AsyncioSelectorReactor):
    """
    asyncio's loop.
    """


for each in (EPollReactor, PollReactor, SelectReactor, OurAsyncioReactor):
    putOnLane(each)


def AsyncioSelectorReactor(case: Any) -> Any:
    """
    Make a reactor with a loop of its own, as Twisted's tests do.
    """
    reactor = reactormixins.asyncioSelectorReactor(case)
    reactor.__class__ = OurAsyncioReactor
    return reactor


def install(kind: str, ours: bool) -> None:
    """
    Install a reactor for the tests that use the installed one, and tell the other
    tests which reactor to build.
    """
    from twisted.internet.main import installReactor
    from twisted.python.reflect import namedAny

    name = STOCK[kind].rpartition(".")[2]
    path = f"{__name__}.{name}" if ours else STOCK[kind]
    if kind == "asyncio":
        made: type[Any] = OurAsyncioReactor if ours else asyncioreactor.AsyncioSelectorReactor
    else:
        made = namedAny(path)  # type: ignore[no-untyped-call]
    installReactor(made())
    reactormixins.ReactorBuilder._reactors = [path]
