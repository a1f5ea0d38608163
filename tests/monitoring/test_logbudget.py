"""
The budget of the log: a line for each event, or one for a thousand of them.
"""

from __future__ import annotations

from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as some
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, formatEvent, globalLogPublisher, jsonFileLogObserver

from tests.support.commandline import factoryOf
from tests.support.logs import texts
from tests.support.waiting import until
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.monitoring.logbudget import AGAIN, MOST_KINDS, OTHERS, LogBudget
from twisted_tcpdemo.twistd.programs import ReportProtocol


def test_quiet(clock: Clock) -> None:
    """
    Each event has a line up to the rate, every second anew.
    """
    budget = LogBudget(3, clock)
    for _ in range(5):
        assert [budget.shows("connections") for _ in range(3)] == [True] * 3
        clock.advance(1)
    assert clock.getDelayedCalls() == []


def test_summary(clock: Clock, lines: list[LogEvent]) -> None:
    """
    A summary tells of the events without lines a second later, in words and as
    fields.
    """
    budget = LogBudget(2, clock)
    for _ in range(1844):
        budget.shows("connections")
    for _ in range(3):
        budget.shows("received", 12_100_000 // 3)
    budget.shows("sent", bytesWritten=999)
    clock.advance(1.05)
    [summary] = lines
    assert formatEvent(summary) == (
        "1,842 connections, 3 received (12.1 MB in), 1 sent (999 bytes out), not shown"
    )
    assert summary["notShown"]["connections"]["count"] == 1842
    assert summary["notShown"]["received"]["bytesRead"] == 12_099_999
    assert summary["notShown"]["sent"]["bytesWritten"] == 999
    assert clock.getDelayedCalls() == []


def test_flood(clock: Clock, lines: list[LogEvent]) -> None:
    """
    During a flood the log has one summary a second and nothing else.
    """
    budget = LogBudget(10, clock)
    shown = 0
    for _ in range(1000):
        shown += budget.shows("connections")
        clock.advance(0.01)
    clock.advance(1)
    assert shown == 10
    assert 9 <= len(lines) <= 11
    assert sum(event["notShown"]["connections"]["count"] for event in lines) == 990


def test_afterTheFlood(clock: Clock) -> None:
    """
    Events have their lines again after a second with few of them, and at once
    after one with none.
    """
    budget = LogBudget(2, clock)
    assert [budget.shows("sent") for _ in range(3)] == [True, True, False]
    clock.advance(1)
    assert not budget.shows("sent")
    clock.advance(1)
    assert [budget.shows("sent") for _ in range(3)] == [True, True, False]
    clock.advance(2)
    assert budget.shows("sent")


@given(
    some.lists(some.floats(0, 1.5), min_size=1, max_size=200),
    some.integers(1, 20),
)
def test_bound(pauses: list[float], rate: int) -> None:
    """
    However events come, no period has more lines than allowed, and each event has
    its line or is counted in a summary.
    """
    clock = Clock()
    budget = LogBudget(rate, clock)
    summaries: list[LogEvent] = []
    observe = summaries.append
    globalLogPublisher.addObserver(observe)
    shownAt = []
    try:
        for pause in pauses:
            clock.advance(pause / rate)
            if budget.shows("connections"):
                shownAt.append(clock.seconds())
        clock.advance(2)
    finally:
        globalLogPublisher.removeObserver(observe)
    unshown = sum(event["notShown"]["connections"]["count"] for event in summaries)
    assert len(shownAt) + unshown == len(pauses)
    for first in shownAt:
        # A period may begin anywhere in the second that is looked at.
        assert sum(first <= at < first + 1 for at in shownAt) <= 2 * rate
    assert len(summaries) <= clock.seconds() + 1
    assert clock.getDelayedCalls() == []


def test_clockSetBack(clock: Clock) -> None:
    """
    A clock that is set back does not silence the log until it has caught up.
    """
    budget = LogBudget(1, clock)
    clock.advance(7200)
    assert budget.shows("sent")
    clock.rightNow -= 3600
    assert budget.shows("sent")


@pytest.mark.parametrize("rate", [None, 0])
def test_noBound(rate: int | None) -> None:
    """
    Without a rate every event has its line, and the clock is not asked.
    """
    budget = LogBudget(rate)
    assert all(budget.shows("connections") for _ in range(1000))


def test_negativeRate() -> None:
    """
    A rate below zero is refused when it is given.
    """
    with pytest.raises(ValueError, match="-1"):
        LogBudget(-1)


def test_report(clock: Clock, lines: list[LogEvent]) -> None:
    """
    Lines of report draw on the budget, and the rest of its events is counted.
    """
    budget = LogBudget(1, clock)
    protocol = ReportProtocol(budget=budget)
    protocol.factory = TCPDemoFactory(clock=clock)
    protocol.makeConnection(StringTransport())
    protocol.dataReceived("žluť".encode())
    protocol.dataReceived(b"more")
    protocol.readConnectionLost()
    budget.flush()
    assert texts(lines)[0].startswith(f"sent {protocol.connectionID}: client, the server")
    assert texts(lines)[1] == "2 received (10 bytes in), 1 ended by the client, not shown"


def test_json(clock: Clock, lines: list[LogEvent]) -> None:
    """
    The events are complete in the log's JSON format, summaries included.
    """
    budget = LogBudget(1, clock)
    protocol = ReportProtocol(budget=budget)
    protocol.makeConnection(StringTransport())
    protocol.dataReceived(b"hello")
    budget.flush()
    output = StringIO()
    observe = jsonFileLogObserver(output, recordSeparator="")
    for event in lines:
        observe(event)
    sent, summary = output.getvalue().splitlines()
    assert f'"connectionID": {protocol.connectionID}' in sent
    assert '"notShown": {"received": {"count": 1, "bytesRead": 5, "bytesWritten": 0}}' in summary


def budgetOf(*arguments: str) -> LogBudget:
    """
    The budget that a command line gives to report, and to the log of the server.
    """
    factory = factoryOf(*arguments)
    [observer] = factory._observers.present
    budget: LogBudget = vars(factory.buildProtocol(None))["_budget"]
    assert vars(observer)["_budget"] is budget
    return budget


def test_option() -> None:
    """
    The command line gives one budget to the log of the server and to report.
    """
    budget = budgetOf("--log-rate", "7")
    assert budget.rate == 7


def test_defaultOption() -> None:
    """
    The command line limits the log by default, and 0 lifts the limit.
    """
    assert (budgetOf().rate, budgetOf("--log-rate", "0").rate) == (100, None)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "1 x"),
        (1, "1 x (1 bytes in)"),
        (999, "1 x (999 bytes in)"),
        (1000, "1 x (1.0 kB in)"),
        (999_949, "1 x (999.9 kB in)"),
        (999_950, "1 x (1.0 MB in)"),
        (3 * 10**12, "1 x (3,000.0 GB in)"),
    ],
)
def test_sizes(clock: Clock, lines: list[LogEvent], count: int, text: str) -> None:
    """
    Bytes are shown in a fitting unit.
    """
    budget = LogBudget(1, clock)
    budget.shows("x")
    budget.shows("x", count)
    budget.flush()
    assert texts(lines) == [f"{text}, not shown"]


