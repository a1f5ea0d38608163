"""
Descriptors on their way over a UNIX socket.

A descriptor travels with a byte: it goes with the next byte that is written after
it, and arrives before that byte (unix(7), SCM_RIGHTS).  One byte carries one
descriptor.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable
from socket import SCM_RIGHTS, SOL_SOCKET, socket

from twisted_tcpdemo.fast.writebuffer import WriteBuffer


class DescriptorQueue:
    """
    Descriptors that wait for their bytes.

    @ivar _waiting: each with its place, the number of its byte.
    @ivar _passed: bytes sent since the queue was made; the next has this number.
    """

    __slots__ = ("_passed", "_waiting")

    def __init__(self) -> None:
        self._passed = 0
        self._waiting: deque[tuple[int, int]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def append(self, descriptor: int, pending: int) -> None:
        """
        Add a descriptor.

        @param pending: bytes that are in the write buffer, and go before it.
        """
        place = self._passed + pending
        if self._waiting:
            place = max(place, self._waiting[-1][0] + 1)
        self._waiting.append((place, descriptor))

    def settle(self, pending: int) -> bool:
        """
        Make sure that each descriptor has a byte in the write buffer.  Those behind
        the last byte move forward, to bytes that were written before them.

        @param pending: bytes in the write buffer.
        @return: whether there are bytes enough.
        """
        if len(self._waiting) > pending:
            return False
        last = self._passed + pending - 1
        for number in range(len(self._waiting) - 1, -1, -1):
            place, descriptor = self._waiting[number]
            if place <= last:
                break
            self._waiting[number] = last, descriptor
            last -= 1
        return True

    def sendTo(self, peer: socket, pending: WriteBuffer) -> None:
        """
        Send once: the next descriptor with its byte, or bytes that go before it.

        @raise OSError: if the kernel takes nothing.
        """
        place, descriptor = self._waiting[0]
        before = place - self._passed
        if before > 0:
            self._passed += pending.sendPart(peer, before)
            return
        most = self._waiting[1][0] - self._passed if len(self) > 1 else pending.size
        rights = [(SOL_SOCKET, SCM_RIGHTS, struct.pack("i", descriptor))]
        self._passed += pending.sendPart(peer, most, rights)
        self._waiting.popleft()


def descriptorsIn(ancillary: Iterable[tuple[int, int, bytes]]) -> list[int]:
    """
    The descriptors that have come with a message, in their order.
    """
    found: list[int] = []
    for level, kind, content in ancillary:
        if (level, kind) == (SOL_SOCKET, SCM_RIGHTS):
            found += struct.unpack_from(f"{len(content) // 4}i", content)
    return found
