"""
L{twisted_tcpdemo.tls.securesocket}: a socket with TLS on it, on sockets that take little
at a time.
"""

from __future__ import annotations

import socket
import tracemalloc
from collections.abc import Generator
from contextlib import suppress
from random import Random
from typing import Any, NoReturn

import pytest
from twisted.python.failure import Failure

from tests.support.engines import KINDS, Far, encrypted, engine
from twisted_tcpdemo.tls.engine import RECORD, Engine, StreamBrokenError
from twisted_tcpdemo.tls.securesocket import CHUNK, SecureSocket


class Owner:
    """
    A transport that remembers what it is told.
    """

    def __init__(self) -> None:
        self.reading = True
        self.moved = 0
        self.told: list[str] = []

    def secureReady(self) -> None:
        """
        Remember it.
        """
        self.told.append("ready")

    def secureFreed(self) -> None:
        """
        Remember it.
        """
        self.told.append("freed")

    def secureMoved(self) -> None:
        """
        Count it.
        """
        self.moved += 1

    def secureWaits(self) -> None:
        """
        Remember it.
        """
        self.told.append("waits")

    def readSoon(self) -> None:
        """
        Remember it.
        """
        self.told.append("soon")


class Pair:
    """
    A secure socket, its owner, and the other side.
    """

    def __init__(self, kind: str, isClient: bool = False) -> None:
        near, far = socket.socketpair()
        for side in (near, far):
            side.setblocking(False)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the kernel's least
        self.plain = near
        self.owner = Owner()
        self.secure = SecureSocket(near, lambda _: engine(kind, isClient))
        self.far = Far(far, engine("standard", not isClient))
        if not isClient:
            self.far.engine.shake(b"")
            self.far.flush()

    def read(self) -> bytes | None:
        """
        Read once from the secure socket, if there is anything.
        """
        try:
            return self.secure.recv(1)
        except BlockingIOError:
            return None

    def hasSent(self) -> bool:
        """
        Whether bytes wait for the other side.
        """
        try:
            return bool(self.far.socket.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False

    def shake(self) -> None:
        """
        Bring both through the handshake.
        """
        for _ in range(1000):
            if self.secure.ready and self.far.ready:
                return
            self.read()
            with suppress(BlockingIOError):
                self.secure.flush()
            self.far.read()
        raise AssertionError("the handshake does not end")

    def close(self) -> None:
        """
        Close both sockets.
        """
        self.secure.close()
        self.far.socket.close()


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest) -> Generator[Pair]:
    """
    A server's socket and its client, before the handshake.
    """
    made = Pair(request.param)
    yield made
    made.close()


@pytest.fixture
def ready(pair: Pair) -> Pair:
    """
    The same, after the handshake.
    """
    pair.secure.begin(pair.owner)
    pair.shake()
    pair.owner.told.clear()
    return pair


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("isClient", [False, True])
def test_handshake(kind: str, isClient: bool) -> None:
    """
    The handshake ends, on either side, and the owner is told of it once.
    """
    pair = Pair(kind, isClient)
    assert (pair.secure.ready, pair.secure.held) == (False, True)
    pair.secure.begin(pair.owner)
    pair.shake()
    assert pair.owner.told.count("ready") == 1
    assert not pair.secure.held
    assert pair.secure.send(b"hello") == 5
    while pair.far.read():
        pass
    assert pair.far.got == b"hello"
    pair.close()


@pytest.mark.parametrize("many", [False, True])
def test_partialSends(ready: Pair, many: bool) -> None:
    """
    Though the kernel takes records in parts, all plaintext is counted as sent once, in
    its order, and not before the kernel has its last byte.
    """
    random = Random(1)
    data = random.randbytes(700_000)
    sent = refused = 0
    while sent < len(data) or ready.secure.waiting:
        rest = memoryview(data)[sent:]
        try:
            if many:
                sent += ready.secure.sendmsg([rest[:1000], rest[1000:50_000], rest[50_000:]])
            else:
                sent += ready.secure.send(rest)
        except BlockingIOError:
            refused += 1
            ready.far.read(random.randrange(1, 3000))
            if not refused % 10:
                while ready.far.read():
                    pass
                assert len(ready.far.got) >= sent
        assert sent <= len(data)
    assert refused
    while ready.far.read():
        pass
    assert ready.far.got == data


