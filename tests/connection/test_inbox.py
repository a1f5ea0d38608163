"""
Bytes that wait for a program.
"""

from __future__ import annotations

from time import thread_time

import pytest

from twisted_tcpdemo.connection.inbox import Inbox
from twisted_tcpdemo.errors import LimitExceededError


def filled(*pieces: bytes) -> Inbox:
    """
    An inbox with some bytes.
    """
    inbox = Inbox()
    for piece in pieces:
        inbox.feed(piece)
    return inbox


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_lines(size: int) -> None:
    """
    Lines are the same however their bytes are cut, with LF and with CR LF.
    """
    text = b"one\r\ntwo\n\n\r\nfi\rve\r\r\nrest"
    inbox, lines = Inbox(), []
    for start in range(0, len(text), size):
        inbox.feed(text[start : start + size])
        while (line := inbox.line(10)) is not None:
            lines.append(line)
    assert lines == [b"one", b"two", b"", b"", b"fi\rve\r"]
    assert (inbox.rest(), len(inbox)) == (b"rest", 4)


@pytest.mark.parametrize("size", [1, 2, 100])
def test_separator(size: int) -> None:
    """
    A separator of several bytes is found however it is cut.
    """
    text = b"a--b---->c---->d"
    inbox, found = Inbox(), []
    for start in range(0, len(text), size):
        inbox.feed(text[start : start + size])
        while (piece := inbox.until(b"---->", 10)) is not None:
            found.append(piece)
    assert found == [b"a--b", b"c"]
    assert inbox.exactly(1) == b"d"


def test_anotherSeparator() -> None:
    """
    A search for another separator looks at all bytes again.
    """
    inbox = filled(b"key=value;more")
    assert inbox.line(100) is None
    assert inbox.until(b"=", 100) == b"key"
    assert inbox.line(100) is None
    assert inbox.until(b";", 100) == b"value"
    assert inbox.exactly(5) is None
    assert inbox.some(2) == b"mo"
    assert inbox.some(10) == b"re"
    assert inbox.some(10) is None
    assert inbox.exactly(0) == b""


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("size", [1, 100])
def test_limit(end: bytes, size: int) -> None:
    """
    A line may have as many bytes as the limit, and no more, whether its end has come or
    not.
    """
    for line, fits in ((b"12345", True), (b"123456", False)):
        inbox, found = Inbox(), None
        try:
            for start in range(0, len(line + end), size):
                inbox.feed((line + end)[start : start + size])
                found = inbox.line(5)
        except LimitExceededError as error:
            assert not fits and error.limit == 5 and "more than 5 bytes" in str(error)
        else:
            assert fits and found == line
    with pytest.raises(LimitExceededError):
        filled(b"123456").line(5)
    assert filled(b"12345").until(b"::", 5) is None
    assert filled(b"12345:").until(b"::", 5) is None
    assert filled(b"12345::").until(b"::", 5) == b"12345"
    with pytest.raises(LimitExceededError):
        filled(b"123456:").until(b"::", 5)


def work(size: int) -> float:
    """
    Seconds of work for a line that comes byte by byte.
    """
    inbox, began = Inbox(), thread_time()
    for _ in range(size):
        inbox.feed(b"x")
        assert inbox.line(size) is None
    inbox.feed(b"\n")
    line = inbox.line(size)
    assert line is not None and len(line) == size
    return thread_time() - began


def test_byteByByte() -> None:
    """
    The work for a line that comes byte by byte grows with its length, not with the square
    of it.
    """
    short = min(work(50_000) for _ in range(3))
    assert work(1_000_000) < 100 * short  # a square would be 400 times as much


def test_pipelined() -> None:
    """
    The work for many short lines grows with their number.
    """

    def lines(count: int) -> float:
        inbox, began = filled(b"x", b"\n" * count), thread_time()
        while inbox.line(10) is not None:
            pass
        return thread_time() - began

    assert lines(400_000) < 100 * min(lines(20_000) for _ in range(3))
