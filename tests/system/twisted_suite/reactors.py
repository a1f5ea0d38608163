"""
The stock reactors with our ports and connectors in place of Twisted's.

They have the names of the stock ones, because these names become part of the names
of tests.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import asyncioreactor, epollreactor, pollreactor, selectreactor
from twisted.internet.test import reactormixins

from twisted_tcpdemo.fast.reactor import FastReactor

FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
"""Families that a view adopts itself; for any other it asks its reactor, here for ever."""

STOCK = {
    "epoll": "twisted.internet.epollreactor.EPollReactor",
    "poll": "twisted.internet.pollreactor.PollReactor",
    "select": "twisted.internet.selectreactor.SelectReactor",
    "asyncio": "twisted.internet.test.reactormixins.AsyncioSelectorReactor",
}


class Ours:
    """
    Makes one of Twisted's reactors use our ports and transports.

    @cvar bothSides: whether clients use our connectors, too.
    """

    bothSides = False

    def listenTCP(self, *args: Any, **kwargs: Any) -> Any:
        """
        See L{IReactorTCP<twisted.internet.interfaces.IReactorTCP>}.
        """
        return FastReactor(self).listenTCP(*args, **kwargs)

    def connectTCP(self, *args: Any, **kwargs: Any) -> Any:
        """
        See L{IReactorTCP<twisted.internet.interfaces.IReactorTCP>}.
        """
        connecting: Any = FastReactor(self) if self.bothSides else super()
        return connecting.connectTCP(*args, **kwargs)

    def listenUNIX(self, *args: Any, **kwargs: Any) -> Any:
        """
        See L{IReactorUNIX<twisted.internet.interfaces.IReactorUNIX>}.
        """
        return FastReactor(self).listenUNIX(*args, **kwargs)

    def connectUNIX(self, *args: Any, **kwargs: Any) -> Any:
        """
        See L{IReactorUNIX<twisted.internet.interfaces.IReactorUNIX>}.
        """
        connecting: Any = FastReactor(self) if self.bothSides else super()
        return connecting.connectUNIX(*args, **kwargs)

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        """
        See L{IReactorSocket<twisted.internet.interfaces.IReactorSocket>}.
        """
        adopting: Any = FastReactor(self) if addressFamily in FAMILIES else super()
        return adopting.adoptStreamPort(fileDescriptor, addressFamily, factory)

    def adoptStreamConnection(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        """
        See L{IReactorSocket<twisted.internet.interfaces.IReactorSocket>}.
        """
        adopting: Any = FastReactor(self) if addressFamily in FAMILIES else super()
        return adopting.adoptStreamConnection(fileDescriptor, addressFamily, factory)


class EPollReactor(Ours, epollreactor.EPollReactor):
    """
    epoll(7).
    """


class PollReactor(Ours, pollreactor.PollReactor):
    """
    poll(2).
    """


class SelectReactor(Ours, selectreactor.SelectReactor):
    """
    select(2).
    """


class OurAsyncioReactor(Ours, asyncioreactor.AsyncioSelectorReactor):
    """
    asyncio's loop.
    """


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
