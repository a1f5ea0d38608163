"""
Timers of the kernel.
"""

from __future__ import annotations

import os
import select
from time import monotonic

import pytest

from twisted_tcpdemo.values.kerneltimer import makeTimer, setTimer


@pytest.mark.parametrize("delay", [-1e9, 0.0, 0.02])
def test_set(delay: float) -> None:
    """
    A timer is readable from its time on, at once for a past one, and until it is set
    again.
    """
    timer = makeTimer()
    if timer is None:
        pytest.skip("the system has no such timers")
    asked, at = select.poll(), monotonic() + delay
    asked.register(timer, select.POLLIN)
    assert asked.poll(0) == []
    setTimer(timer, at)
    assert asked.poll(1000) == asked.poll(0) != []
    assert monotonic() >= at
    setTimer(timer, monotonic() + 60)
    assert asked.poll(0) == []
    assert not os.get_inheritable(timer)
    os.close(timer)
