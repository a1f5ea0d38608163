"""
Streams over every transport: reading, writing and the end, on both sides.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from tests.contract.test_contract import Serve
from tests.support.contexts import PythonContexts, TwistedContexts
from tests.support.peers import Server, serving
from tests.support.proxied import behind
from tests.support.proxied import line as header
from tests.support.waiting import failureOf, turn, until
from twisted_tcpdemo import (
    Budgets,
    ClientEndpoint,
    CloseReason,
    ServerEndpoint,
    Stream,
    TCPDemoFactory,
    TCPDemoProtocol,
)
from twisted_tcpdemo.connection.stream import Handle, handled
from twisted_tcpdemo.errors import EndOfStreamError, LimitExceededError, WriteFailedError
from twisted_tcpdemo.server import drain

A_LOT = 20_000_000
"""More bytes than the buffers of two kernels hold."""


class Seen:
    """
    A handler that keeps its stream, and what a part of it has raised.
    """

    def __init__(self, body: Handle) -> None:
        self.body = body
        self.streams: list[Stream] = []
        self.raised: list[BaseException] = []

    async def __call__(self, stream: Stream) -> None:
        """
        Handle the stream.
        """
        self.streams.append(stream)
        try:
            await self.body(stream)
        except BaseException as error:
            self.raised.append(error)
            raise


async def upper(stream: Stream) -> None:
    """
    Answer lines.
    """
    async for line in stream.lines(limit=100):
        await stream.write(line.upper() + b"\n")


async def test_lines(serve: Serve) -> None:
    """
    Each line is answered; after the peer's end the handler returns, and the connection is
    closed in order.
    """
    async with serve(handled(upper)) as server:
        peer = await server.connect()
        peer.transport.write(b"one\ntwo\r\nth")
        await peer.whenReceived(8)
        peer.transport.write(b"ree\n")
        await peer.whenReceived(14)
        assert peer.received == b"ONE\nTWO\nTHREE\n"
        [stream] = server.factory.connections
        assert (stream.bytesRead, stream.bytesWritten) == (15, 14)
        peer.transport.loseConnection()
        await until(lambda: server.factory.closedCount)
        [report] = server.events.of("connectionClosed")
        assert report.closeReason is CloseReason.PEER_CLOSED
        assert server.factory.conservation() == []


async def test_pipelined(serve: Serve) -> None:
    """
    Lines that come together, with the peer's end right behind, are all answered, and
    others have their turns between.
    """
    turns = 0
    isOver = False

    async def count() -> None:
        nonlocal turns
        while not isOver:
            await turn()
            turns += 1

    async with serve(handled(upper)) as server:
        peer = await server.connect()
        counting = Deferred.fromCoroutine(count())
        peer.transport.write(b"x\n" * 10_000)
        await peer.whenReceived(20_000)
        isOver = True
        await counting
        assert turns > 100
        peer.transport.loseConnection()
        await until(lambda: server.factory.closedCount)
        assert len(peer.received) == 20_000


async def test_backPressure(serve: Serve) -> None:
    """
    A write waits while the peer does not read, and the socket is not read while the
    handler does not.
    """
    steps: list[str] = []

    async def handle(stream: Stream) -> None:
        steps.append("begins")
        await stream.write(bytes(A_LOT))
        steps.append("written")
        assert stream.bytesRead <= 5 * 262144
        total = 0
        async for chunk in stream:
            total += len(chunk)
        steps.append(f"read {total}")

    async with serve(handled(handle)) as server:
        peer = await server.connect()
        peer.transport.pauseProducing()
        peer.transport.write(bytes(A_LOT))
        for _ in range(50):
            await turn()
        assert steps == ["begins"]
        peer.transport.resumeProducing()
        await peer.whenReceived(A_LOT)
        await until(lambda: "written" in steps)
        peer.transport.loseConnection()
        await until(lambda: len(steps) == 3)
        assert steps[2] == f"read {A_LOT}"


async def test_raises(serve: Serve, loggedErrors: Any) -> None:
    """
    A handler that raises is logged once, and its connection ends as an error; the slot is
    free again.
    """

    async def handle(stream: Stream) -> None:
        await stream.readLine()
        raise ZeroDivisionError

    async with serve(handled(handle), maxConnections=1) as server:
        for _ in range(2):
            peer = await server.connect()
            peer.transport.write(b"x\n")
            await peer.whenEnded()
            await until(lambda: not server.factory.connectionCount)
        closed = server.events.of("connectionClosed")
        assert [report.closeReason for report in closed] == [CloseReason.ERROR] * 2
        assert len(loggedErrors.take(ZeroDivisionError)) == 2
        assert server.factory.conservation() == []


async def test_raisesAtOnce(serve: Serve, loggedErrors: Any) -> None:
    """
    A handler that raises before it waits, or is no coroutine function, ends its
    connection in the same way.
    """

    class Odd(BaseException):
        """
        No exception that a program catches.
        """

    async def handle(stream: Stream) -> None:
        raise Odd

    handlers: list[Any] = [handle, lambda stream: None]
    for handler, error in zip(handlers, (Odd, TypeError), strict=True):
        async with serve(handled(handler)) as server:
            peer = await server.connect()
            await peer.whenEnded()
            await until(lambda factory=server.factory: factory.closedCount)  # type: ignore[misc]
            [report] = server.events.of("connectionClosed")
            assert report.closeReason is CloseReason.ERROR
            assert len(loggedErrors.take(error)) == 1


async def test_tooLong(serve: Serve, loggedErrors: Any) -> None:
    """
    A line without an end is an error that names the limit.
    """
    async with serve(handled(upper)) as server:
        peer = await server.connect()
        peer.transport.write(b"x" * 101)
        await peer.whenEnded()
        [error] = loggedErrors.take(LimitExceededError)
        assert "100 bytes" in str(error)


async def test_peerGone(serve: Serve) -> None:
    """
    A read of a connection that the peer breaks off fails with the reason, and so does all
    that follows.  A handler that lets this go is not logged.
    """
    seen = Seen(upper)
    async with serve(handled(seen)) as server:
        peer = await server.connect()
        peer.transport.write(b"x\n")
        await peer.whenReceived(2)
        peer.transport.abortConnection()
        await until(lambda: seen.raised or server.factory.closedCount)
        [stream] = seen.streams
        await until(lambda: stream.closeReason)
        if stream.closeReason is not CloseReason.PEER_CLOSED:  # all that a UNIX socket tells
            [error] = seen.raised
            assert isinstance(error, EndOfStreamError) and error.reason is stream.closeReason
            assert isinstance(await failureOf(stream.read()), EndOfStreamError)
        assert isinstance(await failureOf(stream.write(b"x")), WriteFailedError)
        assert await stream.close() is stream.closeReason


@asynccontextmanager
async def unread(
    serve: Serve, seen: Seen, budgets: Budgets
) -> AsyncGenerator[tuple[Server, Any, Any]]:
    """
    A server, its client, which has sent a line and reads no more, and the stream, whose
    handler has begun to answer.
    """
    async with serve(handled(seen), budgets=budgets) as server:
        peer = await server.connect()
        peer.transport.write(b"x\n")
        stream = await server.protocol()
        await until(lambda: stream.bytesWritten)
        peer.transport.pauseProducing()
        yield server, peer, stream


@pytest.mark.parametrize("end", [CloseReason.RESET, CloseReason.WRITE_STALL, CloseReason.DRAIN])
async def test_endsWhileWriting(serve: Serve, end: CloseReason) -> None:
    """
    A handler that waits in a write when its connection ends is not logged if it lets the
    failure go, whatever has ended the connection.
    """

    async def handle(stream: Stream) -> None:
        await stream.readLine()
        await stream.write(bytes(A_LOT))

    seen = Seen(handle)
    budgets = Budgets(writeStall=0.1 if end is CloseReason.WRITE_STALL else None)
    async with unread(serve, seen, budgets) as (server, peer, stream):
        if end is CloseReason.RESET:
            peer.transport.abortConnection()
        if end is CloseReason.DRAIN:
            await server.factory.drain(0)
        await until(lambda: seen.raised)
        [error] = seen.raised
        assert isinstance(error, WriteFailedError)
        assert error.reason is stream.closeReason is end


@pytest.mark.parametrize("end", [CloseReason.LIFETIME, CloseReason.LOCAL_CLOSE])
async def test_closedWhileWriting(
    serve: Serve, end: CloseReason, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A handler that goes on writing when a budget or a drain closes its connection is not
    logged, and does not cut short what was written before.
    """
    from twisted.internet import reactor

    clock: Any = reactor
    monkeypatch.setattr(drain, "IDLE_AFTER", 0.05)
    size = 20_000  # the kernel takes them, and has room for more, though the peer takes none

    async def handle(stream: Stream) -> None:
        await stream.readLine()
        await stream.write(bytes(size))
        while True:
            await deferLater(clock, 0.08, lambda: None)
            await stream.write(b"x")

    seen = Seen(handle)
    budgets = Budgets(lifetime=0.2 if end is CloseReason.LIFETIME else None)
    async with unread(serve, seen, budgets) as (server, peer, stream):
        drained = server.factory.drain(10) if end is CloseReason.LOCAL_CLOSE else None
        await until(lambda: seen.raised)
        [error] = seen.raised
        assert isinstance(error, WriteFailedError)
        peer.transport.resumeProducing()
        await peer.whenReceived(size)
        await peer.whenEnded()
        peer.transport.loseConnection()
        await until(lambda: stream.closeReason)
        assert error.reason is stream.closeReason is end
        if drained is not None:
            assert (await drained).aborted == 0


