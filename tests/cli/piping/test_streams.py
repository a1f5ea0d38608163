"""
Standard input and output in a reactor: nothing blocks, no byte is lost, and the
files stay as they were.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import until, within
from tests.support.wall import HOUR, settableWall
from twisted_tcpdemo.cli.piping.streams import PIECE, PIECES, NoSource, Sink, Source

DATA = bytes(range(256)) * 20_000


def theReactor() -> Any:
    """
    The reactor of the tests.
    """
    from twisted.internet import reactor

    return reactor


@pytest.fixture
def pipe() -> Generator[tuple[int, int]]:
    """
    A pipe: the end to read from, and the end to write to.
    """
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


class Output:
    """
    A L{Sink}, and the calls it has made.
    """

    def __init__(self, fd: int) -> None:
        self.emptied = 0
        self.errors: list[OSError] = []
        self.sink = Sink(theReactor(), fd, self.count, self.errors.append)

    def count(self) -> None:
        """
        Count an emptied buffer.
        """
        self.emptied += 1


async def emptied(output: Output, end: int | socket.socket) -> bytes:
    """
    Read all bytes of a sink from the other end of its file.
    """
    received = bytearray()

    def read() -> bool:
        with suppress(BlockingIOError):
            received.extend(os.read(end, 100_000) if isinstance(end, int) else end.recv(100_000))
        return len(received) >= len(DATA)

    if isinstance(end, int):
        os.set_blocking(end, False)
    else:
        end.setblocking(False)
    await until(read)
    await until(lambda: output.emptied)
    return bytes(received)


@pytest.mark.parametrize("reopened", [True, False], ids=["reopened", "pieces"])
async def test_pipe(reopened: bool, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A full pipe never blocks and stays blocking, whether it can be opened once more
    or not.
    """
    if not reopened:

        def refuse(*_: object) -> int:
            raise PermissionError

        monkeypatch.setattr("twisted_tcpdemo.cli.piping.streams.os.open", refuse)
    output = Output(pipe[1])
    assert not output.sink.write(DATA[:-1])
    assert output.sink.pending
    assert not output.sink.write(DATA[-1:])
    assert os.get_blocking(pipe[1])
    assert await emptied(output, pipe[0]) == DATA
    assert (output.emptied, output.errors, len(output.sink.pending)) == (1, [], 0)
    output.sink.close()


