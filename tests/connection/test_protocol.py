"""
The protocol in unit tests, as the author of an application would write them.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface.verify import verifyClass, verifyObject

from tests.support.waiting import failureOf
from twisted_tcpdemo import CloseReason, TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.errors import NotConnectedError, WriteFailedError
from twisted_tcpdemo.interfaces import IConnectionHooks

DONE = Failure(ConnectionDone())


def connected(protocol: TCPDemoProtocol, **addresses: Any) -> Any:
    """
    Connect a protocol to a transport in memory.
    """
    transport = StringTransport(**addresses)
    protocol.makeConnection(transport)
    return transport


def test_interface() -> None:
    """
    The protocol provides its interfaces.
    """
    verifyClass(IConnectionHooks, TCPDemoProtocol)
    verifyObject(IProtocol, TCPDemoProtocol())


def test_beforeConnection() -> None:
    """
    Without a connection, counts are zero and addresses raise an error.
    """
    protocol = TCPDemoProtocol()
    assert (protocol.bytesRead, protocol.bytesWritten, protocol.bytesPending) == (0, 0, 0)
    assert (protocol.age, protocol.idle) == (0.0, 0.0)
    assert protocol.localAddress is None and protocol.remotePort is None
    for name in ("connectionID", "host", "peer"):
        with pytest.raises(NotConnectedError):
            getattr(protocol, name)


async def test_writeBeforeConnection() -> None:
    """
    A write without a connection fails, with the reason.
    """
    assert isinstance(await failureOf(TCPDemoProtocol().write(b"x")), NotConnectedError)
    assert isinstance(await failureOf(TCPDemoProtocol().whenWritable()), NotConnectedError)


def test_wishesBeforeConnection() -> None:
    """
    A pause and a timeout from before the connection hold when connectionMade is
    called, which may change both; they are for one connection.
    """

    class Curious(TCPDemoProtocol):
        def connectionMade(self) -> None:
            self.began = transport.producerState

    protocol = Curious()
    protocol.pause()
    for wanted in ("paused", "producing"):
        transport = StringTransport()
        protocol.makeConnection(transport)
        assert protocol.began == wanted
        protocol.connectionLost(DONE)
        protocol.pause()  # of a connection that is over: nothing to do
    protocol = Curious()
    protocol.pause()
    protocol.resume()
    transport = connected(protocol)
    assert transport.producerState == "producing"


def test_timeoutBeforeConnection() -> None:
    """
    A timeout is checked when it is set, and may be taken back.
    """
    factory = TCPDemoFactory(TCPDemoProtocol, clock=(clock := Clock()))
    for last, ended in ((None, False), (3.0, True)):
        protocol: Any = factory.buildProtocol(None)  # type: ignore[arg-type]
        protocol.setTimeout(5.0)
        protocol.setTimeout(last)
        with pytest.raises(ValueError, match="the timeout"):
            protocol.setTimeout(-1)
        transport = connected(protocol)
        clock.pump([1.0] * 4)
        assert transport.disconnecting is ended
        protocol.connectionLost(DONE)


def test_countsInMemory() -> None:
    """
    A unit test over StringTransport sees the same counts as a real connection.
    """
    protocol = TCPDemoProtocol()
    transport = connected(protocol)
    protocol.dataReceived(b"four")
    protocol.transport.write(b"12345")
    protocol.transport.writeSequence([b"6", b"78"])
    assert (protocol.bytesRead, protocol.bytesWritten, protocol.bytesPending) == (4, 8, 0)
    assert transport.value() == b"12345678"


def test_countsWithoutSuper() -> None:
    """
    A subclass that overrides every hook without super() is still counted.
    """

    class Rude(TCPDemoProtocol):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def connectionMade(self) -> None:
            self.seen.append("made")

        def dataReceived(self, data: bytes) -> None:
            self.seen.append(f"data {self.bytesRead}")

        def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
            self.seen.append(f"lost {self.bytesRead} {self.closeReason}")

    protocol = Rude()
    connected(protocol)
    protocol.dataReceived(b"ab")
    protocol.dataReceived(b"cd")
    protocol.connectionLost(DONE)
    assert protocol.seen == ["made", "data 2", "data 4", "lost 4 CloseReason.PEER_CLOSED"]


@pytest.mark.parametrize("order", ["before", "after"])
def test_lineReceiver(order: str) -> None:
    """
    LineReceiver can be mixed in on either side, and keeps working.
    """
    bases = (
        (LineReceiver, TCPDemoProtocol) if order == "before" else (TCPDemoProtocol, LineReceiver)
    )
    lines: list[bytes] = []
    mixed = type("Mixed", bases, {"lineReceived": lambda self, line: lines.append(line)})
    protocol: Any = mixed()
    transport = connected(protocol)
    protocol.dataReceived(b"one\r\ntw")
    protocol.dataReceived(b"o\r\n")
    protocol.sendLine(b"three")
    assert lines == [b"one", b"two"]
    assert (protocol.bytesRead, protocol.bytesWritten) == (10, 7)
    assert transport.value() == b"three\r\n"


def test_fedBackIsNotCountedTwice() -> None:
    """
    Bytes that a protocol gives back to its own dataReceived count once.
    """

    class Switching(LineReceiver, TCPDemoProtocol):
        def lineReceived(self, line: bytes) -> None:
            self.setRawMode()

        def rawDataReceived(self, data: bytes) -> None:
            self.setLineMode(data[4:])

    protocol = Switching()
    connected(protocol)
    protocol.dataReceived(b"x\r\nrawyy\r\nrawz")
    assert protocol.bytesRead == 14


def test_addresses() -> None:
    """
    Addresses are those of Twisted, and the same in plain words.
    """
    host, peer = IPv4Address("TCP", "127.0.0.1", 1), IPv6Address("TCP", "::1", 2)
    protocol = TCPDemoProtocol()
    connected(protocol, hostAddress=host, peerAddress=peer)
    assert (protocol.host, protocol.peer) == (host, peer)
    local = (protocol.localAddress, protocol.localPort, protocol.localFamily)
    remote = (protocol.remoteAddress, protocol.remotePort, protocol.remoteFamily)
    assert (local, remote) == (("127.0.0.1", 1, "IPv4"), ("::1", 2, "IPv6"))


def test_dualStackAddress() -> None:
    """
    An IPv4 client of a dual-stack listener is reported as IPv4.
    """
    protocol = TCPDemoProtocol()
    connected(protocol, peerAddress=IPv6Address("TCP", "::ffff:127.0.0.9", 2))
    assert (protocol.remoteAddress, protocol.remoteFamily) == ("127.0.0.9", "IPv4")


def test_unixAddress() -> None:
    """
    On a UNIX socket the address is the path, and there is no port.
    """
    protocol = TCPDemoProtocol()
    connected(protocol, hostAddress=UNIXAddress(b"/run/x"), peerAddress=UNIXAddress(None))
    local = (protocol.localAddress, protocol.localPort, protocol.localFamily)
    remote = (protocol.remoteAddress, protocol.remotePort, protocol.remoteFamily)
    assert (local, remote) == (("/run/x", None, "UNIX"), (None, None, "UNIX"))


def test_afterTheLoss() -> None:
    """
    All facts can be read after the loss.
    """
    protocol = TCPDemoProtocol()
    connected(protocol)
    protocol.dataReceived(b"x")
    identity = protocol.connectionID
    protocol.connectionLost(DONE)
    report = protocol.report()
    assert report.connectionID == identity
    assert (report.bytesRead, report.peer) == (1, protocol.peer)
    assert report.closeReason is protocol.closeReason is CloseReason.PEER_CLOSED
    assert report == protocol.report()


def test_doubleLoss() -> None:
    """
    A second loss, which no transport reports, is not counted.
    """
    factory = TCPDemoFactory(TCPDemoProtocol)
    protocol: Any = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    connected(protocol)
    protocol.connectionLost(DONE)
    protocol.connectionLost(Failure(ConnectionLost()))
    assert protocol.closeReason is CloseReason.PROBE
    assert factory.closedCount == 1
    assert factory.conservation() == []


def test_identity() -> None:
    """
    No two connections of a process have the same number.
    """
    protocols = [TCPDemoProtocol() for _ in range(10)]
    for protocol in protocols:
        connected(protocol)
    assert len({protocol.connectionID for protocol in protocols}) == 10


def test_connectedAgain() -> None:
    """
    A protocol that is connected again has a new connection with new counts.
    """
    protocol = TCPDemoProtocol()
    connected(protocol)
    protocol.dataReceived(b"old")
    first = protocol.connectionID
    protocol.connectionLost(DONE)
    connected(protocol)
    protocol.dataReceived(b"x")
    assert protocol.connectionID != first
    assert (protocol.bytesRead, protocol.closeReason) == (1, None)
    protocol.connectionLost(DONE)
    assert protocol.closeReason is CloseReason.PEER_CLOSED


async def test_writeText() -> None:
    """
    Text is encoded, and counted in bytes.
    """
    protocol = TCPDemoProtocol()
    transport = connected(protocol)
    assert await protocol.write("grün") == 5
    assert await protocol.write("ü", "latin-1") == 6
    assert transport.value() == b"gr\xc3\xbcn\xfc"


@pytest.mark.parametrize("data", [None, 3, bytearray(b"x"), [b"x"]])
def test_writeSomethingElse(data: Any) -> None:
    """
    A write of neither bytes nor text is refused at once, and not counted.
    """
    protocol = TCPDemoProtocol()
    connected(protocol)
    with pytest.raises(TypeError, match="bytes or str"):
        protocol.write(data)
    with pytest.raises(TypeError):
        protocol.transport.write(data)
    assert protocol.bytesWritten == 0


async def test_writeAfterLoss() -> None:
    """
    A write after the loss fails with the reason of the loss.
    """
    protocol = TCPDemoProtocol()
    connected(protocol)
    protocol.connectionLost(Failure(ConnectionLost()))
    for waiting in (protocol.write(b"x"), protocol.whenWritable()):
        error = await failureOf(waiting)
        assert isinstance(error, WriteFailedError)
        assert error.reason is CloseReason.RESET
    assert protocol.bytesWritten == 0


def test_age() -> None:
    """
    Age and idle time are seconds of the clock, and stand still after the loss.
    """
    clock = Clock()
    factory = TCPDemoFactory(clock=clock)
    protocol = factory.buildProtocol(None)
    connected(protocol)
    clock.advance(2)
    protocol.dataReceived(b"x")
    clock.advance(3)
    assert (protocol.age, protocol.idle) == (5, 3)
    protocol.connectionLost(DONE)
    clock.advance(3)
    assert (protocol.age, protocol.idle) == (5, 3)


def test_connectionMadeRaises() -> None:
    """
    If connectionMade raises, the connection is aborted and the exception goes on.
    """

    class Broken(TCPDemoProtocol):
        def connectionMade(self) -> None:
            raise ZeroDivisionError

    protocol = Broken()
    transport = StringTransport()
    with pytest.raises(ZeroDivisionError):
        protocol.makeConnection(transport)
    assert transport.disconnected
    protocol.connectionLost(DONE)
    assert protocol.closeReason is CloseReason.ERROR


def test_methodsAreGivenBack() -> None:
    """
    After the loss the protocol has its own dataReceived again.
    """
    protocol = TCPDemoProtocol()
    transport = connected(protocol)
    protocol.connectionLost(DONE)
    assert "dataReceived" not in vars(protocol)
    assert "write" not in vars(transport)
