"""
The promises over every transport: the same tests over TCP, TLS and UNIX sockets.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from weakref import ReferenceType, ref

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.protocols.amp import AMP

from tests.support.certificates import pemFile
from tests.support.contexts import PythonContexts, TwistedContexts
from tests.support.hygiene import LoggedErrors
from tests.support.peers import Server, serving
from tests.support.waiting import failureOf, turn, until
from twisted_tcpdemo import CloseReason, TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.errors import WriteFailedError
from twisted_tcpdemo.fast.endpoint import ServerEndpoint
from twisted_tcpdemo.twistd.programs import Discard, Echo
from twisted_tcpdemo.values.budgets import Budgets

Serve = Callable[..., AbstractAsyncContextManager[Server]]

TRANSPORTS = ["tcp", "tls", "unix", "fast", "fast-tls", "fast-ssl", "fast-unix"]


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """
    The name of the transport under test.
    """
    name: str = request.param
    return name


@pytest.fixture
def serve(transport: str, tmp_path: Path) -> Serve:
    """
    Serve a factory over the transport under test.
    """
    from twisted.internet import reactor

    def start(protocol: Callable[[], TCPDemoProtocol], **options: Any) -> Any:
        factory = TCPDemoFactory(protocol, **options)
        if transport == "tls":
            return serving(factory, f"ssl:0:interface=127.0.0.1:privateKey={pemFile()}", tls=True)
        if transport == "fast-unix":
            path = tmp_path / "socket"
            return serving(factory, ServerEndpoint(reactor, path=path), f"unix:{path}")
        if transport.startswith("fast"):
            makers = {"fast-tls": TwistedContexts.server, "fast-ssl": PythonContexts.server}
            tls = makers[transport]() if transport in makers else None
            endpoint = ServerEndpoint(reactor, 0, "127.0.0.1", tls=tls)
            return serving(factory, endpoint, tls=tls is not None)
        if transport == "unix":
            path = tmp_path / "socket"
            return serving(factory, f"unix:{path}", f"unix:{path}")
        return serving(factory)

    return start


async def test_echo(serve: Serve) -> None:
    """
    Bytes that a client sends come back, and both directions are counted, in
    plaintext.
    """
    async with serve(Echo) as server:
        peer = await server.connect()
        peer.transport.write(b"hello")
        await peer.whenReceived(5)
        [connection] = server.factory.connections
        assert peer.received == b"hello"
        assert (connection.bytesRead, connection.bytesWritten) == (5, 5)
        peer.transport.loseConnection()
        await until(lambda: server.factory.closedCount)
        [report] = server.events.of("connectionClosed")
        assert (report.bytesRead, report.bytesWritten, report.bytesPending) == (5, 5, 0)
        assert report.closeReason is CloseReason.PEER_CLOSED
        assert server.factory.bytesRead == server.factory.bytesWritten == 5


class Replacing(TCPDemoProtocol):
    """
    A protocol that replaces its hooks when it is connected, and when it is told to.
    """

    def __init__(self) -> None:
        self.told: list[str] = []

    def connectionMade(self) -> None:
        """
        Replace the hooks that a transport calls at the end.
        """
        self.readConnectionLost = lambda: self.told.append("read")  # type: ignore[method-assign]
        self.connectionLost = lambda reason=None: self.told.append("lost")  # type: ignore[method-assign, assignment, misc]

    def dataReceived(self, data: bytes) -> None:
        """
        Read a body from now on.
        """
        self.dataReceived = self.body  # type: ignore[method-assign]
        self.write(data)

    def body(self, data: bytes) -> None:
        """
        Answer in upper case.
        """
        self.write(data.upper())


async def test_replacedHooks(serve: Serve, transport: str) -> None:
    """
    Hooks that a protocol replaces while it is connected are called, and counted;
    the connection is not idle, and ends as it would have.
    """
    async with serve(Replacing, budgets=Budgets(idle=60)) as server:
        peer = await server.connect()
        for count in range(1, 4):
            peer.transport.write(b"hello")
            await peer.whenReceived(5 * count)
            if count == 2:
                # From outside of any event of the connection.
                (connection,) = server.factory.connections
                connection.dataReceived = connection.body  # type: ignore[method-assign]
                moved = server.factory.records[0].counts.lastActivity
        assert peer.received == b"helloHELLOHELLO"
        assert (connection.bytesRead, connection.bytesWritten) == (15, 15)
        assert server.factory.records[0].counts.lastActivity >= moved
        if transport.endswith(("tls", "ssl")):
            peer.transport.loseConnection()
        else:
            peer.transport.loseWriteConnection()
        await peer.whenEnded()
        peer.transport.loseConnection()
        await server.factory.whenEmpty()
        assert server.factory.report().closedBy == {CloseReason.PEER_CLOSED: 1}
        assert isinstance(connection, Replacing)
        assert connection.told == (
            ["lost"] if transport.endswith(("tls", "ssl")) else ["read", "lost"]
        )
        assert server.factory.conservation() == []


class Greeting(TCPDemoProtocol):
    """
    Writes, and does not look at the results.
    """

    def connectionMade(self) -> None:
        """
        Write more than the peer's system takes.
        """
        self.write(bytes(20_000_000))
        self.whenWritable()

    def connectionLost(self, reason: Any = None) -> None:
        """
        Write once more.
        """
        self.write(b"late")
        self.whenWritable()


@pytest.mark.parametrize("how", ["abort", "maxPending", "reset"])
async def test_writeWithoutLooking(serve: Serve, transport: str, how: str) -> None:
    """
    A write that fails and whose result nobody wants logs nothing; a write after an
    abort fails with the reason of the abort.
    """
    limit = 5_000_000 if how == "maxPending" else None
    async with serve(Greeting, budgets=Budgets(maxPending=limit)) as server:
        peer = await server.connect()
        if how == "reset":
            await peer.whenReceived(1)
            peer.transport.abortConnection()
        elif how == "abort":
            await peer.whenReceived(1)
            connection = await server.protocol()
            connection.transport.abortConnection()
            for waiting in connection.write(b"late"), connection.whenWritable():
                error = await failureOf(waiting)
                assert isinstance(error, WriteFailedError)
                assert error.reason is CloseReason.ABORTED
        await until(lambda: server.factory.closedCount)
        [reason] = server.factory.report().closedBy
        expected = {"abort": CloseReason.ABORTED, "maxPending": CloseReason.MAX_PENDING}
        if how in expected:
            assert reason is expected[how]


async def test_writeBeyondMaxPending(serve: Serve) -> None:
    """
    After a write that was one too many, everything fails with that reason.
    """
    results: list[Any] = []

    class Flooding(TCPDemoProtocol):
        def connectionMade(self) -> None:
            for waiting in (self.write(bytes(20_000_000)), self.write(b"x"), self.whenWritable()):
                waiting.addBoth(results.append)

    async with serve(Flooding, budgets=Budgets(maxPending=5_000_000)) as server:
        await server.connect()
        await until(lambda: len(results) == 3)
        assert [result.value.reason for result in results] == [CloseReason.MAX_PENDING] * 3
        await server.factory.whenEmpty()


async def test_loopOnWhenWritable(serve: Serve, transport: str) -> None:
    """
    A loop on whenWritable() ends when this side has ended.
    """

    class Looping(TCPDemoProtocol):
        allowHalfOpen = True
        turns = 0

        async def loop(self) -> None:
            while True:
                await self.whenWritable()
                self.transport.write(b"x")
                self.turns += 1

        def dataReceived(self, data: bytes) -> None:
            (self.transport.loseConnection if data == b"close" else self.end)()

        def end(self) -> None:
            self.transport.loseWriteConnection()

    for word in ("close",) if transport.endswith(("tls", "ssl")) else ("close", "end"):
        async with serve(Looping) as server:
            peer = await server.connect()
            looping = await server.protocol()
            running = Deferred.fromCoroutine(looping.loop())
            await peer.whenReceived(1000)
            peer.transport.write(word.encode())
            error = await failureOf(running)
            assert isinstance(error, WriteFailedError)
            assert error.reason is (CloseReason.LOCAL_CLOSE if word == "close" else None)
            assert looping.turns >= 1000
            peer.transport.loseConnection()
            await server.factory.whenEmpty()


async def test_foreign(serve: Serve) -> None:
    """
    A foreign protocol is served, counted and limited, and a full answer flushed at
    the client's end.
    """

    class Foreign(Protocol):
        def dataReceived(self, data: bytes) -> None:
            assert self.transport is not None
            self.transport.write(data)

    async with serve(Foreign, maxConnections=1) as server:
        peer = await server.connect()
        peer.transport.write(b"hello")
        await peer.whenReceived(5)
        refused = await server.connect()
        await refused.whenEnded()
        factory = server.factory
        assert (factory.bytesRead, factory.bytesWritten, factory.refusedCount) == (5, 5, 1)
        peer.transport.loseConnection()
        await factory.whenEmpty()
        assert factory.report().closedBy == {CloseReason.PEER_CLOSED: 1}


async def test_limit(serve: Serve) -> None:
    """
    A full server refuses without a byte, a release admits again, and the count
    returns to zero.
    """
    greeter = type("G", (TCPDemoProtocol,), {"connectionMade": lambda s: s.transport.write(b"hi")})
    async with serve(greeter, maxConnections=2) as server:
        first, second = await server.connect(), await server.connect()
        await first.whenReceived(2)
        await second.whenReceived(2)
        third = await server.connect()
        await third.whenEnded()
        assert third.received == b""
        assert (server.factory.connectionCount, server.factory.refusedCount) == (2, 1)
        [refusal] = server.events.of("connectionRefused")
        assert refusal.rule == "maxConnections"
        third.transport.loseConnection()
        first.transport.loseConnection()
        await until(lambda: server.factory.connectionCount == 1)
        fourth = await server.connect()
        await fourth.whenReceived(2)
        for peer in (second, fourth):
            peer.transport.loseConnection()
        await server.factory.whenEmpty()
        assert server.factory.acceptedCount == server.factory.closedCount == 3


async def test_limitOfZero(serve: Serve) -> None:
    """
    A limit of zero admits no client.
    """
    async with serve(Discard, maxConnections=0) as server:
        peer = await server.connect()
        await peer.whenEnded()
        assert (server.factory.acceptedCount, server.factory.refusedCount) == (0, 1)


async def test_limitChanged(serve: Serve) -> None:
    """
    A lower limit closes no connection, and no client is admitted until enough have
    left.
    """
    async with serve(Discard, maxConnections=None) as server:
        peers = [await server.connect() for _ in range(3)]
        await until(lambda: server.factory.connectionCount == 3)
        server.factory.maxConnections = 2
        assert server.factory.connectionCount == 3
        refused = await server.connect()
        await refused.whenEnded()
        for peer in peers[:2]:
            peer.transport.loseConnection()
        await until(lambda: server.factory.connectionCount == 1)
        await server.connect()
        await until(lambda: server.factory.connectionCount == 2)
        assert server.factory.refusedCount == 1


async def heldUntilResumed(server: Server) -> None:
    """
    Check that an echo reads nothing before resume(), and misses nothing after it.
    """
    peer = await server.connect()
    peer.transport.write(b"early")
    protocol = await server.protocol()
    for _ in range(5):
        await turn()
    assert protocol.bytesRead == 0
    protocol.resume()
    await peer.whenReceived(5)
    assert peer.received == b"early"


async def test_pauseOnConnect(serve: Serve) -> None:
    """
    No byte is read before resume(), and none is missing after it.
    """
    async with serve(Echo, pauseOnConnect=True) as server:
        await heldUntilResumed(server)


async def test_resumesByItself(serve: Serve) -> None:
    """
    A connection that begins paused resumes by itself after a given time.
    """
    async with serve(Echo, pauseOnConnect=True, resumeAfter=0.05) as server:
        peer = await server.connect()
        peer.transport.write(b"early")
        await peer.whenReceived(5)


async def test_endsPaused(serve: Serve) -> None:
    """
    A connection that ends before it reads leaves nothing that would resume it.
    """
    async with serve(Echo, pauseOnConnect=True, resumeAfter=60) as server:
        await server.connect()
        protocol = await server.protocol()
        transport = protocol.transport
        transport.abortConnection()
        await until(lambda: server.factory.closedCount)
        assert "resumeProducing" not in vars(transport)


class Eager(Echo):
    """
    A protocol that pauses, and sets its timeout, before it has a connection.
    """

    timeout: float | None = None

    def __init__(self) -> None:
        self.setTimeout(self.timeout)
        self.pause()


async def test_pauseBeforehand(serve: Serve) -> None:
    """
    A pause before there is a connection holds from its beginning; no byte is missing
    after it.
    """
    async with serve(Eager) as server:
        await heldUntilResumed(server)


async def test_timeoutBeforehand(serve: Serve) -> None:
    """
    A timeout that is set before there is a connection begins with it.
    """

    class Impatient(Eager):
        timeout = 0.1

    async with serve(Impatient) as server:
        peer = await server.connect()
        protocol = await server.protocol()
        protocol.resume()
        await peer.whenEnded()
        await server.factory.whenEmpty()
        assert protocol.closeReason is CloseReason.IDLE


async def test_writeIsTaken(serve: Serve) -> None:
    """
    write() fires when the operating system has taken the bytes, and not before.
    """
    async with serve(Discard) as server:
        peer = await server.connect()
        protocol = await server.protocol()
        peer.transport.pauseProducing()
        size = 30_000_000
        written = protocol.write(bytes(size))
        writable = protocol.whenWritable()
        for _ in range(5):
            await turn()
        assert not written.called and not writable.called
        assert protocol.bytesWritten == size
        assert 0 < protocol.bytesPending <= size
        peer.transport.resumeProducing()
        assert await written == size
        await writable
        assert protocol.bytesPending == 0
        await peer.whenReceived(size)


async def test_writesFireInOrder(serve: Serve) -> None:
    """
    Several writes fire once each, in their order, as bytes leave.
    """
    async with serve(Discard) as server:
        peer = await server.connect()
        protocol = await server.protocol()
        fired: list[int] = []
        for number in range(5):
            protocol.write(b"x" * 100_000).addCallback(lambda _, n=number: fired.append(n))
        await peer.whenReceived(500_000)
        await until(lambda: len(fired) == 5)
        assert fired == [0, 1, 2, 3, 4]


async def test_writeThatCannotGo(serve: Serve) -> None:
    """
    A write that the peer's end overtakes fails once, with the reason.
    """
    async with serve(Discard) as server:
        peer = await server.connect()
        protocol = await server.protocol()
        peer.transport.write(b"request")
        await until(lambda: protocol.bytesRead)
        peer.transport.pauseProducing()
        written, writable = protocol.write(bytes(30_000_000)), protocol.whenWritable()
        await turn()
        peer.transport.abortConnection()
        for waiting in (written, writable):
            error = await failureOf(waiting)
            assert isinstance(error, WriteFailedError)
            assert error.reason is CloseReason.RESET
        [report] = server.events.of("connectionClosed")
        assert report.bytesWritten == 30_000_000
        assert report.bytesPending > 0


async def test_localClose(serve: Serve) -> None:
    """
    Bytes written before loseConnection() arrive, and the reason is a local close.
    """
    async with serve(Discard) as server:
        peer = await server.connect()
        protocol = await server.protocol()
        await protocol.write(b"start")
        await peer.whenReceived(5)
        protocol.transport.write(bytes(1_000_000))
        protocol.transport.loseConnection()
        await peer.whenReceived(1_000_005)
        peer.transport.loseConnection()
        await server.factory.whenEmpty()
        assert protocol.closeReason is CloseReason.LOCAL_CLOSE
        assert protocol.bytesPending == 0


async def test_abort(serve: Serve) -> None:
    """
    abortConnection() ends the connection at once, with that reason.
    """
    async with serve(Discard) as server:
        peer = await server.connect()
        protocol = await server.protocol()
        protocol.transport.abortConnection()
        await server.factory.whenEmpty()
        assert protocol.closeReason is CloseReason.ABORTED
        await peer.whenEnded()


@pytest.mark.parametrize("hook", ["connectionMade", "dataReceived", "connectionLost"])
async def test_hookRaises(serve: Serve, hook: str, loggedErrors: Any) -> None:
    """
    A hook that raises is logged once; the connection ends, the slot is free, and
    the totals are right.
    """

    def broken(self: Any, *args: object) -> None:
        raise ZeroDivisionError(hook)

    async with serve(type("P", (TCPDemoProtocol,), {hook: broken}), maxConnections=1) as server:
        peer = await server.connect()
        peer.transport.write(b"data")
        if hook == "connectionLost":
            protocol = await server.protocol()
            await until(lambda: protocol.bytesRead)
            peer.transport.loseConnection()
        await until(lambda: server.factory.closedCount)
        [report] = server.events.of("connectionClosed")
        expected = CloseReason.PEER_CLOSED if hook == "connectionLost" else CloseReason.ERROR
        assert report.closeReason is expected
        assert len(loggedErrors.take(ZeroDivisionError)) == 1
        again = await server.connect()
        await until(lambda: server.factory.acceptedCount == 2)
        again.transport.abortConnection()
        await server.factory.whenEmpty()
        await turn()
        loggedErrors.take(ZeroDivisionError)
        assert server.factory.refusedCount == 0


async def test_idleTimeout(serve: Serve) -> None:
    """
    A connection on which no byte moves is closed, with that reason.
    """
    async with serve(Discard, budgets=Budgets(idle=0.1)) as server:
        peer = await server.connect()
        await peer.whenEnded()
        peer.transport.loseConnection()
        await until(lambda: server.factory.closedCount)
        [report] = server.events.of("connectionClosed")
        assert report.closeReason is CloseReason.IDLE
        assert report.age >= 0.1


async def test_peerThatNeverReads(serve: Serve) -> None:
    """
    A close ends even when the peer never reads.
    """
    async with serve(Discard, budgets=Budgets(closeFlush=0.1)) as server:
        peer = await server.connect()
        protocol = await server.protocol()
        peer.transport.pauseProducing()
        protocol.transport.write(bytes(30_000_000))
        protocol.transport.loseConnection()
        await server.factory.whenEmpty()
        assert protocol.closeReason is CloseReason.CLOSE_FLUSH
        assert protocol.bytesPending > 0


async def test_tooMuchPending(serve: Serve) -> None:
    """
    A peer that does not read cannot make the server hold more bytes than allowed.
    """
    async with serve(Discard, budgets=Budgets(maxPending=1_000_000)) as server:
        peer = await server.connect()
        protocol = await server.protocol()
        peer.transport.pauseProducing()
        for _ in range(200):
            protocol.transport.write(bytes(100_000))
        assert protocol.bytesPending <= 1_100_000
        await server.factory.whenEmpty()
        assert protocol.closeReason is CloseReason.MAX_PENDING


async def test_drainTellsWhatIsLost(serve: Serve) -> None:
    """
    What the kernel throws away at the deadline of a drain counts as unsent, as does what
    it never got; the peer has the rest at most.
    """
    size = 8_000_000
    async with serve(Discard) as server:
        peer = await server.connect()
        protocol = await server.protocol()
        protocol.transport.write(bytes(size))
        await peer.whenReceived(1)
        peer.transport.pauseProducing()
        for _ in range(5):
            await turn()
        pending = protocol.bytesPending
        report = await server.factory.drain(0)
        assert (report.finished, report.aborted) == (0, 1)
        assert pending < report.bytesUnsent <= size
        [closed] = server.events.of("connectionClosed")
        assert (closed.closeReason, closed.bytesPending) == (CloseReason.DRAIN, report.bytesUnsent)


async def test_drain(serve: Serve) -> None:
    """
    A drain lets a transfer finish and, at the deadline, aborts a peer that does not
    read.
    """
    async with serve(Discard) as server:
        reader, idler = await server.connect(), await server.connect()
        await until(lambda: server.factory.connectionCount == 2)
        first, second = server.factory.connections
        idler.transport.pauseProducing()
        for protocol in (first, second):
            protocol.transport.write(bytes(30_000_000))
        drained = server.factory.drain(60)
        assert not server.factory.listening or server.factory.address() is not None
        await reader.whenReceived(30_000_000)
        reader.transport.loseConnection()
        await until(lambda: server.factory.connectionCount == 1)
        server.factory.drain(0.1)
        report = await drained
        assert (report.finished, report.aborted) == (1, 1)
        assert report.bytesUnsent == second.bytesPending > 0
        assert second.closeReason is CloseReason.DRAIN
        assert not server.factory.listening


@pytest.mark.parametrize("transport", ["tcp", "fast"])
async def test_startTLSThatDoesNotEnd(serve: Serve) -> None:
    """
    A silent peer that is asked for TLS in the middle of a connection is ended.
    """

    class Starting(TCPDemoProtocol):
        def dataReceived(self, data: bytes) -> None:
            self.transport.startTLS(TwistedContexts.server())  # type: ignore[attr-defined]

    async with serve(Starting, budgets=Budgets(handshake=0.1)) as server:
        peer = await server.connect()
        peer.transport.write(b"STARTTLS")
        await until(lambda: server.factory.closedCount)
        [report] = server.events.of("connectionClosed")
        assert report.closeReason is CloseReason.HANDSHAKE
        assert report.bytesRead == 8


# Twisted's own TLS, as a layer, leaves reference cycles when it is aborted.
@pytest.mark.parametrize(
    ("transport", "paused"),
    [*((t, False) for t in TRANSPORTS), *((t, True) for t in TRANSPORTS if t != "tls")],
)
async def test_freed(serve: Serve, paused: bool) -> None:
    """
    An ended connection is freed at once: the garbage collector would stop the
    server for it.
    """
    transports: list[ReferenceType[Any]] = []

    class Remembered(Echo):
        def connectionMade(self) -> None:
            transports.append(ref(self.transport))
            super().connectionMade()

    async with serve(Remembered, pauseOnConnect=paused) as server:
        gc.collect()
        gc.disable()
        try:
            peer = await server.connect()
            await until(lambda: transports)
            if paused:
                transports[0]().abortConnection()
            else:
                peer.transport.write(b"hello")
                await peer.whenReceived(5)
                peer.transport.loseConnection()
            await until(lambda: server.factory.closedCount)
            await until(lambda: transports[0]() is None)
        finally:
            gc.enable()


@pytest.mark.parametrize("side", ["server", "client"])
async def test_methodsAfterTheEnd(serve: Serve, side: str) -> None:
    """
    The methods that end a connection, or write to it, do nothing when it is over.
    """
    async with serve(Discard) as server:
        peer = await server.connect()
        protocol = await server.protocol()
        transport: Any = protocol.transport
        (peer.transport if side == "server" else transport).loseConnection()
        await server.factory.whenEmpty()
        for _ in range(2):
            protocol.transport.abortConnection()
            protocol.transport.loseWriteConnection()
            protocol.transport.loseConnection()
            protocol.transport.write(b"x")
            protocol.transport.writeSequence([b"x"])
            protocol.transport.pauseProducing()
            protocol.transport.resumeProducing()
            protocol.pause()
            protocol.resume()
            protocol.setTimeout(1)
        assert protocol.report() == protocol.report()
        assert protocol.bytesWritten == 0


class Made(TCPDemoProtocol):
    """
    A protocol that counts how often it is told of its connection.
    """

    made = 0

    def connectionMade(self) -> None:
        """
        Count.
        """
        self.made += 1


class Own(Made):
    """
    A protocol with a C{makeConnection} of its own, which does not call that of ours.
    """

    def makeConnection(self, transport: Any) -> None:
        """
        Begin without the class behind.
        """
        self.transport = transport
        self.connectionMade()


class Calling(Made):
    """
    A protocol with a C{makeConnection} of its own, which calls that of ours.
    """

    def makeConnection(self, transport: Any) -> None:
        """
        Begin with the class behind.
        """
        super().makeConnection(transport)


class Boxes(AMP, Made):
    """
    AMP, whose C{makeConnection} calls nobody's.
    """


class Above(Made, AMP):
    """
    The same, the other way round.
    """


class Below(Boxes):
    """
    A protocol above such a one.
    """

    def makeConnection(self, transport: Any) -> None:
        """
        Begin with the class behind.
        """
        super().makeConnection(transport)


@pytest.mark.parametrize("kind", [Own, Calling, Boxes, Above, Below])
async def test_ownMakeConnection(serve: Serve, kind: type[Made]) -> None:
    """
    A protocol may have a makeConnection of its own, or that of a class that is mixed in,
    whether it calls super() or not: it is counted and limited, and told once.
    """
    async with serve(kind, maxConnections=1) as server:
        factory = server.factory
        for turns in range(1, 3):
            first = await server.connect()
            connection = await server.protocol()
            refused = await server.connect()
            await refused.whenEnded()
            assert (factory.connectionCount, factory.refusedCount) == (1, turns)
            assert connection.made == 1 and connection.connectionID
            await connection.write("hello")
            await first.whenReceived(5)
            assert connection.bytesWritten == 5
            first.transport.loseConnection()
            await factory.whenEmpty()
        assert (factory.acceptedCount, factory.closedCount, factory.connectionCount) == (2, 2, 0)
        assert factory.conservation() == []


async def test_ownMakeConnectionRaises(serve: Serve, loggedErrors: LoggedErrors) -> None:
    """
    A makeConnection of one's own that raises ends the connection as an error, and costs no
    slot.
    """

    class Raising(TCPDemoProtocol):
        def makeConnection(self, transport: Any) -> None:
            raise ZeroDivisionError("makeConnection")

    async with serve(Raising, maxConnections=1) as server:
        for _ in range(2):
            peer = await server.connect()
            await peer.whenEnded()
            await server.factory.whenEmpty()
        assert server.factory.report().closedBy == {CloseReason.ERROR: 2}
        assert server.factory.conservation() == []
    assert len(loggedErrors.take(ZeroDivisionError)) == 2
