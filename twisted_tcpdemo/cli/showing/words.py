"""
Figures in words, for a terminal.

All text of a server is made safe: a hostile peer may have chosen it, or the server may
be hostile itself.
"""

from __future__ import annotations

from twisted_tcpdemo.values.text import printable

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def size(value: object) -> str:
    """
    A number of bytes in words: C{12.3 MB}.
    """
    number = numberIn(value)
    if number is None:
        return "-"
    unit = 0
    while abs(number) >= 999.5 and unit < len(_UNITS) - 1:
        number /= 1000
        unit += 1
    return f"{number:.0f} B" if not unit else f"{number:.1f} {_UNITS[unit]}"


def duration(value: object) -> str:
    """
    A duration in words: C{0.3s}, C{2m05s}, C{3h20m}, C{4d02h}.
    """
    seconds = numberIn(value)
    if seconds is None or not 0 <= seconds < 1e12:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h{minutes:02}m"
    return f"{hours // 24}d{hours % 24:02}h"


def count(value: object) -> str:
    """
    A whole number, in groups of three digits.
    """
    if value is None:
        return "none"
    number = numberIn(value)
    return text(value) if number is None else f"{number:,.0f}"


def text(value: object) -> str:
    """
    Any other value in words, safe and not too long.
    """
    return "-" if value is None else printable(str(value), 120)


def numberIn(value: object) -> float | None:
    """
    A value as a number; L{None} for anything else, and for absurd ones.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e30:
        return None
    return float(value)
