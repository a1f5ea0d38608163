"""
The results of a load, as text and as values.
"""

from __future__ import annotations

import json

import pytest

from twisted_tcpdemo.cli.load.histogram import Results
from twisted_tcpdemo.cli.load.results import liveLine, milliseconds, shown, values
from twisted_tcpdemo.cli.showing.display import Table

MS = 10**6


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (None, "-"),
        (12_345, "0.012 ms"),
        (9_999_000, "9.999 ms"),
        (12_345_678, "12.35 ms"),
        (123_456_789, "123.5 ms"),
        (12_345_678_901, "12,346 ms"),
    ],
)
def test_milliseconds(nanoseconds: float | None, text: str) -> None:
    """
    Times have the digits that count.
    """
    assert milliseconds(nanoseconds) == text


def some() -> Results:
    """
    Results with something of everything.
    """
    results = Results(sent=5, answered=4, bytesRead=400, unanswered=1, seconds=2.0)
    results.errors["connections broken off"] = 1
    for time in (1, 2, 30, 400):
        results.measured.add(time * MS)
        results.corrected.add(time * MS)
    return results


def test_shown() -> None:
    """
    Bars have all times, and what went wrong is told.
    """
    parts = shown(some(), 3)
    assert parts[0] == "4 answers in 2.00 s on 3 connections: 2/s, 200 B/s received"
    bars = next(p for p in parts if isinstance(p, Table) and p.heads[0] == "corrected")
    assert sum(float(row[1].removesuffix(" %")) for row in bars.rows) == 100
    assert parts[-2:] == ["1 messages had no answer", "1 times: connections broken off"]


def test_nothing() -> None:
    """
    A load without any answer can be shown.
    """
    parts = shown(Results(), 3)
    assert str(parts[0]).startswith("0 answers in 0.00 s")
    assert json.loads(json.dumps(values(Results(), 3)))["latency"]["measured"]["most"] is None
    assert liveLine(Results(), (0, 0.0), 0.0) == "0.0s: 0 answers/s, 50 % in -, 99 % in -"


def test_liveLine() -> None:
    """
    The line while a load goes on has the rate since the line before.
    """
    line = liveLine(some(), (2, 1.0), 2.0)
    assert line.startswith("2.0s: 2 answers/s, 50 % in 2.0") and line.endswith(", 1 errors")
