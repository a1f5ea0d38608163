"""
L{twisted_tcpdemo.fast.transport}: what Twisted's own tests of a transport do not
see.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
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

from tests.support.certificates import clientContext, serverContext
from tests.support.fast import FastServer, Remembering, fastServer
from tests.support.peers import Peer, hasEnded, rawConnection, reset, serving
from tests.support.waiting import turn, until
from twisted_tcpdemo import CloseReason, TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.fast import transport as module
from twisted_tcpdemo.fast.endpoint import ServerEndpoint
from twisted_tcpdemo.fast.transport import WriteThroughTransport
from twisted_tcpdemo.interfaces import ICountingTransport

SMALL = 4096
"""A receive buffer that is soon full."""


async def drainPeer(peer: socket.socket, count: int) -> bytes:
    """
    Read a number of bytes from a plain socket.
    """
    got = bytearray()

    def some() -> bool:
        try:
            while len(got) < count and (data := peer.recv(1 << 20)):
                got.extend(data)
        except BlockingIOError:
            pass
        return len(got) >= count

    await until(some)
    return bytes(got)


async def accepted(server: FastServer, count: int = 1) -> Any:
    """
    The newest protocol of a server, once it has that many.
    """
    await until(lambda: len(server.made) == count)
    return server.made[-1]


async def closed(protocol: Any) -> None:
    """
    End a connection, and wait for it.
    """
    protocol.transport.abortConnection()
    await protocol.whenLost()


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
    It provides what Twisted's own does, and counts.
    """
    async with fastServer() as server:
        with rawConnection(server.port):
            protocol = await accepted(server)
            verifyObject(interface, protocol.transport)
            await closed(protocol)


@pytest.mark.parametrize("owner", module.PRIVATE_NAMES)
def test_privateNames(owner: str) -> None:
    """
    Every private name of Twisted's that is relied on is there.
    """
    found = namedAny(owner)  # type: ignore[no-untyped-call]
    assert [name for name in module.PRIVATE_NAMES[owner] if not hasattr(found, name)] == []


