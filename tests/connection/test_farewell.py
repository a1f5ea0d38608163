"""
Refusing a client.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IFileDescriptorReceiver,
    IHalfCloseableProtocol,
    IHandshakeListener,
)
from twisted.internet.protocol import Protocol
from twisted.internet.stdio import PipeAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport, StringTransportWithDisconnection
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyClass

from tests.support.certificates import pemFile
from tests.support.peers import Server, rawConnection, serving
from tests.support.secure import serverOf
from tests.support.waiting import until
from twisted_tcpdemo import TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.admission.policy import Admission
from twisted_tcpdemo.admission.rules import DeniedNetworks, Rule
from twisted_tcpdemo.connection import farewell as refusal
from twisted_tcpdemo.connection.farewell import FLUSH, LINGERING, Farewell
from twisted_tcpdemo.fast.endpoint import ServerEndpoint
from twisted_tcpdemo.twistd.programs import Discard
from twisted_tcpdemo.values.budgets import DEFAULT_BUDGETS, Budgets

DONE = Failure(ConnectionDone())


@asynccontextmanager
async def full(
    transport: str = "tcp", protocol: Any = Discard, maxConnections: int | None = 0, **options: Any
) -> AsyncGenerator[Server]:
    """
    A server without a slot.
    """
    factory = TCPDemoFactory(protocol, maxConnections=maxConnections, **options)
    if transport == "tls":
        server = serving(factory, f"ssl:0:interface=127.0.0.1:privateKey={pemFile()}", tls=True)
    elif transport.startswith("fast-"):
        from twisted.internet import reactor

        tls = serverOf(transport.removeprefix("fast-"))
        server = serving(factory, ServerEndpoint(reactor, 0, "127.0.0.1", tls=tls), tls=True)
    elif transport == "haproxy":
        server = serving(factory, "haproxy:tcp:0:interface=127.0.0.1")
    else:
        server = serving(factory)
    async with server as listening:
        yield listening


async def received(raw: socket.socket) -> bytes | OSError:
    """
    The bytes that a plain socket receives up to the end, or the error that ends it.
    """
    data = b""

    def more() -> bool | OSError:
        nonlocal data
        try:
            piece = raw.recv(65536)
        except BlockingIOError:
            return False
        except OSError as error:
            return error
        data += piece
        return not piece

    end = await until(more)
    return end if isinstance(end, OSError) else data


@contextmanager
def client(port: int) -> Generator[socket.socket]:
    """
    A plain socket that is connected as long as the block lasts.
    """
    with rawConnection(port) as raw:
        yield raw


# The client's view.


@pytest.mark.parametrize("message", [b"", b"try again later\n"])
async def test_refuse(message: bytes) -> None:
    """
    A refused client gets the message, if there is one, then a FIN; after its own
    close nothing of it is left.
    """
    async with full(refusalMessage=message) as server:
        with client(server.port) as raw:
            assert await received(raw) == message
        await until(lambda: not server.factory._capacity.lingering)
        assert server.factory.refusedCount == 1


async def test_clientThatTalks() -> None:
    """
    A client that sends while it is refused still reads the message, and no RST.
    """
    async with full(refusalMessage=b"no") as server:
        with client(server.port) as raw:
            raw.send(b"GET / HTTP/1.1\r\n\r\n")
            assert await received(raw) == b"no"
            raw.send(b"more")
        await until(lambda: not server.factory._capacity.lingering)


async def test_clientThatTalksTooMuch() -> None:
    """
    A refused client that goes on sending is aborted.
    """
    async with full(budgets=Budgets(lingerBytes=1_000_000)) as server:
        with client(server.port) as raw:
            assert await received(raw) == b""

            def broken() -> bool:
                try:
                    raw.send(bytes(65536))
                except BlockingIOError:
                    return False
                except OSError as error:
                    return error.errno in (errno.ECONNRESET, errno.EPIPE)
                return False

            await until(broken)
        await until(lambda: not server.factory._capacity.lingering)


async def test_reset() -> None:
    """
    With the overflow "reset" the client sees RST and no message.
    """
    async with full(overflow="reset", refusalMessage=b"no") as server:
        with client(server.port) as raw:
            end = await received(raw)
            assert isinstance(end, ConnectionResetError)
        assert server.factory.refusedCount == 1


async def test_clientThatStays() -> None:
    """
    A client that does not close is waited for, for a limited time.
    """
    async with full(budgets=Budgets(linger=0.2)) as server:
        with client(server.port) as raw:
            assert await received(raw) == b""
            await until(lambda: server.factory._capacity.lingering)
            await until(lambda: not server.factory._capacity.lingering)


async def test_clientIsGoneAlready() -> None:
    """
    A client that left before its accept is refused like any other.
    """
    async with full() as server:
        raw = rawConnection(server.port)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        raw.close()
        await until(lambda: server.factory.refusedCount)
        await until(lambda: not server.factory._capacity.lingering)


everyTLS = pytest.mark.parametrize("tls", ["tls", "fast-options", "fast-standard"])
"""TLS as a layer, and inside the transport."""


@everyTLS
@pytest.mark.parametrize("message", [b"", b"no"])
@pytest.mark.parametrize("overflow", ["refuse", "reset"])
async def test_tls(tls: str, message: bytes, overflow: str) -> None:
    """
    Under TLS a client is refused too; a message needs the handshake.
    """
    async with full(tls, refusalMessage=message, overflow=overflow) as server:
        peer = await server.connect()
        await peer.whenLost()
        assert peer.received == (message if overflow == "refuse" else b"")
        await until(lambda: not server.factory._capacity.lingering)
        assert server.factory.refusedCount == 1


@everyTLS
async def test_tlsThatNeverBegins(tls: str) -> None:
    """
    A client that never shakes hands does not hold the server up.
    """
    async with full(tls, refusalMessage=b"no", budgets=Budgets(linger=0.2)) as server:
        with client(server.port):
            await until(lambda: server.factory._capacity.lingering)
            await until(lambda: not server.factory._capacity.lingering)


@everyTLS
async def test_tlsWithoutLingering(tls: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    When no more clients may linger, one that never shakes hands is aborted at once,
    with a message or without.
    """
    monkeypatch.setattr(refusal, "LINGERING", 0)
    async with full(tls, refusalMessage=b"no") as server:
        with client(server.port) as raw:
            assert isinstance(await received(raw), ConnectionResetError)


