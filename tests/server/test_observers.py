"""
The events of a server, and their way to its observers.
"""

from __future__ import annotations

from typing import Any

import pytest
from zope.interface import implementer
from zope.interface.verify import verifyClass, verifyObject

from tests.support.memory import DONE, connected
from tests.support.peers import Events
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.interfaces import IConnectionObserver
from twisted_tcpdemo.monitoring.log import LoggingObserver
from twisted_tcpdemo.server.observers import ConnectionObserver, Observers


def test_interfaces() -> None:
    """
    Our observers, and the one of the tests, provide the interface.
    """
    verifyClass(IConnectionObserver, ConnectionObserver)
    verifyClass(IConnectionObserver, LoggingObserver)
    verifyObject(IConnectionObserver, LoggingObserver(TCPDemoFactory()))
    verifyObject(IConnectionObserver, Events())


def test_observerThatDoesNothing() -> None:
    """
    A subclass overrides the events it wants; the others do nothing.
    """
    observer: Any = ConnectionObserver()
    for name in IConnectionObserver.names():
        assert getattr(observer, name)(None) is None


# The fan-out.


def test_order() -> None:
    """
    All observers are called, in the order in which they were added.
    """
    told: list[str] = []

    class Named(ConnectionObserver):
        def __init__(self, name: str) -> None:
            self._name = name

        def listening(self, address: object) -> None:
            told.append(f"{self._name} {address}")

    observers = Observers()
    assert not observers.present
    for name in ("first", "second"):
        observers.add(Named(name))
    assert len(observers.present) == 2
    observers.tell("listening", "x")
    assert told == ["first x", "second x"]


def test_observerThatRaises(loggedErrors: Any) -> None:
    """
    An observer that raises is logged, and the others are still called.
    """

    class Broken(ConnectionObserver):
        def listening(self, address: object) -> None:
            raise ZeroDivisionError

    observers, other = Observers(), Events()
    for observer in (Broken(), other):
        observers.add(observer)
    observers.tell("listening", "x")
    assert other.all == [("listening", "x")]
    assert len(loggedErrors.take(ZeroDivisionError)) == 1


def test_remove() -> None:
    """
    A removed observer is not called; removing an unknown one does nothing, even if
    it equals another.
    """

    @implementer(IConnectionObserver)
    class Alike(Events):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    observers, kept, removed = Observers(), Alike(), Alike()
    observers.remove(removed)
    observers.add(kept)
    observers.add(removed)
    observers.remove(removed)
    observers.tell("listening", "x")
    assert (kept.names, removed.names) == (["listening"], [])


def test_changedMeanwhile() -> None:
    """
    An observer may remove itself or add another while it is called; this holds from
    the next event on.
    """
    observers, late = Observers(), Events()

    class Leaving(ConnectionObserver):
        def listening(self, address: object) -> None:
            observers.remove(self)
            observers.add(late)

    observers.add(Leaving())
    observers.tell("listening", 1)
    observers.tell("listening", 2)
    assert late.all == [("listening", 2)]


@pytest.mark.parametrize("thing", [None, object(), print, ConnectionObserver])
def test_noObserver(thing: Any) -> None:
    """
    An object that is no observer is refused when it is added.
    """
    with pytest.raises(TypeError, match="does not provide IConnectionObserver"):
        Observers().add(thing)


def test_observerRaises(loggedErrors: Any) -> None:
    """
    An observer that raises is logged, and neither the others nor the counts are
    affected.
    """

    class Broken(ConnectionObserver):
        def connectionOpened(self, report: object) -> None:
            raise ZeroDivisionError

        connectionClosed = connectionRefused = connectionOpened

    factory, events = TCPDemoFactory(maxConnections=1), Events()
    factory.addObserver(Broken())
    factory.addObserver(events)
    protocol, _ = connected(factory)
    connected(factory)
    protocol.connectionLost(DONE)
    assert events.names == ["connectionOpened", "connectionRefused", "connectionClosed"]
    assert (factory.acceptedCount, factory.closedCount, factory.refusedCount) == (1, 1, 1)
    assert len(loggedErrors.take(ZeroDivisionError)) == 3


def test_observerOfNothing() -> None:
    """
    An object that is no observer is refused when it is added.
    """
    with pytest.raises(TypeError, match="IConnectionObserver"):
        TCPDemoFactory().addObserver(object())  # type: ignore[arg-type]


def test_removedObserver() -> None:
    """
    A removed observer is not called; a second removal does nothing.
    """
    factory, events = TCPDemoFactory(), Events()
    factory.addObserver(events)
    factory.removeObserver(events)
    factory.removeObserver(events)
    connected(factory)
    assert events.names == []


def test_observersSeeTheTruth() -> None:
    """
    An observer sees the counts as they are after its event.
    """
    seen: list[tuple[int, int]] = []
    factory = TCPDemoFactory()

    class Looking(ConnectionObserver):
        def connectionOpened(self, report: object) -> None:
            seen.append((factory.connectionCount, factory.closedCount))

        connectionClosed = connectionOpened

    factory.addObserver(Looking())
    protocol, _ = connected(factory)
    protocol.connectionLost(DONE)
    assert seen == [(1, 0), (0, 1)]
