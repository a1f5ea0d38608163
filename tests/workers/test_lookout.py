"""
The lookout: a worker is killed for its own silence, and not for that of its parent.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock

from twisted_tcpdemo.workers.lookout import LOOK, STOP, UNANSWERED, Lookout
from twisted_tcpdemo.workers.pulse import Pulse

TIMEOUT = 3.0


class Aborted:
    """
    A connection that was to be aborted.
    """

    def __init__(self, abortedAt: float) -> None:
        self.abortedAt = abortedAt


class FakeWorker:
    """
    A worker without a process.
    """

    number = pid = 1
    isKilled = False

    def __init__(self, now: float) -> None:
        self.pulse = Pulse(now)
        self.connections: dict[int, Aborted] = {}

    def kill(self) -> None:
        """
        Remember it.
        """
        self.isKilled = True


class Watch:
    """
    A lookout, and a worker that does not answer.

    @param what: what the worker does not do: C{"answer"}, C{"abort"} or C{"end"}.
    """

    def __init__(self, what: str) -> None:
        self.clock = Clock()
        self.worker = FakeWorker(self.clock.seconds())
        workers: Any = [self.worker]
        self.lookout = Lookout(workers, self.clock, TIMEOUT if what == "answer" else None)
        self.lookout.begin()
        if what == "abort":
            self.worker.connections[1] = Aborted(self.clock.seconds())
        if what == "end":
            self.lookout.expectEnd()

    def pass_(self, seconds: float) -> None:
        """
        Let time pass, with a look in each interval.
        """
        self.clock.pump([LOOK / 2] * round(seconds * 2 / LOOK))


CASES = [("answer", TIMEOUT), ("abort", UNANSWERED), ("end", STOP)]


@pytest.mark.parametrize(("what", "seconds"), CASES)
def test_killed(what: str, seconds: float) -> None:
    """
    A worker that does not do what it has to is killed when its time is over.
    """
    watch = Watch(what)
    watch.pass_(seconds)
    assert not watch.worker.isKilled
    watch.pass_(2 * LOOK)
    assert watch.worker.isKilled


@pytest.mark.parametrize(("what", "seconds"), CASES)
def test_parentSlept(what: str, seconds: float) -> None:
    """
    The time in which the parent itself has slept does not count.
    """
    watch = Watch(what)
    watch.clock.advance(10 * seconds)
    assert not watch.worker.isKilled
    watch.pass_(seconds - LOOK)
    assert not watch.worker.isKilled
    watch.pass_(3 * LOOK)
    assert watch.worker.isKilled
