"""
Checks of what an application or an operator gives us.
"""

from __future__ import annotations

from math import isfinite


def nonNegative(name: str, value: float | None) -> float | None:
    """
    Check a time or a size of which L{None} and C{0} both mean that there is none.

    @raise TypeError: if it is no number.
    @raise ValueError: if it is negative or not finite.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number or None, not {value!r}")
    if value < 0 or not isfinite(value):
        raise ValueError(f"{name} must be a finite number, 0 or more, not {value!r}")
    return value or None


def whole(name: str, value: object, low: int, high: int) -> int:
    """
    Check a whole number.

    @raise TypeError: if it is none.
    @raise ValueError: if it is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}, not {value}")
    return value


def decimal(name: str, word: str) -> int:
    """
    Understand a whole number in an endpoint's string.

    @raise ValueError: if it is none.
    """
    if not word.isdecimal():
        raise ValueError(f"{name} must be a whole number, not {word!r}")
    return int(word)
