"""
The guard before a log: counted, bounded, escaped.
"""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import (
    FileLogObserver,
    LegacyLogObserverWrapper,
    LogEvent,
    Logger,
    LogPublisher,
    formatEvent,
    jsonFileLogObserver,
    textFileLogObserver,
)
from twisted.python import log
from twisted.python.failure import Failure

from tests.support.logs import texts
from twisted_tcpdemo.monitoring.guard import LogGuard, guardPublisher, unguardPublisher
from twisted_tcpdemo.monitoring.logbudget import AGAIN, MOST_KNOWN, LogBudget

EVIL = "\x1b[2J\r\n2026-01-01 forged\u202e"


class Guarded:
    """
    A log behind a guard, and its writers.
    """

    def __init__(self, clock: Clock, rate: int | None = 3) -> None:
        self.shown: list[LogEvent] = []
        self.budget = LogBudget(rate, clock)
        self.observe = LogGuard(self.shown.append, self.budget)
        self.logger = Logger("mine", observer=self.observe)
        self.legacy = log.LogPublisher(LogPublisher(), LogPublisher(self.observe))

    def fail(self, text: str = "x") -> None:
        """
        Log a failure as new code does.
        """
        try:
            raise ValueError(text)
        except ValueError:
            self.logger.failure("while serving")

    def err(self, text: str = "x", **fields: Any) -> None:
        """
        Log a failure as C{log.err()} does.
        """
        try:
            raise ValueError(text)
        except ValueError:
            self.legacy.msg(failure=Failure(), why=None, isError=1, **fields)


@pytest.fixture
def guarded(clock: Clock) -> Guarded:
    """
    A log with three lines a second.
    """
    return Guarded(clock)


WRITERS = [Guarded.fail, Guarded.err]


@pytest.mark.parametrize("write", WRITERS)
def test_firstInFull(
    guarded: Guarded, clock: Clock, lines: list[LogEvent], write: Callable[..., None]
) -> None:
    """
    The first failure of a kind has its traceback, the next ones have a line, and the rest is
    counted by kind.
    """
    for _ in range(10):
        write(guarded)
    full, *brief = texts(guarded.shown)
    assert len(brief) == 2
    for line in brief:
        assert line.endswith(", as before)") and "builtins.ValueError: x (at test_guard" in line
    assert "\n" not in "".join(brief)
    assert "while serving" in full or "Unhandled Error" in full
    clock.advance(1)
    [summary] = texts(lines)
    assert summary.startswith("7 ValueError at test_guard.py:")


@pytest.mark.parametrize("write", WRITERS)
def test_inAFlood(guarded: Guarded, write: Callable[..., None]) -> None:
    """
    A failure of a new kind is written in full in the midst of a flood.
    """
    while guarded.budget.shows("connections"):
        pass
    write(guarded)
    write(guarded)
    assert len(guarded.shown) == 1
    guarded.budget.flush()


def test_again(guarded: Guarded, clock: Clock) -> None:
    """
    After some minutes the next failure of a kind is in full again.
    """
    guarded.fail()
    clock.advance(AGAIN + 1)
    guarded.fail()
    assert all("log_failure" in event for event in guarded.shown)


def test_manyKinds(guarded: Guarded) -> None:
    """
    There are only so many kinds, whatever classes of exceptions a program makes up.
    """
    for number in range(3 * MOST_KNOWN):
        kind = type(f"Error{number}", (Exception,), {})
        guarded.logger.failure("x", Failure(kind()))
    assert len(guarded.shown) == MOST_KNOWN
    guarded.budget.flush()


def test_noBound(clock: Clock) -> None:
    """
    Without a rate each failure is in full, escaped all the same.
    """
    guarded = Guarded(clock, None)
    for _ in range(5):
        guarded.fail(EVIL)
    assert [event["log_failure"].getErrorMessage() for event in guarded.shown] == [
        r"\x1b[2J\r\n2026-01-01 forged\u202e"
    ] * 5


OBSERVERS: dict[str, Callable[[StringIO], Any]] = {
    "text": textFileLogObserver,
    "json": lambda file: jsonFileLogObserver(file, ""),
    "legacy": lambda file: LegacyLogObserverWrapper(log.FileLogObserver(file).emit),
    "own": lambda file: FileLogObserver(file, lambda event: formatEvent(event) + "\n"),
}


