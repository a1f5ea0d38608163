"""
Lines of a worker's log, told to the parent and logged there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from twisted.logger import (
    LogEvent,
    Logger,
    LogLevel,
    eventAsText,
    globalLogPublisher,
)

LONGEST: Final = 16384
"""Characters of a line, a traceback included."""

_PLAIN: Final = (str, int, float, bool, type(None))

_logger = Logger(namespace="tcpdemo")


def lineOf(event: LogEvent) -> dict[str, Any]:
    """
    A line for an event, in values of JSON: its text, and its fields as far as they are plain.
    """
    line: dict[str, Any] = {
        name: value[:LONGEST] if isinstance(value, str) else value
        for name, value in event.items()
        if isinstance(value, _PLAIN) and not name.startswith("log_")
    }
    level = event.get("log_level") or LogLevel.info
    line["log_level"] = level.name
    line["log_namespace"] = str(event.get("log_namespace", ""))
    line["log_time"] = event.get("log_time")
    system = event.get("log_system")
    if isinstance(system, str):
        line["log_system"] = system
    line["text"] = eventAsText(event, includeTimestamp=False, includeSystem=False)[:LONGEST]
    return line


def sayAgain(worker: int, line: dict[str, Any], mayLog: Callable[[str], bool]) -> None:
    """
    Log the line of a worker, within a budget.  Only a critical one does not ask: a client
    may be able to make a protocol raise as often as it likes.

    @param worker: the number of the worker, which becomes a field.
    @param mayLog: asks the budget.
    """
    level = LogLevel.lookupByName(line.pop("log_level", "info"))
    what = "lines" if level < LogLevel.error else "errors"
    if level < LogLevel.critical and not mayLog(f"{what} of workers"):
        return
    namespace = line.get("log_namespace", "")
    system = line.pop("log_system", None) or f"{namespace}#{level.name}"
    event: LogEvent = {
        **line,
        "log_logger": _logger,
        "log_level": level,
        "log_source": None,
        "log_format": "{text}",
        "log_system": f"worker {worker}, {system}",
        "log_time": line.get("log_time") or time.time(),
        "worker": worker,
    }
    globalLogPublisher(event)


class Printed:
    """
    What a worker prints past its log, such as the last words of the interpreter.
    """

    def __init__(self, namespace: str, level: str) -> None:
        self._namespace = namespace
        self._level = level
        self._rest = b""

    def lines(self, data: bytes) -> list[dict[str, Any]]:
        """
        The lines that are whole with some more bytes; one that is too long is cut.
        """
        *texts, rest = (self._rest + data).split(b"\n")
        if len(rest) > LONGEST:
            texts.append(rest)
            rest = b""
        self._rest = rest
        return [
            {
                "log_level": self._level,
                "log_namespace": self._namespace,
                "text": text[:LONGEST].decode("utf-8", "backslashreplace"),
            }
            for text in texts
        ]