def test_largePiece(ready: Pair) -> None:
    """
    However large the first of several pieces is, no more of it is copied than is encrypted
    at a time; so a slow peer costs no more than its bytes.
    """
    data = bytes(40 * CHUNK)
    sent = most = 0
    tracemalloc.start()
    try:
        while sent < 3 * CHUNK:
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            with suppress(BlockingIOError):
                sent += ready.secure.sendmsg([memoryview(data)[sent:], b"end"])
            most = max(most, tracemalloc.get_traced_memory()[1] - before)
            ready.far.socket.recv(1 << 20)
    finally:
        tracemalloc.stop()
    assert most < 8 * CHUNK


def test_before(pair: Pair) -> None:
    """
    Plaintext that was accepted before TLS goes first, as it is, and is counted once.
    """
    before: list[bytes | memoryview] = [b"go ahead" * 1000, memoryview(b"now")]
    size = sum(map(len, before))
    pair.secure.begin(pair.owner, before)
    assert "waits" in pair.owner.told
    sent = 0
    got = b""
    while sent < size:
        try:
            sent += pair.secure.send(b"".join(before)[sent:])
        except BlockingIOError:
            got += pair.far.socket.recv(100)
    while len(got) < size:
        got += pair.far.socket.recv(size - len(got))
    assert (sent, got) == (size, b"".join(before))
    with pytest.raises(BlockingIOError):
        pair.secure.send(b"encrypted")  # it waits for the handshake
    pair.shake()
    assert pair.secure.send(b"encrypted") == 9


def test_held(pair: Pair) -> None:
    """
    Before the handshake plaintext is held, and a socket with room does not help.
    """
    pair.secure.begin(pair.owner)
    for _ in range(2):
        with pytest.raises(BlockingIOError):
            pair.secure.send(b"hello")
        assert pair.secure.held and not pair.secure.waiting


def test_nothing(ready: Pair) -> None:
    """
    To send nothing is to do nothing.
    """
    assert ready.secure.send(b"") == ready.secure.sendmsg([]) == 0
    assert not ready.secure.held and not ready.far.read()


def test_heldLater(ready: Pair) -> None:
    """
    An engine that has to read before it can write holds plaintext until it has.
    """

    class Holding:
        """
        An engine that encrypts nothing until it has read.
        """

        over = False

        def __init__(self, behind: Engine) -> None:
            self.behind = behind
            self.hasRead = False

        def __getattr__(self, name: str) -> Any:
            return getattr(self.behind, name)

        def decrypt(self, data: bytes) -> bytes:
            """
            Remember it.
            """
            self.hasRead = True
            return self.behind.decrypt(data)

        def encrypt(self, data: bytes) -> int:
            """
            Refuse, or encrypt.
            """
            return self.behind.encrypt(data) if self.hasRead else 0

    ready.secure.engine = Holding(ready.secure.engine)  # type: ignore[assignment]
    with pytest.raises(BlockingIOError):
        ready.secure.send(b"hello")
    assert ready.secure.held
    ready.far.send(b"go")
    assert ready.read() == b"go"
    assert ready.owner.told == ["freed"]
    assert ready.secure.send(b"hello") == 5


@pytest.mark.parametrize("size", [1, 447, 448, 5000, RECORD])
def test_sizes(ready: Pair, size: int) -> None:
    """
    A message of any size is read to its end, without an event in between.
    """
    for _ in range(3):  # the size of one read decides about the next
        ready.far.send(bytes(size))
        got = b""
        while (data := ready.read()) is not None:
            got += data
        assert len(got) == size


