"""
A guard before the observers of a log: what a peer can cause to be written is counted,
bounded and escaped, whoever writes it.

The server's own lines about its clients ask the L{LogBudget
<twisted_tcpdemo.monitoring.logbudget.LogBudget>} before they are made.  Others are not
ours: Twisted logs what a hook raises as an "Unhandled Error" of fourteen lines, and a
hosted protocol writes what it likes.  They meet the same budget here.

  - A failure has its kind: the exception's class, and the place that raised it.  The
    first one of a kind is written in full, at any time: an operator needs its traceback
    most in a flood.  Those after it have a line each within the budget, and are
    counted beyond it.
  - Every other event of somebody else's code is a line within the budget.
  - The server's own events without a failure pass: they have asked, or they tell of
    what the operator does.  So do the lines of workers.

The text of an exception, of a log prefix and of a line may be a peer's.  Control
characters are escaped in all of them, and each has a greatest length.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    LogPublisher,
    formatEvent,
    globalLogPublisher,
)
from twisted.python.failure import Failure
from twisted.python.reflect import safe_str
from zope.interface import implementer

from twisted_tcpdemo.monitoring.logbudget import LogBudget
from twisted_tcpdemo.values.failures import (
    LONGEST_MESSAGE,
    LONGEST_PREFIX,
    ToldFailure,
    briefOf,
    failureIn,
    headOf,
    kindOf,
    nameOfKind,
)
from twisted_tcpdemo.values.text import printable, printableLines
from twisted_tcpdemo.workers.lines import ASKED

UNASKED: Final = {"tcpdemo", "twisted.internet.base"}
"""Namespaces of events that pass without a failure: our own, and the reactor's, which tells
of signals."""

LONGEST_TEXT: Final = 2000
"""Characters of an event's own text."""

_TEXTS: Final = {"format", "log_format", "log_text"}
"""Fields of an event that its own text replaces."""


@implementer(ILogObserver)
class LogGuard:
    """
    An observer before another one, which sees only what the budget allows.
    """

    def __init__(self, observer: Callable[[LogEvent], object], budget: LogBudget) -> None:
        """
        @param observer: the observer behind it.
        @param budget: the budget, the same as the one of L{LoggingObserver
            <twisted_tcpdemo.monitoring.log.LoggingObserver>}.
        """
        self._observer = observer
        self._budget = budget

    def __call__(self, event: LogEvent) -> None:
        """
        Pass an event on, or count it.
        """
        failure = failureIn(event)
        if failure is not None:
            told = self._failed(event, failure)
        elif event.get("log_namespace") in UNASKED or ASKED in event:
            told = event
        else:
            told = self._said(event)
        if told is not None:
            self._observer(told)

    def _said(self, event: LogEvent) -> LogEvent | None:
        """
        A line of somebody else's code.
        """
        isError = event.get("log_level") in {LogLevel.error, LogLevel.critical}
        what = "errors" if isError else "lines"
        if not self._budget.shows(f"{what} of {event.get('log_namespace', '-')}"):
            return None
        return _safe(event, printableLines(formatEvent(event), LONGEST_TEXT))

    def _failed(self, event: LogEvent, failure: Failure) -> LogEvent | None:
        """
        An event with a failure.
        """
        if self._budget.isNew(kindOf(failure)):
            return _inFull(event, failure)
        if not self._budget.shows(nameOfKind(failure)):
            return None
        brief = {k: v for k, v in event.items() if k not in {"log_failure", "failure"}}
        return _safe(brief, printableLines(briefOf(event, failure), LONGEST_TEXT))


def _inFull(event: LogEvent, failure: Failure) -> LogEvent:
    """
    An event with its traceback.
    """
    told = ToldFailure.of(failure)
    head = printableLines(headOf(event), LONGEST_TEXT)
    if "log_failure" not in event:  # the text of log.err() has the traceback in it
        return {**_safe(event, f"{head}\n{told.told}"), "failure": told}
    shown = {**_safe(event, head), "log_failure": told}
    return {**shown, "failure": told} if "failure" in event else shown


def _safe(event: LogEvent, text: str) -> LogEvent:
    """
    An event that says C{text}, with all else in it escaped and bounded, for all kinds of
    observers.

    @param text: text that is safe itself.
    """
    safe = {name: v if name in _TEXTS else _bounded(v) for name, v in event.items()}
    safe.pop("log_flattened", None)
    if text != formatEvent(event):
        safe.update(log_format="{log_text}", log_text=text)
        # For observers of the old kind, which take one of these.
        safe.pop("format", None)
        if isinstance(event.get("message"), tuple):
            safe["message"] = (text,)
    for name in ("log_system", "system"):
        if name in event:
            safe[name] = _prefix(event[name])
    return safe


def _bounded(value: object) -> object:
    if isinstance(value, str | bytes) and len(value) > LONGEST_MESSAGE:
        return printable(value, LONGEST_MESSAGE)
    return value


def _prefix(name: object) -> str:
    text = printableLines(safe_str(name), LONGEST_PREFIX)
    return text.replace("\n", r"\n").replace("\t", r"\t")


def guardedLog(observer: Callable[[LogEvent], object], budget: LogBudget) -> ILogObserver:
    """
    Put a L{LogGuard} before an observer, for a program that chooses its observers itself.

    @param observer: the observer, such as that of L{textFileLogObserver
        <twisted.logger.textFileLogObserver>}.
    @param budget: see L{LogGuard}.
    """
    guard: Any = LogGuard(observer, budget)
    guarded: ILogObserver = guard
    return guarded


class GuardedPublisher(LogPublisher):
    """
    The log's publisher while it is guarded: all of its observers are behind one guard,
    those added later, too.
    """

    guard: LogGuard

    def __call__(self, event: LogEvent) -> None:
        """
        Give an event to the guard, which gives it to the observers.
        """
        try:
            self.guard(event)
        except Exception:  # whoever logs must not fail for it
            super().__call__(event)


def guardPublisher(budget: LogBudget, publisher: LogPublisher = globalLogPublisher) -> bool:
    """
    Put all observers of the process's log behind a guard.

    Loggers keep the publisher, and observers come and go.  So it is the publisher that
    becomes another.

    @return: whether it has become guarded; it may have been, by another server.
    """
    if type(publisher) is not LogPublisher:
        return False
    guarded: Any = publisher
    guarded.guard = LogGuard(partial(LogPublisher.__call__, publisher), budget)
    guarded.__class__ = GuardedPublisher
    return True


def unguardPublisher(publisher: LogPublisher = globalLogPublisher) -> None:
    """
    Take the guard away.
    """
    guarded: Any = publisher
    guarded.__class__ = LogPublisher
    del guarded.guard
