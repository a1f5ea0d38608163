"""
Distributions: how long connections last, and how far away their peers are.

For the duration of each connection that ends there is one look-up.  The kernel is asked
for the round trip times of a few open connections at a time, each in its turn.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from math import inf
from typing import Final

from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.server.observers import ConnectionObserver
from twisted_tcpdemo.server.rounds import Rounds
from twisted_tcpdemo.values.report import ConnectionReport

DURATIONS: Final = (0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400)
"""Upper bounds of buckets, in seconds: from a health check to a connection that is kept for
a day."""

ROUND_TRIPS: Final = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
"""Upper bounds of buckets, in seconds: from the same machine to the other side of the world,
over a full queue."""

ASKED_AT_ONCE: Final = 50
"""Connections about which L{Distributions.ask} asks the kernel: 0.2 ms."""

RECENT: Final = 1000
"""The round trip times to keep, for a look at those of the present."""


class Distribution:
    """
    Values in buckets.

    @ivar bounds: upper bounds of the buckets; a last bucket without a bound comes after them.
    @ivar counts: the values in each bucket.
    @ivar sum: the sum of all values.
    """

    def __init__(self, name: str, bounds: Iterable[float]) -> None:
        """
        @param name: what is measured, for errors.
        @raise ValueError: if the bounds are not positive and rising.
        """
        self.bounds = tuple(bounds)
        rising = all(a < b for a, b in zip((0, *self.bounds), self.bounds, strict=False))
        if not self.bounds or not rising or self.bounds[-1] == inf:
            raise ValueError(f"{name} must be positive and rising, not {self.bounds!r}")
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """
        Count a value.  One that is a bound belongs to the bucket below it.
        """
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Distributions(ConnectionObserver):
    """
    The distributions of one server, which it observes.

    @ivar durations: seconds that connections have lasted, of those that have ended.
    @ivar roundTripTimes: seconds to the peer and back, of those that are open, each time that
        the kernel was asked.
    """

    def __init__(self, factory: TCPDemoFactory, durations: Iterable[float] = DURATIONS) -> None:
        """
        @param durations: upper bounds of the buckets, in seconds.
        @raise ValueError: if they are not positive and rising.
        """
        self.durations = Distribution("durations", durations)
        self.roundTripTimes = Distribution("round trip times", ROUND_TRIPS)
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._rounds = Rounds(lambda: factory.records)
        self._factory = factory
        factory.addObserver(self)

    def detach(self) -> None:
        """
        Observe the server no more.
        """
        self._factory.removeObserver(self)

    def connectionClosed(self, report: ConnectionReport) -> None:
        """
        Count the duration of a connection that has ended.
        """
        self.durations.add(report.age)

    def ask(self) -> None:
        """
        Ask the kernel about the next few connections.
        """
        for connection in self._rounds.next(ASKED_AT_ONCE):
            time = connection.roundTripTime
            if time is not None:
                self.roundTripTimes.add(time)
                self._recent.append(time)

    def recentRoundTripTimes(self) -> Distribution:
        """
        The round trip times that were asked for last.
        """
        recent = Distribution("round trip times", ROUND_TRIPS)
        for time in self._recent:
            recent.add(time)
        return recent
