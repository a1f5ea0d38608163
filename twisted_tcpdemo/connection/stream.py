"""
A connection that a coroutine reads and writes.

A L{Stream} reads its socket only while it holds no byte, or a read needs more.  So it
holds at most what one read of the socket gives, and the peer's end is told after all
bytes before it have been taken.

Nothing here runs for ever without the reactor: of L{AT_ONCE} calls in a row whose result
is there already, the last is answered in a later turn.

This is one file because reading, writing and the end share their state, and its length
is that of the contracts.
"""

from __future__ import annotations

from asyncio.events import _get_running_loop as runningLoop
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from functools import partial
from types import TracebackType, coroutine
from typing import Any, Final, TypeAlias, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, ITransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_tcpdemo.connection.beginning import begins
from twisted_tcpdemo.connection.inbox import (
    Inbox,
    wholeExactly,
    wholeLine,
    wholeNothing,
    wholeSome,
)
from twisted_tcpdemo.connection.protocol import TCPDemoProtocol
from twisted_tcpdemo.connection.record import AT_ONCE
from twisted_tcpdemo.connection.running import (
    CANCELLED,
    Answer,
    Ready,
    Running,
    runner,
)
from twisted_tcpdemo.connection.tasks import Wakening
from twisted_tcpdemo.connection.writes import LOW_WATER, encoded
from twisted_tcpdemo.errors import (
    ConcurrentReadError,
    EndOfStreamError,
    NotConnectedError,
    UnreadInputError,
    WriteFailedError,
)
from twisted_tcpdemo.transports.layers import isEncrypted
from twisted_tcpdemo.values.checks import whole
from twisted_tcpdemo.values.report import CloseReason

_log = Logger(namespace="tcpdemo")

T = TypeVar("T")

LINE_LIMIT: Final = 65536
"""Bytes of a line, unless another limit is given."""

CHUNK: Final = 65536
"""Bytes that a read takes at most, unless another number is given."""

Take: TypeAlias = Callable[[int], "bytes | None"]
"""Takes bytes from an L{Inbox}, if they are there: up to a number, or that many."""

Whole: TypeAlias = Callable[[bytes, int], "bytes | None"]
"""What the same would take of a chunk, if it took all of it."""

Want: TypeAlias = tuple[Take, Whole, int, bool]
"""What a read asks for: how to take it, also of a chunk that is just that, the number, and
whether it is part of an iteration."""


class Reading(Answer[bytes]):
    """
    A read that waits.

    That of an iteration is known to its coroutine alone.  Where the coroutine is resumed
    with the bytes themselves, it has not fired, and can wait again.
    """

    def __init__(self, stream: Stream, want: Want) -> None:
        super().__init__(stream._forget)
        self.want = want
        self.whole, self.number, self.isIteration = want[1:]

    def __await__(self) -> Generator[Any, Any, bytes]:
        if runningLoop() is not None:
            self.whole = self._wholeInTask
        return super().__await__()

    def _wholeInTask(self, data: bytes, number: int) -> bytes | None:
        return None if self.mustWait() else self.want[1](data, number)

    def mustWait(self) -> bool:
        """
        Whether a task reads that cannot be resumed now, as another is at work.  If it had
        the bytes and were cancelled before its turn, they would be lost.
        """
        return isinstance(self.waiter, Wakening) and self.waiter.mustWait()


