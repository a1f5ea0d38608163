"""
Watermarks: telling observers that the limit is near.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tests.support.memory import connect, lose
from tests.support.peers import Events
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.monitoring.log import LoggingObserver
from twisted_tcpdemo.server.watermarks import Watermarks
from twisted_tcpdemo.values.report import WatermarkCrossing

resource = pytest.importorskip("resource")


def told(marks: Watermarks, count: int, limit: int | None, now: float) -> list[tuple[float, bool]]:
    """
    The crossings of an update, in short.
    """
    return [(c.fraction, c.above) for c in marks.update(count, limit, now)]


def test_risesAndFalls() -> None:
    """
    A mark is told when the count rises to it, and when it falls well below.
    """
    marks = Watermarks([0.8], hysteresis=0.1, cooldown=0)
    counts = [0, 7, 8, 9, 10, 8, 7, 6, 7, 8]
    assert [told(marks, count, 10, 0) for count in counts] == [
        *([[]] * 2),
        [(0.8, True)],
        *([[]] * 4),
        [(0.8, False)],
        [],
        [(0.8, True)],
    ]


def test_facts() -> None:
    """
    A crossing has the count and the limit.
    """
    assert Watermarks([0.5]).update(3, 5, 0) == [WatermarkCrossing(0.5, True, 3, 5)]


def test_several() -> None:
    """
    Several marks are told in the order in which the count passes them.
    """
    marks = Watermarks([1.0, 0.5], cooldown=0)
    assert told(marks, 10, 10, 0) == [(0.5, True), (1.0, True)]
    assert told(marks, 0, 10, 0) == [(1.0, False), (0.5, False)]


def test_limitChanges() -> None:
    """
    A change of the limit moves the marks; without a limit the count is below all.
    """
    marks = Watermarks([0.5], cooldown=0)
    assert told(marks, 5, 100, 0) == []
    assert told(marks, 5, 10, 0) == [(0.5, True)]
    assert told(marks, 5, None, 0) == [(0.5, False)]
    assert told(marks, 5, 5, 0) == [(0.5, True)]
    assert told(marks, 5, 0, 0) == [(0.5, False)]


def test_cooldown() -> None:
    """
    A crossing within the cooldown is told after it, if it still holds.
    """
    marks = Watermarks([0.5], cooldown=5)
    assert told(marks, 5, 10, 100) == [(0.5, True)]
    assert told(marks, 0, 10, 101) == []
    assert marks.dueAt == 105
    assert told(marks, 5, 10, 102) == []
    assert marks.dueAt is None
    assert told(marks, 0, 10, 103) == []
    assert told(marks, 0, 10, 105) == [(0.5, False)]
    assert marks.dueAt is None


def test_clockSetBack() -> None:
    """
    A clock that is set back does not make a cooldown longer.
    """
    marks = Watermarks([0.5], cooldown=5)
    assert told(marks, 5, 10, 1000) == [(0.5, True)]
    assert told(marks, 0, 10, 10) == [(0.5, False)]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"fractions": []}, "fractions must be one or more, not none"),
        ({"fractions": [0]}, "fractions must be above 0 and up to 1, not 0"),
        ({"fractions": [0.5, 1.1]}, "fractions must be above 0 and up to 1, not 1.1"),
        ({"fractions": [float("nan")]}, "fractions must be above 0 and up to 1, not nan"),
        ({"hysteresis": -0.1}, "hysteresis must be a finite number, 0 or more, not -0.1"),
        ({"hysteresis": 0.8}, "hysteresis must be from 0 to under 0.8, not 0.8"),
        ({"fractions": [0.04]}, "hysteresis must be from 0 to under 0.04, not 0.05"),
        ({"cooldown": -1}, "cooldown must be a finite number, 0 or more, not -1"),
        ({"cooldown": float("inf")}, "cooldown must be a finite number, 0 or more, not inf"),
    ],
)
def test_nonsense(options: dict[str, Any], line: str) -> None:
    """
    An invalid value is refused when it is given, in one line that names it.
    """
    with pytest.raises(ValueError) as raised:
        Watermarks(**options)
    assert str(raised.value) == line


@pytest.mark.parametrize(
    "options", [{"fractions": ["0.8"]}, {"hysteresis": None}, {"cooldown": "5"}, {"cooldown": True}]
)
def test_noNumber(options: dict[str, Any]) -> None:
    """
    A value that is no number is refused when it is given, by its name.
    """
    with pytest.raises(TypeError, match=f"{next(iter(options))} must be a number, not"):
        Watermarks(**options)


@given(
    st.sampled_from([0.0, 0.1, 0.25]),
    st.sampled_from([0.0, 3.0]),
    st.lists(
        st.tuples(st.integers(0, 12), st.none() | st.integers(0, 10), st.floats(0, 4)), max_size=40
    ),
)
@settings(deadline=None)
def test_tellsTheTruth(
    hysteresis: float, cooldown: float, changes: list[tuple[int, int | None, float]]
) -> None:
    """
    Each mark is told above and below in turn, not more often than the cooldown, and
    truly; when no crossing is due, the last one told still holds.
    """
    marks = Watermarks([0.5, 1.0], hysteresis, cooldown)
    now, state, toldAt = 0.0, {0.5: False, 1.0: False}, dict.fromkeys((0.5, 1.0), -99.0)
    for count, limit, gap in changes:
        now += gap
        share = count / limit if limit else -1.0
        for crossing in marks.update(count, limit, now):
            mark = crossing.fraction
            assert crossing.above is not state[mark]
            assert crossing.above is (share >= mark)
            assert now - toldAt[mark] >= cooldown - 1e-9
            state[mark], toldAt[mark] = crossing.above, now
        if marks.dueAt is None:
            for mark, above in state.items():
                assert above or share < mark
                assert not above or share > mark - hysteresis - 1e-6
        else:
            assert now < marks.dueAt <= now + cooldown


def test_watermarks() -> None:
    """
    Observers hear that the limit is near, and that it is no longer.
    """
    server = TCPDemoFactory(
        maxConnections=4, watermarks=Watermarks([0.5], cooldown=0), clock=Clock()
    )
    events = Events()
    server.addObserver(events)
    server.addObserver(LoggingObserver(server))
    first, _ = connect(server), connect(server)
    lose(first)
    server.maxConnections = 2
    crossings = events.of("watermarkCrossed")
    assert [(c.above, c.connectionCount, c.limit) for c in crossings] == [
        (True, 2, 4),
        (False, 1, 4),
        (True, 1, 2),
    ]


def test_watermarkAfterTheCooldown() -> None:
    """
    A crossing held back by a cooldown is told at its end, without another event.
    """
    clock = Clock()
    server = TCPDemoFactory(maxConnections=2, watermarks=Watermarks([0.5]), clock=clock)
    events = Events()
    server.addObserver(events)
    server.doStart()
    lose(connect(server))
    assert [c.above for c in events.of("watermarkCrossed")] == [True]
    clock.pump([1] * 5)
    assert [c.above for c in events.of("watermarkCrossed")] == [True, False]
    assert clock.getDelayedCalls() == []


def test_watermarkIsNotWaitedFor() -> None:
    """
    A server that has stopped leaves no delayed call behind.
    """
    clock = Clock()
    server = TCPDemoFactory(maxConnections=2, watermarks=Watermarks([0.5]), clock=clock)
    server.doStart()
    lose(connect(server))
    assert len(clock.getDelayedCalls()) == 1
    server.doStop()
    assert clock.getDelayedCalls() == []
