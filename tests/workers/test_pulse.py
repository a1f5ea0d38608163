"""
Pulses.
"""

from __future__ import annotations

import pytest

from twisted_tcpdemo.workers.pulse import Pulse


def test_share() -> None:
    """
    The share of a processor is that between the last two reports.
    """
    pulse = Pulse(10.0)
    pulse.beat(10.0, 0.0, 3.0, None)
    assert pulse.cpu == 0.0
    pulse.beat(12.0, 0.25, 4.0, 100)
    assert pulse.cpu == pytest.approx(0.5)
    assert (pulse.lateness, pulse.cpuSeconds, pulse.descriptors) == (0.25, 4.0, 100)
