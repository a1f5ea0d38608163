"""
The choice of the connections to show.  The server chooses and not the browser, so
that ten thousand connections are neither sent nor drawn.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from twisted.internet.interfaces import IAddress

from twisted_tcpdemo.connection.record import Connection
from twisted_tcpdemo.errors import TCPDemoError
from twisted_tcpdemo.values.addresses import Endpoint, endpointOf

_ROUND_TRIP_TIME: Final = "roundTripTime"

DEFAULT_LIMIT: Final = 200
MOST: Final = 1000
"""The most connections of one answer."""

LONGEST_FILTER: Final = 100


class QueryError(TCPDemoError, ValueError):
    """
    A query is wrong; the text says why.
    """


def roundTripTime(connection: Connection) -> float | None:
    """
    The round trip time of a connection in seconds, as the kernel estimates it;
    L{None} where the kernel has no estimate.
    """
    known = getattr(connection.report(), "tcpInfo", None)
    time: float | None = getattr(known, "roundTripTime", None)
    return time


class _Ends(NamedTuple):
    """
    The two ends of a connection, prepared for sorting and filtering.
    """

    peer: IAddress
    host: IAddress
    text: str
    peerKey: tuple[str, bytes, int]
    hostKey: tuple[str, bytes, int]


_ends: WeakKeyDictionary[Connection, _Ends] = WeakKeyDictionary()
"""The prepared ends.  To translate addresses is most of the cost of a look at many
connections (90 ms for ten thousand, each second), and they hardly ever change."""


def _endsOf(connection: Connection) -> _Ends:
    peer, host = connection.peer, connection.host
    ends = _ends.get(connection)
    if ends is None or ends.peer is not peer or ends.host is not host:
        remote, local = endpointOf(peer), endpointOf(host)
        text = f"{remote}\n{local}".casefold()
        ends = _Ends(peer, host, text, _addressKey(remote), _addressKey(local))
        _ends[connection] = ends
    return ends


def _addressKey(end: Endpoint) -> tuple[str, bytes, int]:
    """
    A key that sorts addresses by their numbers: 10.0.0.9 before 10.0.0.10.
    """
    address = end.address or ""
    family = {"IPv4": socket.AF_INET, "IPv6": socket.AF_INET6}.get(end.family or "")
    packed = address.encode("utf-8", "backslashreplace")
    if family is not None:
        with suppress(OSError, ValueError):  # the latter for a NUL
            packed = socket.inet_pton(family, address.partition("%")[0])
    return end.family or "", packed, end.port or 0


ASKED_AT_ONCE: Final = 500
"""The most connections about which one sorting asks the kernel.  One question takes
18 us, measured; ten thousand questions would hold the server up for too long."""

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
        _asked[connection] = look, roundTripTime(connection) or 0.0
        if number % ASKED_IN_A_STEP == 0:
            yield
    chosen = yield from _first(most, connections, lambda c: _asked.get(c, unknown)[1], descending)
    return chosen


_KEYS: Final[dict[str, Key]] = {
    "id": lambda c: c.connectionID,
    "peer": lambda c: _endsOf(c).peerKey,
    "host": lambda c: _endsOf(c).hostKey,
    "age": lambda c: -c.openedAt,
    "idle": lambda c: -c.counts.lastActivity,
    "bytesRead": lambda c: c.counts.bytesRead,
    "bytesWritten": lambda c: c.counts.bytesWritten,
    "bytesPending": lambda c: c.counts.bytesPending,
}


@dataclass(frozen=True, slots=True)
class Query:
    """
    A choice of connections, their order and their number.

    @ivar limit: the most connections to show.
    @ivar sort: the name of a column.
    @ivar descending: whether the greatest come first.
    @ivar filter: part of the peer or of the host, without regard to case, or the
        whole number of a connection.  Empty for all.
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

        def text(name: bytes, default: str) -> str:
            return arguments.get(name, [default.encode()])[-1].decode("utf-8", "replace")

        limit = text(b"limit", str(DEFAULT_LIMIT))
        if not (limit.isascii() and limit.isdigit() and len(limit) < 10):
            raise QueryError(f"limit must be a whole number, 0 to {MOST}")
        sort = text(b"sort", "-id")
        columns = [*_KEYS, _ROUND_TRIP_TIME]
        if sort.removeprefix("-") not in columns:
            raise QueryError(f"sort must be one of {', '.join(columns)}, or one with - in front")
        return cls(
            limit=min(int(limit), MOST),
            sort=sort.removeprefix("-"),
            descending=sort.startswith("-"),
            filter=text(b"filter", "")[:LONGEST_FILTER].strip().casefold(),
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
        return self.filter in _endsOf(connection).text or self.filter == str(
            connection.connectionID
        )
