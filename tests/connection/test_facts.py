"""
The facts of a connection, while it is open and afterwards.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from tests.support.metering import Counting, wrapped
from tests.support.records import (
    HOST,
    PEER,
    Slots,
    Told,
    begin,
    lose,
)
from twisted_tcpdemo import CloseReason
from twisted_tcpdemo.transports.counts import FinalCounts


def test_addressesOfAnother() -> None:
    """
    A transport that does not count is asked for its addresses at once: it may not
    know them later.
    """
    transport = StringTransport(HOST, PEER)
    connection = begin(transport)
    transport.hostAddr = transport.peerAddr = IPv4Address("TCP", "203.0.113.1", 1)
    assert (connection.host, connection.peer) == (HOST, PEER)
    lose(connection)
    assert (connection.host, connection.peer) == (HOST, PEER)


def test_addressesOfOurs() -> None:
    """
    A transport that counts is asked for its addresses at their first use, and once.
    """

    class Asked(Counting):
        asked = 0

        def getHost(self) -> Any:
            self.asked += 1
            return super().getHost()

    connection = begin(transport := Asked(HOST, PEER))
    assert transport.asked == 0
    lose(connection)
    assert [connection.host, connection.host, connection.peer] == [HOST, HOST, PEER]
    assert transport.asked == 1


def test_lateAddresses() -> None:
    """
    Behind a wrapper the addresses are those at the first byte, and stay so.
    """
    late, later = (IPv4Address("TCP", host, 1) for host in ("203.0.113.1", "203.0.113.2"))
    protocol, bottom = Told(), StringTransport(HOST, PEER)
    connection = begin(wrapped(bottom, protocol), protocol)
    bottom.peerAddr = late
    assert connection.peer == PEER
    protocol.dataReceived(b"x")
    assert (connection.host, connection.peer) == (HOST, late)
    bottom.peerAddr = later
    assert connection.peer == late


def test_lateAddressesGone() -> None:
    """
    When the wrapper no longer knows the addresses, the former ones stay.
    """
    protocol, bottom = Told(), StringTransport(HOST, PEER)
    connection = begin(wrapped(bottom, protocol), protocol)
    protocol.dataReceived(b"x")
    lose(connection)

    def gone() -> Any:
        raise OSError

    bottom.getPeer = gone  # type: ignore[method-assign]
    assert (connection.host, connection.peer) == (HOST, PEER)


def test_finalCounts() -> None:
    """
    After the loss the counts are those of the loss, even if the transport's change.
    """
    connection = begin()
    transport = connection.transport
    transport.bytesRead, transport.bytesWritten, transport.bytesPending = 5, 9, 2
    transport.lastActivity = 1.5
    assert connection.counts is transport
    lose(connection)
    transport.bytesRead, transport.bytesPending = 50, 0
    assert connection.counts == FinalCounts(5, 9, 2, 1.5)
    report = connection.report()
    assert (report.bytesRead, report.bytesWritten, report.bytesPending) == (5, 9, 2)
    assert (report.host, report.peer) == (HOST, PEER)
    assert report.closeReason is CloseReason.PEER_CLOSED


def test_finalCountsOfAMeter() -> None:
    """
    The counts of a meter stay, too, and protocol and transport are released.
    """
    protocol, transport = Told(), StringTransport(HOST, PEER)
    connection = begin(transport, protocol)
    protocol.dataReceived(b"hello")
    transport.write(b"you too")
    assert "write" in vars(transport) and type(protocol) is not Told
    lose(connection)
    assert "write" not in vars(transport) and type(protocol) is Told
    protocol.dataReceived(b"late")
    transport.write(b"late")
    assert connection.counts[:3] == (5, 7, 0)


def test_times() -> None:
    """
    Age and idle time stand still after the end, and are never negative.
    """
    clock = Clock()
    clock.advance(100)
    connection = begin(slots=Slots(clock))
    connection.transport.lastActivity = 101
    clock.advance(5)
    assert (connection.age, connection.idle) == (5, 4)
    connection.transportClosing()
    clock.advance(2)
    lose(connection)
    clock.advance(50)
    assert (connection.age, connection.idle) == (7, 6)
    assert (connection.openedAt, connection.closingAt, connection.closedAt) == (100, 105, 107)
    clock.rightNow = 90
    another = begin(slots=Slots(clock))
    clock.rightNow = 80
    assert (another.age, another.idle) == (0, 80)
    another.transport.lastActivity = 90
    assert another.idle == 0