async def test_haproxy() -> None:
    """
    A client behind a PROXY header is refused too.
    """
    async with full("haproxy", refusalMessage=b"no") as server:
        with client(server.port) as raw:
            raw.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1111 2222\r\n")
            assert await received(raw) == b"no"
        await until(lambda: not server.factory._capacity.lingering)
        assert server.factory.refusedCount == 1


async def test_unix(tmp_path: Path) -> None:
    """
    A client on a UNIX socket is refused too.
    """
    path = tmp_path / "s"
    factory = TCPDemoFactory(Discard, maxConnections=0, refusalMessage=b"no")
    async with serving(factory, f"unix:{path}", f"unix:{path}") as server:
        peer = await server.connect()
        await peer.whenEnded()
        assert peer.received == b"no"


async def test_drainEndsThem() -> None:
    """
    A drain does not wait for refused clients.
    """
    async with full() as server:
        with client(server.port) as raw:
            assert await received(raw) == b""
            await until(lambda: server.factory._capacity.lingering)
            await server.factory.drain(1)
            await until(lambda: not server.factory._capacity.lingering)


async def test_many() -> None:
    """
    A limited number of refused clients may linger at a time; the others are closed
    at once.
    """
    async with full() as server:
        clients: list[socket.socket] = []
        while len(clients) < LINGERING + 10:
            clients.append(rawConnection(server.port))
            await until(lambda: server.factory.refusedCount == len(clients))
        assert len(server.factory._capacity.lingering) == LINGERING
        for raw in clients:
            assert await received(raw) == b""
            raw.close()
        await until(lambda: not server.factory._capacity.lingering)


@pytest.mark.parametrize("scheme", ["tcp", "fasttcp"])
async def test_nobodyIsRefusedForThem(scheme: str) -> None:
    """
    With the overflow "wait", clients refused by a rule that still hold the last
    descriptors keep others waiting only as long as they stay.
    """
    denied = Admission(DeniedNetworks("127.0.0.2"))
    factory = TCPDemoFactory(Discard, overflow="wait", admission=denied)
    factory.descriptorReserve = None
    factory.descriptorLimit = 2
    async with serving(factory, f"{scheme}:0:interface=127.0.0.1") as server:
        address, source = ("127.0.0.1", server.port), ("127.0.0.2", 0)
        strangers = [socket.create_connection(address, 5, source) for _ in range(2)]
        await until(lambda: len(factory._capacity.lingering) == 2)
        good = await server.connect()
        strangers[0].close()
        await until(lambda: factory.connectionCount)
        assert factory.report().refusedBy == {"deniedNetworks": 2}
        good.transport.loseConnection()
        strangers[1].close()
        await until(lambda: not factory._capacity.lingering)


