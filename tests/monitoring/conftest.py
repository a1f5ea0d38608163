"""
What tests of monitoring share.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher


@pytest.fixture
def lines() -> Generator[list[LogEvent]]:
    """
    What is logged in our name.
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