@implementer(IHandshakeListener)
class Stream(TCPDemoProtocol):
    """
    A connection to read and write by C{await}.

    It shows everything that a L{TCPDemoProtocol} does.  Every method that takes time
    returns a Deferred, which any coroutine can await: one of Twisted's, and on the asyncio
    reactor a task of asyncio.  A read that is cancelled takes nothing.

    The peer's FIN ends the reading, not the stream: you may write until you end or close
    it.  Under TLS, the peer's end is that of both sides.

    The L{EndOfStreamError<twisted_tcpdemo.errors.EndOfStreamError>} of a read tells
    whether the peer has ended in order or the connection is broken.  Bytes that came
    before can be read first, unless this side has closed.

    C{async with} closes the stream in order at the end of the block, and aborts it if the
    block raises.
    """

    allowHalfOpen = True

    _isOpen = False  # more bytes may come, and be read
    _mayWrite = False
    _ended = False
    _endReason: CloseReason | None = None
    _over: CloseReason | None = None
    _draining = False
    _isHalved = False
    _isFull = False
    _isHeld = False
    _isParked = False
    _atOnce = 0
    _reader: Reading | None = None

    def __init__(self) -> None:
        self._inbox = Inbox()
        self._closed: list[Answer[CloseReason]] = []
        self._halved: list[Answer[None]] = []
        self._secured: list[Answer[None]] = []
        self._drainers: list[Answer[None]] = []

    @begins
    def makeConnection(self, transport: ITransport) -> None:
        """
        See L{TCPDemoProtocol.makeConnection}.
        """
        self._isOpen = self._mayWrite = True
        super().makeConnection(transport)

    # Reading.

    def read(self, most: int = CHUNK) -> Deferred[bytes]:
        """
        Read what there is; wait if there is nothing.

        @param most: the highest number of bytes.
        @return: fires with at least one byte, or with none when the peer has ended its
            side.  It fails with L{EndOfStreamError
            <twisted_tcpdemo.errors.EndOfStreamError>} when the connection is broken, and
            with L{ConcurrentReadError<twisted_tcpdemo.errors.ConcurrentReadError>} while
            another read waits.
        @raise ValueError: if C{most} is less than 1.
        """
        return self._read(self._inbox.some, wholeSome, whole("most", most, 1))

    def readExactly(self, count: int) -> Deferred[bytes]:
        """
        Read a number of bytes.  That many may be held in memory.

        @return: fires with them, and fails as that of L{read}; also when the peer ends
            before it has sent them.
        @raise ValueError: if C{count} is negative.
        """
        if whole("count", count) == 0:
            return Ready(b"")
        return self._read(self._inbox.exactly, wholeExactly, count)

    def readUntil(self, separator: bytes, limit: int = LINE_LIMIT) -> Deferred[bytes]:
        """
        Read up to a separator, which is dropped.

        @param limit: the highest number of bytes before the separator.
        @return: fires with the bytes before the separator, and fails as that of
            L{readExactly}; with L{LimitExceededError
            <twisted_tcpdemo.errors.LimitExceededError>} if they are more than C{limit},
            which then are still unread.
        @raise ValueError: if the separator is empty.
        """
        if not separator:
            raise ValueError("the separator is empty")
        return self._read(partial(self._inbox.until, separator), wholeNothing, limit)

    def readLine(self, limit: int = LINE_LIMIT) -> Deferred[bytes]:
        """
        Read a line.

        @param limit: the highest number of its bytes.
        @return: fires with the line, without its end (LF or CR LF), and fails as that of
            L{readUntil}.
        """
        return self._read(self._inbox.line, wholeLine, limit)

    def lines(self, limit: int = LINE_LIMIT) -> AsyncIterator[bytes]:
        """
        All lines to come, for C{async for}.  The iteration ends when the peer has ended
        its side after a whole line.

        @param limit: see L{readLine}, as for what else it raises.
        """
        return _Pieces(self, self._inbox.line, wholeLine, limit)

    def __aiter__(self) -> AsyncIterator[bytes]:
        """
        All bytes to come, in the pieces in which they arrive.
        """
        return _Pieces(self, self._inbox.some, wholeSome, CHUNK)

    def _read(self, take: Take, whole: Whole, number: int) -> Answer[bytes]:
        want = (take, whole, number, False)
        try:
            found = self._now(want)
        except Exception as error:
            return _failed(error)
        return Ready(found) if found is not None else self._waiting(Reading(self, want))

    def _now(self, want: Want) -> bytes | None:
        """
        What a read gets at once; L{None} if it has to wait.

        @raise Exception: if it fails.
        """
        if self._reader is not None:
            raise ConcurrentReadError
        if self._inbox.held or not self._isOpen:
            if self._connection is None:
                raise NotConnectedError("the stream was read before it was connected")
            if self._atOnce >= AT_ONCE:
                return None
            self._atOnce += 1
            found = self._found(want)
            if found is not None:
                if self._isFull:
                    self._flow()
                return found
        self._atOnce = 0
        return None

    def _waiting(self, reader: Reading) -> Reading:
        """
        Let a read wait: for bytes, or if it has its answer already for its turn.
        """
        self._reader = reader
        if self._atOnce:
            self._atOnce = 0
            self._park()
        elif self._isFull:
            self._flow()
        return reader

    def _park(self) -> None:
        self._isParked = True
        self._established().nextTurn(self._unpark)

    def _found(self, want: Want) -> bytes | None:
        """
        What a read is to get; L{None} if it has to wait.

        @raise EndOfStreamError: if it would wait in vain.
        @raise StopAsyncIteration: the same, for an iteration that is complete.
        """
        if self._over is not None:
            raise EndOfStreamError(reason=self._over)
        take, _, number, isIteration = want
        found = take(number)
        if found is not None or not self._ended:
            return found
        if self._endReason is None and not self._inbox.held:
            if isIteration:
                raise StopAsyncIteration
            if take == self._inbox.some:
                return b""
        raise EndOfStreamError(self._inbox.rest(), self._endReason)

    def _serve(self) -> None:
        """
        Answer the waiting read, if that is possible now.
        """
        reader = self._reader
        if reader is None or self._isParked:
            return
        if reader.mustWait():
            self._park()
            return
        try:
            found = self._found(reader.want)
        except Exception as error:
            self._reader = None
            reader.failWith(error)
        else:
            if found is not None:
                self._reader = None
                reader.fire(found)

    def _unpark(self) -> None:
        self._isParked = False
        self._serve()
        self._flow()

    def _forget(self, _: object) -> None:
        """
        The waiting read has been cancelled.
        """
        self._reader = None
        self._isParked = False
        self._flow()

    def _flow(self) -> None:
        """
        Read the socket if nothing is held or a read needs more, and only then.
        """
        isFull = bool(self._inbox.held) and (self._reader is None or self._isParked)
        if isFull is self._isFull or not self._isOpen:
            return
        self._isFull = isFull
        if isFull:
            super().pause()
        elif not self._isHeld:
            super().resume()

    def pause(self) -> None:
        """
        Stop reading the socket, also for a read that waits.
        """
        self._isHeld = True
        super().pause()

    def resume(self) -> None:
        """
        Read the socket again, when a read needs it.
        """
        self._isHeld = False
        if not self._isFull:
            super().resume()

    # Writing.

    def write(self, data: bytes | str, encoding: str = "utf-8") -> Deferred[int]:
        """
        Write, and wait while the peer does not read.

        The bytes are on their way when the call returns: the Deferred need not be
        awaited, and if nobody looks at it a failure is not logged.

        @param data: bytes, or text to be encoded.
        @return: fires with L{bytesWritten} when no more than 64 KiB are pending.  It fails
            with L{WriteFailedError<twisted_tcpdemo.errors.WriteFailedError>} when they can
            no longer go.
        @raise TypeError: if it is neither bytes nor text.
        """
        if data.__class__ is not bytes:
            data = encoded(data, encoding)
        if not self._mayWrite:
            return _failed(self._writeError())
        connection: Any = self._connection
        counts = connection.counts
        before = counts.bytesWritten
        self.transport.write(data)
        written = counts.bytesWritten
        if written > before and counts.bytesPending <= LOW_WATER:
            self._atOnce += 1
            if self._atOnce < AT_ONCE:
                return Ready(written)
            self._atOnce = 0
            answer: Answer[int] = Answer()
            connection.nextTurn(lambda: answer.fire(self.bytesWritten))
            return answer
        return Answer.following(connection.whenWritable().addCallback(lambda _: self.bytesWritten))

    def _writeError(self) -> Exception:
        if self._connection is None:
            return NotConnectedError("write() before the connection was made")
        return WriteFailedError(self.closeReason or self._over or CloseReason.LOCAL_CLOSE)

    def whenWritable(self) -> Deferred[None]:
        """
        See L{TCPDemoProtocol.whenWritable}.
        """
        return Answer.following(super().whenWritable())

    def startTLS(self, context: object, hostname: str | None = None) -> Deferred[None]:
        """
        Speak TLS from now on.  What was written before goes in the clear.

        @param context: as for C{transport.startTLS}: a context factory of Twisted's, or on
            the fast lane an C{ssl.SSLContext}, too.
        @param hostname: the server's name, for an C{ssl.SSLContext} of a client.
        @return: fires when the handshake is done.  It fails with L{EndOfStreamError
            <twisted_tcpdemo.errors.EndOfStreamError>} when the connection ends before.
        @raise UnreadInputError: if bytes are unread.  An attacker may have put them there,
            to be taken for the peer's.
        """
        if self._inbox.held:
            raise UnreadInputError(len(self._inbox))
        secured = self._waiter(self._secured)
        if not secured.called:
            transport: Any = self.transport
            transport.startTLS(context, **({} if hostname is None else {"hostname": hostname}))
        return secured

    # Ending.

    def end(self) -> Deferred[None]:
        """
        End this side: the peer gets a FIN after all written bytes.  Reading goes on, but
        not under TLS: there it is a close in order, and only what has come can be read.

        @return: fires when the FIN is on its way, under TLS when the connection is over.
            It fails with L{WriteFailedError<twisted_tcpdemo.errors.WriteFailedError>} when
            the connection ends before.
        """
        if self._isHalved:
            return Ready(None)
        if self.closeReason is not None or self._over is not None:
            return _failed(self._writeError())
        waiter = self._waiter(self._halved)
        self._mayWrite = False  # the transport takes bytes until those before have left
        if isEncrypted(self.transport):
            self._established().close(CloseReason.LOCAL_CLOSE)
        else:
            self.transport.loseWriteConnection()
        return waiter

    def close(self) -> Deferred[CloseReason]:
        """
        Close in order, when all written bytes are sent.  A read that waits fails.

        @return: fires when the connection is over, with the reason.
        """
        if self.closeReason is None:
            connection = self._established()
            self._finish(CloseReason.LOCAL_CLOSE)
            connection.close(CloseReason.LOCAL_CLOSE)
        if self.closeReason is not None:
            return Ready(self.closeReason)
        return self._waiter(self._closed)

    def abort(self) -> None:
        """
        Close at once, and drop what has not been sent.  A read that waits fails.
        """
        if self.closeReason is None:
            self._established().abort(CloseReason.ABORTED)
            self._finish(CloseReason.ABORTED)

    def _finish(self, reason: CloseReason) -> None:
        if self._over is None:
            self._over = reason
            self._isOpen = self._mayWrite = False
            self._inbox.clear()
            self._isParked = False
            self._serve()

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self.abort()
        try:
            await self.close()
        except BaseException:
            self.abort()
            raise

    # A drain.

    @property
    def draining(self) -> bool:
        """
        Whether the server has stopped accepting, and waits for this stream to end.
        """
        return self._draining

    def whenDraining(self) -> Deferred[None]:
        """
        Wait until L{draining}.

        @return: a new Deferred each time.  It fails with L{EndOfStreamError
            <twisted_tcpdemo.errors.EndOfStreamError>} when the stream ends before.
        """
        return Ready(None) if self._draining else self._waiter(self._drainers)

    # Hooks.

    def dataReceived(self, data: bytes) -> None:
        """
        Answer the read that waits, or keep the bytes.
        """
        inbox, reader = self._inbox, self._reader
        if reader is not None and not inbox.held:
            # Most chunks are just what is waited for.
            whole = reader.whole(data, reader.number)
            if whole is not None:
                self._reader = None
                waiter = reader.waiter
                if waiter is None or not reader.isIteration:
                    reader.fire(whole)
                else:
                    reader.waiter = None
                    waiter.resume(whole)
                if inbox.held:
                    self._flow()
                return
        if self._isOpen:
            inbox.feed(data)
            self._serve()
            self._flow()

    def readConnectionLost(self) -> None:
        """
        End the reading.
        """
        self._ended = True
        self._isOpen = False
        self._serve()

    def writeConnectionLost(self) -> None:
        """
        Tell that the FIN is on its way.
        """
        self._isHalved = True
        _fire(self._halved)

    def handshakeCompleted(self) -> None:
        """
        Tell that TLS has begun.
        """
        _fire(self._secured)

    def drainStarted(self) -> None:
        """
        Tell that the server waits for the end.
        """
        self._draining = True
        _fire(self._drainers)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Answer everything that waits.
        """
        self._endReading()
        self._mayWrite = self._isParked = False
        self._serve()
        closeReason = self.closeReason
        assert closeReason is not None
        for half in _taken(self._halved):
            if closeReason is CloseReason.LOCAL_CLOSE or closeReason is CloseReason.PEER_CLOSED:
                half.fire(None)  # TLS, whose halves end together
            else:
                half.failWith(WriteFailedError(closeReason))
        for wait in [*_taken(self._secured), *_taken(self._drainers)]:
            wait.failWith(EndOfStreamError(reason=closeReason))
        for closed in _taken(self._closed):
            closed.fire(closeReason)

    def _endReading(self) -> None:
        """
        Note that no more bytes will come, and why: the connection is over.
        """
        if not self._ended:
            self._ended = True
            self._isOpen = False
            if self.closeReason is not CloseReason.PEER_CLOSED:
                self._endReason = self.closeReason

    def _waiter(self, waiters: list[Answer[T]]) -> Answer[T]:
        """
        A new answer that waits with others.  It has failed if there is nothing to wait for.

        @raise NotConnectedError: before there is a connection.
        """
        self._established()
        if self.closeReason is not None:
            return _failed(EndOfStreamError(reason=self.closeReason))
        answer: Answer[T] = Answer(lambda _: waiters.remove(answer) if answer in waiters else None)
        waiters.append(answer)
        return answer


class _Pieces:
    """
    An iteration over a stream.
    """

    __slots__ = ("_reading", "_stream", "_want")

    def __init__(self, stream: Stream, take: Take, whole: Whole, number: int) -> None:
        self._stream = stream
        self._want = (take, whole, number, True)
        self._renew()

    def __aiter__(self) -> _Pieces:
        return self

    @coroutine
    def __anext__(self) -> Generator[Any, Any, bytes]:
        stream, reading = self._stream, self._reading
        if stream._inbox.held or stream._reader is not None or not stream._isOpen:
            found = stream._now(self._want)
            if found is not None:
                return found
            stream._waiting(reading)
        else:  # as these two do: this is the most frequent case
            stream._reader = reading
            stream._atOnce = 0
        try:
            if runningLoop() is None:
                found = yield reading
            else:
                found = yield from reading.__await__()
        except BaseException:
            if stream._reader is reading:
                stream._forget(reading)  # the coroutine was closed
            self._renew()
            raise
        if reading.called:
            self._renew()
            return reading.result  # type: ignore[return-value]  # it has been awaited
        return found

    def _renew(self) -> None:
        """
        Wait by another reading from now on: this one has fired.
        """
        self._reading = Reading(self._stream, self._want)


def _failed(error: Exception) -> Answer[Any]:
    answer: Answer[Any] = Answer()
    answer.failWith(error)
    return answer


def _taken(waiters: list[Answer[T]]) -> list[Answer[T]]:
    taken = [*waiters]
    waiters.clear()
    return taken


def _fire(waiters: list[Answer[None]]) -> None:
    for waiter in _taken(waiters):
        waiter.fire(None)


# Coroutine functions that handle streams.

Handle: TypeAlias = Callable[[Stream], Coroutine[Any, Any, object]]
"""Handles a stream, from its first byte to its end."""

Shows: TypeAlias = Callable[[str], bool]
"""Whether an event of a kind may have a line in the log."""


def _always(_: str) -> bool:
    """
    A log without a budget.
    """
    return True


class HandledStream(Stream):
    """
    A stream that a coroutine function handles.
    """

    _running: Running | None = None
    _isCancelled = False

    def __init__(self, handle: Handle, shows: Shows = _always) -> None:
        """
        @param handle: the coroutine function.
        @param shows: the budget of the log, for what the function raises.
        """
        super().__init__()
        self._handle = handle
        self._shows = shows

    def connectionMade(self) -> None:
        """
        Begin.
        """
        try:
            coroutine = self._handle(self)
            if not isinstance(coroutine, Coroutine):
                raise TypeError(f"{self._handle!r} is no coroutine function: {coroutine!r}")
        except BaseException as error:
            self._handlerEnded(error)
            return
        self._running = runner(coroutine, self._handlerEnded)
        self._running.begin()

    def _handlerEnded(self, error: BaseException | None) -> None:
        """
        Close: in order, or as an error if the coroutine has raised.
        """
        self._running = None
        if error is None or self._isExpected(error):
            self.close()
            return
        if self._shows("failed handlers"):
            _log.failure(
                "the handler of {connection} raised",
                failure=Failure(error),
                connection=self._connection,
            )
        self._finish(CloseReason.ERROR)
        self._established().abort(CloseReason.ERROR)

    def _isExpected(self, error: BaseException) -> bool:
        """
        Whether the end of the connection, or of a drain, explains what was raised.
        """
        if self._isCancelled and isinstance(error, CANCELLED):
            return True
        return isinstance(error, EndOfStreamError | WriteFailedError) and self._isEnding()

    def _isEnding(self) -> bool:
        """
        Whether the peer has ended, or the connection, or something else than the coroutine
        has closed it: a budget, a drain.  Writes fail before connectionLost() tells of it.
        """
        connection = self._established()
        isClosedByOthers = self._mayWrite and connection.closingAt is not None
        return self._ended or isClosedByOthers or connection.closeReason is not None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Cancel the coroutine if a drain has ended the connection.
        """
        self._endReading()
        if self.closeReason is CloseReason.DRAIN and self._running is not None:
            self._isCancelled = True
            self._running.cancel()
        super().connectionLost(reason)


def handled(handle: Handle, shows: Shows = _always) -> Callable[[], HandledStream]:
    """
    Builds a stream for each connection, for a coroutine function.

    @raise TypeError: if it cannot be called.
    """
    if not callable(handle) or isinstance(handle, type):
        raise TypeError(f"a handler is a coroutine function, not {handle!r}")
    return partial(HandledStream, handle, shows)
