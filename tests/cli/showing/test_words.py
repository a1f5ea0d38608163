"""
Figures in words.
"""

from __future__ import annotations

import pytest

from tests.support.cli import HOSTILE
from twisted_tcpdemo.cli.showing.words import count, duration, size, text


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


def test_count() -> None:
    """
    Whole numbers are in groups, and what is no number is safe to print.
    """
    assert (count(1234567), count(None)) == ("1,234,567", "none")
    assert count(HOSTILE).isprintable() and text(HOSTILE).isprintable()
    assert text(None) == "-"