async def test_partial(serve: Serve) -> None:
    """
    The beginning of a line before the peer's end is no line.
    """
    seen = Seen(upper)
    async with serve(handled(seen)) as server:
        peer = await server.connect()
        peer.transport.write(b"x\nhalf")
        await peer.whenReceived(2)
        peer.transport.loseConnection()
        await until(lambda: seen.raised)
        [error] = seen.raised
        assert isinstance(error, EndOfStreamError)
        assert (error.partial, error.reason) == (b"half", None)


async def test_drain(serve: Serve) -> None:
    """
    A drain tells a handler; at its deadline it cancels the handler, which can go on but
    holds no slot.
    """
    steps: list[object] = []

    async def handle(stream: Stream) -> None:
        await stream.whenDraining()
        steps.append(stream.draining)
        try:
            await stream.readLine()
        except CancelledError:
            steps.append("cancelled")
        steps.append(type(await failureOf(stream.read())))
        await Deferred()

    async with serve(handled(handle)) as server:
        peer = await server.connect()
        await server.protocol()
        drained = server.factory.drain()
        assert steps == [True]
        server.factory.drain(0)
        report = await drained
        await until(lambda: len(steps) == 3)
        assert (report.aborted, steps) == (1, [True, "cancelled", EndOfStreamError])
        await peer.whenEnded()
        assert server.factory.conservation() == []


