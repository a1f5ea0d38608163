"""
L{twisted_tcpdemo.fast.transport}: TLS that comes in pieces.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import closing, suppress
from typing import Any

import OpenSSL.SSL
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as some
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.support.clients import to
from tests.support.contexts import CONTEXTS, PythonContexts, everyContext
from tests.support.fast import fastServer
from tests.support.peers import rawConnection
from tests.support.waiting import turn, until, withDeadline

HEADER = 5
"""Bytes of a record's header; the last two are the length of the rest."""

BROKEN = {
    "forged record": b"\x17\x03\x03\x00\x20" + bytes(32),
    "no TLS": b"GET / HTTP/1.0\r\n\r\n",
}
"""Ends of a stream that break it: bytes that are no TLS, without a FIN."""


@implementer(IHandshakeListener)
class Told(Protocol):
    """
    Remembers what it is told; adjacent data as one.  It says something at the end of
    the handshake.
    """

    transport: Any

    def __init__(self) -> None:
        self.told: list[Any] = []

    def connectionMade(self) -> None:
        """
        Remember it.
        """
        self.told.append("made")

    def handshakeCompleted(self) -> None:
        """
        Remember it, and say something.
        """
        self.told.append("secure")
        self.transport.write(b"welcome")

    def dataReceived(self, data: bytes) -> None:
        """
        Remember the bytes.
        """
        assert data
        if isinstance(self.told[-1], bytes):
            data = self.told.pop() + data
        self.told.append(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """
        Remember the kind of the reason.
        """
        self.told.append(reason.type)


class Cuts:
    """
    Where a stream is cut.

    @ivar near: pairs of a number, which stands for a record, and a distance from its
        beginning, in bytes.
    @ivar anywhere: parts of the whole length.
    """

    def __init__(
        self, near: list[tuple[int, int]] | None = None, anywhere: list[float] | None = None
    ) -> None:
        self.near = near or []
        self.anywhere = anywhere or []

    def __repr__(self) -> str:
        return f"Cuts({self.near}, {self.anywhere})"

    def pieces(self, stream: bytes) -> list[bytes]:
        """
        Cut a stream of records.
        """
        starts, start = [], 0
        while start + HEADER <= len(stream):
            starts.append(start)
            start += HEADER + int.from_bytes(stream[start + 3 : start + HEADER], "big")
        places = {int(part * len(stream)) for part in self.anywhere}
        places |= {starts[number % len(starts)] + away for number, away in self.near if starts}
        inside = sorted(place for place in places if 0 < place < len(stream))
        return [
            stream[begin:end]
            for begin, end in zip([0, *inside], [*inside, len(stream)], strict=True)
        ]


class ByteByByte(Cuts):
    """
    Cuts everywhere.
    """

    def __repr__(self) -> str:
        return "ByteByByte()"

    def pieces(self, stream: bytes) -> list[bytes]:
        """
        See L{Cuts.pieces}.
        """
        return [stream[place : place + 1] for place in range(len(stream))]


class Memory:
    """
    The peer: TLS in memory, over a plain socket.
    """

    def __init__(self, version: str, isClient: bool) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = (PythonContexts.client if isClient else PythonContexts.server)(version=version)
        self.tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=not isClient,
            server_hostname="localhost" if isClient else None,
        )

    def _hear(self, raw: socket.socket) -> bool:
        """
        Take ciphertext, if there is any.
        """
        with suppress(BlockingIOError):
            self._incoming.write(raw.recv(65536))
            return True
        return False

    async def shake(self, raw: socket.socket, cuts: Cuts) -> None:
        """
        Do the handshake.  The last message is kept for what follows.
        """
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await say(raw, self._outgoing.read(), cuts)
                await until(lambda: self._hear(raw))
            else:
                return

    def stream(self, messages: list[bytes], end: str) -> bytes:
        """
        All that is to be said after the handshake.
        """
        for message in messages:
            self.tls.write(message)
        if end == "close_notify":
            with suppress(ssl.SSLError):  # the other side has not ended yet
                self.tls.unwrap()
        return self._outgoing.read() + BROKEN.get(end, b"")


async def say(raw: socket.socket, stream: bytes, cuts: Cuts) -> None:
    """
    Send a stream in pieces, each in a turn of its own.
    """
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in cuts.pieces(stream):
        left = piece
        while left:
            with suppress(BlockingIOError):
                left = left[raw.send(left) :]
            await turn()


