"""
Deadlines of many connections behind one delayed call.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as some
from twisted.internet.task import Clock

from twisted_tcpdemo.transports.deadlines import Deadlines, deadlinesOf


class Thing:
    """
    An object with a deadline, which remembers its visits.
    """

    def __init__(self, action: Callable[[float], object] = lambda now: None) -> None:
        self.tick = 0
        self.visits: list[float] = []
        self._action = action

    def visit(self, now: float) -> None:
        """
        Remember it.
        """
        self.visits.append(now)
        self._action(now)


def test_never() -> None:
    """
    Without a deadline there is no delayed call.
    """
    clock = Clock()
    deadlines, thing = Deadlines(clock), Thing()
    deadlines.forget(thing)
    assert clock.getDelayedCalls() == []


def test_visit() -> None:
    """
    A deadline is served once, not early, and at most a tick late.
    """
    clock = Clock()
    deadlines, thing = Deadlines(clock), Thing()
    deadlines.watch(thing, 1.01)
    clock.advance(1.0)
    assert thing.visits == []
    clock.advance(Deadlines.TICK)
    clock.advance(10)
    assert len(thing.visits) == 1
    assert thing.tick == 0


def test_oneCall() -> None:
    """
    Any number of deadlines has one delayed call, for the next one.
    """
    clock = Clock()
    deadlines = Deadlines(clock)
    for number in range(100):
        deadlines.watch(Thing(), 100 - number)
    [call] = clock.getDelayedCalls()
    assert call.getTime() == 1


def test_moved() -> None:
    """
    A new deadline replaces the old one, earlier or later.
    """
    clock = Clock()
    deadlines, later, earlier = Deadlines(clock), Thing(), Thing()
    deadlines.watch(later, 1)
    deadlines.watch(later, 3)
    deadlines.watch(earlier, 3)
    deadlines.watch(earlier, 1)
    clock.advance(1)
    assert (len(later.visits), len(earlier.visits)) == (0, 1)
    clock.advance(2)
    assert (len(later.visits), len(earlier.visits)) == (1, 1)


def test_forget() -> None:
    """
    A forgotten deadline is not served, and leaves no delayed call.
    """
    clock = Clock()
    deadlines, thing, other = Deadlines(clock), Thing(), Thing()
    deadlines.watch(thing, 1)
    deadlines.watch(other, 1)
    deadlines.forget(thing)
    clock.advance(2)
    assert (thing.visits, len(other.visits)) == ([], 1)
    deadlines.watch(thing, 5)
    deadlines.forget(thing)
    deadlines.forget(thing)
    assert clock.getDelayedCalls() == []


def test_forgetMany() -> None:
    """
    Forgotten deadlines in the far future take no memory until then.
    """
    clock = Clock()
    deadlines, stays = Deadlines(clock), Thing()
    deadlines.watch(stays, 1)
    for number in range(10_000):
        thing = Thing()
        deadlines.watch(thing, 1000 + number)
        deadlines.forget(thing)
    assert len(deadlines._buckets) == 1
    assert len(deadlines._ticks) < 100
    clock.advance(1)
    assert len(stays.visits) == 1
    assert clock.getDelayedCalls() == []


def test_past() -> None:
    """
    A past deadline is served in the next tick.
    """
    clock = Clock()
    clock.advance(100)
    deadlines, thing = Deadlines(clock), Thing()
    deadlines.watch(thing, 3)
    clock.advance(0)
    assert thing.visits == [100]


def test_again() -> None:
    """
    A visit may set the next deadline; a past one comes a tick later, so that a tick
    ends.
    """
    clock = Clock()
    deadlines = Deadlines(clock)
    thing = Thing(lambda now: deadlines.watch(thing, 0))
    deadlines.watch(thing, 1)
    clock.advance(1)
    assert len(thing.visits) == 1
    clock.advance(Deadlines.TICK)
    assert len(thing.visits) == 2
    deadlines.forget(thing)
    assert clock.getDelayedCalls() == []


def test_clockSetBack() -> None:
    """
    After the clock is set back, a new deadline is not later than it should be.
    """
    clock = Clock()
    clock.advance(10_000)
    deadlines, thing, other = Deadlines(clock), Thing(), Thing()
    deadlines.watch(other, 10_000)
    clock.advance(0)
    deadlines.watch(other, 10_010)
    clock.rightNow -= 3600
    deadlines.watch(thing, clock.seconds() + 1)
    clock.advance(1 + Deadlines.TICK)
    assert (len(thing.visits), len(other.visits)) == (1, 1)
    deadlines.forget(other)


def test_longPast() -> None:
    """
    A deadline that is long past, and set again by its visit, does not make up for
    the missed ticks.
    """
    clock = Clock()
    clock.advance(1000)
    deadlines = Deadlines(clock)
    thing = Thing(lambda now: deadlines.watch(thing, 0))
    deadlines.watch(thing, 1)
    clock.advance(0)
    assert thing.visits == [1000]
    deadlines.forget(thing)


def test_forgottenByAnother() -> None:
    """
    A visit may forget another deadline of the same tick.
    """
    clock = Clock()
    deadlines, second = Deadlines(clock), Thing()
    first = Thing(lambda now: deadlines.forget(second))
    deadlines.watch(first, 1)
    deadlines.watch(second, 1)
    clock.advance(1)
    assert (len(first.visits), len(second.visits)) == (1, 0)
    assert clock.getDelayedCalls() == []


def test_raises(loggedErrors: Any) -> None:
    """
    A visit that raises is logged, and the others are made.
    """
    clock = Clock()
    deadlines, other = Deadlines(clock), Thing()

    def broken(now: float) -> None:
        raise ZeroDivisionError

    deadlines.watch(Thing(broken), 1)
    deadlines.watch(other, 1)
    clock.advance(1)
    assert len(other.visits) == 1
    assert len(loggedErrors.take(ZeroDivisionError)) == 1


@given(
    some.lists(some.tuples(some.integers(0, 9), some.floats(0, 50), some.booleans()), max_size=50),
    some.floats(0, 1e9),
)
def test_anyOrder(commands: list[tuple[int, float, bool]], start: float) -> None:
    """
    After any sequence of changes, each deadline in force is served once, not early
    and at most two ticks late, and nothing is left.
    """
    clock = Clock()
    clock.advance(start)
    deadlines, things, times = Deadlines(clock), [Thing() for _ in range(10)], {}
    for number, deadline, forget in commands:
        if forget:
            deadlines.forget(things[number])
            times.pop(number, None)
        else:
            deadlines.watch(things[number], start + deadline)
            times[number] = start + deadline
    for _ in range(1100):
        clock.advance(Deadlines.TICK)
    for number, thing in enumerate(things):
        assert len(thing.visits) == (number in times)
        for at in thing.visits:
            assert -1e-6 <= at - times[number] <= 2 * Deadlines.TICK + 1e-6
    assert clock.getDelayedCalls() == []


def test_deadlinesOf() -> None:
    """
    All users of a clock share its deadlines as long as one of them exists.
    """
    clock, thing = Clock(), Thing()
    deadlines = deadlinesOf(clock)
    assert deadlinesOf(clock) is deadlines
    assert deadlinesOf(Clock()) is not deadlines
    deadlines.watch(thing, 1)
    del deadlines
    gc.collect()
    deadlinesOf(clock).forget(thing)
    assert clock.getDelayedCalls() == []


def test_deadlinesAreForgotten() -> None:
    """
    An unused clock is not kept alive by its deadlines, not even by one that will
    never be served.
    """
    clock = Clock()
    deadlinesOf(clock).watch(Thing(), 1)
    gone = weakref.ref(clock)
    del clock
    gc.collect()
    assert gone() is None