async def test_close(serve: Serve) -> None:
    """
    A close sends what was written, fails the read that waits, and tells the reason when
    the connection is over.
    """
    results: list[object] = []

    async def handle(stream: Stream) -> None:
        reading = stream.readLine()
        stream.write("goodbye\n")
        closing = stream.close()
        results.append(await failureOf(reading))
        results.append(await closing)

    async with serve(handled(handle)) as server:
        peer = await server.connect()
        await peer.whenReceived(8)
        await peer.whenEnded()
        peer.transport.loseConnection()
        await until(lambda: len(results) == 2)
        assert isinstance(results[0], EndOfStreamError)
        assert results[0].reason is results[1] is CloseReason.LOCAL_CLOSE


@pytest.mark.parametrize("how", ["returns", "closes", "ends", "pauses"])
async def test_closeUnread(serve: Serve, how: str) -> None:
    """
    A stream that closes while the peer has sent more than was read ends with the peer, and
    is not waited for until the budget ends.
    """

    async def handle(stream: Stream) -> None:
        assert await stream.readLine() == b"one"
        await until(lambda: len(stream._inbox) == 4)
        await turn()  # the transport is paused by now
        if how == "closes":
            assert await stream.close() is CloseReason.LOCAL_CLOSE
        if how == "pauses":
            stream.close()
            stream.pause()
        if how == "ends":
            await stream.end()
            if stream.closeReason is None:  # not under TLS
                assert await stream.readLine() == b"two"

    async with serve(handled(handle)) as server:
        peer = await server.connect()
        peer.transport.write(b"one\ntwo\n")
        await peer.whenEnded()
        peer.transport.loseConnection()
        await until(lambda: server.factory.closedCount)
        [report] = server.events.of("connectionClosed")
        assert report.closeReason is CloseReason.LOCAL_CLOSE
        assert server.factory.conservation() == []


