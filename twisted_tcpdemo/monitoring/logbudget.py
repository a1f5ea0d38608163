"""
How many lines a second the log may have, whatever clients do.

A line is made by an event that a client can cause as often as it likes, costs
more than serving the client does, and stays on the disk.  So lines are asked
for before they are made: in a quiet second each event has its line, and in a
flood nothing but the events' counts are kept, which one summary a second tells.

Errors, and what the operator does (listening, draining), do not ask.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import ILogObserver, Logger, textFileLogObserver
from twisted.python.logfile import LogFile

from twisted_tcpdemo.transports.layers import clockOf

_log = Logger(namespace="tcpdemo")

PERIOD: Final = 1.0
"""Seconds over which lines are counted, and between two summaries."""


class _Tally:
    """
    Events of one kind that had no line.
    """

    __slots__ = ("bytesRead", "bytesWritten", "count")

    def __init__(self) -> None:
        self.count = 0
        self.bytesRead = 0
        self.bytesWritten = 0

    def fields(self) -> dict[str, int]:
        """
        All of it for programs.
        """
        return {name: getattr(self, name) for name in ("count", "bytesRead", "bytesWritten")}

    def describe(self, what: str) -> str:
        """
        All of it in a few words.
        """
        amounts = [(self.bytesRead, "in"), (self.bytesWritten, "out")]
        bytes_ = ", ".join(f"{_size(n)} {direction}" for n, direction in amounts if n)
        return f"{self.count:,} {what}" + (f" ({bytes_})" if bytes_ else "")


class LogBudget:
    """
    What may still be said, shared by all that writes to one log.

    A period that asks for more lines than there may be is a flood.  It lasts,
    and nothing but summaries is shown, until a period has asked for no more
    than that.  No timer runs but while something is unsaid.
    """

    def __init__(self, rate: int | None = None, clock: IReactorTime | None = None) -> None:
        """
        @param rate: lines a second, summaries included; L{None} or C{0} for no
            bound.
        @param clock: what time is read from; the reactor if there is none.
        @raise ValueError: if the rate is negative.
        """
        if rate is not None and rate < 0:
            raise ValueError(f"the rate of lines must be 0 or more, or None, not {rate}")
        self.rate = rate or None
        self._clock = clock
        self._seconds: Callable[[], float] | None = clock.seconds if clock is not None else None
        self._began = 0.0
        self._ends = 0.0
        self._asked = 0
        self._flood = False
        self._unsaid: dict[str, _Tally] = {}
        self._call: IDelayedCall | None = None

    def shows(self, what: str, bytesRead: int = 0, bytesWritten: int = 0) -> bool:
        """
        Ask whether an event may have its line.  If not, it is counted.

        @param what: what the summary calls such events, as in C{"1,842
            connections"}.
        @param bytesRead: bytes that the line would tell of, for the summary.
        @param bytesWritten: the same, for the other direction.
        """
        rate = self.rate
        if rate is None:
            return True
        now = (self._seconds or self._read)()
        if not self._began <= now < self._ends:  # a clock may be set back, too
            self._begin(now, rate)
        self._asked += 1
        if not self._flood and self._asked <= rate:
            return True
        self._flood = True
        tally = self._unsaid.get(what)
        if tally is None:
            tally = self._unsaid[what] = _Tally()
            if self._call is None:
                self._call = self._theClock().callLater(PERIOD, self.flush)
        tally.count += 1
        tally.bytesRead += bytesRead
        tally.bytesWritten += bytesWritten
        return False

    def flush(self) -> None:
        """
        Say now what is unsaid.  Nothing happens if nothing is.
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
        A new period begins with an event; the one before it may be long past.
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
"""The budget of those who were given none."""


def boundedLog() -> ILogObserver:
    """
    A log that takes a bounded part of the disk, for C{twistd
    --logger=twisted_tcpdemo.monitoring.boundedLog}: C{twistd --logfile} keeps each
    file that it has rotated for ever.

    It is written to the file that the environment variable C{TCPDEMO_LOG}
    names, C{tcpdemo.log} if it names none.
    """
    file: Any = boundedFile(os.environ.get("TCPDEMO_LOG", "tcpdemo.log"))
    observer: ILogObserver = textFileLogObserver(file)
    return observer


def boundedFile(path: str, size: int = 10_000_000, older: int = 10) -> LogFile:
    """
    A file of at most C{size} bytes and one line, and as many older ones as
    C{path.1}, C{path.2} and so on.
    """
    folder, name = os.path.split(os.path.abspath(path))
    return LogFile(name, folder, rotateLength=size, maxRotatedFiles=older)


def _size(count: int) -> str:
    """
    A number of bytes as people read it, in powers of 1000.
    """
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 999.95 or unit == "GB":
            break
        size /= 1000
    return f"{count} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
