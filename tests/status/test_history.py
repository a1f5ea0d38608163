"""
The last day of a server: what is measured, and what is shown of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from itertools import pairwise
from typing import Any

import pytest
from twisted.internet.task import Clock

from tests.support.status import ask, connected, finished, showing
from tests.support.waiting import turn
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.monitoring.distributions import Distributions
from twisted_tcpdemo.status import history as module
from twisted_tcpdemo.status.history import STEP, Day, History, Mark
from twisted_tcpdemo.twistd.programs import Echo
from twisted_tcpdemo.web.turns import Turns


class Watched:
    """
    A server, its history, and a clock.
    """

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.factory = TCPDemoFactory(Echo, clock=self.clock, **options)
        cooperate = Turns(self.clock).cooperate  # type: ignore[arg-type]
        self.history = History(
            self.factory,
            self.clock,
            cooperate,
            Distributions(self.factory),
        )
        self.history.start()
        self.clock.advance(0)
        self.clock.advance(0)

    def wait(self, seconds: float) -> None:
        """
        Let time pass, as steadily as it does.
        """
        for _ in range(round(seconds * 2)):
            self.clock.advance(0.5)

    def look(self, seconds: int = 300) -> dict[str, Any]:
        """
        Look at what has been.
        """
        finished(self.history.look())
        shown: dict[str, Any] = json.loads(b"".join(finished(self.history.telling(seconds))))
        return shown


@pytest.fixture
def watched() -> Generator[Watched]:
    """
    A server that has just started, without a viewer.
    """
    made = Watched()
    yield made
    made.history.stop()
    assert not made.clock.getDelayedCalls()


def test_firstLookShowsThePast(watched: Watched) -> None:
    """
    Marks are taken without a viewer, so that the first look shows what was, as it was.
    """
    protocols = connected(watched.factory, 3)
    watched.wait(12)
    protocols[0].dataReceived(b"x" * 50)
    watched.wait(10)
    shown = watched.look()
    assert shown["connections"] == [0, 3, 3, 3]
    assert shown["bytesRead"] == shown["bytesWritten"]
    assert shown["bytesRead"][0] is None
    assert shown["bytesRead"][1:] == pytest.approx([0, 5, 0], abs=0.5)
    assert shown["accepted"][1:] == pytest.approx([0.3, 0, 0], abs=0.05)
    gaps = [b - a for a, b in zip(shown["times"], shown["times"][1:], strict=False)]
    assert gaps == pytest.approx([10, 10, 1], abs=0.6)
    assert shown["times"][-1] == pytest.approx(time.time(), abs=60)


def test_looks(watched: Watched) -> None:
    """
    Each look of another second is a mark; two in one second are one.
    """
    watched.wait(1)
    for _ in range(3):
        watched.look()
        count = len(watched.look()["times"])
        watched.wait(1)
    assert count == 4
    assert len(watched.look(3600)["times"]) < 4


def test_atTheSameTime(watched: Watched) -> None:
    """
    Of two marks that are taken at the same time one counts, for a rate needs time to pass.
    """
    connected(watched.factory, 5000)
    watched.wait(5)
    slow = watched.history.look()
    next(slow)
    watched.look()
    connected(watched.factory, 500)
    watched.clock.advance(0.001)
    finished(slow)
    shown = watched.look()
    assert shown["connections"] == [0, 5000]
    assert watched.history.highest["accepted"] <= 1000
    watched.wait(1)
    assert watched.look()["connections"] == [0, 5000, 5500]


def test_unwatchedIsAGap(watched: Watched) -> None:
    """
    A time without marks, as when the machine slept or the reactor hung, is a gap: no value is
    made up for it, nor a rate across it.
    """
    connected(watched.factory, 7)
    watched.wait(11)
    watched.clock.advance(90)
    watched.clock.advance(0.1)
    connected(watched.factory)[0].dataReceived(b"12345")
    watched.wait(1)
    shown = watched.look()
    assert shown["connections"] == [0, 7, None, 7, 8]
    assert shown["limits"] == [None] * 5
    assert shown["bytesRead"][1:4] == [0, None, None]
    assert shown["bytesRead"][4] > 0


def test_presentIsLast(watched: Watched) -> None:
    """
    The last point of each range is the present one, with the rate of this moment.
    """
    watched.wait(603)
    [protocol] = connected(watched.factory)
    watched.look()
    watched.wait(1)
    protocol.dataReceived(b"x" * 1000)
    shown = [watched.look(seconds) for seconds in (300, 3600, 86400)]
    assert [one["bytesRead"][-1] for one in shown] == [1000, 1000, 1000]
    assert [one["connections"][-1] for one in shown] == [1, 1, 1]
    assert [one["interval"] for one in shown] == [1, 10, 240]


def test_limitAsItWas() -> None:
    """
    The limit of each moment is kept, and none is told as none.
    """
    watched = Watched(maxConnections=5)
    watched.wait(12)
    watched.factory.maxConnections = 9
    watched.wait(10)
    watched.factory.maxConnections = 10**30
    watched.wait(10)
    watched.factory.maxConnections = None
    watched.wait(10)
    assert watched.look(3600)["limits"] == [5, 5, 9, module.HIGHEST, None, None]
    watched.history.stop()


def test_peaks(watched: Watched) -> None:
    """
    A crowd between two marks shows as their peak, in each range.
    """
    watched.wait(250)
    for protocol in connected(watched.factory, 20):
        protocol.connectionLost()
    watched.wait(250)
    for seconds in (3600, 86400):
        shown = watched.look(seconds)
        assert max(shown["peaks"]) == 20
        assert max(shown["connections"]) == 0
    assert watched.factory.peakCount == 20
    assert watched.history.highest["accepted"] == 2.0


def test_dayIsBounded(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One day is kept, and told in a few hundred points.
    """
    day = Day()
    for number in range(Day.MOST + 500):
        day.add(Mark(number * 10.0, 1, number % 100, -1, number, 0, 0, 0, 0))
    assert Day.MOST <= len(day) <= Day.MOST + module.AT_ONCE
    last = day[-1].at
    shown = [*day.since(last - 86400, 240)]
    assert 300 < len(shown) <= 362
    assert {mark.peak for mark in shown[1:-1]} <= set(range(23, 100))
    assert [mark.at for mark in day.since(last - 30, 10)] == [last - 30, last - 20, last - 10, last]


