"""
Status and connections as text.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.cli import HOSTILE
from twisted_tcpdemo.cli.showing.display import Part, Table
from twisted_tcpdemo.cli.showing.table import connections, limit, summary


def lines(*parts: Part) -> list[str]:
    """
    Parts as plain text.
    """
    return [line for p in parts for line in (p.lines() if isinstance(p, Table) else [p])]


def test_rates() -> None:
    """
    Rates are counted from the last look; after a restart there are none.
    """
    before = {"time": 10, "acceptedCount": 5, "bytesRead": 0}
    now = {"time": 12, "acceptedCount": 10, "bytesRead": 5000, "connectionCount": 1}
    shown = lines(summary(now, before))
    assert "accepted     10 (2.5/s)" in shown
    assert "read         5.0 kB (2.5 kB/s)" in shown
    assert "accepted     5" in lines(summary(before, now))


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ({"maxConnections": 5, "effectiveLimit": 5}, "limit 5"),
        ({"maxConnections": None, "effectiveLimit": 19936}, "limit 19,936 (descriptors)"),
        ({"maxConnections": 50_000, "effectiveLimit": 19936}, "limit 19,936 (descriptors)"),
        ({"maxConnections": None, "effectiveLimit": None}, "no limit"),
        ({"maxConnections": 5}, "limit 5"),
        ({"maxConnections": None}, "no limit"),
        ({}, "no limit"),
    ],
)
def test_limit(status: dict[str, Any], shown: str) -> None:
    """
    The limit shown is the one that holds, with its cause; an older server gives
    only the limit that was set.
    """
    assert limit(status) == shown
    assert f"connections  3 of {shown.removeprefix('limit ')}, wait beyond" in lines(
        summary({**status, "connectionCount": 3, "overflow": "wait"})
    )


def test_manyConnections() -> None:
    """
    A table that does not fit counts the connections left out.
    """
    values = [{"id": n, "peer": "x"} for n in range(1000)]
    assert len(lines(*connections(values))) == 1001
    shown = lines(*connections(values, (80, 10)))
    assert len(shown) == 10
    assert shown[-1] == "... and 992 more (--all)"
    assert connections([]) == ["no connections"]


def test_connectionsNotTold() -> None:
    """
    Matching connections that the server has not sent count as left out, and --all
    is recommended only where it helps.
    """
    values = [{"id": n, "peer": "x"} for n in range(20)]
    assert connections(values, (80, 10), 339)[-1] == "... and 331 more (--all)"
    assert connections(values, (80, 100), 339)[-1] == "... and 319 more (--all)"
    assert connections(values, (80, None), 339)[-1] == "... and 319 more (control lists all)"
    assert connections(values, (80, None), 20) == connections(values)
    assert connections(values, (80, None), HOSTILE) == connections(values)


FULL = {
    "id": 7, "peer": "192.0.2.100:54321", "host": "192.0.2.1:18001", "age": 60, "idle": 1,
    "bytesRead": 5000, "bytesWritten": 5000, "bytesPending": 0, "roundTripTime": 0.02,
}  # fmt: skip


@pytest.mark.parametrize(
    ("width", "heads"),
    [
        (120, ["id", "peer", "host", "age", "idle", "read", "written", "pending", "rtt"]),
        (68, ["id", "peer", "age", "idle", "read", "written", "rtt"]),
        (50, ["id", "peer", "age", "read", "written"]),
        (38, ["id", "peer", "read", "written"]),
        (10, ["id", "peer"]),
    ],
)
def test_columnsThatFit(width: int, heads: list[str]) -> None:
    """
    On a narrow terminal the columns that say least are left out, and no line is wider.
    """
    [table] = connections([FULL], (width, None))
    assert isinstance(table, Table)
    assert list(table.heads) == heads
    assert all(len(line) <= max(width, 21) for line in table.lines())
