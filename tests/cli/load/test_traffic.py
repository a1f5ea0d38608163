"""
The load of a real server: its pace, its figures, and what goes wrong.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError

from tests.support.cli import rawServer
from tests.support.peers import serving
from twisted_tcpdemo import ClientEndpoint, TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.cli.load.alarm import SECOND, Alarm, now
from twisted_tcpdemo.cli.load.histogram import Results
from twisted_tcpdemo.cli.load.traffic import Plan, Traffic
from twisted_tcpdemo.twistd.programs import Discard, Echo

STALL = 0.5


class Stalling(TCPDemoProtocol):
    """
    Echoes, but for half a second in which the whole server does nothing.
    """

    stallAt: float | None = None

    def dataReceived(self, data: bytes) -> None:
        """
        Echo, or stall the process as garbage collection or a lock would.
        """
        kind = Stalling
        if kind.stallAt is None:
            kind.stallAt = monotonic() + 0.3
        if monotonic() > kind.stallAt:
            kind.stallAt = monotonic() + 100
            self.pause()
            for other in self.others():
                other.pause()
            later(STALL, self.again)
        self.transport.write(data)

    def others(self) -> list[Any]:
        """
        All connections.
        """
        return [*self.factory.connections]  # type: ignore[union-attr]

    def again(self) -> None:
        """
        Go on.
        """
        for other in self.others():
            other.resume()


def later(seconds: float, function: Any) -> None:
    """
    Call something later.
    """
    from twisted.internet import reactor

    reactor.callLater(seconds, function)  # type: ignore[attr-defined]


class Line(TCPDemoProtocol):
    """
    Answers each line by another, in two pieces.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Answer.
        """
        for _ in range(data.count(b"\n")):
            self.transport.write(b"a longer ")
            self.transport.write(b"answer\n")


class Moody(TCPDemoProtocol):
    """
    Answers once, and ends the connection at the second message.
    """

    answered = False

    def dataReceived(self, data: bytes) -> None:
        """
        Answer, or end.
        """
        if self.answered:
            self.transport.loseConnection()
        else:
            self.answered = True
            self.transport.write(data)


def plan(**changes: Any) -> Plan:
    """
    A plan for a test.
    """
    usual: dict[str, Any] = {
        "message": b"x" * 31 + b"\n", "lines": False, "connections": 4, "rate": None,
        "duration": 0.5, "requests": None, "patience": 5.0,
    }  # fmt: skip
    return Plan(**{**usual, **changes})


@asynccontextmanager
async def loaded(protocol: Any, **changes: Any) -> AsyncGenerator[tuple[Traffic, TCPDemoFactory]]:
    """
    Put a server under load until the plan is over.
    """
    from twisted.internet import reactor

    async with serving(TCPDemoFactory(protocol)) as server:
        endpoint = ClientEndpoint(reactor, "127.0.0.1", server.port)
        traffic = Traffic(reactor, endpoint, plan(**changes))  # type: ignore[arg-type]
        traffic.connect()
        yield traffic, server.factory
        await traffic.done
    assert (traffic.connectionCount, server.factory.connectionCount) == (0, 0)


async def results(protocol: Any, **changes: Any) -> Results:
    """
    The results of a load.
    """
    async with loaded(protocol, **changes) as (traffic, _):
        pass
    return traffic.results


@pytest.mark.parametrize("rate", [None, 2000.0])
async def test_requests(rate: float | None) -> None:
    """
    As many messages are sent as were asked for, and each has its answer and its time.
    """
    async with loaded(Echo, requests=500, rate=rate) as (traffic, factory):
        pass
    found = traffic.results
    assert (found.sent, found.answered, found.unanswered, found.errors) == (500, 500, 0, {})
    assert found.bytesRead == factory.bytesRead == factory.bytesWritten == 500 * 32
    assert found.measured.total == 500 and found.corrected.total >= 500
    assert 0 < found.measured.most <= found.seconds * SECOND


async def test_duration() -> None:
    """
    Without a number, messages are sent for as long as was asked for.
    """
    found = await results(Echo)
    assert 0.5 <= found.seconds < 2
    assert (found.sent, found.unanswered, found.errors) == (found.answered, 0, {})


async def test_rate() -> None:
    """
    A rate is kept, whatever the number of connections.
    """
    found = await results(Echo, rate=400.0, connections=1)
    assert found.answered == found.sent == 200
    assert 0.49 <= found.seconds < 2
    assert found.corrected.total == found.answered


async def test_lines() -> None:
    """
    The answers of a line server may be of any length, and come in pieces.
    """
    found = await results(Line, requests=100, lines=True)
    assert (found.answered, found.bytesRead, found.errors) == (100, 1600, {})


async def test_omission() -> None:
    """
    While the server stands still the clock runs for every message that is due: a tenth of
    them waited for long, though only one per connection was on the way.
    """
    Stalling.stallAt = None
    found = await results(Stalling, rate=500.0, duration=2.0)
    measured, corrected = found.measured.percentile(90), found.corrected.percentile(90)
    assert measured is not None and corrected is not None
    assert measured < 0.1 * SECOND < 0.2 * SECOND < corrected
    assert found.corrected.most >= 0.9 * STALL * SECOND
    # Half a second at this rate, but for those at its end.
    late = found.corrected.between(0.05 * SECOND, 10 * SECOND)
    assert 150 <= late <= 300
    assert found.measured.between(0.05 * SECOND, 10 * SECOND) < 50


async def test_omissionWithoutRate() -> None:
    """
    Without a rate, a connection is taken to have been about to send as often as it did
    otherwise.
    """
    Stalling.stallAt = None
    found = await results(Stalling, duration=1.5)
    seconds = 0.05 * SECOND, 10 * SECOND
    assert found.measured.between(*seconds) < 50
    assert found.corrected.between(*seconds) > 500
    assert found.corrected.most >= 0.9 * STALL * SECOND


@pytest.mark.parametrize("rate", [None, 100.0])
async def test_noAnswers(rate: float | None) -> None:
    """
    A server that answers nothing is no fast server: what has waited in vain counts.
    """
    found = await results(Discard, rate=rate, patience=0.2)
    assert (found.answered, found.measured.total) == (0, 0)
    assert found.unanswered == (4 if rate is None else 50)
    assert found.corrected.most >= 0.5 * SECOND


class Once(Moody):
    """
    Answers once, and then no more.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Answer, or say nothing.
        """
        if not self.answered:
            super().dataReceived(data)


@pytest.mark.parametrize("rate", [None, 1000.0])
@pytest.mark.parametrize(("protocol", "answers"), [(Discard, 0), (Once, 4)])
async def test_lastAnswers(rate: float | None, protocol: Any, answers: int) -> None:
    """
    When the last messages of a number have been sent, their answers are not waited for
    without end.
    """
    found = await results(protocol, rate=rate, requests=answers + 4, patience=0.2)
    assert (found.sent, found.answered, found.unanswered) == (answers + 4, answers, 4)
    assert found.corrected.most >= 0.2 * SECOND


@pytest.mark.parametrize("rate", [None, 300.0])
async def test_lostConnections(rate: float | None) -> None:
    """
    Connections that the server ends are counted, and made again.
    """
    found = await results(Moody, rate=rate)
    assert found.errors["connections closed by the server"] >= 4 < found.answered
    assert set(found.errors) == {"connections closed by the server"}
    assert found.unanswered >= 4


async def test_tooMuch() -> None:
    """
    A server that is no echo server is not taken for one.
    """
    found = await results(Line, requests=20, message=b"x\n")
    assert found.errors["more came back than was sent"] > 0


async def test_nobody() -> None:
    """
    Without any connection the load fails, as a connection does.
    """
    from twisted.internet import reactor

    with rawServer() as (_, port):
        pass
    endpoint = ClientEndpoint(reactor, "127.0.0.1", port)
    traffic = Traffic(reactor, endpoint, plan(connections=100))  # type: ignore[arg-type]
    traffic.connect()
    with pytest.raises(ConnectionRefusedError):
        await traffic.done


@pytest.mark.parametrize("rate", [None, 100.0])
async def test_stop(rate: float | None) -> None:
    """
    A load can be ended at any time, with the figures so far.
    """
    async with loaded(Echo, duration=100, rate=rate) as (traffic, _):
        while traffic.results.answered < 10:
            await nextTurn()
        traffic.stop()
        traffic.stop()
    assert traffic.results.seconds > 0 and traffic.results.measured.total >= 10


async def test_stopAtOnce() -> None:
    """
    A load can be ended before it has begun.
    """
    async with loaded(Echo, duration=100) as (traffic, _):
        traffic.stop()
        traffic.done.addErrback(lambda _: None)
    assert traffic.results.answered == 0


def nextTurn() -> Deferred[None]:
    """
    A moment of the reactor's.
    """
    waiting: Deferred[None] = Deferred()
    later(0.001, lambda: waiting.callback(None))
    return waiting


@pytest.mark.parametrize("kernel", [True, False])
async def test_alarm(kernel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    An alarm goes off at its moment and not before, with a timer of the kernel's or
    without, and leaves no descriptor behind.
    """
    from twisted.internet import reactor

    if not kernel:
        monkeypatch.setattr("twisted_tcpdemo.cli.load.alarm.makeTimer", lambda: None)
    before = len(os.listdir("/proc/self/fd"))
    rung: Deferred[int] = Deferred()
    alarm = Alarm(reactor, lambda: rung.callback(now()))  # type: ignore[arg-type]
    alarm.set(now() + 100 * SECOND)
    due = now() + SECOND // 50
    alarm.set(due)
    assert due <= await rung < due + SECOND
    alarm.set(now() + SECOND)
    alarm.close()
    assert len(os.listdir("/proc/self/fd")) == before