async def test_socket() -> None:
    """
    A full socket never blocks and stays blocking.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        output = Output(ours.fileno())
        assert not output.sink.write(DATA)
        assert os.get_blocking(ours.fileno())
        assert await emptied(output, theirs) == DATA
        output.sink.close()


def test_file(tmp_path: Path) -> None:
    """
    A regular file takes all bytes at once.
    """
    with open(tmp_path / "file", "wb") as file:
        output = Output(file.fileno())
        assert output.sink.write(DATA)
        output.sink.close()
    assert (tmp_path / "file").read_bytes() == DATA


async def test_readerLeaves(pipe: tuple[int, int]) -> None:
    """
    A reader that leaves is one error for the bytes that wait, and later bytes are
    dropped.
    """
    output = Output(pipe[1])
    assert not output.sink.write(DATA)
    os.close(pipe[0])
    await until(lambda: output.errors)
    assert output.sink.write(b"more")
    assert [type(error) for error in output.errors] == [BrokenPipeError]
    assert (output.emptied, len(output.sink.pending)) == (0, 0)
    output.sink.close()


def test_readerHasLeft(pipe: tuple[int, int]) -> None:
    """
    A reader that left before the first write is an error too.
    """
    os.close(pipe[0])
    output = Output(pipe[1])
    output.sink.write(b"x")
    assert [type(error) for error in output.errors] == [BrokenPipeError]
    output.sink.close()


class Input:
    """
    A L{Source}, and the calls it has made.
    """

    def __init__(self, fd: int) -> None:
        self.received = bytearray()
        self.pieces = 0
        self.ends: list[OSError | None] = []
        self.pauseAfter = 0
        self.source = Source(theReactor(), fd, self.receive, self.ends.append)

    def receive(self, data: bytes) -> None:
        """
        Remember a piece.
        """
        self.received += data
        self.pieces += 1
        if self.pieces == self.pauseAfter:
            self.source.pause()


async def test_readFile(tmp_path: Path) -> None:
    """
    A file is read in pieces with turns of the reactor between them, and its end is
    told once.
    """
    data = DATA * (1 + PIECES * PIECE // len(DATA))
    (tmp_path / "file").write_bytes(data)
    with open(tmp_path / "file", "rb") as file:
        reading = Input(file.fileno())
        assert reading.source.size == len(data)
        reading.source.resume()
        reading.source.resume()
        assert len(reading.received) == PIECE * PIECES
        await until(lambda: reading.ends)
        assert (bytes(reading.received), reading.ends) == (data, [None])
        reading.source.resume()
        assert not reading.source.open


async def test_pauseFile(tmp_path: Path) -> None:
    """
    A paused file is read no further until it is resumed.
    """
    (tmp_path / "file").write_bytes(DATA)
    with open(tmp_path / "file", "rb") as file:
        reading = Input(file.fileno())
        reading.pauseAfter = 2
        reading.source.resume()
        assert (reading.pieces, reading.ends) == (2, [])
        assert reading.source.hasMore()
        reading.source.resume()
        await until(lambda: reading.ends)
        assert not reading.source.hasMore()


async def test_hasMoreLosesNothing(tmp_path: Path, pipe: tuple[int, int]) -> None:
    """
    To ask whether there is more takes nothing away, from a file or from a pipe.
    """
    (tmp_path / "file").write_bytes(b"abc")
    os.write(pipe[1], b"abc")
    os.close(pipe[1])
    with open(tmp_path / "file", "rb") as file:
        both = [Input(number) for number in (file.fileno(), pipe[0])]
        for reading in both:
            assert reading.source.hasMore() and reading.source.hasMore()
            reading.source.resume()
        await until(lambda: all(reading.ends for reading in both))
        assert [reading.received for reading in both] == [b"abc", b"abc"]


def test_noSource() -> None:
    """
    No input at all has nothing to give, and no end.
    """
    source = NoSource()
    source.resume()
    source.pause()
    source.stop()
    assert (source.hasMore(), source.open, source.size) == (False, False, None)


async def test_fileAndClock(tmp_path: Path) -> None:
    """
    A file is read to its end, though the system's clock is set back between two parts.
    """
    (tmp_path / "file").write_bytes(bytes(PIECE * (PIECES + 5)))
    with open(tmp_path / "file", "rb") as file, settableWall() as wall:
        reading = Input(file.fileno())
        reading.source.resume()
        wall.set(-HOUR)
        assert await within(5, lambda: reading.ends)
        assert reading.pieces == PIECES + 5


async def test_stopFile(tmp_path: Path) -> None:
    """
    A stopped file is read no further.
    """
    (tmp_path / "file").write_bytes(bytes(PIECE * (PIECES + 5)))
    with open(tmp_path / "file", "rb") as file:
        reading = Input(file.fileno())
        reading.source.resume()
        reading.source.stop()
        assert (reading.pieces, reading.ends) == (PIECES, [])


@pytest.mark.parametrize("first", [b"x", b""])
async def test_readPipe(pipe: tuple[int, int], first: bytes) -> None:
    """
    A pipe is read as its writer writes, and ends when the writer leaves.
    """
    reading = Input(pipe[0])
    reading.source.resume()
    assert reading.source.size is None
    assert not reading.source.hasMore()
    if first:
        os.write(pipe[1], first)
        await until(lambda: reading.received)
    os.close(pipe[1])
    await until(lambda: reading.ends)
    assert (bytes(reading.received), reading.ends) == (first, [None])
    assert not reading.source.hasMore()


def test_somebodyWasFaster(pipe: tuple[int, int]) -> None:
    """
    When another process has read the bytes first, nothing happens.
    """
    os.set_blocking(pipe[0], False)
    reading = Input(pipe[0])
    reading.source.doRead()
    assert (reading.received, reading.ends) == (b"", [])
    assert reading.source.logPrefix() == "tcpdemo"


async def test_terminalGoes() -> None:
    """
    A terminal whose other end has gone has reached its end.
    """
    ours, theirs = os.openpty()
    try:
        reading = Input(theirs)
        reading.source.resume()
        os.close(ours)
        await until(lambda: reading.ends)
    finally:
        os.close(theirs)
    assert reading.ends == [None]


def test_notReadable(tmp_path: Path) -> None:
    """
    A file that cannot be read gives the reason.
    """
    with open(tmp_path / "file", "wb") as file:
        reading = Input(file.fileno())
        assert not reading.source.hasMore()
        reading.source.resume()
        [error] = reading.ends
        assert isinstance(error, OSError)
