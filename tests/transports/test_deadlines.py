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

from twisted_tcpdemo.transports.deadlines import Deadlines, Errand, deadlinesOf


class Thing:
    """
    Something with a deadline, which remembers its visits.
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
    sweep, thing = Deadlines(clock), Thing()
    sweep.forget(thing)
    assert clock.getDelayedCalls() == []


def test_visit() -> None:
    """
    A deadline is served once, not early, and within a tick.
    """
    clock = Clock()
    sweep, thing = Deadlines(clock), Thing()
    sweep.watch(thing, 1.01)
    clock.advance(1.0)
    assert thing.visits == []
    clock.advance(Deadlines.TICK)
    clock.advance(10)
    assert len(thing.visits) == 1
    assert thing.tick == 0


def test_oneCall() -> None:
    """
    However many deadlines there are, there is one delayed call, for the next.
    """
    clock = Clock()
    sweep = Deadlines(clock)
    for number in range(100):
        sweep.watch(Thing(), 100 - number)
    [call] = clock.getDelayedCalls()
    assert call.getTime() == 1


def test_moved() -> None:
    """
    A new deadline replaces the old one, earlier or later.
    """
    clock = Clock()
    sweep, later, earlier = Deadlines(clock), Thing(), Thing()
    sweep.watch(later, 1)
    sweep.watch(later, 3)
    sweep.watch(earlier, 3)
    sweep.watch(earlier, 1)
    clock.advance(1)
    assert (len(later.visits), len(earlier.visits)) == (0, 1)
    clock.advance(2)
    assert (len(later.visits), len(earlier.visits)) == (1, 1)


def test_forget() -> None:
    """
    What is forgotten is not visited, and leaves no delayed call.
    """
    clock = Clock()
    sweep, thing, other = Deadlines(clock), Thing(), Thing()
    sweep.watch(thing, 1)
    sweep.watch(other, 1)
    sweep.forget(thing)
    clock.advance(2)
    assert (thing.visits, len(other.visits)) == ([], 1)
    sweep.watch(thing, 5)
    sweep.forget(thing)
    sweep.forget(thing)
    assert clock.getDelayedCalls() == []


def test_forgetMany() -> None:
    """
    Deadlines that are far away and forgotten take no memory until then.
    """
    clock = Clock()
    sweep, stays = Deadlines(clock), Thing()
    sweep.watch(stays, 1)
    for number in range(10_000):
        thing = Thing()
        sweep.watch(thing, 1000 + number)
        sweep.forget(thing)
    assert len(sweep._buckets) == 1
    assert len(sweep._ticks) < 100
    clock.advance(1)
    assert len(stays.visits) == 1
    assert clock.getDelayedCalls() == []


def test_past() -> None:
    """
    A deadline that is past is served in the next tick.
    """
    clock = Clock()
    clock.advance(100)
    sweep, thing = Deadlines(clock), Thing()
    sweep.watch(thing, 3)
    clock.advance(0)
    assert thing.visits == [100]


def test_again() -> None:
    """
    A visit may set the next deadline; one that is past comes a tick later, so
    that serving a tick ends.
    """
    clock = Clock()
    sweep = Deadlines(clock)
    thing = Thing(lambda now: sweep.watch(thing, 0))
    sweep.watch(thing, 1)
    clock.advance(1)
    assert len(thing.visits) == 1
    clock.advance(Deadlines.TICK)
    assert len(thing.visits) == 2
    sweep.forget(thing)
    assert clock.getDelayedCalls() == []


def test_clockSetBack() -> None:
    """
    After the clock was set back, a new deadline is no later than it should be.
    """
    clock = Clock()
    clock.advance(10_000)
    sweep, thing, other = Deadlines(clock), Thing(), Thing()
    sweep.watch(other, 10_000)
    clock.advance(0)
    sweep.watch(other, 10_010)
    clock.rightNow -= 3600
    sweep.watch(thing, clock.seconds() + 1)
    clock.advance(1 + Deadlines.TICK)
    assert (len(thing.visits), len(other.visits)) == (1, 1)
    sweep.forget(other)


def test_longPast() -> None:
    """
    A deadline that is long past, and set again while it is served, does not
    make up for all the ticks that it has missed.
    """
    clock = Clock()
    clock.advance(1000)
    sweep = Deadlines(clock)
    thing = Thing(lambda now: sweep.watch(thing, 0))
    sweep.watch(thing, 1)
    clock.advance(0)
    assert thing.visits == [1000]
    sweep.forget(thing)


def test_forgottenByAnother() -> None:
    """
    One that is visited may forget another of the same tick.
    """
    clock = Clock()
    sweep, second = Deadlines(clock), Thing()
    first = Thing(lambda now: sweep.forget(second))
    sweep.watch(first, 1)
    sweep.watch(second, 1)
    clock.advance(1)
    assert (len(first.visits), len(second.visits)) == (1, 0)
    assert clock.getDelayedCalls() == []


def test_raises(loggedErrors: Any) -> None:
    """
    One that raises is logged, and the others are served.
    """
    clock = Clock()
    sweep, other = Deadlines(clock), Thing()

    def broken(now: float) -> None:
        raise ZeroDivisionError

    sweep.watch(Thing(broken), 1)
    sweep.watch(other, 1)
    clock.advance(1)
    assert len(other.visits) == 1
    assert len(loggedErrors.take(ZeroDivisionError)) == 1


@given(
    some.lists(some.tuples(some.integers(0, 9), some.floats(0, 50), some.booleans()), max_size=50),
    some.floats(0, 1e9),
)
def test_anyOrder(commands: list[tuple[int, float, bool]], start: float) -> None:
    """
    After any sequence of changes, each deadline in force is served once, not
    early and within two ticks, and nothing is left.
    """
    clock = Clock()
    clock.advance(start)
    sweep, things, deadlines = Deadlines(clock), [Thing() for _ in range(10)], {}
    for number, deadline, forget in commands:
        if forget:
            sweep.forget(things[number])
            deadlines.pop(number, None)
        else:
            sweep.watch(things[number], start + deadline)
            deadlines[number] = start + deadline
    for _ in range(1100):
        clock.advance(Deadlines.TICK)
    for number, thing in enumerate(things):
        assert len(thing.visits) == (number in deadlines)
        for at in thing.visits:
            assert -1e-6 <= at - deadlines[number] <= 2 * Deadlines.TICK + 1e-6
    assert clock.getDelayedCalls() == []


def test_errand() -> None:
    """
    A function is called at its time, unless it is cancelled.
    """
    clock = Clock()
    called: list[str] = []
    sweep = Deadlines(clock)
    Errand(sweep, 1, lambda: called.append("first"))
    second = Errand(sweep, 1, lambda: called.append("second"))
    second.cancel()
    clock.advance(1)
    second.cancel()
    assert called == ["first"]
    assert clock.getDelayedCalls() == []


def test_sweepOf() -> None:
    """
    A clock has one sweep, which lives as long as the clock is used.
    """
    clock, thing = Clock(), Thing()
    sweep = deadlinesOf(clock)
    assert deadlinesOf(clock) is sweep
    assert deadlinesOf(Clock()) is not sweep
    sweep.watch(thing, 1)
    del sweep
    gc.collect()
    deadlinesOf(clock).forget(thing)
    assert clock.getDelayedCalls() == []


def test_sweepOfIsForgotten() -> None:
    """
    A clock that nobody uses any more is not kept alive by its sweep, not even
    by a deadline that nobody will see.
    """
    clock = Clock()
    deadlinesOf(clock).watch(Thing(), 1)
    gone = weakref.ref(clock)
    del clock
    gc.collect()
    assert gone() is None
