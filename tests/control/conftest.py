"""
The fixtures of the tests of control.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest
from twisted.logger import LogEvent, globalLogPublisher


@pytest.fixture
def events() -> Generator[list[LogEvent]]:
    """
    The events logged during the test.
    """
    seen: list[LogEvent] = []
    globalLogPublisher.addObserver(seen.append)
    yield seen
    globalLogPublisher.removeObserver(seen.append)