@pytest.mark.parametrize("isPaused", [False, True])
async def test_closePaused(serve: Serve, isPaused: bool) -> None:
    """
    A connection that closes while its reading is paused ends with the peer, and delivers
    nothing more.
    """
    protocols: list[TCPDemoProtocol] = []
    read: list[bytes] = []

    class Pausing(TCPDemoProtocol):
        def connectionMade(self) -> None:
            protocols.append(self)

        def dataReceived(self, data: bytes) -> None:
            read.append(data)
            if not isPaused:
                self.pause()
                self.transport.loseConnection()

    async with serve(Pausing) as server:
        peer = await server.connect()
        peer.transport.write(b"one")
        await until(lambda: read)
        [protocol] = protocols
        if isPaused:
            protocol.pause()
            peer.transport.write(b"two")
            for _ in range(10):
                await turn()
            protocol.transport.loseConnection()
        await peer.whenEnded()
        peer.transport.loseConnection()
        await until(lambda: server.factory.closedCount)
        [report] = server.events.of("connectionClosed")
        assert report.closeReason is CloseReason.LOCAL_CLOSE
        assert (read, report.bytesRead) == ([b"one"], 3)


async def test_timeout(serve: Serve) -> None:
    """
    A read with a timeout takes nothing when its time is over; the next one gets all.
    """
    from twisted.internet import reactor

    clock: Any = reactor
    results: list[object] = []

    async def handle(stream: Stream) -> None:
        stream.write("ready\n")
        results.append(await failureOf(stream.readLine().addTimeout(0.02, clock)))
        stream.write("again\n")
        results.append(await stream.readLine().addTimeout(10, clock))

    async with serve(handled(handle)) as server:
        peer = await server.connect()
        peer.transport.write(b"half ")
        await peer.whenReceived(12)
        peer.transport.write(b"and half\n")
        await until(lambda: len(results) == 2)
        assert results[1] == b"half and half"


@pytest.mark.parametrize("transport", ["tcp", "fast", "unix", "fast-unix"])
async def test_end(serve: Serve) -> None:
    """
    A stream reads on after it has ended its side.
    """
    results: list[object] = []

    async def handle(stream: Stream) -> None:
        await stream.write("question\n")
        await stream.end()
        results.append(type(await failureOf(stream.write("more"))))
        results.append(await stream.readLine())
        results.append(await stream.read())

    async with serve(handled(handle)) as server:
        peer = await server.connect()
        await peer.whenEnded()
        assert peer.received == b"question\n"
        peer.transport.write(b"answer\n")
        peer.transport.loseConnection()
        await until(lambda: len(results) == 3)
        assert results == [WriteFailedError, b"answer", b""]


@pytest.mark.parametrize("transport", ["tls", "fast-tls", "fast-ssl"])
async def test_endEncrypted(serve: Serve) -> None:
    """
    Under TLS, whose halves end together, the end of this side is a close in order: all
    that was written arrives, also before the handshake, and what has come can be read.
    """
    results: list[object] = []

    async def handle(stream: Stream) -> None:
        stream.write(bytes(A_LOT))
        ended = stream.end()
        results.append(type(await failureOf(stream.write("more"))))
        results.append(await ended)
        error = await failureOf(stream.readLine())
        assert isinstance(error, EndOfStreamError)
        results.append(error.reason)
        results.append(type(await failureOf(stream.end())))

    async with serve(handled(handle)) as server:
        peer = await server.connect()
        await peer.whenEnded()
        peer.transport.loseConnection()
        await until(lambda: len(results) == 4)
        assert len(peer.received) == A_LOT
        assert results == [WriteFailedError, None, CloseReason.LOCAL_CLOSE, WriteFailedError]
        assert server.factory.conservation() == []


