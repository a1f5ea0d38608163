"""
The lookout: workers that do not answer are killed, so that others can replace them.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Final

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from twisted_tcpdemo.shapes import Clock
from twisted_tcpdemo.workers.process import Worker

_log = Logger(namespace="tcpdemo")

LOOK: Final = 0.25
"""Seconds between two looks."""

UNANSWERED: Final = 2.0
"""Seconds after which a worker that does not abort a connection is killed."""

STOP: Final = 5.0
"""Seconds in which a worker without connections has to end."""


class Lookout:
    """
    Looks at the workers now and then, and at this process.

    @ivar parentCPU: the share of a processor that this process has.
    """

    def __init__(self, workers: Collection[Worker], clock: Clock, timeout: float | None) -> None:
        """
        @param workers: those of the moment.
        @param timeout: seconds without a word after which a worker is killed; L{None}: never.
        """
        self.parentCPU = 0.0
        self._workers = workers
        self._clock = clock
        self._timeout = timeout
        self._endBy: float | None = None
        self._expected = 0.0
        self._call: IDelayedCall | None = None
        self._measured = time.process_time(), time.monotonic()

    def begin(self) -> None:
        """
        Look from now on.
        """
        self._expected = self._clock.seconds() + LOOK
        self._call = self._clock.callLater(LOOK, self._look)

    def end(self) -> None:
        """
        Look no more.
        """
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def expectEnd(self) -> None:
        """
        Every worker has been told to end.
        """
        self._endBy = self._clock.seconds() + STOP

    def _look(self) -> None:
        self._call = None
        now = self._clock.seconds()
        late = now - self._expected
        self._measure()
        if late > LOOK:
            self._excuse(late)
        for worker in list(self._workers):
            why = None if worker.isKilled else self._complaint(worker, now)
            if why is not None:
                _log.error(
                    "worker {worker} (process {pid}) {why}: it is killed",
                    worker=worker.number,
                    pid=worker.pid,
                    why=why,
                )
                worker.kill()
        self.begin()

    def _excuse(self, late: float) -> None:
        """
        Count no time in which this process has slept itself: it has not told them what they
        are to do, and not read what they have told.
        """
        if self._endBy is not None:
            self._endBy += late
        for worker in self._workers:
            worker.pulse.heardAt += late
            for connection in worker.connections.values():
                if connection.abortedAt is not None:
                    connection.abortedAt += late

    def _complaint(self, worker: Worker, now: float) -> str | None:
        """
        The reason to kill a worker, if there is one.
        """
        silence = now - worker.pulse.heardAt
        if self._timeout is not None and silence > self._timeout:
            return f"does not answer for {silence:.1f} s"
        if self._endBy is not None and now > self._endBy:
            return "does not end"
        aborts = (connection.abortedAt for connection in worker.connections.values())
        if any(at is not None and now - at > UNANSWERED for at in aborts):
            return "does not abort a connection"
        return None

    def _measure(self) -> None:
        """
        Measure the share of this process, over a second or more.
        """
        spent, at = self._measured
        now = time.monotonic()
        if now - at >= 1.0:
            self._measured = time.process_time(), now
            self.parentCPU = (self._measured[0] - spent) / (now - at)
