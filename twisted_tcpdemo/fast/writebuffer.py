"""
Bytes that wait for the kernel.

They are kept as they were given, and many pieces go with one C{sendmsg(2)}.
What a partial send leaves of a piece is a view of it, so that a large write to a
slow peer costs as much as it has bytes, and no more (twisted #12742).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice
from socket import socket
from typing import Final

PIECES: Final = 128
"""Pieces in one C{sendmsg(2)}."""


class WriteBuffer:
    """
    What a connection has accepted and the kernel has not taken.

    @ivar pieces: as they were given, or what is left of them.
    @ivar size: their bytes.
    """

    __slots__ = ("pieces", "size")

    def __init__(self) -> None:
        self.pieces: deque[bytes | memoryview] = deque()
        self.size = 0

    def keep(self, pieces: Iterable[bytes | memoryview], size: int) -> None:
        """
        Add pieces, none of which is empty.

        @param size: their bytes.
        """
        self.pieces.extend(pieces)
        self.size += size

    def sendTo(self, peer: socket) -> None:
        """
        Send once, as much as the kernel takes.

        @raise OSError: if it takes nothing.
        """
        pieces = self.pieces
        if len(pieces) == 1:
            sent = peer.send(pieces[0])
        else:
            sent = peer.sendmsg(list(islice(pieces, PIECES)))
        self.size -= sent
        while sent:
            first = pieces[0]
            if sent < len(first):
                pieces[0] = memoryview(first)[sent:]
                return
            sent -= len(first)
            pieces.popleft()

    def drop(self) -> None:
        """
        Let go of the bytes, which can no longer be sent; they are still what
        the kernel has not taken.
        """
        self.pieces.clear()
