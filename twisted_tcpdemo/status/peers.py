"""
The peers with the most connections, or the most bytes.
"""

from __future__ import annotations

from collections.abc import Generator
from heapq import nlargest
from typing import Final

from twisted_tcpdemo.connection.record import Connection
from twisted_tcpdemo.monitoring.ends import endsOf

MOST: Final = 10
"""The most peers to tell of."""

AT_ONCE: Final = 250
"""Connections to look at in one step: about a millisecond."""

ORDERS: Final = ("connections", "bytes")


class Peer:
    """
    The connections of one peer, which may have any number of ports.
    """

    __slots__ = ("bytesRead", "bytesWritten", "connections", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.connections = self.bytesRead = self.bytesWritten = 0

    def count(self, connection: Connection) -> None:
        """
        Add a connection.
        """
        self.connections += 1
        self.bytesRead += connection.counts.bytesRead
        self.bytesWritten += connection.counts.bytesWritten

    def sortedBy(self, order: str) -> tuple[int, int]:
        """
        The key of an order.
        """
        moved = self.bytesRead + self.bytesWritten
        return (moved, self.connections) if order == "bytes" else (self.connections, moved)

    def row(self) -> dict[str, object]:
        """
        Its figures.
        """
        return {
            "peer": self.name,
            "connections": self.connections,
            "bytesRead": self.bytesRead,
            "bytesWritten": self.bytesWritten,
        }


def topPeers(connections: list[Connection], order: str) -> Generator[None, None, dict[str, object]]:
    """
    The peers that have the most, in steps of work.

    @param order: one of L{ORDERS}.
    """
    peers: dict[str, Peer] = {}
    for number, connection in enumerate(connections, 1):
        name = endsOf(connection).name
        peer = peers.get(name)
        if peer is None:
            peer = peers[name] = Peer(name)
        peer.count(connection)
        if number % AT_ONCE == 0:
            yield
    yield
    most = nlargest(MOST, peers.values(), key=lambda peer: peer.sortedBy(order))
    return {"peerCount": len(peers), "peers": [peer.row() for peer in most]}
