"""
Time that only goes forward.

The reactors of Twisted take their time from the system's clock, which an operator, NTP or
a host that wakes up may set.  An hour back, and a wait of two seconds lasts an hour; an
hour forward, and every peer seems to have been silent for an hour.  So all that this
package waits for or measures is counted on a L{SteadyClock}; the system's clock is only
shown.

A reactor that sleeps hears nothing of a clock that is set, and sleeps on.  On Linux a timer
of the kernel (timerfd_create(2)) therefore wakes it: one reader for all the calls of a
clock, and none while there are no calls.

A call that is due is told only when the reactor has looked for events once more.  If
something has held the reactor up, bytes that wait in the sockets come before the budgets
that wait for them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from time import monotonic
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary, finalize

from twisted.internet.base import DelayedCall, ReactorBase
from twisted.internet.interfaces import (
    IDelayedCall,
    IReactorFDSet,
    IReactorTime,
    IReadDescriptor,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_tcpdemo.values.kerneltimer import makeTimer, setTimer

_log = Logger(namespace="tcpdemo")

C = TypeVar("C")

FEW: Final = 64
"""Cancelled calls that are not worth a search."""


@implementer(IReactorTime)
class SteadyClock:
    """
    The time of a reactor, from a clock that nobody sets.  While the machine sleeps, it
    may stand still.

    This one is woken by the reactor's own calls, as far as there is nothing better: a call
    never comes early, but comes late when the system's clock is set back.
    """

    seconds: Callable[[], float] = staticmethod(monotonic)

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._calls: list[DelayedCall] = []
        self._cancelled = 0
        self._setTo: float | None = None
        self._isSeen = False
        self._waking: IDelayedCall | None = None

    def __repr__(self) -> str:
        waiting = ", ".join(map(str, self.getDelayedCalls()))
        return f"<{type(self).__name__} with {waiting or 'no calls'}>"

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kwargs: object
    ) -> IDelayedCall:
        """
        See L{IReactorTime}.
        """
        at = monotonic() + delay
        call = DelayedCall(at, callable, args, kwargs, self._forget, self._hasten, self.seconds)
        heappush(self._calls, call)
        self._set()
        return call

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """
        See L{IReactorTime}.
        """
        return [call for call in self._calls if call.active()]

    def _forget(self, call: DelayedCall) -> None:
        """
        A call is cancelled.  It stays in the heap, but such calls never make up most of
        it.
        """
        self._cancelled += 1
        if self._cancelled == len(self._calls):
            self._calls.clear()
            self._cancelled = 0
            self._rest()
        elif self._cancelled > len(self._calls) // 2 + FEW:
            self._calls = [other for other in self._calls if other.active() and other is not call]
            self._cancelled = 0
            heapify(self._calls)

    def _hasten(self, call: DelayedCall) -> None:
        """
        A call is to come sooner.
        """
        heapify(self._calls)
        self._set()

    def _first(self) -> DelayedCall | None:
        """
        The next call.
        """
        while self._calls:
            call = self._calls[0]
            if not call.active():
                heappop(self._calls)
                self._cancelled -= 1
            elif call.delayed_time:
                heappop(self._calls)
                call.activate_delay()
                heappush(self._calls, call)
            else:
                return call
        return None

    def _set(self) -> None:
        """
        Be woken for the first call.
        """
        first = self._first()
        if first is None:
            self._rest()
            return
        isLater = self._setTo is not None and self._setTo <= first.time
        self._setTo = self._setTo if isLater else first.time
        self._wakeAt(first.time, isLater)

    def _rest(self) -> None:
        """
        Be woken no more.  What is set stays set: the next call may be a later one.
        """
        self._isSeen = False
        self._stop()

    def _woken(self) -> None:
        """
        Make the calls that are due, when the reactor has looked for events since.
        """
        now = monotonic()
        first = self._first()
        if first is not None and first.time <= now and not self._isSeen:
            self._isSeen = True
            self._wakeAgain()
            return
        self._isSeen = False
        while first is not None and first.time <= now:
            heappop(self._calls)
            first.called = 1
            try:
                first.func(*first.args, **first.kw)
            except BaseException:
                _log.failure("a delayed call has raised")
            first = self._first()
        self._setTo = None
        self._set()

    # What wakes it.

    def _wakeAt(self, at: float, isSet: bool) -> None:
        """
        Be woken at a time.

        @param isSet: whether it will be woken by then anyway.
        """
        if not isSet or self._waking is None:
            self._stop()
            self._waking = self._reactor.callLater(max(0.0, at - monotonic()), self._called)

    def _wakeAgain(self) -> None:
        """
        Be woken in the next turn of the reactor.
        """
        self._waking = self._reactor.callLater(0, self._called)

    def _called(self) -> None:
        self._waking = None
        self._woken()

    def _stop(self) -> None:
        if self._waking is not None:
            self._waking.cancel()
            self._waking = None


@implementer(IReadDescriptor)
class KernelClock(SteadyClock):
    """
    A steady clock with a timer of the kernel, which is one reader of the reactor.
    """

    def __init__(self, reactor: Any, timer: int) -> None:
        """
        @param timer: a descriptor of timerfd_create(2).
        """
        super().__init__(reactor)
        self._timer = timer
        finalize(self, os.close, timer)

    def _wakeAt(self, at: float, isSet: bool) -> None:
        if not isSet:
            setTimer(self._timer, at)
        # A test runner removes all readers without telling them.
        self._reactor.addReader(self)

    def _wakeAgain(self) -> None:
        """
        Do nothing: the timer stays readable until it is set again.
        """

    def _stop(self) -> None:
        self._reactor.removeReader(self)

    # What the reactor calls.

    def fileno(self) -> int:
        """
        The descriptor of the timer.
        """
        return self._timer

    def doRead(self) -> None:
        """
        Go on: the timer has run out.
        """
        self._woken()

    def logPrefix(self) -> str:
        """
        The prefix of the log lines of its calls: none, as for those of a reactor.
        """
        return "-"

    def connectionLost(self, reason: Failure) -> None:
        """
        Do nothing: the reactor has stopped.
        """


def _clockFor(reactor: Any) -> SteadyClock:
    if not IReactorFDSet.providedBy(reactor):
        return SteadyClock(reactor)
    timer = makeTimer()
    return SteadyClock(reactor) if timer is None else KernelClock(reactor, timer)


def _isSystems(clock: object) -> bool:
    """
    Whether a clock is a reactor that takes its time from the system's clock, as all of
    Twisted's do.  A subclass of an application may have a time of its own.
    """
    if not isinstance(clock, ReactorBase):
        return False
    owner = next(kind for kind in type(clock).__mro__ if "seconds" in vars(kind))
    return owner.__module__.partition(".")[0] == "twisted"


# A clock holds its reactor, whose identity is its own as long as the clock lives.
_clocks: WeakValueDictionary[int, SteadyClock] = WeakValueDictionary()


def steady(clock: C) -> C | SteadyClock:
    """
    The steady clock of a reactor, or of a view of one.  Any other clock, such as that of
    a test, is returned as it is.
    """
    known = _clocks.get(id(clock))
    if known is not None:
        return known
    reactor: object = getattr(clock, "viewed", clock)
    if not _isSystems(reactor):
        return clock
    known = _clocks.get(id(reactor))
    if known is None:
        _clocks[id(reactor)] = known = _clockFor(reactor)
    return known
