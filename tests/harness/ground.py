"""
Where one attack takes place: one peer, the bounds of the run, and what did not hold.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from tests.benchmarks.programs import Unavailable
from tests.harness.clients import isServed, soon
from tests.harness.findings import HELD, NOT_APPLICABLE, NOT_HELD, Finding, NotApplicable
from tests.harness.peers.kinds import Peer
from tests.harness.peers.running import Running, Wanted, serving


class Bounds(NamedTuple):
    """
    How much, and how long.

    @ivar scale: the share of each part's counts.
    @ivar seconds: the length of the soak.
    @ivar deadline: seconds after which a case is given up.
    """

    scale: float = 1.0
    seconds: float = 600.0
    deadline: float = 180.0


class OutOfTime(Exception):
    """
    A case has not ended in time.
    """


class Ground:
    """
    One peer under one attack.

    @ivar wrong: what did not hold, so far.
    """

    def __init__(self, peer: Peer, bounds: Bounds, folder: Path) -> None:
        self.peer = peer
        self.bounds = bounds
        self.folder = folder
        self.wrong: list[str] = []

    def count(self, full: int, least: int) -> int:
        """
        The number for this run.

        @param full: that of a whole run.
        @param least: the smallest that shows anything.
        """
        return max(least, round(full * self.bounds.scale))

    def needs(self, ability: str) -> None:
        """
        Go on only with a peer that has an ability.

        @raise NotApplicable: with the peer's reason.
        """
        if ability not in self.peer.abilities:
            raise NotApplicable(self.peer.reasons.get(ability, f"no {ability}"))

    def expect(self, holds: object, otherwise: str) -> None:
        """
        Note what did not hold.
        """
        if not holds:
            self.wrong.append(otherwise)

    @contextmanager
    def serving(self, **wanted: Any) -> Generator[Running]:
        """
        Let the peer serve as long as the block lasts.
        """
        with serving(self.peer, Wanted(**wanted), self.folder) as running:
            # What a server opens for its first client, it keeps.
            before = running.descriptors()
            isServed(running.port)
            soon(lambda: running.descriptors() <= before, 0.5)
            if not running.isRunning:
                raise NotApplicable(f"it has not started: {running.lastLine()}")
            yield running
            self.expect(running.isRunning or running.mayEnd, f"it has ended: {running.lastLine()}")


@contextmanager
def within(seconds: float) -> Generator[None]:
    """
    Give a block up at a deadline.
    """

    def expired(number: int, frame: FrameType | None) -> None:
        raise OutOfTime(f"not over after {seconds:.0f} s")

    former = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def attacked(
    attack: Callable[[Ground], Any], ground: Ground, part: str, case: str
) -> tuple[Finding, float]:
    """
    Attack a peer.

    @return: the finding, and how long it took.
    """
    began = time.monotonic()

    def found(verdict: str, why: str, facts: Any = ()) -> tuple[Finding, float]:
        finding = Finding(part, case, ground.peer.name, verdict, why, dict(facts))
        return finding, time.monotonic() - began

    try:
        with within(ground.bounds.deadline + ground.bounds.seconds * (part == "soak")):
            facts = attack(ground)
    except NotApplicable as error:
        return found(NOT_APPLICABLE, str(error))
    except (AssertionError, OSError, EOFError, OutOfTime, Unavailable) as error:
        wrong = [*ground.wrong, f"{type(error).__name__}: {error}"]
        return found(NOT_HELD, "; ".join(wrong))
    return found(NOT_HELD if ground.wrong else HELD, "; ".join(ground.wrong), facts or {})
