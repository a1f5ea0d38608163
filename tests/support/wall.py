"""
A system's clock that a test sets.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.clients import installedReactor

HOUR = 3600.0


class Wall:
    """
    The system's clock, as the reactor reads it.
    """

    def __init__(self) -> None:
        self._by = 0.0

    def seconds(self) -> float:
        """
        The time that it shows.
        """
        return time.time() + self._by

    def set(self, by: float) -> None:
        """
        Set it forward, or back.
        """
        self._by += by


@contextmanager
def settableWall() -> Iterator[Wall]:
    """
    Let the reactor go by a clock that can be set.  A test that sets it forward needs a
    deadline of its own: that of all tests is the reactor's.
    """
    reactor, wall = installedReactor(), Wall()
    reactor.seconds = wall.seconds
    try:
        yield wall
    finally:
        del reactor.seconds
