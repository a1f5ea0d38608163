"""
The last day of a server.

A mark is what a server has counted by a moment.  One is taken every ten seconds, and
when somebody looks, at most every second.  A rate is the difference of two marks, divided by the
time between them: nothing is guessed, and where no mark was taken for long there is a
gap.

The marks of the last minutes are all kept, one of ten seconds for a day.  That is 64
bytes each, half a megabyte for a day.  To take one costs what it costs to add up the bytes
of all connections, in the slices of the page's other work.
"""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain
from typing import Any, Final, NamedTuple, TypeAlias

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import CooperativeTask, TaskStopped
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.monitoring.distributions import Distributions
from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.web.answer import encoded

_log = Logger(namespace="tcpdemo")

STEP: Final = 10.0
"""Seconds between two marks that are kept for a day."""

LEAST: Final = 0.9
"""Seconds after a mark in which a look takes no other: the page looks every second."""

RANGES: Final = {300: 1.0, 3600: STEP, 86400: 240.0}
"""The ranges that can be asked for, in seconds, and the steps in which they are shown."""

GAP: Final = 2.5
"""The steps without a mark after which there is a gap."""

Cooperate: TypeAlias = "Callable[[Iterator[Any]], CooperativeTask[Any]]"
"""Runs work in slices."""

HIGHEST: Final = 2**53
"""The highest limit to show; JSON has no higher whole numbers for everybody."""

AT_ONCE: Final = 100
"""Marks to look at in one step of work."""


class Mark(NamedTuple):
    """
    What a server has counted by a moment.

    @ivar at: the moment, in seconds of the steady clock.
    @ivar connections: open connections.
    @ivar peak: the most that were open at a time since the mark before.
    @ivar limit: how many could be open; -1 for no limit.
    """

    at: float
    connections: int
    peak: int
    limit: int
    bytesRead: int
    bytesWritten: int
    accepted: int
    refused: int
    closed: int


RATES: Final = ("bytesRead", "bytesWritten", "accepted", "refused", "closed")
"""What is shown as a rate."""


class Point(NamedTuple):
    """
    A moment to show.  A gap is a point whose values are all L{None}.

    @ivar time: seconds since 1970.
    @ivar limit: L{None} for no limit, too.
    @ivar rates: those of L{RATES}, in a second, since the point before; each L{None} for the
        first point and after a gap.
    """

    time: float
    connections: int | None
    peak: int | None
    limit: int | None
    rates: tuple[float | None, ...]


UNKNOWN: Final[tuple[float | None, ...]] = (None,) * len(RATES)


class Day:
    """
    The marks of a day, in columns.
    """

    MOST: Final = int(86400 / STEP)

    def __init__(self) -> None:
        self._columns: tuple[array[Any], ...] = tuple(array(code) for code in "dIIqQQQQQ")

    def __len__(self) -> int:
        return len(self._columns[0])

    def __getitem__(self, index: int) -> Mark:
        return Mark(*(column[index] for column in self._columns))

    def add(self, mark: Mark) -> None:
        """
        Keep a mark, and let go of those of the day before.
        """
        for column, value in zip(self._columns, mark, strict=True):
            column.append(value)
        if len(self) > self.MOST + AT_ONCE:
            for column in self._columns:
                del column[:AT_ONCE]

    def since(self, begin: float, step: float) -> Iterator[Mark]:
        """
        The marks since a moment, one for each step; its peak is that of the whole step.

        They are those of now, however long it takes to go through them: to copy the columns
        of a day takes less than 0.1 ms, to make its marks 12 ms.
        """
        first = bisect_left(self._columns[0], begin)
        columns = [column[first:] for column in self._columns]
        return map(Mark, *columns) if step <= STEP else _inSteps(columns, step)


