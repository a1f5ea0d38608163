"""
Deadlines of many connections behind one delayed call.

A timer that is restarted at every read costs more than the read.  So nothing
happens on the hot path: a transport keeps the time of its last activity, and
L{Deadlines} visit a connection only when one of its budgets may be used up.  If
there was activity meanwhile, the visit finds that the deadline has moved.  A
connection with a budget of one minute is visited once a minute, however busy
it is.

Deadlines are kept to a tick of L{Deadlines.TICK} seconds, and never early.  The clock
is a L{steady<twisted_tcpdemo.clock.steady>} one, but one that is handed in may be set
back: then deadlines already set become late; new ones do not.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import ceil
from typing import Final, Protocol
from weakref import WeakValueDictionary

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from twisted_tcpdemo.shapes import Clock

_log = Logger(namespace="tcpdemo")

FEW: Final = 64
"""Empty buckets that are not worth a search."""


class Watched(Protocol):
    """
    An object with a deadline.

    @ivar tick: its place among the deadlines, for their use only; C{0} for none.
    """

    tick: int

    def visit(self, now: float) -> None:
        """
        Act: the deadline has come, and is set no more.
        """


class Deadlines:
    """
    One delayed call for all objects with a deadline.
    """

    TICK = 0.05

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[int, dict[Watched, None]] = {}
        self._ticks: list[int] = []
        self._serving = 0
        self._call: IDelayedCall | None = None
        self._callTick = 0

    def watch(self, watched: Watched, deadline: float) -> None:
        """
        Visit an object at a deadline, which replaces the one it had.

        @param deadline: seconds of the clock; a past one means at once.
        """
        if watched.tick:
            self._take(watched)
        # Never a tick that is being served, or serving it might not end.  At
        # other times the last tick served tells nothing: the clock may have been
        # set back since.
        watched.tick = tick = max(ceil(deadline / self.TICK), self._serving + 1)
        bucket = self._buckets.get(tick)
        if bucket is None:
            self._buckets[tick] = bucket = {}
            self._queue(tick)
        bucket[watched] = None
        if self._call is None or tick < self._callTick:
            self._schedule()

    def forget(self, watched: Watched) -> None:
        """
        Do not visit an object any more.  Nothing happens if it has no deadline.
        """
        self._take(watched)
        if not self._buckets:
            self._schedule()

    def _take(self, watched: Watched) -> None:
        tick, watched.tick = watched.tick, 0
        bucket = self._buckets.get(tick)
        if bucket is not None and watched in bucket:
            del bucket[watched]
            if not bucket:
                del self._buckets[tick]

    def _queue(self, tick: int) -> None:
        """
        Queue a bucket by its time.  Buckets that become empty stay in the queue,
        but never make up most of it: connections that may live for a day and do
        for a moment would leave the buckets of a day.
        """
        if len(self._ticks) < 2 * len(self._buckets) + FEW:
            heappush(self._ticks, tick)
        else:
            self._ticks = list(self._buckets)
            heapify(self._ticks)

    def _schedule(self) -> None:
        """
        Keep one delayed call for the first tick, as long as there is a deadline.
        """
        while self._ticks and self._ticks[0] not in self._buckets:
            heappop(self._ticks)
        wanted = self._ticks[0] if self._ticks else 0
        before = self._call
        if before is not None and wanted and wanted >= self._callTick:
            return
        self._call = None
        if wanted:
            self._callTick = wanted
            delay = max(0.0, wanted * self.TICK - self._clock.seconds())
            self._call = self._clock.callLater(delay, self._run)
        if before is not None:
            before.cancel()

    def _run(self) -> None:
        self._call = None
        now = self._clock.seconds()
        # The sum of a time and a delay may miss the time meant by a rounding
        # error.
        self._serving = last = int((now + 1e-9) / self.TICK)
        while self._ticks and self._ticks[0] <= last:
            bucket = self._buckets.get(heappop(self._ticks), {})
            while bucket:
                self._visit(next(iter(bucket)), now)
        self._serving = 0
        self._schedule()

    def _visit(self, watched: Watched, now: float) -> None:
        self._take(watched)
        try:
            watched.visit(now)
        except BaseException:
            _log.failure("a deadline could not be served")


# Deadlines hold their clock, so its identity is theirs as long as they live.  They
# live as long as there are any: the delayed call is the clock's.
_ofClocks: WeakValueDictionary[int, Deadlines] = WeakValueDictionary()


def deadlinesOf(clock: Clock) -> Deadlines:
    """
    The deadlines of a clock, shared by all that use it.
    """
    deadlines = _ofClocks.get(id(clock))
    if deadlines is None:
        _ofClocks[id(clock)] = deadlines = Deadlines(clock)
    return deadlines
