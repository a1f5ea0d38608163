"""
The fixtures of the tests of monitoring.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher


@pytest.fixture
def lines() -> Generator[list[LogEvent]]:
    """
    The events that the package logs during the test.
    """
    seen: list[LogEvent] = []

    def observe(event: LogEvent) -> None:
        if event.get("log_namespace") == "tcpdemo":
            seen.append(event)

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


@pytest.fixture
def clock() -> Clock:
    """
    The time of the test.
    """
    return Clock()
