"""
Further attempts to connect, after failures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from random import random

from twisted.application.internet import backoffPolicy

from twisted_tcpdemo.values.checks import number, wholeOrNone


@dataclass(frozen=True, slots=True)
class Retry:
    """
    The number of attempts to connect, and the delays between them:
    L{backoffPolicy<twisted.application.internet.backoffPolicy>}.

    @ivar attempts: the number of attempts in all; L{None} for attempts until
        C{connect()} is cancelled.
    @ivar initialDelay: seconds to wait after the first failure.
    @ivar maxDelay: the most seconds to wait, before the jitter is added.
    @ivar factor: the factor between a delay and the next; 1 or more.
    @ivar jitter: returns the seconds to add to each delay, so that the clients of a
        lost server do not return together.  If it raises, there is no further
        attempt, and C{connect()} fails with this exception.
    @raise TypeError: for a value of the wrong type.
    @raise ValueError: for a value out of range.
    """

    attempts: int | None = None
    initialDelay: float = 1.0
    maxDelay: float = 60.0
    factor: float = 1.5
    jitter: Callable[[], float] = random

    def __post_init__(self) -> None:
        wholeOrNone("attempts", self.attempts, 1)
        for name in ("initialDelay", "maxDelay"):
            number(name, getattr(self, name))
        number("factor", self.factor, 1)
        if not callable(self.jitter):
            raise TypeError(f"jitter must be callable, not {self.jitter!r}")

    def delays(self) -> Iterator[float]:
        """
        The seconds to wait after each failed attempt but the last.
        """
        policy = backoffPolicy(self.initialDelay, self.maxDelay, self.factor, self.jitter)
        for failed in count() if self.attempts is None else range(self.attempts - 1):
            yield max(0.0, policy(failed))
