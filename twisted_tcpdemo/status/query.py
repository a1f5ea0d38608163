"""
The choice of the connections to show.  The server chooses and not the browser, so
that ten thousand connections are neither sent nor drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from operator import itemgetter
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

from twisted_tcpdemo.connection.record import Connection
from twisted_tcpdemo.errors import TCPDemoError
from twisted_tcpdemo.monitoring.ends import endsOf

_ROUND_TRIP_TIME: Final = "roundTripTime"

DEFAULT_LIMIT: Final = 200
MOST: Final = 1000
"""The most connections of one answer."""

LONGEST_FILTER: Final = 100

OF_PEER: Final = "peer:"
"""Before the whole address of a peer, in a filter."""


class QueryError(TCPDemoError, ValueError):
    """
    A query is wrong; the text says why.
    """


ASKED_AT_ONCE: Final = 500
"""The most connections about which one sorting asks the kernel.  One question takes
4 us, measured; ten thousand questions would hold the server up for too long."""

AT_ONCE: Final = 250
"""Connections to look at in one step: about a millisecond."""

ASKED_IN_A_STEP: Final = 50
"""Connections to ask the kernel about in one step."""

_looks = count(1)
_asked: WeakKeyDictionary[Connection, tuple[int, float]] = WeakKeyDictionary()
"""The last look that asked the kernel about a connection, and the answer."""

Key: TypeAlias = Callable[[Connection], float | tuple[object, ...]]
Choosing: TypeAlias = Generator[None, None, list[Connection]]
"""A choice in steps."""


def _first(most: int, connections: list[Connection], key: Key, descending: bool) -> Choosing:
    """
    The first connections in an order, without sorting all at once.
    """
    first: list[tuple[float | tuple[object, ...], Connection]] = []
    for start in range(0, len(connections), AT_ONCE):
        first += [(key(connection), connection) for connection in _slice(connections, start)]
        first.sort(key=_keyOf, reverse=descending)
        del first[most:]
        yield
    return [connection for _, connection in first]


_keyOf: Final[Callable[[tuple[Any, Connection]], Any]] = itemgetter(0)


def _slice(connections: list[Connection], start: int) -> list[Connection]:
    return connections[start : start + AT_ONCE]


def _byRoundTripTime(most: int, connections: list[Connection], descending: bool) -> Choosing:
    """
    Sort by round trip times.  A look renews only the oldest of these times, so with
    many connections the order is a few looks late.
    """
    look, unknown = next(_looks), (0, 0.0)
    oldest = yield from _first(
        ASKED_AT_ONCE, connections, lambda c: _asked.get(c, unknown)[0], False
    )
    for number, connection in enumerate(oldest, 1):
        _asked[connection] = look, connection.roundTripTime or 0.0
        if number % ASKED_IN_A_STEP == 0:
            yield
    chosen = yield from _first(most, connections, lambda c: _asked.get(c, unknown)[1], descending)
    return chosen


_KEYS: Final[dict[str, Key]] = {
    "id": lambda c: c.connectionID,
    "peer": lambda c: endsOf(c).peerKey,
    "host": lambda c: endsOf(c).hostKey,
    "age": lambda c: -c.openedAt,
    "idle": lambda c: -c.counts.lastActivity,
    "bytesRead": lambda c: c.counts.bytesRead,
    "bytesWritten": lambda c: c.counts.bytesWritten,
    "bytesPending": lambda c: c.counts.bytesPending,
}


def textOf(arguments: Mapping[bytes, Sequence[bytes]], name: bytes, default: str) -> str:
    """
    An argument of a request.
    """
    return arguments.get(name, [default.encode()])[-1].decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Query:
    """
    A choice of connections, their order and their number.

    @ivar limit: the most connections to show.
    @ivar sort: the name of a column.
    @ivar descending: whether the greatest come first.
    @ivar filter: part of the peer or of the host, without regard to case, or the
        whole number of a connection, or C{peer:} and the whole address of a peer.
        Empty for all.
    """

    limit: int = DEFAULT_LIMIT
    sort: str = "id"
    descending: bool = True
    filter: str = ""

    @classmethod
    def fromArguments(cls, arguments: Mapping[bytes, Sequence[bytes]]) -> Query:
        """
        Read a query from the arguments of a request: C{limit}, C{sort} (with C{-}
        in front for descending) and C{filter}.

        @raise QueryError: if C{limit} or C{sort} is wrong.
        """
        limit = textOf(arguments, b"limit", str(DEFAULT_LIMIT))
        if not (limit.isascii() and limit.isdigit() and len(limit) < 10):
            raise QueryError(f"limit must be a whole number, 0 to {MOST}")
        sort = textOf(arguments, b"sort", "-id")
        columns = [*_KEYS, _ROUND_TRIP_TIME]
        if sort.removeprefix("-") not in columns:
            raise QueryError(f"sort must be one of {', '.join(columns)}, or one with - in front")
        return cls(
            limit=min(int(limit), MOST),
            sort=sort.removeprefix("-"),
            descending=sort.startswith("-"),
            filter=textOf(arguments, b"filter", "")[:LONGEST_FILTER].strip().casefold(),
        )

    def choosing(
        self, connections: list[Connection]
    ) -> Generator[None, None, tuple[list[Connection], int]]:
        """
        Choose among connections, in steps.

        @param connections: all connections, the oldest first.
        @return: the connections to show, and the number that match the filter.
        """
        if self.filter:
            connections = yield from self._matching(connections)
        if not self.limit:
            return [], len(connections)
        if self.sort in ("id", "age"):
            # The connections are in that order already: no sorting, however many.
            oldestFirst = self.descending == (self.sort == "age")
            ordered = connections if oldestFirst else connections[: -self.limit - 1 : -1]
        elif self.sort == _ROUND_TRIP_TIME:
            ordered = yield from _byRoundTripTime(self.limit, connections, self.descending)
        else:
            key = _KEYS[self.sort]
            ordered = yield from _first(self.limit, connections, key, self.descending)
        return ordered[: self.limit], len(connections)

    def _matching(self, connections: list[Connection]) -> Choosing:
        matching: list[Connection] = []
        for start in range(0, len(connections), AT_ONCE):
            matching += [c for c in _slice(connections, start) if self._matches(c)]
            yield
        return matching

    def _matches(self, connection: Connection) -> bool:
        if self.filter.startswith(OF_PEER):
            return endsOf(connection).name.casefold() == self.filter.removeprefix(OF_PEER)
        return self.filter in endsOf(connection).text or self.filter == str(connection.connectionID)