@pytest.mark.parametrize("transport", ["tcp", "fast", "unix", "fast-unix"])
async def test_endWhilePending(serve: Serve) -> None:
    """
    After the end of this side no write is accepted, also while those before have not left.
    The end waits for them, and a second one for nothing.
    """
    results: list[object] = []

    async def handle(stream: Stream) -> None:
        stream.write(bytes(A_LOT))
        ended = stream.end()
        results.append(type(await failureOf(stream.write("more"))))
        results.append(ended.called)
        results.append(await ended)
        results.append(await stream.end())

    async with serve(handled(handle)) as server:
        peer = await server.connect()
        await peer.whenEnded()
        peer.transport.loseConnection()
        await until(lambda: len(results) == 4)
        assert results == [WriteFailedError, False, None, None]
        assert len(peer.received) == A_LOT


@pytest.mark.parametrize("way", ["tcp", "twisted", "unix", "tls", "ssl", "proxy"])
async def test_open(way: str, tmp_path: Path) -> None:
    """
    A client opens a stream by every way that leads to a server, with a line, the end and
    the close reason of both sides.
    """
    from twisted.internet import reactor

    seen: list[object] = []
    where: Any = {"host": "127.0.0.1"}
    tls: Any = {}
    if way == "unix":
        where = {"path": tmp_path / "socket"}
    elif way in {"tls", "ssl"}:
        contexts = TwistedContexts if way == "tls" else PythonContexts
        where, tls = {"host": "localhost"}, {"tls": contexts.client()}

    async def handle(stream: Stream) -> None:
        async for line in stream.lines():
            seen.append(stream.remoteAddress)
            await stream.write(line.upper() + b"\n")

    factory = TCPDemoFactory.forHandler(handle)
    if way == "unix":
        endpoint: Any = ServerEndpoint(reactor, path=where["path"])
    elif way == "twisted":
        endpoint = "tcp:0:interface=127.0.0.1"
    elif way == "proxy":
        endpoint = behind()
    else:
        endpoint = ServerEndpoint(reactor, 0, "127.0.0.1", tls=contexts.server() if tls else None)
    async with serving(factory, endpoint) as server:
        if way != "unix":
            where["port"] = server.port
        async with await ClientEndpoint(reactor, **where, **tls).open() as stream:
            if way == "proxy":
                await stream.write(header("192.0.2.7"))
            await stream.write("hello\n")
            assert await stream.readLine() == b"HELLO"
            assert (stream.bytesPending, stream.bytesRead) == (0, 6)
        assert stream.closeReason is CloseReason.LOCAL_CLOSE
        await until(lambda: factory.closedCount)
        [report] = server.events.of("connectionClosed")
        assert report.closeReason is CloseReason.PEER_CLOSED
    assert seen == [{"proxy": "192.0.2.7", "unix": None}.get(way, "127.0.0.1")]


async def test_halfOpen(serve: Serve, transport: str) -> None:
    """
    What a handler writes after the peer's FIN arrives.
    """
    if "tls" in transport or "ssl" in transport:
        return  # there is no half-open connection

    async def handle(stream: Stream) -> None:
        total = sum([len(chunk) async for chunk in stream])
        await turn()
        await stream.write(f"{total}\n")

    async with serve(handled(handle)) as server:
        peer = await server.connect()
        peer.transport.write(b"12345")
        peer.transport.loseWriteConnection()
        await peer.whenReceived(2)
        assert peer.received == b"5\n"


def test_failureType() -> None:
    """
    The end of a stream is an C{EOFError}, for programs that know no better.
    """
    assert Failure(EndOfStreamError()).check(EOFError)
