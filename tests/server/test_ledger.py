"""
The accounts of a factory: slots that never leak, totals that add up.
"""

from __future__ import annotations

import pytest
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tests.support.memory import ADDRESS, DONE, connected
from tests.support.peers import Events
from twisted_tcpdemo import CloseReason, TCPDemoFactory, TCPDemoProtocol


def test_builtAndNeverConnected() -> None:
    """
    A protocol takes no slot until it is connected.
    """
    factory = TCPDemoFactory(maxConnections=1)
    for _ in range(3):
        factory.buildProtocol(ADDRESS)
    assert factory.connectionCount == 0
    protocol, _ = connected(factory)
    assert factory.connections == [protocol]


def test_peak() -> None:
    """
    The most connections at a time are kept; whoever asks for the most since the last time
    does not change that.
    """
    factory = TCPDemoFactory()
    protocols = [connected(factory)[0] for _ in range(3)]
    for protocol in protocols[1:]:
        protocol.connectionLost(DONE)
    assert factory.peakCount == 3
    assert [factory.takeCrest(), factory.takeCrest()] == [3, 1]
    connected(factory)
    assert (factory.takeCrest(), factory.peakCount) == (2, 3)


def test_builtInTimeConnectedLate() -> None:
    """
    When two protocols are built for one slot, the second to connect is refused, and
    hears nothing.
    """
    heard: list[str] = []

    class Listening(TCPDemoProtocol):
        def connectionMade(self) -> None:
            heard.append("made")

        def dataReceived(self, data: bytes) -> None:
            heard.append("data")

        def connectionLost(self, reason: Failure = DONE) -> None:
            heard.append("lost")

    factory = TCPDemoFactory(Listening, maxConnections=1)
    first, second = factory.buildProtocol(ADDRESS), factory.buildProtocol(ADDRESS)
    transport = StringTransport()
    first.makeConnection(StringTransport())
    second.makeConnection(transport)
    assert transport.disconnecting
    second.dataReceived(b"late")
    second.connectionLost(DONE)
    assert heard == ["made"]
    assert (factory.connectionCount, factory.refusedCount) == (1, 1)
    first.connectionLost(DONE)
    assert (factory.connectionCount, factory.closedCount) == (0, 1)


def test_lostTwice() -> None:
    """
    A connection that is lost twice gives back one slot, and is reported once.
    """
    factory, events = TCPDemoFactory(maxConnections=2), Events()
    factory.addObserver(events)
    first, _ = connected(factory)
    connected(factory)
    first.connectionLost(DONE)
    first.connectionLost(DONE)
    assert (factory.connectionCount, factory.closedCount) == (1, 1)
    assert len(events.of("connectionClosed")) == 1


def test_connectionMadeRaises() -> None:
    """
    A connection whose connectionMade raised gives back its slot when it ends.
    """

    class Broken(TCPDemoProtocol):
        def connectionMade(self) -> None:
            raise ZeroDivisionError

    factory = TCPDemoFactory(Broken, maxConnections=1)
    protocol = factory.buildProtocol(ADDRESS)
    with pytest.raises(ZeroDivisionError):
        protocol.makeConnection(StringTransport())
    protocol.connectionLost(DONE)
    assert factory.connectionCount == 0
    assert protocol.closeReason is CloseReason.ERROR


def test_lostInsideConnectionMade() -> None:
    """
    A connection that ends within its connectionMade is counted once.
    """

    class Hasty(TCPDemoProtocol):
        def connectionMade(self) -> None:
            self.connectionLost(DONE)

    factory = TCPDemoFactory(Hasty)
    connected(factory)
    assert (factory.acceptedCount, factory.closedCount, factory.connectionCount) == (1, 1, 0)
