"""
Lines of a worker's log, told to the parent and logged there.
"""

from __future__ import annotations

import time
from typing import Any, Final, Protocol

from twisted.logger import (
    LogEvent,
    Logger,
    LogLevel,
    formatEvent,
    globalLogPublisher,
)

from twisted_tcpdemo.values.failures import (
    LONGEST_MESSAGE,
    LONGEST_PREFIX,
    ToldFailure,
    briefOf,
    classOf,
    failureIn,
    headOf,
    nameOfKind,
)
from twisted_tcpdemo.values.text import printable, printableLines

LONGEST: Final = 16384
"""Characters of a line, a traceback included."""

BRIEF: Final = LONGEST // 8
"""Characters of what a line says beside its traceback."""

FIELDS: Final = LONGEST
"""Characters of all fields of a line: with its text, it fits into a packet of the wire."""

ASKED: Final = "log_asked"
"""The field of an event that has asked the budget."""

_PLAIN: Final = (str, int, float, bool, type(None))

_logger = Logger(namespace="tcpdemo")


class LineBudget(Protocol):
    """
    A budget of the lines of a log, such as a
    L{LogBudget<twisted_tcpdemo.monitoring.logbudget.LogBudget>}.
    """

    def shows(self, what: str, /) -> bool:
        """
        Ask whether a line may be written; it is counted if not.

        @param what: what such lines are called, in plural.
        """

    def isNew(self, kind: object, /) -> bool:
        """
        Ask whether an error is the first one of its kind, and is written in full at any time.
        """


class Unbounded:
    """
    The budget of a log without one: each line is shown, and each error in full.
    """

    def shows(self, what: str, /) -> bool:
        """
        See L{LineBudget}.
        """
        return True

    def isNew(self, kind: object, /) -> bool:
        """
        See L{LineBudget}.
        """
        return True


def lineOf(event: LogEvent) -> dict[str, Any]:
    """
    A line for an event, in values of JSON: its text, and its fields as far as they are plain.
    """
    line = _fieldsOf(event)
    level = event.get("log_level") or LogLevel.info
    line["log_level"] = level.name
    line["log_namespace"] = _exact(str(event.get("log_namespace", "")))[:LONGEST_PREFIX]
    at = event.get("log_time")
    line["log_time"] = _exact(at) if isinstance(at, float | int) else None
    system = event.get("log_system")
    if isinstance(system, str):
        line["log_system"] = printable(system, LONGEST_PREFIX)
    failure = failureIn(event)
    if failure is None:
        line["text"] = formatEvent(event)[:LONGEST]
    else:
        line["text"] = headOf(event)[:BRIEF]
        # If anything is cut then not the end, where the exception is.
        line["log_traceback"] = ToldFailure.of(failure).told[BRIEF + 1 - LONGEST :]
        line["log_exception"] = printable(classOf(failure), LONGEST_PREFIX)
        line["log_kind"] = nameOfKind(failure)
        line["log_brief"] = briefOf(event, failure)[:BRIEF]
    return line


def _fieldsOf(event: LogEvent) -> dict[str, Any]:
    """
    The plain fields of an event; those for which there is no room are left out.
    """
    fields, room = {}, FIELDS
    for name, value in event.items():
        if isinstance(value, _PLAIN) and not name.startswith("log_"):
            plain = _exact(value)
            size = len(name) + _sizeOf(plain)
            if size <= room:
                room -= size
                fields[name] = plain
    return fields


def _exact(value: Any) -> Any:
    """
    A plain value without the class that it may have beyond that, such as an IntEnum: the
    wire knows no such class.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        text = str.__str__(value)
        return text if len(text) <= LONGEST_MESSAGE else printable(text, LONGEST_MESSAGE)
    return int.__int__(value) if isinstance(value, int) else float.__float__(value)


def _sizeOf(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    return value.bit_length() // 8 if isinstance(value, int) else 8


def sayAgain(worker: int, line: dict[str, Any], budget: LineBudget) -> None:
    """
    Log the line of a worker, within a budget, as the guard does those of this process.  Only
    a critical one without a failure does not ask: a client may be able to make a protocol
    raise as often as it likes.

    @param worker: the number of the worker, which becomes a field.
    """
    level = LogLevel.lookupByName(line.pop("log_level", "info"))
    kind, brief = line.pop("log_kind", None), line.pop("log_brief", None)
    exception, traceback = line.pop("log_exception", None), line.pop("log_traceback", None)
    isAsking = kind is not None or level < LogLevel.critical
    if kind is not None and budget.isNew(kind):
        line.update(text=f"{line['text']}\n{traceback}", exception=exception, traceback=traceback)
    elif isAsking:
        what = "lines" if level < LogLevel.error else "errors"
        if not budget.shows(kind or f"{what} of workers"):
            return
        line["text"] = brief or line["text"]
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
        "text": printableLines(line["text"], LONGEST),
        "worker": worker,
    }
    if isAsking:
        event[ASKED] = True
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