def test_pausedAtHandshake(pair: Pair) -> None:
    """
    A protocol that pauses at the handshake gets the data that came with it later, when
    it reads again.
    """

    def pause() -> None:
        pair.owner.reading = False

    pair.owner.secureReady = pause  # type: ignore[method-assign]
    sendEarly(pair)
    assert pair.read() is None
    assert pair.secure.ready and pair.secure.more
    assert pair.hasSent(), "the last flight of the handshake"
    pair.owner.reading = True
    assert pair.read() == b"early"
    assert not pair.secure.more


def sendEarly(pair: Pair) -> None:
    """
    Shake hands until the last message of the client, which goes out with its data.
    """
    pair.secure.begin(pair.owner)
    far = pair.far
    while not far.ready:
        pair.read()
        pair.secure.flush()
        assert pair.hasSent()
        far.ready = far.engine.shake(far.socket.recv(1 << 20))
    far.socket.sendall(far.engine.take(0) + encrypted(far.engine, b"early"))


@pytest.mark.parametrize("answer", [b"answer", b""])
def test_lastFlight(pair: Pair, answer: bytes) -> None:
    """
    Where data comes with the end of the handshake, the last flight of this side goes out
    with the answer, or when the owner comes for it.
    """
    sendEarly(pair)
    assert pair.read() == b"early"
    assert not pair.hasSent()
    assert pair.owner.told[-1] == "soon"
    if answer:
        assert pair.secure.send(answer) == len(answer)
    else:
        pair.secure.settle()
    assert pair.hasSent()
    pair.far.read()
    assert pair.far.got == answer
    pair.secure.settle()
    assert not pair.hasSent()


def test_readyRaises(pair: Pair) -> None:
    """
    The last flight is sent, even if whoever is told of the handshake fails.
    """

    def fail() -> NoReturn:
        raise ZeroDivisionError

    pair.owner.secureReady = fail  # type: ignore[method-assign]
    sendEarly(pair)
    with pytest.raises(StreamBrokenError) as caught:
        pair.read()
    assert isinstance(caught.value.cause, ZeroDivisionError)
    assert pair.hasSent()


def test_end(ready: Pair) -> None:
    """
    The peer's close_notify is the end, after the data before it; the owner is asked to
    come for it.
    """
    last = encrypted(ready.far.engine, b"last")
    ready.far.engine.end()
    ready.far.socket.sendall(last + ready.far.engine.take(0))
    assert ready.read() == b"last"
    assert ready.secure.over and ready.secure.more
    assert ready.owner.told == ["soon"]
    assert ready.read() == b""


def test_endAlone(ready: Pair) -> None:
    """
    A close_notify that comes alone is told at once, and again to an owner that has not
    acted on it.  It is no activity of the peer's.
    """
    before = ready.owner.moved
    ready.far.engine.end()
    ready.far.flush()
    assert ready.read() == b"" == ready.read()
    assert ready.secure.more
    assert (ready.owner.told, ready.owner.moved) == ([], before)


def test_endWithHandshake(pair: Pair) -> None:
    """
    An end that comes with the end of the handshake comes with activity: the owner has
    just been told of the handshake, and may act first.
    """
    pair.secure.begin(pair.owner)
    far = pair.far
    while not far.ready:
        pair.read()
        with suppress(BlockingIOError):
            pair.secure.flush()
        with suppress(BlockingIOError):
            far.ready = far.engine.shake(far.socket.recv(1 << 20))
    last = far.engine.take(0)
    far.engine.end()
    far.socket.sendall(last + far.engine.take(0))
    before = pair.owner.moved
    assert pair.read() == b""
    assert pair.owner.told[-1] == "ready"
    assert pair.owner.moved == before + 1
    assert pair.read() == b""


class Silent:
    """
    A server's engine that wants to be asked for nothing.
    """

    isClient = False


def test_serverWaits(pair: Pair) -> None:
    """
    A server has nothing to say before its client, and does not ask its engine.
    """
    pair.secure.engine = Silent()  # type: ignore[assignment]
    pair.secure.begin(pair.owner)
    assert not pair.secure.waiting and not pair.owner.told


