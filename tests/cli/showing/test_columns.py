"""
Which connections are shown, and in which order.
"""

from __future__ import annotations

import pytest

from tests.support.cli import HOSTILE
from twisted_tcpdemo.cli.showing.columns import COLUMNS, Choice

ROWS = [
    {"id": 1, "peer": "10.0.0.10:5", "host": "10.0.0.1:80", "age": 9, "bytesRead": 5},
    {"id": 2, "peer": "10.0.0.9:5", "host": "10.0.0.1:80", "age": 8, "bytesRead": 7},
    {"id": 3, "peer": "[2001:db8::1]:5", "host": "[::1]:80", "age": 7, "bytesRead": 6},
    {"id": 4, "peer": "unix:(unnamed)", "host": "unix:/run/X", "age": 6, "bytesRead": None},
]


@pytest.mark.parametrize(
    ("choice", "order"),
    [
        (Choice(), [4, 3, 2, 1]),
        (Choice(reverse=True), [1, 2, 3, 4]),
        (Choice("age"), [1, 2, 3, 4]),
        (Choice("peer"), [2, 1, 3, 4]),
        (Choice("peer", reverse=True), [4, 3, 1, 2]),
        (Choice("read"), [2, 3, 1, 4]),
        (Choice(filter="10.0.0."), [2, 1]),
        (Choice(filter="/RUN/x"), [4]),
        (Choice(filter="3"), [3]),
        (Choice(filter="peer:10.0.0.1"), []),
        (Choice(filter="peer:10.0.0.10"), [1]),
        (Choice(filter="PEER:2001:DB8::1"), [3]),
        (Choice(filter="peer:unix:(unnamed)"), [4]),
        (Choice(filter="192.0.2."), []),
    ],
)
def test_order(choice: Choice, order: list[int]) -> None:
    """
    Figures are sorted the greatest first, addresses by their numbers; a filter is part of
    an address, or a whole number.
    """
    assert [row["id"] for row in choice.of(ROWS)] == order


@pytest.mark.parametrize("column", COLUMNS)
def test_hostileRows(column: object) -> None:
    """
    Rows of a hostile server can be sorted, whatever they have.
    """
    odd: list[object] = [HOSTILE, None, True, [1], {"x": 1}, 10**400, float("nan"), -1, "\ud800"]
    name = str(getattr(column, "name", ""))
    field = str(getattr(column, "field", ""))
    rows = [*odd, *({field: value} for value in odd)]
    assert len(Choice(name).of(rows)) == len(odd) + 1


def test_query() -> None:
    """
    A status page is asked for the same order.
    """
    assert Choice("read", filter="a b").query(9) == "limit=9&sort=-bytesRead&filter=a+b"
    assert Choice("peer").query(9) == "limit=9&sort=peer"
