"""
Lines of workers in the parent's log.
"""

from __future__ import annotations

import json
import marshal
from socket import AF_INET
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from twisted_tcpdemo.monitoring.guard import LogGuard
from twisted_tcpdemo.monitoring.jsonlog import jsonLine
from twisted_tcpdemo.monitoring.logbudget import LogBudget
from twisted_tcpdemo.workers.lines import (
    LONGEST,
    LineBudget,
    Printed,
    Unbounded,
    lineOf,
    sayAgain,
)
from twisted_tcpdemo.workers.wire import LARGEST


class Strict:
    """
    A budget without a line that is left.
    """

    def shows(self, what: str) -> bool:
        """
        Show none.
        """
        return False

    def isNew(self, kind: object) -> bool:
        """
        Know every kind.
        """
        return False


def told(worker: int, event: LogEvent, budget: LineBudget | None = None) -> list[LogEvent]:
    """
    The events of the parent's log for one of a worker's.
    """
    events: list[LogEvent] = []
    observe: Any = events.append
    globalLogPublisher.addObserver(observe)
    try:
        line = marshal.loads(marshal.dumps(lineOf(event)))
        sayAgain(worker, line, budget or Unbounded())
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
    assert told(1, made(LogLevel.info, "quiet"), Strict()) == []
    assert told(1, made(LogLevel.error, "loud"), Strict()) == []
    assert len(told(1, made(LogLevel.critical, "shouted"), Strict())) == 1


def test_long() -> None:
    """
    A line has a bound.
    """
    (again,) = told(1, made(LogLevel.info, "{text}", text="x" * 10 * LONGEST))
    assert len(formatEvent(again)) == LONGEST


class Name(str):
    """
    Text of a kind of its own.
    """


def test_kinds() -> None:
    """
    Fields that are of a kind of their own go with the line as what they are beside that.
    """
    (again,) = told(1, made(LogLevel.info, "{name}", name=Name("x"), family=AF_INET, flag=True))
    assert (again["name"], again["family"], again["flag"]) == ("x", 2, True)
    assert [type(again[name]) for name in ("name", "family", "flag")] == [str, int, bool]


def test_bound() -> None:
    """
    A line fits into a packet, whatever its fields are.
    """
    texts = {f"text{number}": f"{number}" + "\U0001f600" * 990 for number in range(1000)}
    numbers = {f"number{number}": 1 << 1000 * number for number in range(1000)}
    for fields in (texts, numbers, {**numbers, **texts}):
        line = lineOf(made(LogLevel.info, "\U0001f600" * LONGEST, **fields))
        assert len(line["text"]) == LONGEST and ("text1" in line or "number1" in line)
        assert len(marshal.dumps([(["log", line], False)])) < LARGEST - 32


EVIL = "\x1b[31m\r\n2026-01-01 forged"


def failed(text: str = EVIL) -> LogEvent:
    """
    The event of a protocol that has raised.
    """
    try:
        raise ValueError(text)
    except ValueError:
        return made(LogLevel.critical, "it raised", log_failure=Failure())


def test_escaped() -> None:
    """
    What a peer has chosen is escaped, in a line and in an exception.
    """
    (said,) = told(1, made(LogLevel.info, "{text}", text="\x1b[31m", log_system="\x1b[2J"))
    assert formatEvent(said) == r"\x1b[31m" and said["log_system"] == r"worker 1, \x1b[2J"
    (raised,) = told(1, failed())
    lines = formatEvent(raised).splitlines()
    assert lines[:2] == ["it raised", "Traceback (most recent call last):"]
    assert lines[-1] == r"builtins.ValueError: \x1b[31m\r\n2026-01-01 forged"


def test_json() -> None:
    """
    An error has the same fields in a JSON log as one of the parent.
    """
    event = failed()
    (raised,) = told(1, event)
    names = ("text", "exception", "level", "namespace")
    own, again = (json.loads(jsonLine(e)) for e in (event, raised))
    assert [own[name] for name in names] == [again[name] for name in names]
    assert again["traceback"].endswith(r"builtins.ValueError: \x1b[31m\r\n2026-01-01 forged")


def test_deep() -> None:
    """
    The exception stands at the end of a traceback, however deep that is.
    """

    def dive(depth: int) -> None:
        if depth:
            dive(depth - 1)
        raise ValueError("the cause")

    try:
        dive(500)
    except ValueError:
        event = made(LogLevel.critical, "{text}", text="x" * LONGEST, log_failure=Failure())
    (again,) = told(1, event)
    assert formatEvent(again).endswith("\nbuiltins.ValueError: the cause")
    assert len(formatEvent(again)) <= LONGEST


def test_failures() -> None:
    """
    The first failure of a kind is written in full at any time, others are a line each within
    the budget.
    """
    budget = LogBudget(3, Clock())
    texts = [formatEvent(e) for _ in range(20) for e in told(1, failed("it"), budget)]
    assert len(texts) == 3 and texts[0].startswith("it raised\nTraceback")
    assert all(text.startswith("it raised: builtins.ValueError: it (at ") for text in texts[1:])
    for _ in range(20):
        told(1, made(LogLevel.info, "flood"), budget)
    try:
        raise KeyError
    except KeyError:
        other = made(LogLevel.critical, "another", log_failure=Failure())
    (shown,) = told(1, other, budget)
    assert "Traceback" in formatEvent(shown)


def test_guarded() -> None:
    """
    A line asks the budget once, also where the log is guarded by the same budget.
    """
    budget, shown = LogBudget(10, Clock()), []
    guard = LogGuard(shown.append, budget)
    for _ in range(20):
        for event in told(1, made(LogLevel.info, "{what}", what="flood"), budget):
            guard(event)
    assert [formatEvent(event) for event in shown] == ["flood"] * 10


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
