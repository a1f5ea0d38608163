"""
Checks of values from an application or an operator.

Each check returns the value, or raises one line that names the value and shows it:
a L{TypeError} for the wrong type, a L{ValueError} for a value out of range.
C{True} and C{False} are no numbers here.
"""

from __future__ import annotations

import os
import sys
from math import inf
from sys import float_info
from typing import Final

_GREATEST: Final = float_info.max
"""A Python int can be greater; a clock cannot add it to its time."""

_PATH_BYTES: Final = 108 if sys.platform.startswith("linux") else 104
"""The size of C{sun_path}, with the NUL that ends a path (unix(7))."""


def number(name: str, value: object, low: float = 0, high: float = inf) -> float:
    """
    Check a finite number.

    @param low: the least that it may be.
    @param high: the most that it may be.
    @raise TypeError: if it is no number.
    @raise ValueError: if it is out of range or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if not low <= value <= min(high, _GREATEST):
        span = f"a finite number, {low} or more" if high == inf else f"from {low} to {high}"
        raise ValueError(f"{name} must be {span}, not {value!r}")
    return value


def positive(name: str, value: object, high: float = inf) -> float:
    """
    Check a finite number that is greater than 0.

    @param high: the most that it may be.
    @raise TypeError: if it is no number.
    @raise ValueError: if it is 0, negative, greater than C{high} or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if not 0 < value <= min(high, _GREATEST):
        span = "a finite number above 0" if high == inf else f"above 0 and up to {high}"
        raise ValueError(f"{name} must be {span}, not {value!r}")
    return value


def nonNegative(name: str, value: float | None) -> float | None:
    """
    Check a time or a size.  L{None} and C{0} both mean that there is none.

    @return: L{None} for C{0}, too.
    @raise TypeError: if it is no number.
    @raise ValueError: if it is negative or not finite.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number or None, not {value!r}")
    if not 0 <= value <= _GREATEST:
        raise ValueError(f"{name} must be a finite number, 0 or more, not {value!r}")
    return value or None


def whole(name: str, value: object, low: int = 0, high: float = inf) -> int:
    """
    Check a whole number.

    @param low: the least that it may be.
    @param high: the most that it may be.
    @raise TypeError: if it is none.
    @raise ValueError: if it is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if not low <= value <= high:
        span = f"{low} or more" if high == inf else f"from {low} to {high}"
        raise ValueError(f"{name} must be {span}, not {value!r}")
    return value


def wholeOrNone(name: str, value: object, low: int = 0, high: float = inf) -> int | None:
    """
    Check a limit that is a whole number; L{None} means that there is none.

    @param low: the least that it may be.
    @param high: the most that it may be.
    @raise TypeError: if it is neither.
    @raise ValueError: if it is out of range.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number or None, not {value!r}")
    return whole(name, value, low, high)


def flag(name: str, value: object) -> bool:
    """
    Check a switch.  Another value, even if Python counts it as true, is most often
    a mistake.

    @raise TypeError: if it is neither C{True} nor C{False}.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return value


def decimal(name: str, word: str) -> int:
    """
    Parse a whole number in an endpoint string.

    @raise ValueError: if the word is not made of decimal digits.
    """
    if not word.isdecimal():
        raise ValueError(f"{name} must be a whole number, not {word!r}")
    return int(word)


def pathName(path: str | bytes | os.PathLike[str]) -> bytes:
    """
    Check the path of a UNIX socket.

    @return: the path in bytes, as the system takes it.
    @raise TypeError: if it is no path.
    @raise ValueError: if no UNIX socket can have this path.
    """
    if not isinstance(path, str | bytes | os.PathLike):
        raise TypeError(f"path must be a path, not {path!r}")
    name = os.fsencode(path)
    if not name or b"\0" in name[1:]:
        raise ValueError(f"path must be the path of a UNIX socket, not {path!r}")
    # A longer path would raise in the reactor, and Twisted's Deferred never fire.
    if len(name) > _PATH_BYTES - (name[0] != 0):
        raise ValueError(f"path must have fewer than {_PATH_BYTES} bytes, not {path!r}")
    return name
