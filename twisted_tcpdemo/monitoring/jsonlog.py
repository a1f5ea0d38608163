"""
The log as JSON: one plain object a line.

Each has C{time} (ISO 8601, UTC), C{level}, C{namespace} and C{text}, and then the fields of
the event, with the types that they have.  What Twisted keeps in an event for itself is left
out.  A failure is C{exception}, the name of its class, and C{traceback}.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from math import isfinite
from typing import IO, Any, Final

from twisted.logger import FileLogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.reflect import safe_str

from twisted_tcpdemo.values.failures import LONGEST_MESSAGE, classOf, failureIn

_LEGACY: Final = {"format", "isError", "printed", "system", "time", "failure", "why"}
"""Fields of Twisted's older log.  Its C{message} is a tuple."""

_MOST_BITS: Final = 4096
"""Bits of a whole number that is written as one.  Python writes none of more than 4300 digits
in decimals."""

_DEEPEST: Final = 5
"""Levels of lists and mappings in a field; what is deeper becomes text."""


def jsonLog(file: IO[Any]) -> FileLogObserver:
    """
    An observer that writes JSON.
    """
    return FileLogObserver(file, jsonLine)


def inJSON(observer: object) -> FileLogObserver:
    """
    Let an observer that writes to a file write JSON.

    @raise ValueError: if it writes to anything else.
    """
    if not isinstance(observer, FileLogObserver):
        raise ValueError(f"the logger makes a {type(observer).__name__}, which writes no lines")
    line: Callable[[LogEvent], str | None] = jsonLine
    observer.formatEvent = line
    return observer


def jsonLine(event: LogEvent) -> str:
    """
    The line of an event.
    """
    failure = failureIn(event)
    text, failed, traceback = formatEvent(event), {}, event.get("traceback")  # a worker's
    if failure is not None:
        traceback = failure.getTraceback().rstrip("\n")
        failed = {"exception": classOf(failure), "traceback": traceback}
    if isinstance(traceback, str):
        text = text.rstrip("\n").removesuffix(traceback).rstrip("\n")
    level = event.get("log_level")
    line = {
        "time": _iso(event.get("log_time")),
        "level": (LogLevel.info if level is None else level).name,
        "namespace": safe_str(event.get("log_namespace", "")),
        "text": text,
        **failed,
    }
    for name, value in event.items():
        isTwisted = name.startswith("log_") or name in _LEGACY or isinstance(value, tuple)
        if not isTwisted:
            line.setdefault(name, _plain(value))
    return json.dumps(line) + "\n"


def _iso(seconds: object) -> str | None:
    if not isinstance(seconds, float | int):
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")


def _plain(value: object, level: int = 0) -> object:
    """
    A value that JSON has; the text of any other.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= _MOST_BITS else hex(value)[:LONGEST_MESSAGE]
    if isinstance(value, float) and isfinite(value):
        return value
    if isinstance(value, Mapping) and level < _DEEPEST:
        return {safe_str(name): _plain(v, level + 1) for name, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and level < _DEEPEST:
        return [_plain(v, level + 1) for v in value]
    return safe_str(value)
