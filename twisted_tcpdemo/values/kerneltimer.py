"""
A timer of the kernel, which is a descriptor (timerfd_create(2), Linux).

It counts on CLOCK_MONOTONIC, as C{time.monotonic} does, and becomes readable when its
time has come.  It stays readable until it is set again or read.  Python has it since
3.13; before that, the C library's functions are called.
"""

from __future__ import annotations

import os
import sys
import time
from functools import cache
from typing import Any, Final

_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC if sys.platform == "linux" else 0
"""TFD_NONBLOCK and TFD_CLOEXEC have the values of these (timerfd_create(2))."""

_ABSOLUTE: Final = 1
"""TFD_TIMER_ABSTIME."""


def makeTimer() -> int | None:
    """
    Make a timer, which is not set.

    @return: its descriptor; L{None} where there are none, or none is left.
    """
    if sys.platform != "linux":
        return None
    try:
        if sys.version_info >= (3, 13):
            return os.timerfd_create(time.CLOCK_MONOTONIC, flags=_FLAGS)
        made: int = _library().timerfd_create(time.CLOCK_MONOTONIC, _FLAGS)
    except (OSError, ImportError, AttributeError):
        return None
    return made if made >= 0 else None


def setTimer(timer: int, at: float) -> None:
    """
    Set a timer, which is not readable until then.

    @param at: in seconds of C{time.monotonic}; a past time means at once.
    """
    at = max(at, 1e-9)  # zero would stop it
    if sys.platform != "linux":
        return
    if sys.version_info >= (3, 13):
        os.timerfd_settime(timer, flags=os.TFD_TIMER_ABSTIME, initial=at)
        return
    seconds, library = int(at), _library()
    # struct itimerspec: the interval, which is none, and the time.
    spec = (library.long * 4)(0, 0, seconds, int((at - seconds) * 1e9))
    library.timerfd_settime(timer, _ABSOLUTE, spec, None)


@cache
def _library() -> Any:
    """
    The C library, and its C{long}.
    """
    import ctypes

    library: Any = ctypes.CDLL(None, use_errno=True)
    library.long = ctypes.c_long
    return library
