"""
The load of a server: messages on many connections, and the time of each answer.

A connection has one message on the way at a time.  Without a rate it sends the next one
when the answer is there.  With a rate, message C{n} is due at C{start + n / rate}; a
connection that is free takes the oldest that is due.  An answer has two times: from the
moment when its message was sent, and from the moment when it was due.  The second is
what a user would have waited, and does not get better when the server stands still.

The way of a message through this module is short on purpose: what the load costs here
is taken from what it can ask of the server.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from twisted_tcpdemo.cli.load.alarm import SECOND, Alarm, now
from twisted_tcpdemo.cli.load.asker import Asker, LineAsker
from twisted_tcpdemo.cli.load.histogram import Results
from twisted_tcpdemo.client.endpoint import ClientEndpoint
from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.shapes import Reactor, Transport

AT_ONCE: Final = 64
"""Connections that are being made at a time."""

PAUSE: Final = 0.1
"""Seconds until a connection that was lost is made again."""


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What to send.

    @ivar message: the bytes of a message.
    @ivar lines: whether an answer ends with a newline; else it is as long as the
        message.
    @ivar connections: the number of connections.
    @ivar rate: messages a second; L{None} for as many as are answered.
    @ivar duration: seconds to send for, without C{requests}.
    @ivar requests: the number of messages; L{None} for no limit but the time.
    @ivar patience: seconds to wait for the last answers; C{0} for no limit.
    """

    message: bytes
    lines: bool
    connections: int
    rate: float | None
    duration: float
    requests: int | None
    patience: float


