"""
L{twisted_tcpdemo.fast.writebuffer}: bytes that wait for the kernel.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_tcpdemo.fast.writebuffer import PIECES, WriteBuffer


class Sink:
    """
    A socket that takes as many bytes as it is told to, and remembers them.
    """

    def __init__(self, *room: int) -> None:
        self.room = list(room)
        self.taken = b""
        self.calls: list[int] = []

    def send(self, piece: bytes | memoryview) -> int:
        """
        Take one piece, or the beginning of it.
        """
        return self._take(bytes(piece), 1)

    def sendmsg(self, pieces: list[bytes | memoryview]) -> int:
        """
        Take several.
        """
        return self._take(b"".join(pieces), len(pieces))

    def _take(self, data: bytes, pieces: int) -> int:
        self.calls.append(pieces)
        room = self.room.pop(0)
        if not room:
            raise BlockingIOError
        self.taken += data[:room]
        return min(room, len(data))


def sendTo(buffer: WriteBuffer, sink: Sink) -> None:
    """
    Send once.
    """
    peer: Any = sink
    buffer.sendTo(peer)


@given(
    st.lists(st.lists(st.binary(min_size=1, max_size=20), max_size=4), max_size=8),
    st.lists(st.integers(1, 60), min_size=200, max_size=200),
)
def test_order(writes: list[list[bytes]], room: list[int]) -> None:
    """
    All bytes are sent once and in order, however few the kernel takes at a time,
    and the size is right all along.
    """
    buffer, sink, given = WriteBuffer(), Sink(*room), b""
    for pieces in writes:
        buffer.keep(pieces, sum(map(len, pieces)))
        given += b"".join(pieces)
        if buffer.size:
            sendTo(buffer, sink)
        assert buffer.size == len(given) - len(sink.taken)
    while buffer.size:
        sendTo(buffer, sink)
    assert sink.taken == given
    assert not buffer.pieces


def test_views() -> None:
    """
    The rest of a piece is a view of it, however often it is cut.
    """
    data = bytes(range(100))
    buffer, sink = WriteBuffer(), Sink(10, 20, 30)
    buffer.keep([data], 100)
    for left in (90, 70, 40):
        sendTo(buffer, sink)
        (piece,) = buffer.pieces
        assert isinstance(piece, memoryview)
        assert piece.obj is data
        assert buffer.size == len(piece) == left


def test_fewCalls() -> None:
    """
    Many pieces go in one call, but no more than the kernel takes.
    """
    buffer, sink = WriteBuffer(), Sink(10_000, 10_000, 10_000)
    buffer.keep([b"x"] * (PIECES + 2), PIECES + 2)
    sendTo(buffer, sink)
    sendTo(buffer, sink)
    buffer.keep([b"y"], 1)
    sendTo(buffer, sink)
    assert sink.calls == [PIECES, 2, 1]


def test_nothingTaken() -> None:
    """
    A send of which the kernel takes nothing changes nothing.
    """
    buffer = WriteBuffer()
    buffer.keep([b"one", b"two"], 6)
    with pytest.raises(BlockingIOError):
        sendTo(buffer, Sink(0))
    assert (buffer.size, list(buffer.pieces)) == (6, [b"one", b"two"])


def test_drop() -> None:
    """
    Dropped bytes take no memory, and still count.
    """
    buffer = WriteBuffer()
    buffer.keep([b"lost"], 4)
    buffer.drop()
    assert (buffer.size, len(buffer.pieces)) == (4, 0)
