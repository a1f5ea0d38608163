"""
A bound on the lines of the log, whatever clients do.

A client can cause events as often as it likes.  Each line about one costs more
than serving the client, and stays on the disk.  So the budget is asked before a
line is made.  In a quiet second each event has its line; in a flood events are
only counted, and one summary a second tells the counts.

The operator's own actions (listening, draining) do not ask.  Errors, and the lines of
others' code, ask in the L{LogGuard<twisted_tcpdemo.monitoring.guard.LogGuard>}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python import threadable

from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.transports.layers import clockOf
from twisted_tcpdemo.values.checks import wholeOrNone

_log = Logger(namespace="tcpdemo")

PERIOD: Final = 1.0
"""Seconds over which lines are counted, and between two summaries."""

AGAIN: Final = 600.0
"""Seconds after which a kind of error is new again: the log has its traceback then also
when older files are gone."""

MOST_KNOWN: Final = 64
"""Kinds that are new in this time.  Code has few of them; a peer shall not make more."""

MOST_KINDS: Final = 50
"""Kinds of events that a summary tells apart."""

OTHERS: Final = "other events"
"""The word for the rest of them."""


class _Tally:
    """
    Events of one kind without a line.
    """

    __slots__ = ("bytesRead", "bytesWritten", "count")

    def __init__(self) -> None:
        self.count = 0
        self.bytesRead = 0
        self.bytesWritten = 0

    def fields(self) -> dict[str, int]:
        """
        The counts as fields, for programs.
        """
        return {name: getattr(self, name) for name in ("count", "bytesRead", "bytesWritten")}

    def describe(self, what: str) -> str:
        """
        The counts in a few words.
        """
        amounts = [(self.bytesRead, "in"), (self.bytesWritten, "out")]
        bytes_ = ", ".join(f"{_size(n)} {direction}" for n, direction in amounts if n)
        return f"{self.count:,} {what}" + (f" ({bytes_})" if bytes_ else "")


class LogBudget:
    """
    The lines that are left in a period, shared by all writers to one log.

    A period with more events than lines begins a flood.  It lasts, with nothing
    but summaries in the log, until a period has no more events than lines.  A
    timer runs only while events wait for a summary.
    """

    def __init__(self, rate: int | None = None, clock: IReactorTime | None = None) -> None:
        """
        @param rate: lines a second, summaries included; L{None} or C{0} for no
            bound.
        @param clock: the source of time; L{None} for the reactor.
        @raise TypeError: if the rate is no whole number.
        @raise ValueError: if it is negative.
        """
        self.rate = wholeOrNone("rate", rate) or None
        self._clock = steady(clock)
        self._seconds: Callable[[], float] | None = getattr(self._clock, "seconds", None)
        self._began = 0.0
        self._ends = 0.0
        self._asked = 0
        self._flood = False
        self._unsaid: dict[str, _Tally] = {}
        self._known: dict[object, float] = {}
        self._call: IDelayedCall | None = None

    def shows(
        self, what: str, bytesRead: int = 0, bytesWritten: int = 0, share: float = 1.0
    ) -> bool:
        """
        Ask whether an event may have its line.  If not, it is counted.

        @param what: the word of the summary for such events, as in C{"1,842
            connections"}.
        @param bytesRead: bytes read in this event, for the summary.
        @param bytesWritten: bytes written in this event, for the summary.
        @param share: the share of the lines of a period up to which such events have
            theirs.  Those with less than a whole share are the first to give way, and
            take no line from others.
        """
        rate = self.rate
        if rate is None:
            return True
        self._look(rate)
        if not self._flood and self._asked < rate * share:
            self._asked += 1
            return True
        if share == 1:
            self._asked += 1
            self._flood = True
        self._count(what, bytesRead, bytesWritten)
        return False

    def isNew(self, kind: object) -> bool:
        """
        Ask whether an error is the first of its kind, and is written in full at any
        time.  Without a bound every error is.

        @param kind: see L{kindOf<twisted_tcpdemo.values.failures.kindOf>}.
        """
        if self.rate is None:
            return True
        now = self._look(self.rate)
        if now - self._known.get(kind, -AGAIN) < AGAIN:
            return False
        if len(self._known) >= MOST_KNOWN:
            self._known = {k: at for k, at in self._known.items() if now - at < AGAIN}
            if len(self._known) >= MOST_KNOWN:
                return False
        self._known[kind] = now
        self._asked += 1
        return True

    def _look(self, rate: int) -> float:
        """
        Look whether another period has begun.

        @return: the time.
        """
        now = (self._seconds or self._read)()
        if not self._began <= now < self._ends:  # a clock may be set back, too
            self._begin(now, rate)
        return now

    def _count(self, what: str, bytesRead: int, bytesWritten: int) -> None:
        unsaid = self._unsaid
        if what not in unsaid and len(unsaid) >= MOST_KINDS:
            what = OTHERS
        tally = unsaid.get(what)
        if tally is None:
            tally = unsaid[what] = _Tally()
            if threadable.ioThread is None or threadable.isInIOThread():
                self._arrange()
            else:
                from twisted.internet import reactor

                reactor.callFromThread(self._arrange)
        tally.count += 1
        tally.bytesRead += bytesRead
        tally.bytesWritten += bytesWritten

    def _arrange(self) -> None:
        """
        Write a summary when the period is over.
        """
        if self._call is None:
            self._call = self._theClock().callLater(PERIOD, self.flush)

    def flush(self) -> None:
        """
        Write the summary now.  Nothing happens if no event waits for one.
        """
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
        unsaid, self._unsaid = self._unsaid, {}
        if not unsaid:
            return
        self._asked += 1
        _log.info(
            "{summary}, not shown",
            summary=", ".join(tally.describe(what) for what, tally in unsaid.items()),
            notShown={what: tally.fields() for what, tally in unsaid.items()},
        )

    def _begin(self, now: float, rate: int) -> None:
        """
        Begin a period, with an event; the period before may be long past.
        """
        self._flood = self._asked > rate and now < self._ends + PERIOD
        self._asked = 0
        self._began = now
        self._ends = now + PERIOD

    def _theClock(self) -> IReactorTime:
        if self._clock is None:
            self._clock = clockOf(None)
        return self._clock

    def _read(self) -> float:
        self._seconds = self._theClock().seconds
        return self._seconds()


UNBOUNDED: Final = LogBudget()
"""The budget of a writer that was given none."""


def _size(count: int) -> str:
    """
    A number of bytes in words, in powers of 1000.
    """
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 999.95 or unit == "GB":
            break
        size /= 1000
    return f"{count} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
