"""
Posts: who replaces a worker, and when.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock

from twisted_tcpdemo.workers.post import LONGEST_PAUSE, MOST_FAILURES, SETTLED, Post


class FakeWorker:
    """
    A worker without a process.
    """

    def __init__(self, number: int, clock: Clock) -> None:
        self.number = number
        self.pid = 1
        self.readyAt: float | None = None
        self.isKilled = self.isStopped = False
        self.isOwnEnd = True
        self.lostCount = self.bytesRead = self.bytesWritten = 0
        self.pulse: Any = type("Pulse", (), {"cpuSeconds": 1.0})
        self._clock = clock

    def kill(self) -> None:
        """
        Remember it.
        """
        self.isKilled = True


class Office:
    """
    An employer whose workers are fakes.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.hired: list[FakeWorker] = []
        self.dismissed: list[FakeWorker] = []
        self.error: OSError | None = None
        self.gaveUpCount = 0
        self.post = Post(1, self, self.clock)  # type: ignore[arg-type]

    def hire(self, number: int) -> Any:
        """
        Start a fake.
        """
        if self.error is not None:
            raise self.error
        self.hired.append(FakeWorker(number, self.clock))
        return self.hired[-1]

    def dismiss(self, worker: Any) -> None:
        """
        Remember it.
        """
        self.dismissed.append(worker)

    def gaveUp(self) -> None:
        """
        Count it.
        """
        self.gaveUpCount += 1

    def ready(self) -> None:
        """
        The last one can serve.
        """
        self.hired[-1].readyAt = self.clock.seconds()
        self.post.isReady(self.hired[-1])  # type: ignore[arg-type]

    def gone(self, index: int = -1, isOwnEnd: bool = True) -> None:
        """
        One has ended.
        """
        self.hired[index].isOwnEnd = isOwnEnd
        self.post.isGone(self.hired[index], "it has ended")  # type: ignore[arg-type]


@pytest.fixture
def office() -> Office:
    """
    An office whose post has its first worker.
    """
    office = Office()
    office.clock.advance(100)
    office.post.fill()
    return office


def test_replaced(office: Office) -> None:
    """
    A worker that has served for a while is replaced at once.
    """
    office.ready()
    office.clock.advance(SETTLED)
    office.gone()
    assert len(office.hired) == 2 and office.post.worker is None


def test_backoff(office: Office) -> None:
    """
    Workers that end as soon as they serve are replaced after pauses that grow, up to a
    bound, and for ever.
    """
    pauses = []
    for _ in range(12):
        office.ready()
        office.gone()
        before = len(office.hired)
        started = office.clock.seconds()
        while len(office.hired) == before:
            office.clock.advance(0.05)
        pauses.append(round(office.clock.seconds() - started, 1))
    assert pauses == sorted(pauses) and pauses[0] < 0.2
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE, abs=0.1)
    assert not office.post.isGivenUp


def test_killed(office: Office) -> None:
    """
    A kill from outside is no fault of the program: there is no pause.
    """
    for _ in range(20):
        office.ready()
        office.gone(isOwnEnd=False)
    assert len(office.hired) == 21


def test_givenUp(office: Office) -> None:
    """
    Workers that never begin to serve are given up in the end; a restart tries again.
    """
    for _ in range(MOST_FAILURES):
        office.gone()
        office.clock.advance(LONGEST_PAUSE)
    assert office.post.isHopeless and len(office.hired) == MOST_FAILURES
    assert not office.clock.getDelayedCalls()
    office.post.fill()
    office.ready()
    assert not office.post.isGivenUp and office.post.worker is not None


def test_noProcess(office: Office) -> None:
    """
    A process that the system refuses counts as a start that has failed.
    """
    office.gone()
    office.error = OSError(11, "no process")
    for _ in range(MOST_FAILURES):
        office.clock.advance(LONGEST_PAUSE)
    assert office.post.isHopeless and office.gaveUpCount == 1


def test_restart(office: Office) -> None:
    """
    A worker serves until another one is ready, and leaves then.
    """
    office.ready()
    office.post.fill()
    assert office.post.worker is office.hired[0] and not office.dismissed
    office.ready()
    assert office.post.worker is office.hired[1]
    assert office.dismissed == [office.hired[0]]
    office.hired[0].isStopped = True
    office.gone(index=0)
    assert len(office.hired) == 2  # nobody replaces it


def test_restartFails(office: Office) -> None:
    """
    If the new program cannot start, the old worker goes on.
    """
    office.ready()
    office.post.fill()
    for _ in range(MOST_FAILURES):
        office.gone()
        office.clock.advance(LONGEST_PAUSE)
    assert office.post.isGivenUp and not office.post.isHopeless
    assert office.post.worker is office.hired[0]


def test_restartTwice(office: Office) -> None:
    """
    A worker that is still starting at the next restart is replaced, too: it may have
    imported the former program.
    """
    office.ready()
    office.post.fill()
    office.post.fill()
    assert office.hired[1].isKilled and len(office.hired) == 3
    office.gone(index=1, isOwnEnd=False)
    office.ready()
    assert office.post.worker is office.hired[2]


def test_diesDuringRestart(office: Office) -> None:
    """
    A worker that dies while another one starts has its replacement already.
    """
    office.ready()
    office.post.fill()
    office.gone(index=0)
    assert len(office.hired) == 2
    office.ready()
    assert office.post.worker is office.hired[1]


def test_close(office: Office) -> None:
    """
    A closed post replaces nobody, and leaves no delayed call.
    """
    office.gone()
    office.post.close()
    assert not office.clock.getDelayedCalls()


def test_sums(office: Office) -> None:
    """
    The sums over former workers never fall.
    """
    office.ready()
    office.hired[-1].bytesRead = 5
    office.gone(isOwnEnd=False)
    office.ready()
    office.hired[-1].bytesRead = 7
    office.gone(isOwnEnd=False)
    assert (office.post.former.bytesRead, office.post.former.cpuSeconds) == (12, 2.0)
