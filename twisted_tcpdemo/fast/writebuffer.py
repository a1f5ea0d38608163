"""
The write buffer: bytes that wait for the kernel.

Pieces are kept as they were given, and one C{sendmsg(2)} takes many of them.  The
rest of a piece after a partial send is a view of it, not a copy, so a large write
to a slow peer costs no more than its bytes (twisted #12742).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice
from socket import socket
from typing import Final, TypeAlias

Ancillary: TypeAlias = Iterable[tuple[int, int, bytes]]
"""Level, type and data of control messages, as C{sendmsg} takes them."""

PIECES: Final = 128
"""Pieces in one C{sendmsg(2)}."""


class WriteBuffer:
    """
    Bytes that a connection has accepted and the kernel has not taken.

    @ivar pieces: the pieces as they were given; the first may be a view of its rest.
    @ivar size: bytes in all pieces.
    """

    __slots__ = ("pieces", "size")

    def __init__(self) -> None:
        self.pieces: deque[bytes | memoryview] = deque()
        self.size = 0

    def keep(self, pieces: Iterable[bytes | memoryview], size: int) -> None:
        """
        Add pieces.

        @param pieces: none of them empty.
        @param size: bytes in all of them.
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
        self._taken(sent)

    def sendPart(self, peer: socket, most: int, ancillary: Ancillary = ()) -> int:
        """
        Send once from the first piece.

        @param most: bytes that may be sent, at least 1.
        @param ancillary: what goes with the first of them.
        @return: bytes sent, at least 1.
        @raise OSError: if the kernel takes nothing.
        """
        sent = peer.sendmsg([memoryview(self.pieces[0])[:most]], ancillary)
        self._taken(sent)
        return sent

    def _taken(self, sent: int) -> None:
        pieces = self.pieces
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
        Free the pieces, which can no longer be sent.  L{size} stays: the kernel
        has not taken these bytes.
        """
        self.pieces.clear()
