"""
Deferreds that fire when written bytes reach the operating system.
"""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred

from twisted_tcpdemo.errors import WriteFailedError

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

    def fail(self, error: WriteFailedError) -> None:
        """
        Fail what is left: the operating system will take no more.
        """
        writes, self._writes = self._writes, deque()
        room, self._room = self._room, []
        for _, write in writes:
            write.errback(error)
        for waiter in room:
            waiter.errback(error)
