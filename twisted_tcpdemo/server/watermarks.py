"""
Watermarks: the connection count rises to a share of the limit, and falls again.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from twisted_tcpdemo.values.checks import number, positive
from twisted_tcpdemo.values.report import WatermarkCrossing


class _Mark:
    """
    One fraction of the limit, and the crossing that was told last.
    """

    __slots__ = ("above", "fraction", "quietUntil")

    def __init__(self, fraction: float) -> None:
        self.fraction = fraction
        self.above = False
        self.quietUntil = -inf


class Watermarks:
    """
    Notices when the connection count rises to a fraction of the limit, and when it
    has fallen again: early enough to close idle connections, or to start another
    server.

    The count has fallen when it is under the fraction by C{hysteresis}, so that a
    count that trembles around a mark tells of nothing.  After a crossing of a mark
    the next one is told C{cooldown} seconds later at the earliest, and only if it
    still holds.  The crossings told of one mark are "above" and "below" in turn.

    An instance reads no clock and does not wait (see L{dueAt}), and belongs to
    one factory.
    """

    def __init__(
        self,
        fractions: Iterable[float] = (0.8, 1.0),
        hysteresis: float = 0.05,
        cooldown: float = 5.0,
    ) -> None:
        """
        @param fractions: of the limit, each above 0 and up to 1.
        @param hysteresis: a fraction of the limit as well, less than each of
            C{fractions}.
        @param cooldown: seconds.
        @raise TypeError: for a value of the wrong type.
        @raise ValueError: for one that is out of range.
        """
        marks = sorted({positive("fractions", fraction, 1) for fraction in fractions})
        if not marks:
            raise ValueError("fractions must be one or more, not none")
        if number("hysteresis", hysteresis) >= marks[0]:
            raise ValueError(f"hysteresis must be from 0 to under {marks[0]!r}, not {hysteresis!r}")
        self._marks = [_Mark(fraction) for fraction in marks]
        self._hysteresis = hysteresis
        self._cooldown = number("cooldown", cooldown)
        self._dueAt: float | None = None

    @property
    def dueAt(self) -> float | None:
        """
        The time at which L{update} must be called though nothing has changed: a
        cooldown that keeps a crossing back ends then.  L{None} if none does.
        """
        return self._dueAt

    def update(self, count: int, limit: int | None, now: float) -> list[WatermarkCrossing]:
        """
        Compare the count with the marks, after it or the limit has changed.

        @param count: how many are connected.
        @param limit: how many may be.  With L{None} or C{0} there is no fraction,
            and every mark is above the count.
        @param now: seconds of a clock.
        @return: the marks that were crossed, in the order in which the count
            passed them.
        """
        share = count / limit if limit else -inf
        crossed: list[_Mark] = []
        self._dueAt = None
        for mark in self._marks:
            threshold = mark.fraction - (self._hysteresis if mark.above else 0.0)
            # The difference is not exact: 0.8 - 0.1 is more than 0.7.
            if (share >= threshold - 1e-9) == mark.above:
                continue
            # A rest longer than the cooldown: the clock was set back.
            if 0 < mark.quietUntil - now <= self._cooldown + 1e-6:
                self._dueAt = min(mark.quietUntil, self._dueAt or inf)
                continue
            mark.above = not mark.above
            mark.quietUntil = now + self._cooldown
            crossed.append(mark)
        rising = [mark for mark in crossed if mark.above]
        falling = [mark for mark in reversed(crossed) if not mark.above]
        return [
            WatermarkCrossing(mark.fraction, mark.above, count, limit) for mark in falling + rising
        ]