def test_share(clock: Clock, lines: list[LogEvent]) -> None:
    """
    Events with a share of the lines are the first to give way, and take no line from
    others.
    """
    budget = LogBudget(10, clock)
    assert [budget.shows("probes", share=0.2) for _ in range(4)] == [True, True, False, False]
    assert [budget.shows("connections") for _ in range(9)] == [True] * 8 + [False]
    clock.advance(1)
    assert texts(lines) == ["2 probes, 1 connections, not shown"]
    clock.advance(2)
    for _ in range(100):
        budget.shows("probes", share=0.2)
    assert budget.shows("connections")
    budget.flush()


def test_firstOfItsKind(clock: Clock) -> None:
    """
    The first error of a kind is new at any time, and takes a line.
    """
    budget = LogBudget(2, clock)
    assert budget.isNew("a") and not budget.isNew("a")
    assert budget.shows("x") and not budget.shows("x")
    assert budget.isNew("b")
    clock.advance(AGAIN - 1)
    assert not budget.isNew("a")
    clock.advance(1)
    assert budget.isNew("a")
    budget.flush()


def test_kindsWithoutABound() -> None:
    """
    Without a rate every error is new.
    """
    assert all(LogBudget().isNew("a") for _ in range(3))


def test_kindsOfASummary(clock: Clock, lines: list[LogEvent]) -> None:
    """
    A summary tells only so many kinds apart, and counts the rest.
    """
    budget = LogBudget(1, clock)
    budget.shows("x")
    for number in range(1000):
        budget.shows(f"kind {number}")
    clock.advance(1)
    [summary] = lines
    assert len(summary["notShown"]) == MOST_KINDS + 1
    assert summary["notShown"][OTHERS]["count"] == 1000 - MOST_KINDS


async def test_otherThread(lines: list[LogEvent]) -> None:
    """
    Events in another thread are counted, and the summary is written in the reactor's.
    """
    budget = LogBudget(1)

    def log() -> None:
        for _ in range(5):
            budget.shows("x")

    await deferToThread(log)
    await until(lambda: lines)
    assert texts(lines) == ["4 x, not shown"]