async def test_writesAtOnce() -> None:
    """
    What the kernel takes has left when write() returns.
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
    Order is kept when write and writeSequence mix on a full socket.
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
    Only bytes are taken, and a wrong piece sends none of its sequence.
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
    A subclass of bytes is bytes.
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
    Nothing that is written after abortConnection() goes out or is counted.
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
    The Deferred of a write whose send fails, fails.
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


class Puller:
    """
    A pull producer: writes a piece each time it is asked.
    """

    def __init__(self, transport: Any, pieces: list[bytes]) -> None:
        self.transport = transport
        self.pieces = pieces
        self.stopped = False

    def resumeProducing(self) -> None:
        """
        Write the next one.
        """
        self.transport.write(self.pieces.pop(0))
        if not self.pieces:
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        """
        Remember that nobody wants more.
        """
        self.stopped = True


@pytest.mark.parametrize("size", [1, 300_000])
async def test_pullProducer(size: int) -> None:
    """
    A pull producer is asked for more until it has no more, and then the
    connection closes if that was asked for.
    """
    async with fastServer() as server:
        with rawConnection(server.port, SMALL) as peer:
            protocol = await accepted(server)
            puller = Puller(protocol.transport, [b"%d" % n * size for n in range(10)])
            protocol.transport.registerProducer(puller, False)
            assert len(puller.pieces) == 9
            protocol.transport.loseConnection()
            got = await drainPeer(peer, 10 * size)
            assert got == b"".join(b"%d" % n * size for n in range(10))
            await protocol.whenLost()
            assert not puller.stopped


class Pusher:
    """
    A push producer that remembers what it was told.
    """

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        """
        Stop.
        """
        self.told.append("pause")

    def resumeProducing(self) -> None:
        """
        Go on.
        """
        self.told.append("resume")

    def stopProducing(self) -> None:
        """
        Never again.
        """
        self.told.append("stop")


async def test_pushProducer() -> None:
    """
    A push producer is paused when much waits, resumed when nothing does, and
    stopped at the end.
    """
    async with fastServer() as server:
        with rawConnection(server.port, SMALL) as peer:
            protocol = await accepted(server)
            pusher = Pusher()
            protocol.transport.registerProducer(pusher, True)
            protocol.transport.write(b"little")
            assert pusher.told == []
            protocol.transport.write(bytes(10_000_000))
            assert pusher.told == ["pause"]
            await drainPeer(peer, 10_000_006)
            await until(lambda: pusher.told == ["pause", "resume"])
            await closed(protocol)
            assert pusher.told == ["pause", "resume", "stop"]


class Plenty:
    """
    A socket that has as much to read as anybody asks for, in pieces of a size.
    """

    def __init__(self, real: socket.socket, size: int) -> None:
        self._real = real
        self._size = size

    def recv(self, most: int) -> bytes:
        """
        The next piece.
        """
        return bytes(min(most, self._size))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.mark.parametrize(
    ("size", "reads"), [(64, 1), (module.A_LOT, 1), (module.A_LOT + 1, module.READS)]
)
async def test_readsOn(size: int, reads: int) -> None:
    """
    Where there is a lot to read, a few reads follow each other, and no more.
    """
    async with fastServer() as server:
        with rawConnection(server.port):
            protocol = await accepted(server)
            protocol.transport.socket = Plenty(protocol.transport.socket, size)
            assert protocol.transport.doRead() is None
            assert protocol.transport.bytesRead == len(protocol.received) == reads * size
            await closed(protocol)


async def test_asksForWhatIsLikely() -> None:
    """
    After little came, little is asked for; if that is all there, the rest is
    read at once, and much is asked for until little comes again.
    """
    asked: list[int] = []

    class Recording(Plenty):
        """
        Notes how much is asked for, and has so much in all.
        """

        def recv(self, most: int) -> bytes:
            asked.append(most)
            piece = super().recv(most)
            self._size -= len(piece)
            if not piece:
                raise BlockingIOError
            return piece

    async with fastServer() as server:
        with rawConnection(server.port):
            protocol = await accepted(server)
            transport, real = protocol.transport, protocol.transport.socket
            little, much = module.SMALL, module.READ_SIZE
            steps = {
                64: [much],
                65: [little],
                little - 1: [little],
                little: [little, much],
                66: [much],
                9000: [little, much],
                67: [much],
                68: [little],
            }
            for size, expected in steps.items():
                asked.clear()
                transport.socket = Recording(real, size)
                assert transport.doRead() is None
                assert asked == expected
            assert transport.bytesRead == len(protocol.received) == sum(steps)
            transport.socket = real
            await closed(protocol)


async def test_readsOnUnlessPaused() -> None:
    """
    Nothing follows a read after which the protocol has paused.
    """

    class Pausing(Remembering):
        """
        Has enough.
        """

        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            self.transport.pauseProducing()

    async with fastServer(Pausing) as server:
        with rawConnection(server.port):
            protocol = await accepted(server)
            protocol.transport.socket = Plenty(protocol.transport.socket, module.READ_SIZE)
            assert protocol.transport.doRead() is None
            assert protocol.transport.bytesRead == module.READ_SIZE
            await closed(protocol)


KEEPING = """
import socket
from twisted_tcpdemo.fast.transport import READ_SIZE
def mappings():
    with open("/proc/self/maps") as maps:
        return len(list(maps))
ours, theirs = socket.socketpair()
kept, before = [], mappings()
for _ in range(200):
    theirs.send(b"little")
    kept.append(ours.recv(READ_SIZE))
print(mappings() - before)
"""


def test_keptReadsAreSmall() -> None:
    """
    Who keeps what little each read brings does not run out of mappings.

    The C library takes large pieces of memory from the system as mappings, of
    which a process has no more than 65,530, until it has freed one of that
    size; the imports have, by then (mallopt(3), M_MMAP_THRESHOLD).
    """
    command = [sys.executable, "-c", KEEPING]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) < 20


async def test_closeAfterFINWithProducer() -> None:
    """
    loseConnection() after this side's FIN closes, whatever a producer still
    wants to write.
    """
    async with fastServer() as server:
        with rawConnection(server.port) as peer:
            protocol = await accepted(server)
            protocol.transport.loseWriteConnection()
            await until(partial(hasEnded, peer))
            puller = Puller(protocol.transport, [b"into the void"] * 100)
            protocol.transport.registerProducer(puller, False)
            protocol.transport.loseConnection()
            await protocol.whenLost()
            assert puller.stopped


async def test_nothingTakenIsNoActivity() -> None:
    """
    A write of nothing does not keep a connection from being idle, and neither
    does one of which the kernel takes nothing.
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
    abortConnection() is not taken back by loseConnection(), and nothing of what
    waited goes out when there is room.
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
    Who aborts when told that bytes have left ends with RST, not in order.
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