@pytest.mark.parametrize("transport", ["tcp", "fasttcp"])
async def test_upload(transport: str) -> None:
    """
    A refused client that is in the middle of an upload still reads the message.
    """
    factory = TCPDemoFactory(Discard, maxConnections=0, refusalMessage=b"no room")
    async with serving(factory, f"{transport}:0:interface=127.0.0.1") as server:
        with client(server.port) as raw:
            left = 10_000_000

            def sent() -> bool:
                nonlocal left
                try:
                    left -= raw.send(bytes(min(left, 100_000)))
                except BlockingIOError:
                    return False
                return not left

            await until(sent)
            assert await received(raw) == b"no room"
        await until(lambda: not factory._capacity.lingering)


class Refusing(Rule):
    """
    A rule that refuses every client, also one of a UNIX socket.
    """

    def decide(self, host: object, peer: object, now: float) -> str:
        """
        Refuse it.
        """
        return self.name


@everyTLS
async def test_handshakeOfTheRefused(tls: str) -> None:
    """
    A protocol that was built for a refused client does not hear of its handshake, and the
    client gets the message.
    """

    @implementer(IHandshakeListener)
    class Greeting(TCPDemoProtocol):
        def handshakeCompleted(self) -> None:
            self.transport.write(b"hello")

    options: Any = {"admission": Refusing(), "refusalMessage": b"no"}
    async with full(tls, Greeting, maxConnections=None, **options) as server:
        peer = await server.connect()
        await peer.whenLost()
        assert peer.received == b"no"
        await until(lambda: not server.factory._capacity.lingering)
        assert server.factory.refusedCount == 1


@pytest.mark.parametrize("isHosted", [False, True])
@pytest.mark.parametrize("lane", ["twisted", "fast"])
async def test_descriptorsOfTheRefused(tmp_path: Path, lane: str, isHosted: bool) -> None:
    """
    A descriptor that a refused client sends is closed, and the protocol that was built
    for the client does not get it.
    """
    from twisted.internet import reactor

    @implementer(IFileDescriptorReceiver)
    class Taking(Protocol if isHosted else TCPDemoProtocol):  # type: ignore[misc]
        def fileDescriptorReceived(self, descriptor: int) -> None:
            raise AssertionError

    path = str(tmp_path / "s")
    endpoint = ServerEndpoint(reactor, path=path) if lane == "fast" else f"unix:{path}"
    factory = TCPDemoFactory(Taking, admission=Refusing())
    async with serving(factory, endpoint, f"unix:{path}"):
        ours, theirs = socket.socketpair()
        with socket.socket(socket.AF_UNIX) as raw, ours:
            raw.connect(path)
            socket.send_fds(raw, [b"x"], [theirs.fileno()])
            theirs.close()
            ours.setblocking(False)
            assert await received(ours) == b""  # nobody has the other end
        await until(lambda: not factory._capacity.lingering)
        assert factory.refusedCount == 1


# In memory.


class Bottom(StringTransport):
    """
    A transport in memory that can end its own side.
    """

    halfClosed = False

    def loseWriteConnection(self) -> None:
        """
        Remember it.
        """
        self.halfClosed = True


def farewell(transport: Any, **options: Any) -> tuple[Farewell, list[Any], set[Farewell]]:
    """
    Refuse a connection in memory.
    """
    told: list[Any] = []
    lingering: set[Farewell] = set()
    protocol = Farewell(lambda *ends: told.append(ends), lingering, **options)
    protocol.makeConnection(transport)
    return protocol, told, lingering


def test_interface() -> None:
    """
    A farewell can be half-closed, or the client's FIN would close it too soon.
    """
    verifyClass(IHalfCloseableProtocol, Farewell)


