"""
Streams in memory: what one read takes, and what is read of the socket.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tests.support.waiting import failureOf
from twisted_tcpdemo import CloseReason, Stream, TCPDemoFactory
from twisted_tcpdemo.connection.running import Running, runner
from twisted_tcpdemo.connection.stream import HandledStream, handled
from twisted_tcpdemo.errors import (
    ConcurrentReadError,
    EndOfStreamError,
    NotConnectedError,
    UnreadInputError,
    WriteFailedError,
)


class Transport(StringTransport):
    """
    A transport that remembers whether it reads.
    """

    def startTLS(self, *arguments: object, **named: object) -> None:
        """
        Do nothing.
        """

    def loseWriteConnection(self) -> None:
        """
        Do nothing.
        """

    @property
    def reads(self) -> bool:
        """
        Whether it reads.
        """
        return bool(self.producerState == "producing")


@pytest.fixture
def clock() -> Clock:
    """
    The clock.
    """
    return Clock()


@pytest.fixture
def transport() -> Transport:
    """
    The transport.
    """
    return Transport()


@pytest.fixture
def stream(clock: Clock, transport: Transport) -> Stream:
    """
    A connected stream.
    """
    factory = TCPDemoFactory(Stream, clock=clock)
    stream: Stream = factory.buildProtocol(None)
    stream.makeConnection(transport)
    return stream


async def test_reads(stream: Stream) -> None:
    """
    Each read takes what it asks for, and leaves the rest to the next.
    """
    stream.dataReceived(b"one\ntwo;three")
    assert await stream.readLine() == b"one"
    assert await stream.readUntil(b";") == b"two"
    assert await stream.read(2) == b"th"
    exact = stream.readExactly(5)
    assert not exact.called
    stream.dataReceived(b"!!more")
    assert await exact == b"ree!!"
    assert await stream.read() == b"more"
    assert await stream.readExactly(0) == b""
    for wrong in (lambda: stream.read(0), lambda: stream.readUntil(b"")):
        with pytest.raises(ValueError):
            wrong()


async def test_bounded(stream: Stream, transport: Transport) -> None:
    """
    The socket is read while the stream holds nothing or a read needs more, and only then.
    """
    assert transport.reads
    stream.dataReceived(b"abc")
    assert not transport.reads
    assert await stream.read(1) == b"a"
    assert not transport.reads
    line = stream.readLine()
    assert transport.reads
    line.cancel()
    assert not transport.reads
    await failureOf(line)
    assert await stream.read() == b"bc"
    assert transport.reads


async def test_iterations(stream: Stream) -> None:
    """
    Several coroutines may take their turns with one iteration, each in its own context,
    whoever runs it; what a cancelled or closed one waited for goes to the next.
    """
    taken: list[object] = []
    name: ContextVar[str] = ContextVar("name")
    lines = stream.lines()

    async def take(own: str, count: int = 1) -> None:
        name.set(own)
        for _ in range(count):
            line = await anext(lines)
            taken.append((name.get(), line))

    def run(own: str, count: int = 1) -> Running:
        running = runner(take(own, count), taken.append)
        running.begin()
        return running

    run("a", 2)
    stream.dataReceived(b"1\n")
    stream.dataReceived(b"2\n")
    run("b")
    stream.dataReceived(b"3\n4")
    twisted = Deferred.fromCoroutine(take("c", 2))
    stream.dataReceived(b"\n5\n")
    assert await twisted is None
    cancelled, closed = run("d"), take("e")
    cancelled.cancel()
    closed.send(None)
    closed.close()
    run("f")
    stream.dataReceived(b"6\n")
    run("g", 2)
    stream.dataReceived(b"7\n")
    stream.readConnectionLost()
    assert [seen for seen in taken if isinstance(seen, tuple)] == [
        *(("a", b"1"), ("a", b"2"), ("b", b"3"), ("c", b"4"), ("c", b"5"), ("f", b"6")),
        ("g", b"7"),
    ]
    others = [type(seen) for seen in taken if not isinstance(seen, tuple)]
    assert others == [type(None)] * 2 + [CancelledError, type(None), StopAsyncIteration]


async def test_pause(stream: Stream, transport: Transport) -> None:
    """
    A stream that is paused reads nothing, not even for a read that waits.
    """
    stream.pause()
    line = stream.readLine()
    stream.dataReceived(b"on the way")
    assert not transport.reads
    line.cancel()
    await failureOf(line)
    assert await stream.read() == b"on the way"
    assert not transport.reads
    stream.resume()
    assert transport.reads


async def test_concurrent(stream: Stream) -> None:
    """
    A second read is an error, and does not harm the first.
    """
    line = stream.readLine()
    assert isinstance(await failureOf(stream.read()), ConcurrentReadError)
    stream.dataReceived(b"x\n")
    assert await line == b"x"


async def test_fairness(stream: Stream, clock: Clock) -> None:
    """
    Of many results that are there already, some wait for the reactor's next turn; such a
    read can be cancelled and takes nothing.
    """
    stream.dataReceived(b"x\n" * 100)
    waiting = [line for line in (stream.readLine() for _ in range(65)) if not line.called]
    assert len(waiting) == 1
    waiting[0].cancel()
    await failureOf(waiting[0])
    line = stream.readLine()
    clock.advance(0)
    assert await line == b"x"
    writes = [stream.write("x") for _ in range(200)]
    assert 0 < len([write for write in writes if not write.called]) < 10
    clock.advance(0)
    assert all(write.called for write in writes)


async def test_end(stream: Stream) -> None:
    """
    What came before the peer's end can be read after it.
    """
    stream.dataReceived(b"one\ntwo")
    stream.readConnectionLost()
    assert await stream.readLine() == b"one"
    error = await failureOf(stream.readLine())
    assert isinstance(error, EndOfStreamError)
    assert (error.partial, error.reason) == (b"two", None)
    assert await stream.readExactly(3) == b"two"
    assert (await stream.read(), await stream.read()) == (b"", b"")
    assert [line async for line in stream.lines()] == [chunk async for chunk in stream] == []


async def test_broken(stream: Stream) -> None:
    """
    Whatever waits fails when the connection breaks; a close has the reason.
    """
    stream.dataReceived(b"one\n")
    everything: list[Deferred[Any]] = [stream.whenDraining(), stream.end(), stream.close()]
    assert isinstance(await failureOf(stream.read()), EndOfStreamError)  # it was closed here
    stream.connectionLost(Failure(ConnectionLost()))
    assert isinstance(await failureOf(everything[0]), EndOfStreamError)
    assert isinstance(await failureOf(everything[1]), WriteFailedError)
    assert await everything[2] is CloseReason.RESET


async def test_afterTheEnd(stream: Stream) -> None:
    """
    Nothing that is asked for after the end waits for ever.
    """
    stream.dataReceived(b"x")
    assert await stream.read() == b"x"
    stream.connectionLost(Failure(ConnectionLost()))
    for call, error in (
        (stream.read, EndOfStreamError),
        (lambda: stream.write("x"), WriteFailedError),
        (stream.whenWritable, WriteFailedError),
        (stream.end, WriteFailedError),
        (stream.whenDraining, EndOfStreamError),
        (lambda: stream.startTLS(object()), EndOfStreamError),
    ):
        assert isinstance(await failureOf(call()), error)
    assert await stream.close() is CloseReason.RESET
    stream.abort()


async def test_brokenIteration(stream: Stream) -> None:
    """
    An iteration over a connection that breaks fails, so that nothing looks complete.
    """
    stream.dataReceived(b"one\n")
    stream.connectionLost(Failure(ConnectionLost()))
    lines = []
    with pytest.raises(EndOfStreamError) as raised:
        async for line in stream.lines():
            lines.append(line)
    assert (lines, raised.value.reason) == ([b"one"], CloseReason.RESET)
    assert isinstance(await failureOf(stream.read()), EndOfStreamError)


async def test_unread(stream: Stream) -> None:
    """
    TLS does not begin over bytes that came in the clear.
    """
    stream.dataReceived(b"STARTTLS\nsecretly this")
    await stream.readLine()
    with pytest.raises(UnreadInputError, match="13 bytes"):
        stream.startTLS(object())
    await stream.read()
    secured = stream.startTLS(object())
    stream.handshakeCompleted()
    assert await secured is None


async def test_block(stream: Stream, transport: Transport) -> None:
    """
    C{async with} aborts the stream if its block raises.
    """

    async def use() -> None:
        async with stream:
            raise ZeroDivisionError

    using = Deferred.fromCoroutine(use())
    assert stream.closeReason is None and transport.disconnecting
    stream.connectionLost(Failure(ConnectionDone()))
    assert isinstance(await failureOf(using), ZeroDivisionError)


async def test_notConnected() -> None:
    """
    Before there is a connection, nothing can be read or written.
    """
    stream = Stream()
    assert isinstance(await failureOf(stream.read()), NotConnectedError)
    assert isinstance(await failureOf(stream.write("x")), NotConnectedError)
    for call in (stream.close, stream.abort, stream.whenDraining, stream.end):
        with pytest.raises(NotConnectedError):
            call()


async def test_write(stream: Stream, transport: Transport) -> None:
    """
    Text and bytes are written at once, and nothing else.
    """
    assert await stream.write("é") == 2
    assert await stream.write(b"x") == 3
    assert transport.value() == "éx".encode()
    wrong: Any = 3
    with pytest.raises(TypeError):
        stream.write(wrong)
    stream.close()
    assert isinstance(await failureOf(stream.write("more")), WriteFailedError)


def test_handler() -> None:
    """
    A handler is something to call, and no class.
    """
    wrong: Any
    for wrong in (3, "name", Stream):
        with pytest.raises(TypeError, match="coroutine function"):
            handled(wrong)
    assert TCPDemoFactory.forHandler(handled, maxConnections=3).maxConnections == 3  # type: ignore[arg-type]


def test_logBudget(loggedErrors: Any) -> None:
    """
    What handlers raise is logged within the budget of the log.
    """

    async def handle(stream: Stream) -> None:
        raise ZeroDivisionError

    asked: list[str] = []
    for allowed in (True, False):
        stream = HandledStream(handle, lambda what, allowed=allowed: asked.append(what) or allowed)  # type: ignore[misc]
        stream.makeConnection(StringTransport())
        stream.connectionLost(Failure(ConnectionLost()))
        assert stream.closeReason is CloseReason.ERROR
    assert asked == ["failed handlers"] * 2
    assert len(loggedErrors.take(ZeroDivisionError)) == 1