async def talk(
    memory: Memory, raw: socket.socket, messages: list[bytes], end: str, cuts: Cuts
) -> None:
    """
    The peer's part, from the handshake to its FIN.  What is no TLS ends it without one.
    """
    await memory.shake(raw, cuts)
    with suppress(OSError):  # it may have gone at the first bytes of what is no TLS
        await say(raw, memory.stream(messages, end), cuts)
        if end not in BROKEN:
            raw.shutdown(socket.SHUT_WR)


async def ofServer(
    contexts: Any, version: str, messages: list[bytes], end: str, cuts: Cuts
) -> list[Any]:
    """
    What a server's protocol is told.
    """
    async with fastServer(Told, tls=contexts.server()) as server:
        told: list[Any] = []

        def build() -> Told:
            protocol = Told()
            protocol.told = told
            return protocol

        server.protocol = build
        with closing(rawConnection(server.port)) as raw:
            await talk(Memory(version, True), raw, messages, end, cuts)
            await until(lambda: told and isinstance(told[-1], type))
        return told


async def ofClient(
    contexts: Any, version: str, messages: list[bytes], end: str, cuts: Cuts
) -> list[Any]:
    """
    What a client's protocol is told.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        protocol = Told()
        endpoint = to(listener.getsockname()[1], "localhost", tls=contexts.client())
        connecting = endpoint.connectProtocol(protocol)
        raw: Any = None

        def accepted() -> bool:
            nonlocal raw
            with suppress(BlockingIOError):
                raw, _ = listener.accept()
            return raw is not None

        await until(accepted)
        with closing(raw):
            raw.setblocking(False)
            await talk(Memory(version, False), raw, messages, end, cuts)
            await connecting
            await until(lambda: isinstance(protocol.told[-1], type))
        return protocol.told


async def alike(side: Any, *script: Any) -> None:
    """
    Check that a stream in pieces tells a protocol the same as in one.
    """

    async def both() -> None:
        *rest, messages, end, cuts = script
        told = await side(*rest, messages, end, cuts)
        whole = b"".join(messages)
        assert told[:2] in (["made", "secure"], ["secure", "made"])
        assert told[2:-1] == ([whole] if whole else [])
        assert told == await side(*rest, messages, end, Cuts())

    await withDeadline(both, 10)()


versions = some.sampled_from(["1.2", "1.3"])
ends = some.sampled_from(["close_notify", "FIN"])
messages = some.lists(
    some.builds(
        lambda size, byte: bytes([byte]) * size,
        some.one_of(some.integers(1, 300), some.sampled_from([16384, 16385, 40000])),
        some.integers(0, 255),
    ),
    max_size=4,
)
cuts = some.builds(
    Cuts,
    some.lists(some.tuples(some.integers(0, 9), some.integers(-3, HEADER + 1)), max_size=12),
    some.lists(some.floats(0, 1), max_size=6),
)

scripts = some.tuples(some.sampled_from(list(CONTEXTS.values())), versions, messages, ends, cuts)
few = settings(max_examples=40, deadline=None)

HELLO = [b"hello", b"goodbye"]
EVERY_HEADER = Cuts([(record, place) for record in range(4) for place in range(HEADER + 1)])
WAYS: dict[str, Cuts] = {"whole": Cuts(), "bytes": ByteByByte()}


def always(test: Any) -> Any:
    """
    Examples that are always tried.
    """
    for contexts in CONTEXTS.values():
        for version in ("1.2", "1.3"):
            for end in ("close_notify", "FIN"):
                test = example(script=(contexts, version, HELLO, end, ByteByByte()))(test)
            large = [b"a" * 16384, b"b"]
            test = example(script=(contexts, version, large, "FIN", EVERY_HEADER))(test)
    return test


@few
@given(script=scripts)
@always
async def test_server(script: tuple[Any, ...]) -> None:
    """
    A server's protocol is told the same, however the client's stream is cut.
    """
    await alike(ofServer, *script)


@few
@given(script=scripts)
@always
async def test_client(script: tuple[Any, ...]) -> None:
    """
    A client's protocol is told the same, however the server's stream is cut.
    """
    await alike(ofClient, *script)


@pytest.mark.deadline(2)
@everyContext
@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("end", BROKEN)
@pytest.mark.parametrize("cuts", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("side", [ofServer, ofClient])
async def test_broken(side: Any, cuts: Cuts, end: str, version: str, contexts: Any) -> None:
    """
    Data before bytes that are no TLS is delivered, and the connection ends at once for
    the same reason, however the stream is cut.
    """
    told = await side(contexts, version, HELLO, end, cuts)
    assert sorted(told[:2]) == ["made", "secure"]
    assert told[2] == b"".join(HELLO)
    assert issubclass(told[3], ssl.SSLError | OpenSSL.SSL.Error)
