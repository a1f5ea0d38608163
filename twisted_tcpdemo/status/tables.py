"""
Connections and history as CSV (RFC 4180), for a spreadsheet.

A peer may choose its address, as in a PROXY header.  A cell that a spreadsheet would take for
a formula begins with an apostrophe.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import Final

from twisted_tcpdemo.connection.record import Connection
from twisted_tcpdemo.monitoring.snapshot import connectionOf
from twisted_tcpdemo.status.history import RATES, Point
from twisted_tcpdemo.web.answer import Answer

CSV: Final = b"text/csv; charset=utf-8"

ROWS_AT_ONCE: Final = 50
"""Rows of a table in one piece of an answer: about a millisecond."""

CONNECTION: Final = (
    *("id", "peer", "host", "age", "idle"),
    *("bytesRead", "bytesWritten", "bytesPending", "roundTripTime"),
)

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a formula begins with."""

HISTORY: Final = ("time", "connections", "peak", "limit", *RATES)


def connectionsTable(connections: list[Connection]) -> Answer:
    """
    Connections, a row each.
    """
    rows = ([facts[name] for name in CONNECTION] for facts in map(connectionOf, connections))
    return _table("connections", CONNECTION, rows)


def historyTable(points: Iterable[Point]) -> Answer:
    """
    What has been, a moment each.
    """
    rows = ((_moment(p.time), p.connections, p.peak, p.limit, *p.rates) for p in points)
    return _table("history", HISTORY, rows)


def _moment(time: float) -> str:
    return datetime.fromtimestamp(time, timezone.utc).isoformat(timespec="milliseconds")


def _table(name: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> Answer:
    """
    An answer that is made a part of the rows at a time.
    """
    headers = {b"Content-Disposition": b'attachment; filename="%s.csv"' % name.encode()}
    return Answer(200, _lines(columns, rows), CSV, headers=headers)


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _lines(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[bytes]:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for number, row in enumerate(rows, 1):
        writer.writerow(map(_harmless, row))
        if number % ROWS_AT_ONCE == 0:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()
