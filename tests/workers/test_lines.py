"""
Lines of workers in the parent's log.
"""

from __future__ import annotations

import marshal
from typing import Any

from twisted.logger import LogEvent, Logger, LogLevel, formatEvent, globalLogPublisher

from twisted_tcpdemo.workers.lines import LONGEST, Printed, lineOf, sayAgain


def told(worker: int, event: LogEvent, mayLog: bool = True) -> list[LogEvent]:
    """
    The events of the parent's log for one of a worker's.
    """
    events: list[LogEvent] = []
    observe: Any = events.append
    globalLogPublisher.addObserver(observe)
    try:
        line = marshal.loads(marshal.dumps(lineOf(event)))
        sayAgain(worker, line, lambda what: mayLog)
    finally:
        globalLogPublisher.removeObserver(observe)
    return events


def made(level: LogLevel, form: str, /, **fields: object) -> LogEvent:
    """
    The event that a logger makes.
    """
    events: list[LogEvent] = []
    observe: Any = events.append
    Logger(namespace="app", observer=observe).emit(level, form, **fields)  # type: ignore[arg-type]
    return events[0]


def test_fields() -> None:
    """
    A line keeps its text, level, namespace, time and plain fields, and has the worker.
    """
    event = made(LogLevel.info, "{what} of {thing}", what="part", thing=object(), count=3)
    (again,) = told(2, event)
    assert formatEvent(again) == formatEvent(event)
    assert again["log_level"] is LogLevel.info and again["log_namespace"] == "app"
    assert again["log_time"] == event["log_time"]
    assert (again["what"], again["count"], again["worker"]) == ("part", 3, 2)
    assert again["log_system"] == "worker 2, app#info"


def test_braces() -> None:
    """
    Braces in a text are not taken for fields.
    """
    (again,) = told(1, made(LogLevel.info, "{text}", text="{worker} {}"))
    assert formatEvent(again) == "{worker} {}"


def test_budget() -> None:
    """
    A line without a budget is not logged, unless it is critical.
    """
    assert told(1, made(LogLevel.info, "quiet"), mayLog=False) == []
    assert told(1, made(LogLevel.error, "loud"), mayLog=False) == []
    assert len(told(1, made(LogLevel.critical, "shouted"), mayLog=False)) == 1


def test_long() -> None:
    """
    A line has a bound.
    """
    (again,) = told(1, made(LogLevel.info, "{text}", text="x" * 10 * LONGEST))
    assert len(formatEvent(again)) == LONGEST


def test_printed() -> None:
    """
    What a worker prints is told by whole lines, and a line without an end is cut.
    """
    printed = Printed("stderr", "error")
    assert printed.lines(b"one\ntw") == [
        {"log_level": "error", "log_namespace": "stderr", "text": "one"}
    ]
    assert [line["text"] for line in printed.lines(b"o\n\xff\n")] == ["two", "\\xff"]
    assert len(printed.lines(b"x" * (LONGEST + 1))[0]["text"]) == LONGEST