def _inSteps(columns: list[array[Any]], step: float) -> Iterator[Mark]:
    times, peaks, first = columns[0], columns[2], 0
    while first < len(times):
        edge = (times[first] // step + 1) * step  # the same edges at each look
        last = bisect_right(times, edge) - 1
        mark = Mark(*(column[last] for column in columns))
        yield mark._replace(peak=max(peaks[first : last + 1]))
        first = last + 1


class History:
    """
    Takes the marks of a server, and tells what has been.

    @ivar highest: the highest rates so far, by their names.
    """

    def __init__(
        self,
        factory: TCPDemoFactory,
        clock: IReactorTime,
        cooperate: Cooperate,
        distributions: Distributions,
    ) -> None:
        """
        @param clock: the reactor.
        @param cooperate: runs work in slices.
        @param distributions: asks about connections, at each mark.
        """
        self._factory = factory
        self._clock = steady(clock)
        self._cooperate = cooperate
        self._distributions = distributions
        self._day = Day()
        self._recent: deque[Mark] = deque()
        self._crest = 0
        self._count = 0
        self._told: dict[int, tuple[int, list[bytes]]] = {}
        self._due = 0.0
        self._call: IDelayedCall | None = None
        self._task: CooperativeTask[Any] | None = None
        self.highest: dict[str, float] = dict.fromkeys(RATES, 0.0)

    def start(self) -> None:
        """
        Begin to take marks.
        """
        if self._call is None and self._task is None:
            self._due = self._clock.seconds()
            self._call = self._clock.callLater(0, self._tick)

    def stop(self) -> None:
        """
        Take no more marks.
        """
        call, self._call = self._call, None
        task, self._task = self._task, None
        if call is not None:
            call.cancel()
        if task is not None:
            task.stop()

    def _tick(self) -> None:
        self._call = None
        self._task = self._cooperate(self._measure())
        self._task.whenDone().addCallbacks(self._later, self._failed)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(TaskStopped):
            _log.failure("the history of the server has a gap", failure)
            self._later()

    def _later(self, _: object = None) -> None:
        self._task = None
        now = self._clock.seconds()
        self._due = max(self._due + STEP, now)
        self._call = self._clock.callLater(self._due - now, self._tick)

    def look(self) -> Generator[None, None, None]:
        """
        Take a mark for somebody who looks, in steps of work, if there is none of this second.
        """
        if self._isDue():
            yield from self._measure()

    def _isDue(self) -> bool:
        return not self._recent or self._clock.seconds() - self._recent[-1].at >= LEAST

    def _measure(self) -> Generator[None, None, None]:
        factory = self._factory
        totals = yield from factory.totalling()
        if not self._isDue():
            return  # another has been taken meanwhile: between the two there is no rate
        limit = factory.effectiveLimit
        self._take(
            Mark(
                self._clock.seconds(),
                factory.connectionCount,
                factory.takeCrest(),
                -1 if limit is None else min(limit, HIGHEST),
                totals.bytesRead,
                totals.bytesWritten,
                factory.acceptedCount,
                factory.refusedCount,
                factory.closedCount,
            )
        )
        self._distributions.ask()

    def _take(self, mark: Mark) -> None:
        if self._recent:
            for name, rate in zip(RATES, ratesOf(self._recent[-1], mark), strict=True):
                self.highest[name] = max(self.highest[name], rate or 0.0)
        self._recent.append(mark)
        while mark.at - self._recent[0].at > min(RANGES):
            self._recent.popleft()
        self._crest = max(self._crest, mark.peak)
        if not self._day or mark.at - self._day[-1].at >= STEP - LEAST:
            self._day.add(mark._replace(peak=self._crest))
            self._crest = 0
        self._count += 1

    def points(self, seconds: int, finest: bool = False) -> Iterator[Point]:
        """
        What has been, the oldest first.  The last point is the present one, in each range.

        @param seconds: one of L{RANGES}.
        @param finest: whether to tell of all marks that there are, however many.
        """
        step, now = RANGES[seconds], self._clock.seconds()
        if finest:
            step = min(step, STEP)
        marks: Iterable[Mark] = [*self._recent]
        if step >= STEP:
            # A rate of this moment, and not of the time since the last step.
            begin = now - seconds
            last = [m for m in [*self._recent][-2:] if m.at > max(begin, self._day[-1].at)]
            marks = chain(self._day.since(begin, step), last)
        return _pointsOf(marks, GAP * max(step, STEP), time.time() - now)

    def telling(self, seconds: int) -> Generator[None, None, list[bytes]]:
        """
        What has been, in steps of work.

        @param seconds: one of L{RANGES}.
        @return: JSON: an object of lists, in pieces.
        """
        count, told = self._told.get(seconds, (0, []))
        if told and count == self._count:
            return told
        count, points = self._count, []
        for number, point in enumerate(self.points(seconds), 1):
            points.append(point)
            if number % AT_ONCE == 0:
                yield
        rates = zip(*(point.rates for point in points), strict=True) if points else [()] * 5
        columns = {
            "times": [point.time for point in points],
            "connections": [point.connections for point in points],
            "peaks": [point.peak for point in points],
            "limits": [point.limit for point in points],
            **dict(zip(RATES, rates, strict=True)),
        }
        told = [encoded({"range": seconds, "interval": RANGES[seconds]})[:-1]]
        for name, values in columns.items():
            told.append(b',"%s":' % name.encode() + encoded(values))
            yield
        told.append(b"}")
        self._told[seconds] = count, told
        return told


def ratesOf(before: Mark, after: Mark) -> tuple[float | None, ...]:
    """
    The rates between two marks, in a second.
    """
    passed = after.at - before.at
    if passed <= 0:
        return UNKNOWN
    changes = zip(before[4:], after[4:], strict=True)
    return tuple(round((now - then) / passed, 3) for then, now in changes)


def _pointsOf(marks: Iterable[Mark], longest: float, epoch: float) -> Iterator[Point]:
    """
    @param longest: seconds between two marks above which there is a gap.
    @param epoch: seconds from 1970 to the beginning of the clock.
    """

    def point(mark: Mark, rates: tuple[float | None, ...]) -> Point:
        limit = None if mark.limit < 0 else mark.limit
        return Point(round(epoch + mark.at, 3), mark.connections, mark.peak, limit, rates)

    before = None
    for mark in marks:
        if before is None:
            yield point(mark, UNKNOWN)
        elif mark.at - before.at > longest:
            middle = (before.at + mark.at) / 2
            yield Point(round(epoch + middle, 3), None, None, None, UNKNOWN)
            yield point(mark, UNKNOWN)
        else:
            yield point(mark, ratesOf(before, mark))
        before = mark
