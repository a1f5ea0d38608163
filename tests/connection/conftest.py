"""
The fixtures of the tests of connections.
"""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from tests.support.watched import Connection


@pytest.fixture
def clock() -> Clock:
    """
    The clock.
    """
    clock = Clock()
    clock.advance(1000)
    return clock


@pytest.fixture
def connection(clock: Clock) -> Connection:
    """
    A new connection.
    """
    return Connection(clock)
