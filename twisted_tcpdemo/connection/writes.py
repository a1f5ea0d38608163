"""
Deferreds that fire when written bytes reach the operating system.

A program that does not look at them has not asked for their result.  So a failure at
which nobody has looked is not logged, as that of another Deferred is: each peer that
resets its connection could fill the log.
"""

from __future__ import annotations

from collections import deque
from typing import TypeVar

from twisted.internet.defer import Deferred

from twisted_tcpdemo.errors import WriteFailedError
from twisted_tcpdemo.transports.layers import failQuietly

T = TypeVar("T")

LOW_WATER = 65536
"""Bytes that may be pending while the buffer still counts as low: the size at
which Twisted's transports pause a streaming producer."""


class PendingWrites:
    """
    The Deferreds of C{write()} and C{whenWritable()}, each fired exactly once.
    """

    __slots__ = ("_room", "_writes")

    def __init__(self) -> None:
        self._writes: deque[tuple[int, Deferred[int]]] = deque()
        self._room: list[Deferred[None]] = []

    def whenTaken(self, offset: int) -> Deferred[int]:
        """
        Wait until the operating system has taken some bytes.

        @param offset: how many bytes of the connection it must have taken, from
            the first one on; never less than in an earlier call.
        """
        waiter: Deferred[int] = Deferred()
        self._writes.append((offset, waiter))
        return waiter

    def whenLow(self) -> Deferred[None]:
        """
        Wait until no more than L{LOW_WATER} bytes are pending.
        """
        waiter: Deferred[None] = Deferred()
        self._room.append(waiter)
        return waiter

    def settle(self, written: int, pending: int) -> None:
        """
        Fire what has come true.

        Each leaves its list before it fires: a callback may write.
        """
        writes = self._writes
        while writes and writes[0][0] <= written - pending:
            writes.popleft()[1].callback(written)
        if self._room and pending <= LOW_WATER:
            room, self._room = self._room, []
            for waiter in room:
                waiter.callback(None)

    def end(self, written: int, pending: int, error: WriteFailedError) -> None:
        """
        Fire the writes that the operating system has taken, and fail what is left:
        it will take no more.
        """
        room, self._room = self._room, []
        self.settle(written, pending)
        writes, self._writes = self._writes, deque()
        for _, write in writes:
            failQuietly(write, error)
        for waiter in room:
            failQuietly(waiter, error)


def refused(error: WriteFailedError) -> Deferred[T]:
    """
    A Deferred that has failed: the operating system can take no bytes.
    """
    waiter: Deferred[T] = Deferred()
    failQuietly(waiter, error)
    return waiter


def encoded(data: bytes | str, encoding: str) -> bytes:
    """
    The bytes to write for bytes or text.

    @raise TypeError: if it is neither.
    """
    if isinstance(data, str):
        return data.encode(encoding)
    if not isinstance(data, bytes):
        raise TypeError(f"write() takes bytes or str, not {type(data).__name__}")
    return data
