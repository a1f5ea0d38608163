"""
A visitor, and its requests.

A visitor has L{TIMEOUT} seconds for a whole request, however its bytes come, and as long
for each part of an answer that it has to take before it gets the next.  Twisted's own
timeout begins anew with each byte.

The requests of a visitor are answered one after the other.  While an answer is under
way, what else the visitor sends stays where it is, and the next request is looked at
when the answer has gone.  So a visitor costs the memory of one piece of an answer, and
one request more, whatever it sends and however little it reads.

Whether a visitor may ask is decided by the headers, before a body is read.

Nothing here is logged: a visitor could write as many lines as it likes.
"""

from __future__ import annotations

from collections.abc import Generator
from io import BytesIO
from typing import Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request, datetimeToString
from zope.interface import implementer

from twisted_tcpdemo.shapes import AnyReactor, Transport
from twisted_tcpdemo.web.answer import Answer, Work, whole
from twisted_tcpdemo.web.turns import Turns

TIMEOUT: Final = 30.0
"""Seconds for a whole request, from the connection or from the answer before; and
seconds without progress of an answer."""

CLOSING: Final = 5.0
"""Seconds that a visitor which was late has to take its last bytes."""

MAX_IGNORED: Final = 2**20
"""The most bytes of a body to read and drop, so that the answer arrives: for a socket
that is closed with unread data the kernel sends RST."""

LONGEST_NUMBER: Final = 18
"""The most digits of a C{Content-Length}."""

REASONS: Final = {421: b"Misdirected Request"}
"""Reason phrases that Twisted lacks."""

_log = Logger(namespace="tcpdemo")


class Answering(Protocol):
    """
    What answers the visitors of a door.

    @ivar turns: runs the work.
    @ivar clock: the reactor.
    @ivar maxBody: the most bytes of a body to keep.
    @ivar hasFailed: whether an error of its own was logged.
    """

    turns: Turns
    clock: AnyReactor
    maxBody: int
    hasFailed: bool

    def admits(self, visit: Visit) -> bool:
        """
        Whether the headers of a request have what they need to be answered.
        """

    def knows(self, visit: Visit) -> bool:
        """
        Whether the headers prove who asks.
        """

    def denial(self, visit: Visit) -> Answer:
        """
        The answer to a request that lacks what L{admits} asks for.
        """

    def answer(self, visit: Visit) -> Work:
        """
        Make the answer to a request.
        """


class Visit(Request):
    """
    One request, and its answer.

    @ivar isDenied: whether the headers lack what is needed.
    @ivar bodySize: the bytes of its body, those that were not kept included.
    """

    channel: Visitor
    transport: Transport  # type: ignore[assignment]

    isDenied = False
    isGone = False
    bodySize = 0

    def __init__(self, channel: Visitor, queued: object = None) -> None:
        """
        @param queued: what Twisted passes, for nothing.
        """
        # The body of a form is for nobody, and its parser raises what it likes.
        super().__init__(channel, parsePOSTFormSubmission=False)

    def gotLength(self, length: int | None) -> None:
        """
        Keep the body in memory: it is bounded, and Twisted would make a file.
        """
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """
        Keep the data as far as the host wants it, and drop the rest.  Beyond
        L{MAX_IGNORED}, abort the connection.
        """
        self.bodySize += len(data)
        if self.bodySize <= self.channel.factory.maxBody:
            super().handleContentChunk(data)
        elif self.bodySize > MAX_IGNORED:
            self.transport.abortConnection()

    @property
    def body(self) -> bytes:
        """
        The body, if it was short enough to be kept.
        """
        return b"" if self.content is None else self.content.read()

    def header(self, name: bytes) -> str:
        """
        The last value of a header as text, in which each byte is a character; empty
        without one.
        """
        return (self.getHeader(name) or b"").decode("latin-1")

    def process(self) -> None:
        """
        Answer when it is its turn.
        """
        channel = self.channel
        channel.asked(self)
        task = channel.factory.turns.cooperate(self._work(channel.factory))
        task.whenDone().addErrback(self._failed, channel.factory)

    def connectionLost(self, reason: Failure) -> None:
        """
        Answer no more.
        """
        self.isGone = True
        super().connectionLost(reason)

    def _work(self, host: Answering) -> Generator[Deferred[None] | None, None, None]:
        answer: Answer | None = host.denial(self) if self.isDenied else None
        making = host.answer(self)
        while answer is None and not self.isGone:
            try:
                next(making)
            except StopIteration as made:
                answer = made.value
            else:
                yield None
        if answer is None or self.isGone:
            return
        self._head(answer)
        if self.method == b"HEAD":
            self.write(b"")
        else:
            for piece in answer.pieces:
                self.write(piece)
                yield self.channel.room()
                if self.isGone:
                    return
        self.finish()

    def _head(self, answer: Answer) -> None:
        self.setResponseCode(answer.status, REASONS.get(answer.status))
        self.setHeader(b"Date", datetimeToString())
        self.setHeader(b"Content-Type", answer.contentType)
        if answer.length is not None:
            self.setHeader(b"Content-Length", b"%d" % answer.length)
        for name, value in answer.headers.items():
            self.setHeader(name, value)

    def _failed(self, failure: Failure, host: Answering) -> None:
        """
        An error of ours: log the first one, and say so if nothing was said yet.
        """
        if not host.hasFailed:
            host.hasFailed = True
            _log.failure("a request could not be answered; further ones are not told", failure)
        if self.isGone:
            return
        if self.startedWriting:
            self.transport.abortConnection()
            return
        answer = whole(500, [b"The server has failed; its log says why.\n"])
        self._head(answer)
        for piece in answer.pieces:
            self.write(piece)
        self.finish()