def test_recentIsBounded(watched: Watched) -> None:
    """
    The marks of five minutes are kept, however long somebody looks.
    """
    for _ in range(400):
        shown = watched.look()
        watched.wait(1)
    assert 298 <= len(shown["times"]) <= 302


def test_failure(watched: Watched, monkeypatch: pytest.MonkeyPatch, loggedErrors: Any) -> None:
    """
    A mark that cannot be taken is a gap, and the next one is taken.
    """
    limit = property(lambda self: 1 / 0)
    monkeypatch.setattr(TCPDemoFactory, "effectiveLimit", limit)
    watched.wait(10)
    assert loggedErrors.take(ZeroDivisionError)
    monkeypatch.undo()
    watched.wait(13)
    assert len(watched.look(3600)["times"]) == 3


def test_toldOnce(watched: Watched) -> None:
    """
    Viewers of one second get the same text, made once.
    """
    watched.look()
    one = finished(watched.history.telling(300))
    assert finished(watched.history.telling(300)) is one
    watched.wait(1)
    watched.look()
    assert finished(watched.history.telling(300)) is not one


def test_stepsAreShort(watched: Watched) -> None:
    """
    No step of the work takes long, for ten thousand connections and a whole day.
    """
    connected(watched.factory, 10_000)
    for number in range(Day.MOST):
        watched.history._day.add(Mark(number - 86400 * 10.0, 1, 1, -1, number, 0, 0, 0, 0))
    longest = 0.0
    watched.wait(1)
    for work in (watched.history.look(), watched.history.telling(86400)):
        steps = 0
        while True:
            began = time.process_time()
            try:
                next(work)
            except StopIteration:
                break
            finally:
                longest = max(longest, time.process_time() - began)
            steps += 1
        assert steps >= 4
    assert longest < 0.02  # it is 2 ms; a busy machine has its own pace


def test_dayInParts(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Marks of a day are made as they are read, and are those of the moment of asking.
    """
    history, made = watched.history, []

    def mark(*values: Any) -> Mark:
        made.append(values)
        return Mark(*values)

    for number in range(1, Day.MOST):
        history._day.add(Mark(number * STEP, 1, 1, -1, number, 0, 0, 0, 0))
    monkeypatch.setattr(module, "Mark", mark)
    points = history.points(86400, finest=True)
    times = [next(points).time]
    assert len(made) < 4
    for number in range(module.AT_ONCE + 1):
        history._day.add(Mark((Day.MOST + number) * STEP, 1, 1, -1, number, 0, 0, 0, 0))
    times += [point.time for point in points]
    assert {round(after - before) for before, after in pairwise(times)} == {STEP}
    assert len(times) == Day.MOST


async def test_nothingLeft() -> None:
    """
    A page that has stopped takes no more marks.
    """
    from twisted.internet import reactor

    await turn()  # the test's own deadline is a timer
    before = set(reactor.getDelayedCalls())  # type: ignore[attr-defined]
    async with showing(TCPDemoFactory(Echo)) as port:
        for path in ("/", "/healthz", "/status.json"):
            assert (await ask(port, path)).headers
        await turn()
        await turn()
    await turn()
    assert set(reactor.getDelayedCalls()) <= before  # type: ignore[attr-defined]


@pytest.mark.parametrize("seconds", [300, 3600, 86400])
async def test_ranges(seconds: int) -> None:
    """
    status.json tells of the range that is asked for.
    """
    async with showing(TCPDemoFactory(Echo)) as port:
        shown = (await ask(port, f"/status.json?range={seconds}")).data["history"]
    assert shown["range"] == seconds
    assert len({len(values) for values in shown.values() if isinstance(values, list)}) == 1
    assert shown["connections"][-1] == 0


async def test_wrongRange() -> None:
    """
    Another range is refused, with those that there are.
    """
    async with showing(TCPDemoFactory(Echo)) as port:
        answer = await ask(port, "/status.json?range=7")
    assert (answer.code, answer.body) == (400, b"range must be one of 300, 3600, 86400\n")
