"""
Bytes that a connection has delivered and its program has not taken.

No call looks at a byte twice: a line that comes byte by byte costs as much as one that
comes at once.  A single chunk, the most common case, is never copied as a whole.
"""

from __future__ import annotations

from twisted_tcpdemo.errors import LimitExceededError

_NEWLINE = b"\n"
_RETURN = 13


class Inbox:
    """
    The bytes, in their order.

    @ivar held: a buffer with them, which is empty if there are none.

    Each method that takes some returns L{None} if there are not enough of them yet.
    """

    __slots__ = ("_at", "_searched", "_separator", "held")

    def __init__(self) -> None:
        self.held: bytes | bytearray = b""
        self._at = 0
        self._searched = 0
        self._separator = _NEWLINE

    def __len__(self) -> int:
        return len(self.held) - self._at

    def feed(self, data: bytes) -> None:
        """
        Add bytes.
        """
        if not self.held:
            self.held = data
            return
        at, self._at = self._at, 0
        self._searched -= at
        if isinstance(self.held, bytearray):
            if at:
                del self.held[:at]
            self.held += data
        else:
            self.held = bytearray().join((memoryview(self.held)[at:], data))

    def clear(self) -> None:
        """
        Throw all bytes away.
        """
        self.held = b""
        self._at = self._searched = 0

    def rest(self) -> bytes:
        """
        All bytes.  They are not taken.
        """
        return bytes(self.held[self._at :])

    def some(self, most: int) -> bytes | None:
        """
        Take what there is, up to a number of bytes.
        """
        size = len(self.held)
        if not size:
            return None
        end = min(self._at + most, size)
        return self._take(end, end)

    def exactly(self, count: int) -> bytes | None:
        """
        Take a number of bytes.
        """
        end = self._at + count
        return self._take(end, end) if end <= len(self.held) else None

    def until(self, separator: bytes, limit: int) -> bytes | None:
        """
        Take the bytes before a separator, and drop the separator.

        @raise LimitExceededError: if they are more than C{limit}.
        """
        if separator != self._separator:
            self._separator, self._searched = separator, self._at
        held, at = self.held, self._at
        end = held.find(separator, self._searched)
        # Without a separator, the last bytes may be the beginning of one.
        content = (end if end >= 0 else len(held) - len(separator) + 1) - at
        if content > limit:
            raise LimitExceededError(limit, separator)
        if end < 0:
            self._searched = max(self._searched, at + content)
            return None
        return self._take(end, end + len(separator))

    def line(self, limit: int) -> bytes | None:
        """
        Take a line, and drop its end, LF or CR LF.

        @raise LimitExceededError: if it has more bytes than C{limit}.
        """
        if self._separator != _NEWLINE:
            self._separator, self._searched = _NEWLINE, self._at
        held, at = self.held, self._at
        end = held.find(b"\n", self._searched)
        if end < 0:
            self._searched = end = len(held)
            if end - at - (held[end - 1 :] == b"\r") > limit:
                raise LimitExceededError(limit, _NEWLINE)
            return None
        line = held[at:end]
        if line.endswith(b"\r"):
            line = line[:-1]
        if len(line) > limit:
            raise LimitExceededError(limit, _NEWLINE)
        # As _take() does: this is the most frequent call of all.
        end += 1
        if end < len(held):
            self._at = self._searched = end
        else:
            self.held = b""
            self._at = self._searched = 0
        return line if line.__class__ is bytes else bytes(line)

    def _take(self, end: int, after: int) -> bytes:
        held, at = self.held, self._at
        if after == len(held):
            self.held = b""
            self._at = self._searched = 0
        else:
            self._at = self._searched = after
        piece = held[at:end]
        return piece if isinstance(piece, bytes) else bytes(piece)


# What a read takes of a chunk that comes while nothing is held, if it takes all of it:
# most chunks are just what is waited for.


def wholeSome(data: bytes, most: int) -> bytes | None:
    """
    As L{Inbox.some}.
    """
    return data if len(data) <= most else None


def wholeExactly(data: bytes, count: int) -> bytes | None:
    """
    As L{Inbox.exactly}.
    """
    return data if len(data) == count else None


def wholeLine(data: bytes, limit: int) -> bytes | None:
    """
    As L{Inbox.line}.
    """
    line, newline, rest = data.partition(b"\n")
    if rest or not newline:
        return None
    if line and line[-1] == _RETURN:
        line = line[:-1]
    return line if len(line) <= limit else None


def wholeNothing(data: bytes, limit: int) -> None:
    """
    As L{Inbox.until}: it is for the inbox to look.
    """
