"""
Visitors: one answer at a time, within deadlines, and never a traceback.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, globalLogPublisher

from tests.support.status import connected
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.control.routes import ControlSite
from twisted_tcpdemo.status import StatusSite
from twisted_tcpdemo.twistd.programs import Echo
from twisted_tcpdemo.web.answer import Answer, Work, whole
from twisted_tcpdemo.web.door import SideDoor
from twisted_tcpdemo.web.turns import Turns
from twisted_tcpdemo.web.visit import CLOSING, MAX_IGNORED, TIMEOUT, Visit, Visitor

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Wire(StringTransport):
    """
    A transport in memory that is full when the test says so.
    """

    aborted = False

    def abortConnection(self) -> None:
        """
        Remember it.
        """
        self.aborted = True
        super().abortConnection()

    def unregisterProducer(self) -> None:
        """
        Forget the producer, if there is one, as a real transport does.
        """
        self.producer = self.streaming = None

    def fill(self) -> None:
        """
        Ask the producer to pause.
        """
        assert self.producer is not None
        self.producer.pauseProducing()

    def empty(self) -> None:
        """
        Ask the producer to go on.
        """
        assert self.producer is not None
        self.producer.resumeProducing()


class Counting(SideDoor):
    """
    A door that counts its answers.
    """

    maxBody = 10

    def __init__(self, clock: Clock, token: bytes | None = None) -> None:
        super().__init__(clock, token)
        self.asked: list[bytes] = []
        self.pieces: list[bytes] = [b"seen"]

    def answer(self, visit: Visit) -> Work:
        """
        Answer with the pieces.
        """
        self.asked.append(visit.body)
        yield
        return Answer(200, self.made())

    def made(self) -> Iterator[bytes]:
        """
        The pieces, one after the other.
        """
        yield from self.pieces


class Visited:
    """
    A door, a visitor, and the time.
    """

    def __init__(self, door: SideDoor, clock: Clock) -> None:
        self.clock = clock
        self.door = door
        door.turns = Turns(clock, lambda: 0.0)
        self.wire = Wire()
        self.visitor: Visitor = door.buildProtocol(None)  # type: ignore[assignment]
        self.visitor.makeConnection(self.wire)

    def send(self, data: bytes) -> bytes:
        """
        Send bytes, and let the door work.

        @return: what has come by then.
        """
        if not self.wire.disconnecting:
            self.visitor.dataReceived(data)
        return self.turn()

    def turn(self, seconds: float = 0.0) -> bytes:
        """
        Let time pass.
        """
        self.clock.advance(seconds)
        for _ in range(20):
            self.clock.advance(0.001)
        return self.wire.value()

    @property
    def isOver(self) -> bool:
        """
        Whether the connection is closed or closing.
        """
        return self.wire.disconnecting or self.wire.aborted


def visited(token: bytes | None = None) -> Visited:
    """
    A visitor of a door that counts.
    """
    clock = Clock()
    return Visited(Counting(clock, token), clock)


# One answer at a time.


def test_pipelined() -> None:
    """
    Pipelined requests are answered one after the other, each in a turn of its own.
    """
    one = visited()
    one.visitor.dataReceived(REQUEST * 3)
    assert one.door.asked == []  # type: ignore[attr-defined]
    assert one.turn().count(b"HTTP/1.1 200") == 3


def test_nextWhenItHasGone() -> None:
    """
    While the visitor has not taken an answer, no other is made, and no more than one
    piece of it.
    """
    one = visited()
    one.door.pieces = [b"one", b"two", b"three"]  # type: ignore[attr-defined]
    one.wire.fill()
    received = one.send(REQUEST * 2)
    assert b"one" in received and b"two" not in received
    assert len(one.door.asked) == 1  # type: ignore[attr-defined]
    one.wire.empty()
    assert one.turn().count(b"three") == 2


def test_readsNoMore() -> None:
    """
    A visitor with an answer under way that sends without end is not read.
    """
    one = visited()
    one.wire.fill()
    one.send(REQUEST)
    for _ in range(3):
        one.send(bytes(10000))
    assert one.wire.producerState == "paused"


def test_goneBeforeItsTurn() -> None:
    """
    Nothing is made for a visitor that has gone.
    """
    one = visited()
    one.visitor.dataReceived(REQUEST)
    one.visitor.connectionLost()
    assert one.turn() == b""
    assert one.door.asked == []  # type: ignore[attr-defined]


def test_goneInTheMiddle() -> None:
    """
    A visitor that goes in the middle of an answer gets no more of it, and nothing is
    left behind.
    """
    one = visited()
    one.door.pieces = [b"one", b"two"]  # type: ignore[attr-defined]
    one.wire.fill()
    one.send(REQUEST)
    one.visitor.connectionLost()
    assert b"two" not in one.turn()
    assert one.clock.getDelayedCalls() == []


def test_endOfTheVisitor() -> None:
    """
    A visitor that ends its side gets the answer to what it has asked, and the end.
    """
    one = visited()
    one.visitor.dataReceived(REQUEST)
    one.visitor.readConnectionLost()
    assert b"seen" in one.turn() and one.isOver
    two = visited()
    two.visitor.dataReceived(REQUEST[:9])
    two.visitor.readConnectionLost()
    assert two.isOver


# Deadlines.


def test_slowRequest() -> None:
    """
    A request has one deadline, however its bytes come.
    """
    one = visited()
    one.send(b"GET / HTTP/1.1\r\n")
    for number in range(int(TIMEOUT // 6)):
        assert not one.isOver
        one.turn(6)
        one.send(b"X-%d: y\r\n" % number)
    assert one.isOver


@pytest.mark.parametrize("framing", [b"Content-Length: 100", b"Transfer-Encoding: chunked"])
def test_slowBody(framing: bytes) -> None:
    """
    The body is part of the request.
    """
    one = visited()
    one.send(b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n")
    for _ in range(int(TIMEOUT // 6)):
        one.turn(6)
        one.send(b"1\r\nx\r\n")
    assert one.isOver


def test_nextDeadline() -> None:
    """
    The time for the next request begins with the answer before; a visitor that asks in
    time stays.
    """
    one = visited()
    for _ in range(4):
        one.turn(TIMEOUT * 0.6)
        assert b"seen" in one.send(REQUEST)
        assert not one.isOver
    one.turn(TIMEOUT)
    assert one.isOver and not one.wire.aborted
    one.turn(CLOSING)
    assert one.wire.aborted


def test_neverReads() -> None:
    """
    A visitor that takes nothing of its answer is broken off; one that takes a piece now
    and then is not.
    """
    one = visited()
    one.door.pieces = [b"piece"] * 5  # type: ignore[attr-defined]
    one.wire.fill()
    one.send(REQUEST)
    for _ in range(3):
        one.turn(TIMEOUT * 0.7)
        one.wire.empty()
        one.wire.fill()
        one.turn()
        assert not one.isOver
    one.turn(TIMEOUT)
    assert one.wire.aborted


# The token.


@pytest.mark.parametrize("framing", [b"Content-Length: 1000000", b"Transfer-Encoding: chunked"])
def test_tokenBeforeTheBody(framing: bytes) -> None:
    """
    A request without the token is denied before its body has come, and without an
    invitation to send it; what follows is not looked at.
    """
    one = visited(b"s3cret")
    head = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\n" + framing + b"\r\n\r\n"
    received = one.send(head + REQUEST)
    assert received.startswith(b"HTTP/1.1 401 ") and received.count(b"HTTP/1.1") == 1
    assert one.isOver and one.door.asked == []  # type: ignore[attr-defined]
    assert not one.visitor.isKnown


def test_known() -> None:
    """
    A visitor that has shown the token is known.
    """
    one = visited(b"s3cret")
    assert b" 200 " in one.send(b"GET / HTTP/1.1\r\nAuthorization: Bearer s3cret\r\n\r\n")
    assert one.visitor.isKnown


# What is wrong.


def test_endlessBody() -> None:
    """
    A body is kept as far as it is wanted, dropped as far as is polite, and then broken
    off.
    """
    one = visited()
    one.send(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(MAX_IGNORED // 2**16 + 2):
        one.send(b"10000\r\n" + bytes(2**16) + b"\r\n")
    assert one.wire.aborted


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /" + b"x" * 20000, b"414"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 20000, b"431"),
        (b"GET / HTTP/1.1\r\nContent-Length: " + b"1" * 5000 + b"\r\n\r\n", b"413"),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (
            b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"400",
        ),
        (b"GET / HTTP/1.1\r\nno header\r\n\r\n", b"400"),
        (b"\x16\x03\x01 hello\r\n\r\n", b"400"),
    ],
)
def test_badRequest(head: bytes, status: bytes) -> None:
    """
    A request that cannot be understood has an answer, and ends the connection.
    """
    one = visited()
    assert one.send(head).split()[1] == status
    assert one.isOver and one.door.asked == []  # type: ignore[attr-defined]


class Failing(SideDoor):
    """
    A door whose answers fail, before their beginning or after it.
    """

    begins = False

    def answer(self, visit: Visit) -> Work:
        """
        Fail.
        """
        yield
        if self.begins:
            return Answer(200, self.broken())
        raise ZeroDivisionError

    def broken(self) -> Iterator[bytes]:
        """
        Fail after a piece.
        """
        yield b"piece"
        raise ZeroDivisionError


@pytest.mark.parametrize("begins", [False, True])
def test_failure(begins: bool, loggedErrors: object) -> None:
    """
    An answer that fails is an error for the visitor, and one traceback, however often.
    """
    clock = Clock()
    door = Failing(clock)
    door.begins = begins
    for _ in range(3):
        one = Visited(door, clock)
        received = one.send(REQUEST)
        if begins:
            assert one.wire.aborted and b"piece" in received
        else:
            assert b"HTTP/1.1 500" in received and not one.isOver
    assert len(loggedErrors.take(ZeroDivisionError)) == 1  # type: ignore[attr-defined]


# Whatever is sent.

WORDS = st.sampled_from(
    [
        *("text/plain;version=x", "text/plain;version=1.0", "*/*", "identity", "chunked"),
        *("application/openmetrics-text;version=" + "9" * 5000, "100-continue", "close"),
        *("application/openmetrics-text; version=1.0.0; escaping=x", "h2c", "Upgrade"),
        *("bytes=0-", "bytes=9999999-1", "localhost", "[::1]", "[", "Basic =", "Bearer "),
        *("0", "-1", "+1", "1,1", "99999999999999999999", "multipart/form-data; boundary=x"),
    ]
)
VALUES = WORDS.map(str.encode) | st.binary(max_size=60)
NAMES = st.sampled_from(
    [
        *(b"Accept", b"Host", b"Content-Length", b"Transfer-Encoding", b"Range", b"Expect"),
        *(b"Connection", b"Upgrade", b"Authorization", b"Cookie", b"Content-Type", b"X"),
    ]
)
PATHS = st.sampled_from(
    [
        *(b"/", b"/metrics", b"/healthz", b"/status", b"/connections", b"/limits", b"*", b""),
        *(b"/status.json?limit=%zz", b"/status.json?sort=%", b"/%", b"/%ff%00", b"//", b"/../x"),
        *(b"/status.json?limit=1000&limit=x", b"/connections/1/close", b"/connections/x/abort"),
        *(b"http://evil/metrics", b"/status.json?filter=%f0%9f", b"/connections/%s/close"),
    ]
) | st.binary(max_size=40)
METHODS = st.sampled_from([b"GET", b"HEAD", b"POST", b"PATCH", b"PRI", b"OPTIONS", b"get", b""])
BODIES = st.sampled_from(
    [
        *(b"", b"{}", b"[" * 4000, b'{"a":' * 700, b"1" * 4096, b"NaN", b'{"deadline": NaN}'),
        *(b'{"deadline": 1e999}', b'{"maxConnections": ' + b"9" * 4000 + b"}", b"\xff"),
        *(b'{"\\ud800": 1}', b"5\r\nabcde\r\n0\r\n\r\n", b"ffffffffffffffffff\r\n", b"-1\r\n"),
    ]
) | st.binary(max_size=60)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """
    What a visitor may send: some requests, more or less.
    """
    made = b""
    for _ in range(draw(st.integers(1, 3))):
        fields = draw(st.lists(st.tuples(NAMES, VALUES), max_size=5))
        body = draw(BODIES)
        if draw(st.booleans()):
            fields.append((b"Content-Length", b"%d" % len(body)))
        version = draw(st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9", b""]))
        made += b" ".join((draw(METHODS), draw(PATHS), version)) + b"\r\n"
        made += b"".join(name + b": " + value + b"\r\n" for name, value in fields)
        made += b"\r\n" + body
    return made


@settings(max_examples=300, deadline=None)
@given(site=st.sampled_from([StatusSite, ControlSite]), stream=streams(), cut=st.integers(1, 200))
@example(StatusSite, b"GET /metrics HTTP/1.1\r\nAccept: text/plain;version=x\r\n\r\n", 9)
@example(StatusSite, b"GET / HTTP/1.1\r\nHost: \xff\r\nAccept: \xff\r\n\r\n", 9)
@example(StatusSite, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 99)
@example(ControlSite, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 99)
@example(
    ControlSite, b"POST / HTTP/1.1\r\nContent-Type: \x0b\x01\r\nContent-Length: 2\r\n\r\n{}", 9
)
def test_anything(site: type[StatusSite | ControlSite], stream: bytes, cut: int) -> None:
    """
    Whatever a visitor sends, it gets answers or an end, and nothing is in the log.
    """
    clock = Clock()
    factory = TCPDemoFactory(Echo, clock=clock)
    connected(factory, 2)
    events: list[LogEvent] = []
    observe = events.append
    globalLogPublisher.addObserver(observe)
    try:
        one = Visited(site(factory, clock), clock)
        for start in range(0, len(stream), cut):
            one.send(stream[start : start + cut])
        received = one.turn(TIMEOUT)
        one.turn(CLOSING)
        assert one.isOver
        if received:
            assert received.startswith(b"HTTP/"), received
            assert b" 500 " not in received
        one.visitor.connectionLost()
        one.door.stopFactory()
    finally:
        globalLogPublisher.removeObserver(observe)
    assert [e for e in events if not e["log_format"].startswith("control: ")] == []


def test_whole() -> None:
    """
    An answer with all of its body has its length.
    """
    assert whole(200, [b"ab", b"c"]).length == 3
