"""
The time that a server gives to the visitors of its side doors.

A visitor can ask for work without end, by one packet of pipelined requests.  So work is
cut into small steps.  All visitors of a door share one slice of each turn of the
reactor, and the door rests between two slices for a multiple of what it has worked.
The clients of the server have at least three quarters of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Final

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Cooperator

from twisted_tcpdemo.shapes import AnyReactor

SLICE: Final = 0.002
"""Seconds of work in one turn of the reactor; the last step may take a little longer."""

REST: Final = 3.0
"""The rest after a slice, as a multiple of the slice."""


class Turns:
    """
    Runs the work of a door in slices.
    """

    def __init__(self, clock: AnyReactor, measure: Callable[[], float] = perf_counter) -> None:
        """
        @param clock: the reactor.
        @param measure: measures how long work has taken, in seconds; a reactor's clock
            may be set meanwhile.
        """
        self._clock = clock
        self._measure = measure
        self._began = self._ended = 0.0
        self.cooperate = Cooperator(self._begin, self._schedule).cooperate

    def _begin(self) -> Callable[[], bool]:
        self._began = self._ended = self._measure()
        return self._isOver

    def _isOver(self) -> bool:
        self._ended = self._measure()
        return self._ended - self._began >= SLICE

    def _schedule(self, slice: Callable[[], None]) -> IDelayedCall:
        due = self._ended + REST * (self._ended - self._began)
        call: IDelayedCall = self._clock.callLater(max(0.0, due - self._measure()), slice)
        return call