async def test_pauseInDataReceived() -> None:
    """
    pauseProducing() in dataReceived holds: nothing comes before resume.
    """

    class Pausing(Remembering):
        def dataReceived(self, data: bytes) -> None:
            self.transport.pauseProducing()
            super().dataReceived(data)

    async with fastServer(Pausing) as server:
        with rawConnection(server.port) as peer:
            protocol = await accepted(server)
            peer.send(b"one")
            await protocol.whenReceived(3)
            peer.send(b"two")
            for _ in range(5):
                await turn()
            assert protocol.received == b"one"
            protocol.transport.resumeProducing()
            await protocol.whenReceived(6)
            await closed(protocol)


async def test_noDataAfterAbort() -> None:
    """
    Nothing is delivered after abortConnection(), even of what has come.
    """
    async with fastServer() as server:
        with rawConnection(server.port) as peer:
            protocol = await accepted(server)
            peer.send(b"too late")
            protocol.transport.abortConnection()
            await protocol.whenLost()
            assert not protocol.received


async def test_slowReader() -> None:
    """
    A large write to a slow peer is never copied: what waits is a view of what
    was given.
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


async def test_eofIsToldOnce() -> None:
    """
    The peer's FIN is told once, whatever is resumed afterwards.
    """

    class Counting(Remembering):
        ends = 0

        def readConnectionLost(self) -> None:
            self.ends += 1
            super().readConnectionLost()

    async with fastServer(Counting) as server:
        with rawConnection(server.port) as peer:
            protocol = await accepted(server)
            peer.shutdown(socket.SHUT_WR)
            await protocol.whenEnded()
            protocol.transport.pauseProducing()
            protocol.transport.resumeProducing()
            for _ in range(5):
                await turn()
            assert protocol.ends == 1
            protocol.transport.write(b"still")
            assert peer.recv(100) == b"still"
            await closed(protocol)


async def test_halfClose() -> None:
    """
    loseWriteConnection() sends what waits, then a FIN, and reading goes on.
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
    Connections have TCP_NODELAY as the endpoint was asked, and as they are
    asked afterwards.
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


class Upgrading(TCPDemoProtocol):
    """
    Answers the first message with STARTTLS, and echoes from then on.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Upgrade, or send it back.
        """
        self.write(data)
        if data == b"upgrade":
            self.transport.startTLS(serverContext())  # type: ignore[attr-defined]


async def test_startTLS() -> None:
    """
    Across startTLS a protocol's counts stay its own bytes, and never fall;
    what it writes fires.
    """
    from twisted.internet import reactor

    factory = TCPDemoFactory(Upgrading)
    async with serving(factory, ServerEndpoint(reactor, 0, "127.0.0.1")) as server:
        peer = await server.connect()
        peer.transport.write(b"upgrade")
        await peer.whenReceived(7)
        protocol = await server.protocol()
        assert (protocol.bytesRead, protocol.bytesWritten) == (7, 7)
        peer.transport.startTLS(clientContext())
        peer.transport.write(b"secret")
        await peer.whenReceived(13)
        assert peer.received == b"upgradesecret"
        assert protocol.transport.logstr.startswith("Upgrading,")
        assert (protocol.bytesRead, protocol.bytesWritten) == (13, 13)
        assert await protocol.write(bytes(3_000_000)) == 3_000_013
        assert protocol.bytesPending == 0
        await peer.whenReceived(3_000_013)
        peer.transport.loseConnection()
        await until(lambda: factory.closedCount)
        assert factory.bytesWritten == 3_000_013


class Upgraded(TCPDemoProtocol):
    """
    Speaks TLS after the first message, and tells its test of the second one.

    @ivar secured: fires with the protocol itself.
    """

    def __init__(self) -> None:
        self.secured: Deferred[Any] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """
        Upgrade, or say that it has been.
        """
        if data == b"upgrade":
            self.transport.write(b"go")
            self.transport.startTLS(serverContext())  # type: ignore[attr-defined]
        elif not self.secured.called:
            self.secured.callback(self)


@asynccontextmanager
async def secured(tls: str) -> AsyncGenerator[tuple[Any, Peer]]:
    """
    The two sides of a connection on which TLS is established.

    @param tls: whether it was C{"wrapped"} from the start, or C{"started"}.
    """
    from twisted.internet import reactor

    made: list[Upgraded] = []

    def build() -> Upgraded:
        made.append(Upgraded())
        return made[-1]

    context = serverContext() if tls == "wrapped" else None
    endpoint = ServerEndpoint(reactor, 0, "127.0.0.1", tls=context)
    async with serving(TCPDemoFactory(build), endpoint, tls=tls == "wrapped") as server:
        peer = await server.connect()
        if tls == "started":
            peer.transport.write(b"upgrade")
            await peer.whenReceived(2)
            peer.received.clear()
            peer.transport.startTLS(clientContext())
        peer.transport.write(b"hello")
        await until(lambda: made)
        yield await made[0].secured, peer


