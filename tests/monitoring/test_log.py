"""
The log: the line of each event.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from tests.support.logs import texts
from tests.support.peers import serving
from tests.support.waiting import until
from twisted_tcpdemo import CloseReason, ConnectionReport, TCPDemoFactory
from twisted_tcpdemo.monitoring.log import MOST_PROBERS, LoggingObserver
from twisted_tcpdemo.monitoring.logbudget import LogBudget
from twisted_tcpdemo.twistd.programs import ReportProtocol
from twisted_tcpdemo.values.report import Refusal

HOST, PEER = IPv4Address("TCP", "192.0.2.1", 80), IPv6Address("TCP", "2001:db8::7", 4000)
FINAL = ConnectionReport(HOST, PEER, 9, 1, 20, 3, 1.5, 0.5, CloseReason.RESET)


@pytest.fixture
def events() -> Generator[list[LogEvent]]:
    """
    The events logged so far.
    """
    seen: list[LogEvent] = []
    globalLogPublisher.addObserver(seen.append)
    yield seen
    globalLogPublisher.removeObserver(seen.append)


def logged(
    events: list[LogEvent], event: str, fact: object, **options: Any
) -> tuple[str, LogEvent]:
    """
    The one line of an event in the log, and its fields.
    """
    observer = LoggingObserver(TCPDemoFactory(**options))
    getattr(observer, event)(fact)
    [logged] = [e for e in events if e.get("log_namespace") == "tcpdemo"]
    return formatEvent(logged), logged


def test_listening(events: list[LogEvent]) -> None:
    """
    A listener's line has its address, its port and its family.
    """
    line, fields = logged(events, "listening", IPv6Address("TCP", "::", 18001))
    assert line == "listening on [::]:18001 (IPv6)"
    assert (fields["address"], fields["port"], fields["family"]) == ("::", 18001, "IPv6")


def test_listeningStopped(events: list[LogEvent]) -> None:
    """
    The line of a listener that stops has its address, its port and its family.
    """
    line, fields = logged(events, "listeningStopped", HOST)
    assert line == "no longer listening on 192.0.2.1:80"
    assert fields["port"] == 80


@pytest.mark.parametrize(("limit", "text"), [(None, "no limit"), (0, "limit 0"), (5, "limit 5")])
def test_opened(events: list[LogEvent], limit: int | None, text: str) -> None:
    """
    A connection's line has its number, both ends, the count and the limit.
    """
    line, fields = logged(events, "connectionOpened", FINAL, maxConnections=limit)
    assert line == (f"connection 9: [2001:db8::7]:4000 (IPv6) to 192.0.2.1:80; 0 connected, {text}")
    assert (fields["remoteAddress"], fields["remotePort"]) == ("2001:db8::7", 4000)
    assert (fields["localAddress"], fields["localPort"]) == ("192.0.2.1", 80)
    assert (fields["localFamily"], fields["remoteFamily"]) == ("IPv4", "IPv6")


@pytest.mark.parametrize(
    ("given", "text"),
    [(None, "limit 50 (descriptors)"), (60, "limit 50 (descriptors)"), (9, "limit 9")],
)
def test_openedWithFewDescriptors(events: list[LogEvent], given: int | None, text: str) -> None:
    """
    The limit in the line is the one that holds, even if it is that of the
    descriptors.
    """
    factory = TCPDemoFactory(maxConnections=given)
    factory.descriptorLimit = 50
    LoggingObserver(factory).connectionOpened(FINAL)
    assert formatEvent(events[-1]).endswith(f"; 0 connected, {text}")


def test_refused(events: list[LogEvent]) -> None:
    """
    A refusal's line has both ends and the rule.
    """
    line, fields = logged(events, "connectionRefused", Refusal(HOST, PEER, "maxConnections"))
    assert line == "refused: [2001:db8::7]:4000 (IPv6) to 192.0.2.1:80, by maxConnections"
    assert (fields["rule"], fields["remotePort"]) == ("maxConnections", 4000)


def test_closed(events: list[LogEvent]) -> None:
    """
    A close's line has the reason, the duration and the final counts.
    """
    line, fields = logged(events, "connectionClosed", FINAL)
    assert line == (
        "close 9: reset after 1.500 s; 1 bytes read, 20 written, 3 unsent; [2001:db8::7]:4000"
    )
    assert (fields["reason"], fields["duration"], fields["bytesWritten"]) == ("reset", 1.5, 20)


@pytest.mark.parametrize(
    ("claim", "shown"),
    [
        (b"TCP4 \x1b[31m\n\xe2\x80\xae", r"\x1b[31m\n\u202e:7"),
        (b"TCP6 ::ffff:zzz", "[::ffff:zzz]:7"),
    ],
)
async def test_claimed(events: list[LogEvent], claim: bytes, shown: str) -> None:
    """
    The end of a connection is one line, whatever address its PROXY header claims.
    """
    factory = TCPDemoFactory()
    factory.addObserver(LoggingObserver(factory))
    async with serving(factory, "haproxy:tcp:0:interface=127.0.0.1") as server:
        peer = await server.connect()
        peer.transport.write(b"PROXY " + claim + b" ::1 7 8\r\nx")
        await until(lambda: factory.bytesRead == 1)
        peer.transport.loseConnection()
        await until(lambda: factory.closedCount)
    lines = [formatEvent(e) for e in events if e.get("log_namespace") == "tcpdemo"]
    [line] = [line for line in lines if line.startswith("close ")]
    assert line.endswith(f"; {shown}")


def test_error(events: list[LogEvent]) -> None:
    """
    An error of the server is one line; the code that raised it logs the rest.
    """
    line, fields = logged(events, "serverError", Failure(OSError(98, "Address already in use")))
    assert line == "error: [Errno 98] Address already in use"
    assert fields["log_level"].name == "error"


def test_neverSuppressed(clock: Clock, lines: list[LogEvent]) -> None:
    """
    Errors and listeners are shown in the midst of a flood.
    """
    budget = LogBudget(1, clock)
    while budget.shows("connections"):
        pass
    observer = LoggingObserver(TCPDemoFactory(), budget)
    observer.serverError(Failure(OSError("out of descriptors")))
    observer.listening(IPv4Address("TCP", "127.0.0.1", 18001))
    assert texts(lines) == ["error: out of descriptors", "listening on 127.0.0.1:18001 (IPv4)"]
    budget.flush()


def test_probes(clock: Clock, lines: list[LogEvent]) -> None:
    """
    The lines of health checks are the first to give way: those about their ends, and those
    about the beginnings of the next ones from the same address.
    """

    class Listening(TCPDemoFactory):
        listening = True  # type: ignore[assignment]

    budget = LogBudget(10, clock)
    observer = LoggingObserver(Listening(), budget)
    probe, other = IPv4Address("TCP", "192.0.2.1", 1), IPv4Address("TCP", "192.0.2.2", 1)

    def visit(peer: IPv4Address, reason: CloseReason) -> list[str]:
        before = len(lines)
        opened = ConnectionReport(other, peer, 1, 0, 0, 0, 0.0, 0.0)
        observer.connectionOpened(opened)
        observer.connectionClosed(replace(opened, closeReason=reason))
        return [text.partition(":")[0] for text in texts(lines[before:])]

    assert visit(probe, CloseReason.PROBE) == ["connection 1"]
    assert visit(probe, CloseReason.PROBE) == []
    assert visit(other, CloseReason.PEER_CLOSED) == ["connection 1", "close 1"]
    assert visit(probe, CloseReason.PEER_CLOSED) == ["close 1"]
    assert visit(probe, CloseReason.PEER_CLOSED) == ["connection 1", "close 1"]
    for number in range(1000):
        visit(IPv4Address("TCP", f"198.51.100.{number}", 1), CloseReason.PROBE)
    assert len(observer._probers) == MOST_PROBERS
    clock.advance(1)
    assert "1,002 probes" in texts(lines)[-1]


def test_errors(clock: Clock, lines: list[LogEvent]) -> None:
    """
    After the first error of a kind the others are within the budget: each client can cause
    one.
    """
    budget = LogBudget(3, clock)
    observer = LoggingObserver(TCPDemoFactory(), budget)
    for _ in range(10):
        observer.serverError(Failure(OSError("\x1b[2J" + "x" * 5000)))
    assert len(lines) == 3
    assert all(text.startswith(r"error: \x1b[2J") and len(text) < 1100 for text in texts(lines))
    clock.advance(1)
    assert texts(lines)[3:] == ["7 errors, not shown"]


async def test_server(lines: list[LogEvent]) -> None:
    """
    A flooded server counts every client, logs few lines, and leaves nothing
    uncounted when it has come to rest.
    """
    budget = LogBudget(2)
    factory = TCPDemoFactory(lambda: ReportProtocol(budget=budget), maxConnections=10)
    factory.addObserver(LoggingObserver(factory, budget))
    async with serving(factory) as server:
        peers = [await server.connect() for _ in range(12)]
        await until(lambda: factory.acceptedCount + factory.refusedCount == 12)
        await peers[0].whenReceived(1)
    assert (factory.acceptedCount, factory.refusedCount, factory.closedCount) == (10, 2, 10)
    summaries = [event["notShown"] for event in lines if "notShown" in event]
    counted = {what: sum(s.get(what, {}).get("count", 0) for s in summaries) for what in ALL}
    shown = [str(event["log_format"]).partition(" ")[0] for event in lines]
    assert counted["connections"] + shown.count("connection") == 10
    assert counted["closed"] + shown.count("close") == 10
    assert counted["refused"] + shown.count("refused:") == 2
    greetings = shown.count("sent") + shown.count("not")
    assert counted["sent"] + counted["not sent"] + greetings == 10
    seconds = lines[-1]["log_time"] - lines[0]["log_time"]
    assert len(lines) <= 2 + (2 + 1) * (seconds + 2)  # the lines of the listener's start and stop


ALL = ("connections", "closed", "refused", "sent", "not sent")
