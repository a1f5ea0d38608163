"""
L{twisted_tcpdemo.fast.transport}: writing, closing, addresses, and the watcher.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    ILoggingContext,
    IPushProducer,
    ISystemHandle,
    ITCPTransport,
    ITLSTransport,
)
from twisted.python.reflect import namedAny
from zope.interface.verify import verifyObject

from tests.support.fast import (
    SMALL,
    FastServer,
    Remembering,
    accepted,
    closed,
    drainPeer,
    fastServer,
)
from tests.support.peers import Peer, rawConnection, reset, serving
from tests.support.waiting import until
from twisted_tcpdemo import CloseReason, TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.fast import transport as module
from twisted_tcpdemo.fast.endpoint import ServerEndpoint
from twisted_tcpdemo.interfaces import ICountingTransport


@pytest.mark.parametrize(
    "interface",
    [
        ITCPTransport,
        ITLSTransport,
        ISystemHandle,
        IConsumer,
        IPushProducer,
        ILoggingContext,
        ICountingTransport,
    ],
)
async def test_interfaces(interface: Any) -> None:
    """
    The transport provides the interfaces of Twisted's own, and that of a counting
    transport.
    """
    async with fastServer() as server:
        with rawConnection(server.port):
            protocol = await accepted(server)
            verifyObject(interface, protocol.transport)
            await closed(protocol)


@pytest.mark.parametrize("owner", module.PRIVATE_NAMES)
def test_privateNames(owner: str) -> None:
    """
    Every private name of Twisted's that the transport needs is there.
    """
    found = namedAny(owner)  # type: ignore[no-untyped-call]
    assert [name for name in module.PRIVATE_NAMES[owner] if not hasattr(found, name)] == []


async def test_writesAtOnce() -> None:
    """
    Bytes that the kernel takes have left when write() returns.
    """
    async with fastServer() as server:
        with rawConnection(server.port) as peer:
            protocol = await accepted(server)
            protocol.transport.write(b"at once")
            assert peer.recv(100) == b"at once"
            assert (protocol.transport.bytesWritten, protocol.transport.bytesPending) == (7, 0)
            await closed(protocol)


async def test_order() -> None:
    """
    Bytes keep their order when write and writeSequence mix on a full socket.
    """
    async with fastServer() as server:
        with rawConnection(server.port, SMALL) as peer:
            transport = (await accepted(server)).transport
            sent = bytearray()
            for number in range(400):
                data = b"%06d" % number * 1500
                if number % 3:
                    pieces = [data[:5], b"", data[5:700], data[700:]]
                    transport.writeSequence(pieces * (1 + number % 2 * 20))
                    sent += data * (1 + number % 2 * 20)
                else:
                    transport.write(data)
                    sent += data
            assert transport.bytesPending > 0
            assert transport.bytesWritten == len(sent)
            assert await drainPeer(peer, len(sent)) == bytes(sent)
            assert transport.bytesPending == 0
            await closed(server.made[0])


@pytest.mark.parametrize("wrong", ["text", bytearray(b"x"), memoryview(b"x"), None])
async def test_onlyBytes(wrong: Any) -> None:
    """
    Only bytes can be written; a wrong piece sends nothing of its sequence.
    """
    async with fastServer() as server:
        with rawConnection(server.port) as peer:
            protocol = await accepted(server)
            for write in (
                protocol.transport.write,
                lambda w: protocol.transport.writeSequence([b"a", w]),
            ):
                with pytest.raises(TypeError):
                    write(wrong)
            protocol.transport.write(b"ok")
            assert peer.recv(100) == b"ok"
            await closed(protocol)


async def test_bytesSubclass() -> None:
    """
    A subclass of bytes is written like bytes.
    """
    async with fastServer() as server:
        with rawConnection(server.port) as peer:
            protocol = await accepted(server)
            protocol.transport.write(type("Sub", (bytes,), {})(b"sub"))
            assert peer.recv(100) == b"sub"
            await closed(protocol)


@pytest.mark.parametrize("full", [False, True])
async def test_nothingAfterAbort(full: bool) -> None:
    """
    Bytes written after abortConnection() are neither sent nor counted.
    """
    async with fastServer() as server:
        peer = rawConnection(server.port, SMALL)
        protocol = await accepted(server)
        if full:
            protocol.transport.write(bytes(10_000_000))
        before = protocol.transport.bytesWritten
        protocol.transport.abortConnection()
        protocol.transport.write(b"late")
        protocol.transport.writeSequence([b"later"])
        assert protocol.transport.bytesWritten == before
        await protocol.whenLost()
        assert isinstance(protocol.reason, ConnectionAborted)
        with pytest.raises(ConnectionResetError):
            await drainPeer(peer, 20_000_000)
        peer.close()


async def test_failingSend() -> None:
    """
    A send that fails loses the connection later, not from inside write().
    """
    async with fastServer() as server:
        peer = rawConnection(server.port)
        protocol = await accepted(server)
        protocol.transport.pauseProducing()
        reset(peer)
        while protocol.transport.bytesPending == 0:
            protocol.transport.write(b"into the void")
            assert protocol.reason is None
        protocol.transport.write(b"more")
        assert protocol.reason is None
        assert protocol.transport.bytesPending > 0
        await protocol.whenLost()
        assert isinstance(protocol.reason, ConnectionLost)


async def test_writeFails() -> None:
    """
    The Deferred of a write fails when the send fails.
    """
    from twisted.internet import reactor

    factory = TCPDemoFactory(TCPDemoProtocol)
    async with serving(factory, ServerEndpoint(reactor, 0, "127.0.0.1")) as server:
        peer = rawConnection(server.port)
        protocol = await server.protocol()
        protocol.pause()
        reset(peer)
        outcomes: list[Any] = []
        while protocol.bytesPending == 0:
            protocol.write(b"x").addCallbacks(lambda _: None, outcomes.append)
        await until(lambda: outcomes)
        assert protocol.bytesPending == 1


async def test_nothingTakenIsNoActivity() -> None:
    """
    A write of no bytes does not count as activity, and neither does one of which
    the kernel takes none.
    """
    async with fastServer() as server:
        with rawConnection(server.port, SMALL):
            transport = (await accepted(server)).transport
            transport.lastActivity = before = 1.0
            transport.write(b"")
            assert transport.lastActivity == before
            transport.write(bytes(20_000_000))
            transport.lastActivity = before
            transport.write(b"more")
            assert transport.lastActivity == before
            await closed(server.made[0])


async def test_abortIsFinal() -> None:
    """
    loseConnection() does not take abortConnection() back, and pending bytes are
    dropped.
    """
    async with fastServer() as server:
        peer = rawConnection(server.port, SMALL)
        protocol = await accepted(server)
        protocol.transport.write(bytes(10_000_000))
        protocol.transport.abortConnection()
        protocol.transport.loseConnection()
        assert not protocol.transport.writing
        await protocol.whenLost()
        assert isinstance(protocol.reason, ConnectionAborted)
        peer.close()


async def test_abortWhenFlushed() -> None:
    """
    An abort from the callback of a write ends the connection with RST, even if it
    was closing.
    """
    from twisted.internet import reactor

    factory = TCPDemoFactory(TCPDemoProtocol)
    async with serving(factory, ServerEndpoint(reactor, 0, "127.0.0.1")) as server:
        with rawConnection(server.port, SMALL) as peer:
            protocol = await server.protocol()
            written = protocol.write(bytes(6_000_000))
            written.addCallback(lambda _: protocol.transport.abortConnection())
            protocol.transport.loseConnection()
            with pytest.raises(ConnectionResetError):
                await drainPeer(peer, 6_000_001)
            await until(lambda: factory.closedCount)
            assert protocol.closeReason is CloseReason.ABORTED


async def test_slowReader() -> None:
    """
    A large write to a slow peer is never copied: pending bytes are a view of the
    data given.
    """
    async with fastServer() as server:
        with rawConnection(server.port, SMALL) as peer:
            protocol = await accepted(server)
            data = bytes(50_000_000)
            protocol.transport.write(data)
            seen = set()

            def look() -> bool:
                if (pending := protocol.transport._pending) is not None:
                    seen.update(type(piece) for piece in pending.pieces)
                    assert all(piece.obj is data for piece in pending.pieces)
                try:
                    while peer.recv(1 << 20):
                        pass
                except BlockingIOError:
                    pass
                return not protocol.transport.bytesPending

            await until(look)
            assert seen == {memoryview}
            await closed(protocol)


async def test_halfClose() -> None:
    """
    loseWriteConnection() sends pending bytes, then a FIN, and reading goes on.
    """
    async with fastServer() as server:
        with rawConnection(server.port, SMALL) as peer:
            protocol = await accepted(server)
            protocol.transport.write(bytes(16_000_000))
            protocol.transport.loseWriteConnection()
            assert len(await drainPeer(peer, 16_000_000)) == 16_000_000
            await until(lambda: protocol.transport._writeDisconnected)
            assert peer.recv(10) == b""
            protocol.transport.write(b"never")
            assert protocol.transport.bytesWritten == 16_000_000
            peer.send(b"more")
            await protocol.whenReceived(4)
            protocol.transport.loseConnection()
            await protocol.whenLost()


async def test_addressesAfterLoss() -> None:
    """
    Both addresses are the same before and after the loss.
    """
    for interface in ("127.0.0.1", ""):
        async with fastServer(interface=interface) as server:
            peer = rawConnection(server.port)
            protocol = await accepted(server)
            transport = protocol.transport
            if interface:
                assert transport.getHost().port == server.port
                assert transport.getPeer().port == peer.getsockname()[1]
            await closed(protocol)
            assert transport.getHost().port == server.port
            assert transport.getPeer().port == peer.getsockname()[1]
            peer.close()


@pytest.mark.parametrize("noDelay", [False, True])
async def test_noDelay(noDelay: bool) -> None:
    """
    A connection has the endpoint's TCP_NODELAY until it is given another.
    """
    async with fastServer(noDelay=noDelay) as server:
        with rawConnection(server.port):
            transport = (await accepted(server)).transport
            assert transport.getTcpNoDelay() is noDelay
            transport.setTcpNoDelay(noDelay)
            assert transport.getTcpNoDelay() is noDelay
            transport.setTcpNoDelay(not noDelay)
            assert transport.getTcpNoDelay() is not noDelay
            transport.setTcpNoDelay(noDelay)
            assert transport.getTcpNoDelay() is noDelay
            await closed(server.made[0])


class Watching(Peer):
    """
    A protocol that watches its transport.
    """

    def __init__(self, told: Callable[[str], None]) -> None:
        super().__init__()
        for name in ("Flushed", "Waiting", "Closing", "Aborting", "Encrypting"):
            setattr(self, f"transport{name}", lambda n=name: told(n))
        self.deliveryFailed = lambda: told("failed")
        self.transportLost = lambda reason: told("Lost")

    def connectionMade(self) -> None:
        """
        Become the watcher of the transport.
        """
        self.transport.watcher = self
        self.factory.made.append(self)  # type: ignore[union-attr]


async def test_watcher() -> None:
    """
    The watcher hears of waiting bytes and of the end, once, and before the
    protocol.
    """
    told: list[str] = []

    class P(Watching):
        def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
            told.append("connectionLost")
            super().connectionLost(reason)

    async with fastServer(lambda: P(told.append)) as server:
        with rawConnection(server.port, SMALL) as peer:
            protocol = await accepted(server)
            protocol.transport.write(b"small")
            assert told == []
            protocol.transport.write(bytes(16_000_000))
            await drainPeer(peer, 16_000_005)
            await until(lambda: not protocol.transport.bytesPending)
            assert told[0] == "Waiting" and set(told) == {"Waiting", "Flushed"}
            told.clear()
            protocol.transport.loseConnection()
            protocol.transport.loseConnection()
            await protocol.whenLost()
            assert told == ["Closing", "Lost", "connectionLost"]
            assert protocol.transport.watcher is None


async def test_stop() -> None:
    """
    reactor.stop() tells every connection once, even a paused or a half-closed one.
    """
    from twisted.internet.epollreactor import EPollReactor

    reactor: Any = EPollReactor()
    lost: list[Any] = []

    class P(Remembering):
        def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
            lost.append(self)

    server = FastServer(P)
    listening: list[Any] = []
    ServerEndpoint(reactor, 0, "127.0.0.1").listen(server).addCallback(listening.append)
    peers = [rawConnection(listening[0].getHost().port) for _ in range(3)]
    while len(server.made) < 3:
        reactor.iterate(0.1)
    server.made[0].transport.pauseProducing()
    peers[0].send(b"x")
    peers[1].shutdown(socket.SHUT_WR)
    for _ in range(10):
        reactor.iterate(0.001)
    reactor.disconnectAll()
    reactor.fireSystemEvent("shutdown")
    assert sorted(map(id, lost)) == sorted(map(id, server.made))
    for peer in peers:
        peer.close()
    for waker in list(reactor._internalReaders):
        waker.connectionLost(None)
    reactor._poller.close()


async def test_settersAfterEnd() -> None:
    """
    A setter of the transport raises after the end, as Twisted's does.
    """
    async with fastServer() as server:
        with rawConnection(server.port):
            made = await accepted(server)
            transport = made.transport
            transport.abortConnection()
            await closed(made)
            with pytest.raises(AttributeError):
                transport.setTcpKeepAlive(True)