def test_lingers() -> None:
    """
    A farewell waits some seconds for the client's end, and then aborts.
    """
    clock, transport = Clock(), Bottom()
    protocol, told, lingering = farewell(transport, clock=clock, message=b"no")
    assert told == [(transport.getHost(), transport.getPeer())]
    assert transport.halfClosed and transport.value() == b"no"
    assert lingering == {protocol}
    clock.advance(DEFAULT_BUDGETS.linger - 0.1)
    assert not transport.disconnected
    clock.advance(0.2)
    assert transport.disconnected


def test_messageWithoutLingering() -> None:
    """
    A farewell that may not linger still sends its message, and waits a little for it
    to be taken.
    """
    clock, transport = Clock(), Bottom()
    _, _, lingering = farewell(transport, clock=clock, message=b"no", linger=False)
    assert transport.value() == b"no"
    assert transport.disconnecting and not lingering
    clock.advance(FLUSH + 0.1)
    assert transport.disconnected


class Hearing(TCPDemoProtocol):
    """
    Remembers the calls to it.
    """

    def __init__(self) -> None:
        self.heard: list[str] = []

    def connectionMade(self) -> None:
        """
        Remember it.
        """
        self.heard.append("made")

    def dataReceived(self, data: bytes) -> None:
        """
        Remember it.
        """
        self.heard.append(data.decode())

    def connectionLost(self, reason: Failure = DONE) -> None:
        """
        Remember it.
        """
        self.heard.append("lost")


@pytest.mark.parametrize("lost", [True, False])
def test_connectedAgain(lost: bool) -> None:
    """
    A refused protocol hears nothing of that connection, and all of a later one.
    """
    factory, protocol = TCPDemoFactory(maxConnections=0, clock=Clock()), Hearing()
    protocol.factory = factory
    protocol.makeConnection(StringTransport())
    protocol.dataReceived(b"refused")
    if lost:
        protocol.connectionLost(DONE)
    factory.maxConnections = 1
    protocol.makeConnection(StringTransport())
    protocol.dataReceived(b"data")
    assert factory.bytesRead == 4
    protocol.connectionLost(DONE)
    assert protocol.heard == ["made", "data", "lost"]
    assert factory.connectionCount == 0


def test_clientCloses() -> None:
    """
    When the client has closed too, the connection is over, and nothing is left.
    """
    clock, transport = Clock(), Bottom()
    protocol, _, lingering = farewell(transport, clock=clock)
    protocol.writeConnectionLost()
    protocol.readConnectionLost()
    assert transport.disconnecting
    protocol.connectionLost(DONE)
    assert lingering == set()
    assert clock.getDelayedCalls() == []


def test_discards() -> None:
    """
    A farewell discards a number of bytes, and then aborts.
    """
    transport = Bottom()
    protocol, _, _ = farewell(transport, clock=Clock(), budgets=Budgets(lingerBytes=1000))
    protocol.dataReceived(bytes(1000))
    assert not transport.disconnected
    protocol.dataReceived(b"x")
    assert transport.disconnected


class Pipes:
    """
    A transport in memory like that of C{stdio:}, which cannot be aborted.
    """

    def __init__(self) -> None:
        self.said = b""
        self.ended = self.halfClosed = False

    def write(self, data: bytes) -> None:
        """
        Remember it.
        """
        self.said += data

    def loseWriteConnection(self) -> None:
        """
        Remember it.
        """
        self.halfClosed = True

    def loseConnection(self) -> None:
        """
        Remember it.
        """
        self.ended = True

    def getHost(self) -> PipeAddress:
        """
        No address.
        """
        return PipeAddress()

    getPeer = getHost


@pytest.mark.parametrize(("reset", "said"), [(False, b"no"), (True, b"")])
def test_stdio(reset: bool, said: bytes) -> None:
    """
    When nothing could end the wait, the connection is closed at once.
    """
    clock, transport = Clock(), Pipes()
    _, _, lingering = farewell(transport, clock=clock, message=b"no", reset=reset)
    assert (transport.said, transport.ended, transport.halfClosed) == (said, True, False)
    assert not lingering and clock.getDelayedCalls() == []


def test_withoutHalfClose() -> None:
    """
    When the transport cannot end one side alone, the connection is closed at once.
    """
    clock, transport = Clock(), StringTransportWithDisconnection()
    transport.protocol = protocol = Farewell(lambda *ends: None, set(), message=b"no", clock=clock)
    protocol.makeConnection(transport)
    assert transport.value() == b"no"
    assert not transport.connected
    assert clock.getDelayedCalls() == []
