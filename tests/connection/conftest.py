"""
What tests of connections share.
"""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from tests.support.watched import Connection


@pytest.fixture
def clock() -> Clock:
    """
    The time.
    """
    clock = Clock()
    clock.advance(1000)
    return clock


@pytest.fixture
def connection(clock: Clock) -> Connection:
    """
    A connection that has just been made.
    """
    return Connection(clock)
