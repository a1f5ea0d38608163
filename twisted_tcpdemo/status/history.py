"""
The last minutes of a server, sampled while a status page is open.

Sampling begins with the first request for the history, so the plots are empty at
first and fill from then on.  It ends some time after the last request.  The samples
are then dropped, because a history has no holes.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.server.factory import TCPDemoFactory


class History:
    """
    The number of connections at the end of each interval, and the bytes moved in
    it; the oldest first.
    """

    INTERVAL: Final = 1.0
    """Seconds between two samples."""

    LENGTH: Final = 300
    """The most samples to keep: five minutes."""

    LINGER: Final = 60.0
    """Seconds for which sampling goes on after the last request, so that a page
    hidden for a moment has no hole."""

    def __init__(self, factory: TCPDemoFactory, clock: IReactorTime) -> None:
        self._factory = factory
        self._clock = steady(clock)
        self._lookedAt = 0.0
        self._connections: deque[int] = deque(maxlen=self.LENGTH)
        self._bytesRead: deque[int] = deque(maxlen=self.LENGTH)
        self._bytesWritten: deque[int] = deque(maxlen=self.LENGTH)
        self._before = (0, 0)
        self._sampling = LoopingCall.withCount(self._sample)
        self._sampling.clock = self._clock

    @property
    def sampling(self) -> bool:
        """
        Whether samples are taken now.
        """
        return self._sampling.running

    def look(self) -> dict[str, object]:
        """
        The samples so far.  A call starts sampling, or keeps it going.
        """
        self._lookedAt = self._clock.seconds()
        if not self._sampling.running:
            self._before = (self._factory.bytesRead, self._factory.bytesWritten)
            self._sampling.start(self.INTERVAL, now=False)
        return {
            "interval": self.INTERVAL,
            "connections": list(self._connections),
            "bytesRead": list(self._bytesRead),
            "bytesWritten": list(self._bytesWritten),
        }

    def stop(self) -> None:
        """
        Stop sampling, and drop the samples.
        """
        if self._sampling.running:
            self._sampling.stop()
        self._connections.clear()
        self._bytesRead.clear()
        self._bytesWritten.clear()

    def _sample(self, intervals: int) -> None:
        """
        Add the samples of the intervals that have passed.

        @param intervals: the number of these intervals: more than one if the
            reactor was busy.  The bytes moved are spread over them, because a pause
            would look like a burst otherwise.
        """
        if self._clock.seconds() - self._lookedAt > self.LINGER:
            self.stop()
            return
        factory = self._factory
        now = (factory.bytesRead, factory.bytesWritten)
        read, written = now[0] - self._before[0], now[1] - self._before[1]
        self._before = now
        # A machine that was asleep may have missed any number of intervals.
        for left in range(min(intervals, self.LENGTH), 0, -1):
            self._connections.append(factory.connectionCount)
            self._bytesRead.append(read // left)
            self._bytesWritten.append(written // left)
            read -= read // left
            written -= written // left