class Traffic:
    """
    All connections, and what they do.

    @ivar plan: what to send.
    @ivar results: what has come of it so far.
    @ivar done: fires when all is over and no connection is left; it fails if there was
        none at all, with the failure of the first.
    """

    def __init__(
        self,
        reactor: Reactor,
        endpoint: ClientEndpoint,
        plan: Plan,
        preface: Callable[[Transport], None] | None = None,
    ) -> None:
        """
        @param preface: what begins each connection.
        """
        self.plan = plan
        self.results = Results()
        self.done: Deferred[None] = Deferred()
        self.answered = self._answeredFreely if plan.rate is None else self._answeredInTime
        self._endpoint = endpoint
        self._preface = preface
        self._clock = steady(reactor)
        self._alarm = None if plan.rate is None else Alarm(reactor, self._wake)
        self._askers: set[Asker] = set()
        self._free: deque[Asker] = deque()
        self._connecting: set[Deferred[Asker]] = set()
        self._left = plan.connections
        self._failure: Failure | None = None
        self._calls: set[IDelayedCall] = set()
        self._most = plan.requests or 2**63
        if plan.rate is not None and plan.requests is None:
            self._most = ceil(plan.rate * plan.duration)
        self._interval = SECOND / plan.rate if plan.rate else 0.0
        self._startedAt = self._stoppedAt = self._lastAt = 0
        self._waited: list[int] = []
        self._isOver = False

    @property
    def connectionCount(self) -> int:
        """
        The connections that are open.
        """
        return len(self._askers)

    # Connecting.

    def connect(self) -> None:
        """
        Connect, and begin when all connections are there or have failed.
        """
        while self._left and len(self._connecting) < AT_ONCE and not self._isOver:
            self._left -= 1
            self._connectOne()

    def _connectOne(self) -> None:
        kind = LineAsker if self.plan.lines else Asker
        asker = kind(len(self.plan.message), self, self._preface)
        self._askers.add(asker)
        connecting: Deferred[Asker] = self._endpoint.connectProtocol(asker)
        self._connecting.add(connecting)
        connecting.addBoth(self._connected, asker, connecting)

    def _connected(
        self, result: Asker | Failure, asker: Asker, connecting: Deferred[Asker]
    ) -> None:
        self._connecting.discard(connecting)
        if isinstance(result, Failure):
            self._askers.discard(asker)
            self._failure = self._failure or result
            if not self._isOver:
                self.results.errors["no connection"] += 1
        if self._isOver:
            self._perhapsOver()
        elif self._startedAt:
            self._joined(result, asker)
        elif self._left:
            self.connect()
        elif not self._connecting:
            self._begin()

    def _joined(self, result: Asker | Failure, asker: Asker) -> None:
        """
        Let a connection that comes later work, or try again.
        """
        if isinstance(result, Failure):
            if self._askers:
                self._again()
            else:
                self._finish()  # the server is gone
        elif asker in self._askers:
            self._work(asker)

    def _again(self) -> None:
        self._later(PAUSE, self._connectOne)

    def _later(self, delay: float, what: Callable[[], None]) -> None:
        def due() -> None:
            self._calls.discard(call)
            what()

        call = self._clock.callLater(delay, due)
        self._calls.add(call)

    def lost(self, asker: Asker, reason: Failure) -> None:
        """
        Replace a connection that the server has ended.
        """
        self._askers.discard(asker)
        if self._isOver:
            self._perhapsOver()
            return
        how = "closed by the server" if reason.check(ConnectionDone) else "broken off"
        self.results.errors[f"connections {how}"] += 1
        self._failure = self._failure or reason
        if asker in self._free:
            self._free.remove(asker)
        self._abandon(asker)
        if self._stoppedAt or self.results.sent >= self._most:
            self._perhapsDone()
        elif self._startedAt:
            self._again()

    def surprised(self) -> None:
        """
        Count an answer that is too long, or that nobody has asked for.
        """
        self.results.errors["more came back than was sent"] += 1

    def _abandon(self, asker: Asker) -> None:
        """
        Count a message that will have no answer, and the bytes of those before.
        """
        self.results.bytesRead += asker.bytesRead
        if asker.sentAt:
            self._unanswered(now() - asker.due, 1)
            asker.sentAt = 0

    def _unanswered(self, waited: int, count: int) -> None:
        """
        Count messages that have waited in vain, the first for this time, each other for
        an interval less.
        """
        self.results.unanswered += count
        if self._interval:
            self.results.corrected.spread(waited, self._interval, count)
        else:
            self._waited.append(waited)

    def _correct(self) -> None:
        """
        Without a rate, take the mean time between two messages of a connection for the
        time after which each was due.
        """
        results = self.results
        busy = results.seconds * SECOND * self.plan.connections
        interval = max(1, int(busy / max(1, results.answered)))
        results.corrected = results.measured.corrected(interval)
        for waited in self._waited:
            results.corrected.spread(waited, interval, max(1, waited // interval))

    # Sending.

    def _begin(self) -> None:
        if not self._askers:
            self._finish()
            return
        self._startedAt = now()
        for _ in range(self.plan.connections - len(self._askers)):
            self._again()
        if self.plan.requests is None:
            self._later(self.plan.duration, self._stop)
        for asker in [*self._askers]:
            self._work(asker)

    def _work(self, asker: Asker) -> None:
        """
        Give a connection something to do.
        """
        if self.plan.rate is not None:
            self._free.append(asker)
            self._dispatch()
        elif self.results.sent < self._most and not self._stoppedAt:
            at = now()
            self._send(asker, at, at)

    def _send(self, asker: Asker, due: int, at: int) -> None:
        self.results.sent += 1
        asker.due, asker.sentAt = due, at
        asker.transport.write(self.plan.message)
        if self.results.sent == self._most:
            self._await()

    def _answeredFreely(self, asker: Asker) -> None:
        """
        Count an answer, and send the next message.
        """
        at, results = now(), self.results
        results.answered += 1
        results.measured.add(at - asker.sentAt)
        if self._stoppedAt or results.sent >= self._most:
            asker.sentAt = 0
            self._rest(at)
        else:
            results.sent += 1
            asker.due = asker.sentAt = at
            asker.transport.write(self.plan.message)
            if results.sent == self._most:
                self._await()

    def _answeredInTime(self, asker: Asker) -> None:
        """
        Count an answer, and send what is due.
        """
        at, results = now(), self.results
        results.answered += 1
        results.measured.add(at - asker.sentAt)
        results.corrected.add(at - asker.due)
        asker.sentAt = 0
        self._free.append(asker)
        if self._stoppedAt or results.sent >= self._most:
            self._rest(at)
        else:
            self._dispatch()

    def _dispatch(self) -> None:
        """
        Send what is due on the connections that are free, and wake when more is.
        """
        assert self._alarm is not None
        free, results = self._free, self.results
        while free and results.sent < self._most and not self._stoppedAt:
            due, at = self._startedAt + int(results.sent * self._interval), now()
            if due > at:
                self._alarm.set(due)
                return
            self._send(free.popleft(), due, at)

    def _wake(self) -> None:
        if self._startedAt:
            self._dispatch()

    # The end.

    def _stop(self) -> None:
        """
        Send no more: the time is over.  What was due and found no connection free has
        waited in vain.
        """
        if self._interval:
            self._dispatch()
        self._stoppedAt = at = now()
        late = self._most - self.results.sent if self._interval else 0
        if late:
            first = self._startedAt + int(self.results.sent * self._interval)
            self._unanswered(at - first, late)
        self._await()
        self._perhapsDone()

    def _rest(self, at: int) -> None:
        """
        See whether this was the last answer.
        """
        self._lastAt = at
        self._perhapsDone()

    def _await(self) -> None:
        """
        Wait for the last answers.
        """
        if self.plan.patience:
            self._later(self.plan.patience, self._finish)

    def _perhapsDone(self) -> None:
        if not any(asker.sentAt for asker in self._askers):
            self._finish()

    def stop(self) -> None:
        """
        End now.
        """
        self._stoppedAt = self._stoppedAt or now()
        self._finish()

    def _finish(self) -> None:
        if self._isOver:
            return
        self._isOver = True
        if self._startedAt:
            end = max(self._stoppedAt, self._lastAt) or now()
            self.results.seconds = (end - self._startedAt) / SECOND
        for asker in self._askers:
            self._abandon(asker)
        if not self._interval:
            self._correct()
        for call in self._calls:
            if call.active():
                call.cancel()
        if self._alarm is not None:
            self._alarm.close()
        for connecting in [*self._connecting]:
            connecting.cancel()
        for asker in [*self._askers]:
            if asker.connected:
                asker.transport.abortConnection()
        self._perhapsOver()

    def _perhapsOver(self) -> None:
        if self._askers or self._connecting or self.done.called:
            return
        if self._startedAt or self._failure is None:
            self.done.callback(None)
        else:
            self.done.errback(self._failure)
