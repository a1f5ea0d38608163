"""
Status and connections as text.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.cli import HOSTILE
from twisted_tcpdemo.cli.table import connections, count, duration, limit, size, summary


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_400, "999.4 kB"),
        (999_999, "1.0 MB"),
        (12_345_678_901, "12.3 GB"),
        (None, "-"),
        (10**40, "-"),
    ],
)
def test_size(value: object, shown: str) -> None:
    """
    Bytes are shown with about three digits.
    """
    assert size(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0.0s"),
        (59.9, "59.9s"),
        (125, "2m05s"),
        (12_000, "3h20m"),
        (352_800, "4d02h"),
        ("x", "-"),
        (-1, "-"),
        (float("nan"), "-"),
    ],
)
def test_duration(value: object, shown: str) -> None:
    """
    Times are shown with their two largest units.
    """
    assert duration(value) == shown


def test_rates() -> None:
    """
    Rates are counted from the last look; after a restart there are none.
    """
    before = {"time": 10, "acceptedCount": 5, "bytesRead": 0}
    now = {"time": 12, "acceptedCount": 10, "bytesRead": 5000, "connectionCount": 1}
    lines = summary(now, before)
    assert "accepted     10 (2.5/s)" in lines
    assert "read         5.0 kB (2.5 kB/s)" in lines
    assert "accepted     5" in summary(before, now)
    assert count(1234567) == "1,234,567"


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
    assert f"connections  3 of {shown.removeprefix('limit ')}, wait beyond" in summary(
        {**status, "connectionCount": 3, "overflow": "wait"}
    )


def test_manyConnections() -> None:
    """
    A table that does not fit counts the connections left out.
    """
    values = [{"id": n, "peer": "x"} for n in range(1000)]
    assert len(connections(values)) == 1001
    lines = connections(values, 10)
    assert len(lines) == 10
    assert lines[-1] == "... and 992 more (--all)"
    assert connections([]) == connections(None) == ["no connections"]


def test_connectionsNotTold() -> None:
    """
    Matching connections that the server has not sent count as left out, and --all
    is recommended only where it helps.
    """
    values = [{"id": n, "peer": "x"} for n in range(20)]
    assert connections(values, 10, 339)[-1] == "... and 331 more (--all)"
    assert connections(values, 100, 339)[-1] == "... and 319 more (--all)"
    assert connections(values, None, 339)[-1] == "... and 319 more (control lists all)"
    assert connections(values, None, 20) == connections(values)
    assert connections(values, None, HOSTILE) == connections(values)
