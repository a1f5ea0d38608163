"""
An alarm that goes off at its moment, to some millionths of a second.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.shapes import Reactor
from twisted_tcpdemo.values.kerneltimer import makeTimer, setTimer

now: Final = time.monotonic_ns

SECOND: Final = 10**9


@implementer(IReadDescriptor)
class Alarm:
    """
    Wakes at a moment of the kernel's clock: a reactor's own delays have a millisecond
    more.
    """

    def __init__(self, reactor: Reactor, wake: Callable[[], object]) -> None:
        self._reactor = reactor
        self._wake = wake
        self._call: IDelayedCall | None = None
        self._timer = makeTimer()
        if self._timer is not None:
            reactor.addReader(self)

    def set(self, at: int) -> None:
        """
        Wake at this moment, and not at one that was set before.

        @param at: in nanoseconds.
        """
        if self._timer is not None:
            setTimer(self._timer, at / SECOND)
            return
        self._cancel()
        delay = max(0.0, (at - now()) / SECOND)
        self._call = steady(self._reactor).callLater(delay, self._wake)

    def doRead(self) -> None:
        """
        Wake.  The timer is read no more until it is set again.
        """
        self.set(now() + SECOND)
        self._wake()

    def fileno(self) -> int:
        """
        The timer's descriptor.
        """
        return -1 if self._timer is None else self._timer

    def logPrefix(self) -> str:
        """
        A name for the log.
        """
        return "tcpdemo"

    def connectionLost(self, reason: Failure) -> None:
        """
        Do nothing: C{close} ends it.
        """

    def _cancel(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()

    def close(self) -> None:
        """
        Wake no more.
        """
        self._cancel()
        if self._timer is not None:
            self._reactor.removeReader(self)
            os.close(self._timer)
            self._timer = None
