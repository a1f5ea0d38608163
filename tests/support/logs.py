"""
The log, as its reader sees it.
"""

from __future__ import annotations

from twisted.logger import LogEvent, formatEvent


def texts(events: list[LogEvent]) -> list[str]:
    """
    The lines of some events.
    """
    return [formatEvent(event) for event in events]
