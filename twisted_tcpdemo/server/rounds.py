"""
Rounds among connections: each is visited in its turn, a few at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from twisted_tcpdemo.connection.record import Connection


class Rounds:
    """
    Goes around among connections that come and go.
    """

    def __init__(self, connections: Callable[[], Iterable[Connection]]) -> None:
        """
        @param connections: gives the open connections; is asked at the beginning of a round.
        """
        self._connections = connections
        self._round: Iterator[Connection] = iter(())

    def next(self, most: int) -> list[Connection]:
        """
        The next connections that are still open; at the end of a round, fewer or none.
        """
        chosen = list(islice(self._round, most))
        if not chosen:
            self._round = iter(list(self._connections()))
            chosen = list(islice(self._round, most))
        return [connection for connection in chosen if connection.closeReason is None]