@implementer(IHalfCloseableProtocol)
class Visitor(HTTPChannel):
    """
    The connection of a visitor.

    @ivar isKnown: whether a request has proved who asks; see
        L{Guest<twisted_tcpdemo.service.companion.Guest>}.
    @ivar since: when the last request came, or the visitor.
    """

    requestFactory = Visit  # type: ignore[assignment]
    factory: Answering
    requests: list[Visit]
    transport: Transport  # type: ignore[assignment]

    allowHalfOpen = True  # for the rest of an answer
    isKnown = False
    since = 0.0
    _isClogged = False
    _isLate = False
    _isAnswering = False
    _room: Deferred[None] | None = None

    def connectionMade(self) -> None:
        """
        Wait for the first request.
        """
        self.since = self.factory.clock.seconds()
        super().connectionMade()

    # The request.

    def resetTimeout(self) -> None:
        """
        Go on counting: the time is for a whole request.
        """

    def lineLengthExceeded(self, line: bytes) -> None:
        """
        Answer: nobody has such a line.
        """
        self._refuse(b"414 URI Too Long" if not self.requests else b"431 Header Fields Too Large")

    def headerReceived(self, line: bytes) -> bool:
        """
        Take a header, unless its number is absurd: Python does not convert any number
        of digits.
        """
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and len(value.strip()) > LONGEST_NUMBER:
            self._refuse(b"413 Content Too Large")
            return False
        taken: bool = super().headerReceived(line)
        return taken

    def allHeadersReceived(self) -> None:
        """
        Decide whether to read a body.
        """
        visit, host = self.requests[-1], self.factory
        if host.knows(visit):
            self.isKnown = True
        elif not host.admits(visit):
            visit.isDenied = True
            visit.requestHeaders.removeHeader(b"expect")
        super().allHeadersReceived()
        if visit.isDenied:
            # The body is not read, and what follows is not looked at.
            self.length = 0
            self.persistent = False

    def _refuse(self, status: bytes) -> None:
        self.transport.write(
            b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        self.loseConnection()

    # The answer.

    def asked(self, visit: Visit) -> None:
        """
        A request is whole, and waits for its turn.
        """
        self._isAnswering = True
        self.since = self.factory.clock.seconds()
        self.setTimeout(TIMEOUT)

    def room(self) -> Deferred[None] | None:
        """
        Wait until there is room for another piece of an answer.

        @return: L{None} if there is.
        """
        self.setTimeout(TIMEOUT)
        if not self._isClogged:
            return None
        self._room = Deferred()
        return self._room

    def pauseProducing(self) -> None:
        """
        Send no more: the visitor has much to take.
        """
        self._isClogged = True
        super().pauseProducing()

    def resumeProducing(self) -> None:
        """
        Send more: the visitor has taken what there was.
        """
        self._isClogged = False
        super().resumeProducing()
        self._goOn()

    def _goOn(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)

    def requestDone(self, request: Visit) -> None:
        """
        Wait for the next request, or close.
        """
        self._isAnswering = False
        super().requestDone(request)

    # The end.

    def leave(self) -> None:
        """
        End in order, after an answer that is under way.
        """
        self.persistent = False
        if not self._isAnswering:
            self.loseConnection()

    def readConnectionLost(self) -> None:
        """
        The visitor sends no more: it gets the answer that is under way.
        """
        self.leave()

    def writeConnectionLost(self) -> None:
        """
        Do nothing: this side alone is never ended.
        """

    def timeoutConnection(self) -> None:
        """
        Close, and break off if that takes long.
        """
        if self._isLate or self._isAnswering:
            self.transport.abortConnection()
        else:
            self._isLate = True
            self.loseConnection()
            self.setTimeout(CLOSING)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Answer no more.
        """
        super().connectionLost(reason)
        self._goOn()
