"""
The pulse of a worker: what it told of itself last.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Pulse:
    """
    What a worker told of itself last.

    @ivar heardAt: when it told anything.
    @ivar lateness: seconds by which its reactor was late, at the most, since the report
        before.
    @ivar cpuSeconds: CPU time since its start.
    @ivar cpu: the share of one processor that it had between the last two reports.
    @ivar descriptors: descriptors that it has left; L{None} for any number.
    """

    heardAt: float
    lateness: float = 0.0
    cpuSeconds: float = 0.0
    cpu: float = 0.0
    descriptors: int | None = None
    _at: float = field(default=0.0)

    def beat(self, now: float, lateness: float, cpuSeconds: float, descriptors: int | None) -> None:
        """
        Take a report.
        """
        if self._at and now > self._at:
            self.cpu = max(0.0, (cpuSeconds - self.cpuSeconds) / (now - self._at))
        self._at = now
        self.lateness, self.cpuSeconds, self.descriptors = lateness, cpuSeconds, descriptors
