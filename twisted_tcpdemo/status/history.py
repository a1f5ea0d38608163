"""
The last minutes of a server, while somebody looks.

Nothing is sampled before the first look, so at first the plots are empty and
fill from then on.  Sampling ends when nobody has looked for a while, and what
was collected is dropped: a history has no holes.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from twisted_tcpdemo.server.factory import TCPDemoFactory


class History:
    """
    How many were connected at the end of each interval, and how many bytes
    moved in it; the oldest first.
    """

    INTERVAL: Final = 1.0
    """Seconds between two samples."""

    LENGTH: Final = 300
    """How many samples are kept: five minutes."""

    LINGER: Final = 60.0
    """Seconds after the last look for which sampling goes on, so that somebody
    who looks away for a moment finds no hole."""

    def __init__(self, factory: TCPDemoFactory, clock: IReactorTime) -> None:
        self._factory = factory
        self._clock = clock
        self._lookedAt = 0.0
        self._connections: deque[int] = deque(maxlen=self.LENGTH)
        self._bytesRead: deque[int] = deque(maxlen=self.LENGTH)
        self._bytesWritten: deque[int] = deque(maxlen=self.LENGTH)
        self._before = (0, 0)
        self._sampling = LoopingCall.withCount(self._sample)
        self._sampling.clock = clock

    @property
    def sampling(self) -> bool:
        """
        Whether it costs anything now.
        """
        return self._sampling.running

    def look(self) -> dict[str, object]:
        """
        The samples so far; there will be more, as somebody looks.
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
        Sample no more, and forget what was sampled.
        """
        if self._sampling.running:
            self._sampling.stop()
        self._connections.clear()
        self._bytesRead.clear()
        self._bytesWritten.clear()

    def _sample(self, intervals: int) -> None:
        """
        @param intervals: how many have passed, which is more than one if the
            reactor was busy.  What has moved is spread over them, or a pause
            would look like a burst.
        """
        if self._clock.seconds() - self._lookedAt > self.LINGER:
            self.stop()
            return
        factory = self._factory
        now = (factory.bytesRead, factory.bytesWritten)
        read, written = now[0] - self._before[0], now[1] - self._before[1]
        self._before = now
        # A machine that was asleep may have missed any number of them.
        for left in range(min(intervals, self.LENGTH), 0, -1):
            self._connections.append(factory.connectionCount)
            self._bytesRead.append(read // left)
            self._bytesWritten.append(written // left)
            read -= read // left
            written -= written // left
