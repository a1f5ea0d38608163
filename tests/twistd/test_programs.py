"""
The protocols that --protocol names.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.support.certificates import pemFile
from tests.support.peers import rawConnection, serving
from tests.support.waiting import turn, until
from twisted_tcpdemo import CloseReason, Stream, TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.connection.hosting import hosted
from twisted_tcpdemo.connection.writes import LOW_WATER
from twisted_tcpdemo.monitoring.logbudget import LogBudget
from twisted_tcpdemo.twistd.programs import Discard, Echo, ReportProtocol, programNamed
from twisted_tcpdemo.values.budgets import Budgets

DONE = Failure(ConnectionDone())


@pytest.fixture
def log() -> Generator[list[str]]:
    """
    The lines of the programs in the log, without the numbers of connections.
    """
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        if event.get("log_namespace") == "tcpdemo":
            lines.append(formatEvent(event).replace(f" {event.get('connectionID')}:", ":", 1))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def connected(protocol: TCPDemoProtocol, factory: Any = None, **addresses: Any) -> Any:
    """
    Connect a protocol in memory.
    """
    transport = StringTransport(**addresses)
    protocol.factory = factory
    protocol.makeConnection(transport)
    return transport


# The report program.


HOST = IPv4Address("TCP", "192.0.2.1", 80)
GREETING = 'client, the server address is {"address": "192.0.2.1", "family": "IPv4", "port": 80}\n'


@pytest.mark.parametrize("factory", [None, Factory(), TCPDemoFactory()])
def test_greeting(factory: Any, log: list[str]) -> None:
    """
    Each client is greeted with the server's address: that of its own connection, if
    no listener is known.
    """
    transport = connected(ReportProtocol(), factory, hostAddress=HOST)
    assert transport.value() == GREETING.encode()
    assert log == [f"sent: {GREETING[:-1]}\\n ({len(GREETING)} bytes written)"]


def test_greetingOnUNIX() -> None:
    """
    On a UNIX socket the address is the path, and JSON has no port.
    """
    transport = connected(ReportProtocol(), hostAddress=UNIXAddress(b'/a"b\n'))
    assert transport.value().endswith(b'{"address": "/a\\"b\\n", "family": "UNIX", "port": null}\n')


async def test_greetingOfListener() -> None:
    """
    A server on every interface greets with the address of its listener.
    """
    factory = TCPDemoFactory(ReportProtocol)
    async with serving(factory, "tcp:0") as server:
        peer = await server.connect()
        await peer.when(lambda: peer.received.endswith(b"\n"))
        assert f'{{"address": "0.0.0.0", "family": "IPv4", "port": {server.port}}}' in (
            peer.received.decode()
        )


async def test_notSent(log: list[str]) -> None:
    """
    A greeting that the system has not taken when the connection breaks is logged as
    not sent.
    """
    transport = StringTransport()
    protocol = ReportProtocol()
    transport.connected = False
    protocol.makeConnection(transport)
    protocol.connectionLost(Failure(ConnectionLost()))
    await turn()
    assert log == ["not sent: the bytes were not sent: reset"]


def test_data(log: list[str]) -> None:
    """
    Received bytes are shown escaped, with the count so far.
    """
    protocol = ReportProtocol()
    connected(protocol)
    log.clear()
    protocol.dataReceived("grüße\n\x1b".encode())
    protocol.dataReceived(b"x")
    assert log == [r"data: grüße\n\x1b (9 bytes read)", "data: x (10 bytes read)"]


def test_cutCharacter(log: list[str]) -> None:
    """
    A character in two pieces is shown whole, with the second.
    """
    protocol = ReportProtocol()
    connected(protocol)
    log.clear()
    first, second = "aüb".encode()[:2], "aüb".encode()[2:]
    protocol.dataReceived(first)
    protocol.dataReceived(second)
    assert log == ["data: a (2 bytes read)", "data: üb (4 bytes read)"]


def test_preview(log: list[str]) -> None:
    """
    Only the first bytes are shown.
    """
    protocol = ReportProtocol(preview=3)
    connected(protocol)
    log.clear()
    protocol.dataReceived(b"abcdef")
    assert log == ["data: abc... (+3 more) (6 bytes read)"]


def test_end(log: list[str]) -> None:
    """
    The client's FIN is logged.
    """
    protocol = ReportProtocol()
    transport = connected(protocol)
    log.clear()
    protocol.readConnectionLost()
    assert log == ["end: the client has sent FIN"]
    assert transport.disconnecting
    protocol.connectionLost(DONE)


def test_timeout(log: list[str]) -> None:
    """
    A timeout is logged, and closes the connection.
    """
    clock = Clock()
    factory = TCPDemoFactory(ReportProtocol, budgets=Budgets(idle=2), clock=clock)
    protocol = factory.buildProtocol(None)
    transport = connected(protocol, factory)
    log.clear()
    clock.advance(2.01)
    assert log == ["timeout: nothing moved for 2.0 s"]
    assert transport.disconnecting
    protocol.connectionLost(DONE)
    assert protocol.closeReason is CloseReason.IDLE


# The programs echo and discard.


async def test_echo() -> None:
    """
    Many megabytes come back whole to a client that ends its side at once.
    """
    async with serving(TCPDemoFactory(Echo)) as server:
        peer = await server.connect()
        sent = bytes(range(256)) * 20_000
        peer.transport.write(sent)
        peer.transport.loseWriteConnection()
        await peer.whenEnded()
        assert peer.received == sent
        peer.transport.loseConnection()
        await server.factory.whenEmpty()
        assert server.factory.bytesRead == server.factory.bytesWritten == len(sent)


async def test_echoIsBounded() -> None:
    """
    For a client that does not read, the echo keeps a bounded number of bytes; once
    the client reads, it gets all of them.
    """
    async with serving(TCPDemoFactory(Echo)) as server:
        peer = await server.connect()
        peer.transport.pauseProducing()
        peer.transport.write(bytes(30_000_000))
        protocol = await server.protocol()
        await until(lambda: protocol.bytesPending > LOW_WATER)
        read = -1
        while read != protocol.bytesRead:
            read = protocol.bytesRead
            for _ in range(20):
                await turn()
        assert LOW_WATER < protocol.bytesPending <= LOW_WATER + 65536
        assert protocol.bytesRead < 30_000_000
        peer.transport.resumeProducing()
        await peer.whenReceived(30_000_000)
        assert protocol.bytesWritten == 30_000_000


async def test_echoBreaksOff() -> None:
    """
    A client that leaves while the echo waits for it leaves nothing behind.
    """
    async with serving(TCPDemoFactory(Echo)) as server:
        raw = rawConnection(server.port, receiveBuffer=4096)
        with raw:
            protocol = await server.protocol()
            while protocol.bytesPending <= LOW_WATER:
                try:
                    raw.send(bytes(65536))
                except BlockingIOError:
                    await turn()
        await server.factory.whenEmpty()
        assert protocol.closeReason is CloseReason.RESET
        assert protocol.bytesPending > LOW_WATER


def test_discard() -> None:
    """
    Received bytes are counted and discarded.
    """
    protocol = Discard()
    transport = connected(protocol)
    protocol.dataReceived(b"12345")
    assert (protocol.bytesRead, transport.value()) == (5, b"")


# Foreign protocols.


class Plain(Protocol):
    """
    A protocol of Twisted's that remembers its events.
    """

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def connectionMade(self) -> None:
        """
        Remember the call.
        """
        self.seen.append("made")

    def dataReceived(self, data: bytes) -> None:
        """
        Remember the bytes.
        """
        self.seen.append(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """
        Remember the reason.
        """
        self.seen.append(reason)


@implementer(IHalfCloseableProtocol)
class HalfClosing(Plain):
    """
    A protocol that can be half-closed.
    """

    def readConnectionLost(self) -> None:
        """
        Remember it.
        """
        self.seen.append("read ended")

    def writeConnectionLost(self) -> None:
        """
        Remember it.
        """
        self.seen.append("write ended")


@pytest.mark.parametrize("kind", [Plain, HalfClosing])
def test_hosted(kind: type[Plain]) -> None:
    """
    Every event is passed on, and bytes that the protocol writes are counted.
    """
    factory = TCPDemoFactory(hosted(kind), allowHalfOpen=True)
    outer: Any = factory.buildProtocol(None)
    inner = outer.inner
    transport = StringTransport()
    outer.makeConnection(transport)
    assert inner.factory is factory
    assert factory.connections == [outer]
    outer.dataReceived(b"abc")
    inner.transport.write(b"defg")
    outer.writeConnectionLost()
    outer.readConnectionLost()
    assert (outer.bytesRead, outer.bytesWritten) == (3, 4)
    assert transport.value() == b"defg"
    outer.connectionLost(DONE)
    halves = ["write ended", "read ended"] if kind is HalfClosing else []
    assert inner.seen == ["made", b"abc", *halves, DONE]
    assert factory.connectionCount == 0


@implementer(IHandshakeListener)
class Handshaking(Plain):
    """
    A protocol that wants to hear of the TLS handshake.
    """

    def handshakeCompleted(self) -> None:
        """
        Remember it.
        """
        self.seen.append("handshake")


@pytest.mark.parametrize("kind", [Plain, Handshaking])
async def test_hostedOverTLS(kind: type[Plain]) -> None:
    """
    The end of the TLS handshake is passed on to a protocol that wants to hear of
    it.
    """
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={pemFile()}"
    async with serving(TCPDemoFactory(hosted(kind)), endpoint, tls=True) as server:
        peer = await server.connect()
        peer.transport.write(b"abc")
        protocol = await server.protocol()
        await until(lambda: protocol.bytesRead)
        handshake = ["handshake"] if kind is Handshaking else []
        assert protocol.inner.seen == ["made", *handshake, b"abc"]


async def test_hostedOverTCP() -> None:
    """
    A LineReceiver works unchanged, pauses of its own included.
    """

    class Lines(LineReceiver):
        def lineReceived(self, line: bytes) -> None:
            self.sendLine(line.upper())
            if line == b"bye":
                self.transport.loseConnection()

    async with serving(TCPDemoFactory(hosted(Lines), maxConnections=1)) as server:
        peer = await server.connect()
        peer.transport.write(b"one\r\nbye\r\n")
        await peer.whenEnded()
        assert peer.received == b"ONE\r\nBYE\r\n"
        peer.transport.loseConnection()
        await server.factory.whenEmpty()
        assert (server.factory.bytesRead, server.factory.bytesWritten) == (10, 10)
        [report] = server.events.of("connectionClosed")
        assert report.closeReason is CloseReason.LOCAL_CLOSE


# Names.


@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("report", ReportProtocol),
        ("echo", Echo),
        ("discard", Discard),
        ("twisted_tcpdemo.TCPDemoProtocol", TCPDemoProtocol),
    ],
)
def test_programNamed(name: str, program: type) -> None:
    """
    A program has a short name, any other class its dotted name.
    """
    assert programNamed(name) is program


def test_foreignProgram() -> None:
    """
    A foreign protocol is hosted, with a new one for each connection.
    """
    program = programNamed(f"{__name__}.Plain")
    inner = [vars(program())["inner"] for _ in range(2)]
    assert [type(protocol) for protocol in inner] == [Plain, Plain]
    assert inner[0] is not inner[1]


@pytest.mark.parametrize("name", ["nonsense", "no.such.thing", "os.path"])
def test_noProgram(name: str) -> None:
    """
    A name without a protocol is refused, and named.
    """
    with pytest.raises(ValueError, match=f"'{name}'"):
        programNamed(name)


async def greet(stream: Stream) -> None:
    """
    A handler of streams.
    """
    await stream.write("hello\n")
    raise ZeroDivisionError


def test_handler(loggedErrors: Any) -> None:
    """
    A coroutine function handles a stream for each connection, and what it raises is
    logged within the budget.
    """
    program: Any = programNamed(f"{__name__}.greet")
    budget = LogBudget(1, Clock())
    for _ in range(5):
        transport = StringTransport()
        stream = program(budget)
        stream.makeConnection(transport)
        assert transport.value() == b"hello\n"
        stream.connectionLost(DONE)
    assert len(loggedErrors.take(ZeroDivisionError)) == 1
    budget.flush()
