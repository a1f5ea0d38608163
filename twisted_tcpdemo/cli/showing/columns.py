"""
The columns of a table of connections, and which connections are shown in which order.

Order and filter are those of the status page.  A page has chosen already, among more
connections than it sends; control sends all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import urlencode

Row = Mapping[str, object]
"""A connection, as a server describes it."""


class Column(NamedTuple):
    """
    A column.

    @ivar name: its heading, by which one sorts.
    @ivar field: the name of its value, in the JSON of a server.
    @ivar rank: on a narrow terminal the columns with the highest rank go first.
    """

    name: str
    field: str
    rank: int


COLUMNS: Final = (
    Column("id", "id", 0),
    Column("peer", "peer", 0),
    Column("host", "host", 7),
    Column("age", "age", 2),
    Column("idle", "idle", 4),
    Column("read", "bytesRead", 1),
    Column("written", "bytesWritten", 1),
    Column("pending", "bytesPending", 6),
    Column("rtt", "roundTripTime", 5),
)

ADDRESSES: Final = ("peer", "host")

OF_PEER: Final = "peer:"
"""What a filter for the whole address of a peer begins with."""


class Choice(NamedTuple):
    """
    Which connections to show, and in which order.

    @ivar sort: the name of a column.
    @ivar reverse: whether to turn the order round.
    @ivar filter: see L{matches}.
    """

    sort: str = "id"
    reverse: bool = False
    filter: str = ""

    @property
    def descending(self) -> bool:
        """
        Whether the greatest come first.
        """
        return (self.sort not in ADDRESSES) is not self.reverse

    def query(self, limit: int) -> str:
        """
        The same for a status page.
        """
        field = next(c.field for c in COLUMNS if c.name == self.sort)
        order = f"{'-' if self.descending else ''}{field}"
        asked = {"limit": str(limit), "sort": order}
        return urlencode({**asked, "filter": self.filter} if self.filter else asked)

    def of(self, rows: Iterable[object]) -> list[Row]:
        """
        The connections to show, in their order; what is no connection is left out.
        """
        field = next(c.field for c in COLUMNS if c.name == self.sort)
        key = addressKey if self.sort in ADDRESSES else _numberKey
        found = [row for row in rows if isinstance(row, dict) and self.matches(row)]
        return sorted(found, key=lambda row: key(row.get(field)), reverse=self.descending)

    def matches(self, row: Row) -> bool:
        """
        Whether the filter is empty, is part of an address, without regard to case, or
        is the number of the connection, or C{peer:} and the address of its peer.
        """
        wanted = self.filter.strip().casefold()
        if wanted.startswith(OF_PEER):
            return hostOf(str(row.get("peer"))).casefold() == wanted.removeprefix(OF_PEER)
        ends = "\n".join(str(row.get(name)) for name in ADDRESSES).casefold()
        return not wanted or wanted in ends or wanted == str(row.get("id"))


def hostOf(text: str) -> str:
    """
    An address without its port; a path has none.
    """
    return text if text.startswith("unix:") else text.rpartition(":")[0].strip("[]") or text


def _numberKey(value: object) -> tuple[bool, float]:
    """
    A key for numbers; whatever is none is the least.
    """
    known = isinstance(value, int | float) and abs(value) < 1e300
    return known, float(value) if known and isinstance(value, int | float) else 0.0


def addressKey(value: object) -> tuple[int, bytes, int]:
    """
    A key that sorts addresses by their numbers: 10.0.0.9 before 10.0.0.10.
    """
    text = str(value)
    host, _, port = text.rpartition(":")
    try:
        address = ip_address(host.strip("[]").partition("%")[0])
        return address.version, address.packed, int(port)
    except ValueError:
        return 9, text.encode("utf-8", "backslashreplace"), 0
