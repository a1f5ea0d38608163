"""
The next turn of the reactor.

A reactor goes by the system's clock even in that: a call for the next turn is due no more
when the clock is set back before, and there may be no event that lets us see it.  So a
L{NextTurn} has another call with it that has been due for ages, and hastens the first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.base import DelayedCall, ReactorBase
from twisted.internet.interfaces import IDelayedCall

from twisted_tcpdemo.shapes import Clock

PRIVATE_NAMES: Final = {
    "twisted.internet.base.ReactorBase": (
        "_cancelCallLater",
        "_moveCallLaterSooner",
        "_newTimedCalls",
    ),
}

AGES: Final = 1e9
"""Seconds by which a call is due already, so that it is still due when the system's clock
has been set back."""


class NextTurn:
    """
    A call in the next turn of a reactor, after the delayed calls that are due.
    """

    __slots__ = ("_call", "_reactor", "_sure")

    def __init__(self, reactor: Clock, function: Callable[[], object]) -> None:
        self._reactor = getattr(reactor, "viewed", reactor)
        self._call = reactor.callLater(0, function)
        self._sure = _overdue(self._reactor, self._beSure)

    def cancel(self) -> None:
        """
        Do not make it.
        """
        for call in (self._call, self._sure):
            if call is not None and call.active():
                call.cancel()

    def _beSure(self) -> None:
        hasten(self._call, self._reactor)


def _overdue(reactor: object, function: Callable[[], object]) -> IDelayedCall | None:
    """
    Make a call that has been due for ages; L{None} for a clock that is no reactor, such
    as that of a test.

    C{delay()} would do, but looks for the call among all others.
    """
    if not isinstance(reactor, ReactorBase):
        return None
    call = DelayedCall(
        reactor.seconds() - AGES,
        function,
        (),
        {},
        reactor._cancelCallLater,
        reactor._moveCallLaterSooner,
        reactor.seconds,
    )
    reactor._newTimedCalls.append(call)
    return call


def hasten(call: IDelayedCall, reactor: Clock) -> None:
    """
    Have a call for the next turn made then, if the system's clock was set back before it
    was due.
    """
    if call.active() and call.getTime() > reactor.seconds():
        call.reset(0)