def test_cutShort(ready: Pair) -> None:
    """
    A FIN without a close_notify is no orderly end.
    """
    ready.far.send(b"half")
    ready.far.socket.shutdown(socket.SHUT_WR)
    assert ready.read() == b"half"
    with pytest.raises(ConnectionAbortedError, match="cut short"):
        ready.read()


def test_cutShortAfterOurs(ready: Pair) -> None:
    """
    When our stream has ended, the peer's FIN is enough.
    """
    ready.secure.shutdown(socket.SHUT_WR)
    assert ready.secure.ended
    ready.far.socket.shutdown(socket.SHUT_WR)
    assert ready.read() == b""


def test_garbage(ready: Pair) -> None:
    """
    Garbage breaks the stream, and the peer is told why before that.
    """
    ready.far.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(StreamBrokenError):
        ready.read()
    with pytest.raises(StreamBrokenError, match="alert"):
        ready.far.read()


def test_shutdown(ready: Pair) -> None:
    """
    The end of our stream is a close_notify and a FIN, once.
    """
    for _ in range(2):
        ready.secure.shutdown(socket.SHUT_WR)
    while ready.far.read():
        pass
    assert ready.far.engine.over
    assert ready.far.socket.recv(1) == b""


def test_shutdownWaits(ready: Pair) -> None:
    """
    While the kernel has no room for the close_notify, the FIN waits with it: an end
    without one would look like a stream cut short.
    """
    with pytest.raises(BlockingIOError):
        while True:
            ready.secure.send(b"small")
    stream = b""
    while ready.secure.waiting:
        stream += ready.far.socket.recv(27)  # a record, so that there is room for one
        ready.secure.flush()
    ready.owner.told.clear()
    ready.secure.shutdown(socket.SHUT_WR)
    assert ready.secure.waiting and ready.owner.told == ["waits"]
    while data := ready.far.socket.recv(100_000):
        stream += data
        ready.secure.flush()
    assert not ready.secure.waiting
    assert ready.far.engine.decrypt(stream).endswith(b"small")
    assert ready.far.engine.over or ready.far.engine.decrypt(b"") == b""
    assert ready.far.engine.over


def test_shutdownBroken(ready: Pair) -> None:
    """
    On a broken socket nothing waits for the end of the stream to be sent.
    """
    ready.far.socket.close()
    with suppress(OSError):
        ready.secure.shutdown(socket.SHUT_WR)
    assert ready.secure.ended and not ready.secure.waiting


def test_shutdownReading(ready: Pair) -> None:
    """
    The reading side alone can be ended, which says nothing to the peer.
    """
    ready.secure.shutdown(socket.SHUT_RD)
    assert not ready.secure.ended
    assert not ready.far.read()


def test_failVerification(pair: Pair) -> None:
    """
    What Twisted's verification says counts for more than the engine's own error.
    """
    said = ZeroDivisionError("the name is wrong")
    pair.secure.failVerification(Failure(said))
    pair.secure.begin(pair.owner)
    with pytest.raises(StreamBrokenError, match="the name is wrong") as caught:
        pair.shake()
    assert caught.value.cause is said


def test_failedListener(pair: Pair) -> None:
    """
    An exception of the owner's at the handshake breaks the stream, with it as the cause.
    """

    def fail() -> None:
        raise ZeroDivisionError

    pair.owner.secureReady = fail  # type: ignore[method-assign]
    pair.secure.begin(pair.owner)
    with pytest.raises(StreamBrokenError) as caught:
        pair.shake()
    assert isinstance(caught.value.cause, ZeroDivisionError)


def test_asSocket(pair: Pair) -> None:
    """
    Whatever has nothing to do with its bytes is the socket's own.
    """
    assert pair.secure.fileno() == pair.plain.fileno()
    assert pair.secure.getsockname() == pair.plain.getsockname()


def test_release(ready: Pair) -> None:
    """
    A released socket does not keep its owner.
    """
    ready.secure.release()
    assert ready.secure._owner is None
