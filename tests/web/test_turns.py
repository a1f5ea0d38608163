"""
The time for the visitors of a side door.
"""

from __future__ import annotations

from collections.abc import Generator

from twisted.internet.task import Clock

from twisted_tcpdemo.web.turns import REST, SLICE, Turns


class Work:
    """
    Work that takes a time of the test's, and remembers its steps.
    """

    def __init__(self) -> None:
        self.now = 100.0
        self.steps: list[str] = []

    def steady(self, name: str, steps: int, took: float) -> Generator[None, None, None]:
        """
        Work in steps of one length.
        """
        for _ in range(steps):
            self.now += took
            self.steps.append(name)
            yield


def test_slices() -> None:
    """
    All work shares one slice of a turn, and rests for a multiple of it.
    """
    clock, work = Clock(), Work()
    shared = Turns(clock, lambda: work.now)
    for name in "ab":
        shared.cooperate(work.steady(name, 10, SLICE * 0.3))
    assert not work.steps
    clock.advance(0)
    assert work.steps == ["a", "b", "a", "b"]
    worked = 4 * 0.3 * SLICE
    clock.advance(REST * worked * 0.9)
    assert len(work.steps) == 4
    clock.advance(REST * worked * 0.2)
    assert len(work.steps) == 8


def test_noRest() -> None:
    """
    Work that comes after a rest has its turn at once.
    """
    clock, work = Clock(), Work()
    shared = Turns(clock, lambda: work.now)
    shared.cooperate(work.steady("a", 1, SLICE))
    clock.advance(0)
    clock.advance(1)
    work.now += 1
    shared.cooperate(work.steady("b", 1, SLICE))
    clock.advance(0)
    assert work.steps == ["a", "b"]
