"""
A post: the place of a worker, which has the same number whoever fills it.

A worker that ends is replaced: at once if it has served for a while, else after a pause that
grows.  One that has never begun to serve, several times in a row, is not started again: it
would fail for ever, and the others go on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Protocol

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from twisted_tcpdemo.shapes import Clock
from twisted_tcpdemo.values.report import WorkerReport
from twisted_tcpdemo.workers.process import Worker

_log = Logger(namespace="tcpdemo")

AT_ONCE: Final = 1.0
"""Seconds of service under which a worker has ended at once."""

SETTLED: Final = 10.0
"""Seconds of service after which former ends count no more."""

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 10.0

MOST_FAILURES: Final = 5
"""Starts in a row without a service, after which there is no other."""


class Employer(Protocol):
    """
    What a post asks for.
    """

    def hire(self, number: int) -> Worker:
        """
        A worker that has been started.

        @raise OSError: if there can be none.
        """

    def dismiss(self, worker: Worker) -> None:
        """
        Let a worker leave.
        """

    def gaveUp(self) -> None:
        """
        No other worker will be started here.
        """


class Post:
    """
    One post.

    @ivar worker: the worker that serves; L{None} if there is none.
    @ivar coming: the one that is starting, if any.
    @ivar isGivenUp: whether no other will be started.
    @ivar startCount: how many were started.
    @ivar former: the sums over the workers that have ended.
    """

    def __init__(self, number: int, employer: Employer, clock: Clock) -> None:
        self.number = number
        self.worker: Worker | None = None
        self.coming: Worker | None = None
        self.isGivenUp = False
        self.startCount = 0
        self.former = WorkerReport(number, None, "gone", 0, 0, 0, 0.0, 0.0, 0.0, 0.0, 0)
        self._employer = employer
        self._clock = clock
        self._failures = 0
        self._pauses = 0
        self._call: IDelayedCall | None = None
        self._closed = False

    @property
    def isHopeless(self) -> bool:
        """
        Whether nobody serves here, and nobody will.
        """
        return self.isGivenUp and self.worker is None

    def fill(self) -> None:
        """
        Start a worker; it replaces the one that serves when it is ready.
        """
        self.stopWaiting()
        former, self.coming = self.coming, None
        if former is not None:
            former.kill()  # it may have imported a former program
        self.isGivenUp = False
        self._failures = 0
        self._start()

    def _start(self) -> None:
        self._call = None
        try:
            self.coming = self._employer.hire(self.number)
        except OSError as error:
            self._failed(str(error), isOwnEnd=True)
        else:
            self.startCount += 1

    def isReady(self, worker: Worker) -> None:
        """
        The worker that was starting can serve.
        """
        if worker is not self.coming:
            return
        former, self.worker, self.coming = self.worker, worker, None
        self._failures = 0
        if former is not None:
            self._employer.dismiss(former)

    def isGone(self, worker: Worker, why: str) -> None:
        """
        A worker has ended.
        """
        former = self.former
        self.former = replace(
            former,
            bytesRead=former.bytesRead + worker.bytesRead,
            bytesWritten=former.bytesWritten + worker.bytesWritten,
            cpuSeconds=former.cpuSeconds + worker.pulse.cpuSeconds,
        )
        if self._closed:
            return
        if worker is self.coming:
            self.coming = None
            self._failed(f"(process {worker.pid}) {why}", worker.isOwnEnd)
        elif worker is self.worker:
            self.worker = None
            self._tellEnd(worker, why)
            self._replace(worker)
        elif worker.lostCount or not (worker.isStopped or worker.isKilled):
            self._tellEnd(worker, why)

    def _tellEnd(self, worker: Worker, why: str) -> None:
        _log.error(
            "worker {worker} (process {pid}): {why}; {connectionCount} connections are lost",
            worker=self.number,
            pid=worker.pid,
            why=why,
            connectionCount=worker.lostCount,
        )

    def _replace(self, worker: Worker) -> None:
        if self.coming is not None:
            return
        served = self._clock.seconds() - (worker.readyAt or 0.0)
        if served >= SETTLED:
            self._pauses = 0
        if served >= AT_ONCE or not worker.isOwnEnd:
            self._start()
        else:
            self._pause()

    def _failed(self, why: str, isOwnEnd: bool) -> None:
        """
        A worker has ended before it could serve.
        """
        self._failures += isOwnEnd
        if self._failures < MOST_FAILURES:
            _log.error("worker {worker} cannot start: {why}", worker=self.number, why=why)
            self._pause()
            return
        self.isGivenUp = True
        _log.critical(
            "worker {worker} is not started again, after {failures} starts in a row that failed: "
            "{why}",
            worker=self.number,
            failures=self._failures,
            why=why,
        )
        self._employer.gaveUp()

    def _pause(self) -> None:
        pause = min(FIRST_PAUSE * 2**self._pauses, LONGEST_PAUSE)
        self._pauses += 1
        self._call = self._clock.callLater(pause, self._start)

    def stopWaiting(self) -> None:
        """
        Start nobody by itself.
        """
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def close(self) -> None:
        """
        Replace nobody any more.
        """
        self._closed = True
        self.stopWaiting()
