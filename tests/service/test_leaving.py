"""
The time between the request to stop and the drain.
"""

from __future__ import annotations

from twisted.internet.task import Clock

from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.service.leaving import Leaving


def test_over() -> None:
    """
    It ends by itself.
    """
    factory, clock = TCPDemoFactory(), Clock()
    waiting = Leaving(factory).begin(3, clock)
    assert waiting is not None and factory.leaving
    clock.advance(2.9)
    assert not waiting.called
    clock.advance(0.2)
    assert waiting.called and not factory.leaving


def test_cut() -> None:
    """
    It is cut short by a second beginning, or on request, and leaves no call behind.
    """
    factory, clock = TCPDemoFactory(), Clock()
    leaving = Leaving(factory)
    for cut in (lambda: leaving.begin(3, clock), leaving.cut):
        waiting = leaving.begin(3, clock)
        assert waiting is not None and factory.leaving
        cut()
        assert waiting.called and not factory.leaving
        assert clock.getDelayedCalls() == []
    leaving.cut()


def test_none() -> None:
    """
    Without seconds there is nothing to wait for.
    """
    factory = TCPDemoFactory()
    assert Leaving(factory).begin(0, Clock()) is None
    assert not factory.leaving