@pytest.mark.parametrize("kind", OBSERVERS)
def test_escaped(clock: Clock, kind: str) -> None:
    """
    Whatever a peer has sent, no observer writes a control character, or a line that begins
    with the peer's text.
    """
    guarded, output = Guarded(clock, 100), StringIO()
    observe = OBSERVERS[kind](output)
    for _ in range(2):
        guarded.fail(EVIL)
        guarded.err(EVIL)
        guarded.err(EVIL, system=EVIL)
    guarded.logger.info("it said {text}", text=EVIL.replace("\n", ""))
    guarded.logger.error("it said {text}", text=EVIL.replace("\n", ""), log_system=EVIL)
    guarded.legacy.msg(EVIL.replace("\n", ""), system=EVIL)
    guarded.legacy.msg(format="it said %(text)s", text=EVIL.replace("\n", ""))
    for event in guarded.shown:
        observe(event)
    out = output.getvalue()
    assert len(guarded.shown) == 10
    assert not {"\x1b", "\r", "\u202e"} & set(out)
    assert not any(line.startswith("2026-01-01 ") for line in out.splitlines())
    assert out.count("forged") >= 9


@pytest.mark.parametrize("kind", OBSERVERS)
def test_length(clock: Clock, kind: str) -> None:
    """
    Texts, fields and prefixes are cut.
    """
    guarded, output = Guarded(clock, 100), StringIO()
    guarded.logger.info("it said {text}", text="x" * 10**6, log_system="y" * 10**6)
    guarded.legacy.msg("x" * 10**6)
    guarded.fail("x" * 10**6)
    guarded.fail("x" * 10**6)
    guarded.logger.info("beside", other=b"x" * 10**6)
    for event in guarded.shown:
        OBSERVERS[kind](output)(event)
    assert len(output.getvalue()) < 40_000


def test_untouched(guarded: Guarded) -> None:
    """
    An event that is fit for the log stays as it is, with its fields.
    """
    guarded.logger.info("served {count} of {path}", count=3, path="a\\b")
    [event] = guarded.shown
    assert (event["log_format"], event["count"]) == ("served {count} of {path}", 3)
    assert formatEvent(event) == "served 3 of a\\b"


def test_ours(guarded: Guarded) -> None:
    """
    The server's own lines have asked already, and are not counted twice.
    """
    logger = Logger("tcpdemo", observer=guarded.observe)
    for _ in range(10):
        logger.info("listening")
    assert len(guarded.shown) == 10
    assert guarded.budget.shows("connections")


def test_others(guarded: Guarded, clock: Clock, lines: list[LogEvent]) -> None:
    """
    Lines of others' code are counted by who has written them, errors apart.
    """
    for _ in range(5):
        guarded.logger.info("seen")
        guarded.logger.error("wrong")
    assert len(guarded.shown) == 3
    clock.advance(1)
    [summary] = texts(lines)
    assert summary in {
        "4 errors of mine, 3 lines of mine, not shown",
        "3 lines of mine, 4 errors of mine, not shown",
    }


def test_publisher(clock: Clock) -> None:
    """
    All observers of a publisher are guarded, those that come later, too, until the guard is
    taken away.
    """
    seen: list[LogEvent] = []
    publisher, budget = LogPublisher(), LogBudget(2, clock)
    assert guardPublisher(budget, publisher)
    assert not guardPublisher(budget, publisher)
    publisher.addObserver(seen.append)  # type: ignore[arg-type]
    logger = Logger("mine", observer=publisher)
    for _ in range(5):
        logger.info("x")
    assert len(seen) == 2
    unguardPublisher(publisher)
    logger.info("x")
    assert len(seen) == 3
    assert type(publisher) is LogPublisher
    budget.flush()


def test_brokenGuard(clock: Clock) -> None:
    """
    Whoever logs does not fail when the guard does, and the event is not lost.
    """
    seen: list[LogEvent] = []
    publisher = LogPublisher(seen.append)  # type: ignore[arg-type]
    budget = LogBudget(2, clock)
    assert guardPublisher(budget, publisher)
    budget.shows = None  # type: ignore[assignment,method-assign]
    Logger("mine", observer=publisher).info("x")
    assert len(seen) == 1