bothTLS = pytest.mark.parametrize("tls", ["wrapped", "started"])


@bothTLS
async def test_tlsWriteFires(tls: str) -> None:
    """
    A small write under TLS, which the TLS layer keeps for a moment, fires.
    """
    async with secured(tls) as (protocol, peer):
        before = protocol.bytesWritten
        assert await protocol.write(b"small") == before + 5
        assert protocol.bytesPending == 0
        await peer.whenReceived(5)
        assert protocol.idle < 5


@bothTLS
@pytest.mark.parametrize("size", [1, 40_000, 3_000_000])
async def test_tlsWriteInTurn(tls: str, size: int) -> None:
    """
    Who writes when the write before has left keeps the order, and loses
    nothing, beside another writer.
    """
    from twisted.internet import reactor

    async with secured(tls) as (protocol, peer):
        pieces = [b"%d" % n * size for n in range(5)]

        async def inTurn() -> None:
            for piece in pieces:
                await protocol.write(piece)

        others: list[DelayedCall] = []
        for _ in range(3):
            others.append(reactor.callLater(0, protocol.transport.write, b"y"))  # type: ignore[attr-defined]
        await Deferred.fromCoroutine(inTurn())
        await until(lambda: not any(other.active() for other in others))
        await peer.whenReceived(5 * size + 3)
        assert peer.received.replace(b"y", b"") == b"".join(pieces)
        assert protocol.bytesPending == 0


@pytest.mark.parametrize("streaming", [False, True])
async def test_startTLSWithProducer(streaming: bool) -> None:
    """
    Nothing that is written after startTLS goes out in the clear, though the
    producer moves to the TLS layer meanwhile.
    """
    async with fastServer() as server:
        with rawConnection(server.port) as peer:
            protocol = await accepted(server)
            protocol.transport.registerProducer(Pusher(), streaming)
            protocol.transport.startTLS(serverContext())
            protocol.transport.write(b"secret")
            for _ in range(3):
                await turn()
            with pytest.raises(BlockingIOError):
                peer.recv(100)
            await closed(protocol)


async def test_lostDuringHandshake() -> None:
    """
    A peer that goes during the handshake of startTLS gives its slot back, and
    what waited for the handshake has never left.
    """
    from twisted.internet import reactor

    class Greeting(Upgraded):
        """
        Says something as soon as that is safe.
        """

        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            self.transport.write(b"hello")

    factory = TCPDemoFactory(Greeting)
    async with serving(factory, ServerEndpoint(reactor, 0, "127.0.0.1")) as server:
        with rawConnection(server.port) as peer:
            peer.send(b"upgrade")
            protocol = await server.protocol()
            await until(lambda: protocol.bytesWritten == len(b"gohello"))
        await until(lambda: factory.closedCount)
        [report] = server.events.of("connectionClosed")
        assert (report.bytesWritten, report.bytesPending) == (7, 5)


async def test_unregistersWhenStopped() -> None:
    """
    A producer under TLS may unregister when it is told to stop.
    """
    stopped = []

    class Leaving(Pusher):
        """
        Takes its leave.
        """

        def stopProducing(self) -> None:
            protocol.transport.unregisterProducer()
            stopped.append(self)

    async with fastServer() as server:
        with rawConnection(server.port) as peer:
            protocol = await accepted(server)
            protocol.transport.startTLS(serverContext())
            protocol.transport.registerProducer(Leaving(), True)
            peer.send(b"no TLS")
            await protocol.whenLost()
            assert len(stopped) == 1


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
        Watch it.
        """
        self.transport.watcher = self
        self.factory.made.append(self)  # type: ignore[union-attr]


async def test_watcher() -> None:
    """
    The watcher is told of what waited, of the end once, and before the
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
    reactor.stop() tells every connection once, also those that are paused or
    half-closed.
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


async def test_whenWritable() -> None:
    """
    Without a producer, whenWritable() follows what the kernel takes.
    """
    from twisted.internet import reactor

    factory = TCPDemoFactory(TCPDemoProtocol)
    async with serving(factory, ServerEndpoint(reactor, 0, "127.0.0.1")) as server:
        with rawConnection(server.port, SMALL) as peer:
            protocol = await server.protocol()
            protocol.transport.write(bytes(16_000_000))
            writable: Deferred[None] = protocol.whenWritable()
            assert not writable.called
            assert isinstance(protocol.transport, WriteThroughTransport)
            assert protocol.transport.producer is None
            await drainPeer(peer, 16_000_000)
            await writable
