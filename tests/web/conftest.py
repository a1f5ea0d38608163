"""
The fixtures of the tests of the side doors.
"""

from __future__ import annotations

from tests.control.conftest import events

__all__ = ["events"]
