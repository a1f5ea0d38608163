"""
Draining: stop accepting, let the connections end, abort those that are left.

Clients that the kernel has already connected are not reset: each listener
accepts its queue to the end, within the limit, before it closes.  Then each
protocol is told (C{drainStarted}).  With a deadline, idle connections are closed,
at once or spread over some seconds, and busy ones when they become idle; at the
deadline the rest is aborted.  Without a deadline no connection is closed by
force, as Node's C{server.close()} has it.

A factory may listen again before its drain is over.  The drain does not wait for
connections made from then on, unless the factory is drained once more.

Nothing here polls for the end: the factory tells of each connection that ends.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import random
from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from twisted_tcpdemo.connection.record import Connection
from twisted_tcpdemo.server.ledger import Ledger
from twisted_tcpdemo.server.listeners import Listeners
from twisted_tcpdemo.shapes import Clock
from twisted_tcpdemo.transports.deadlines import deadlinesOf
from twisted_tcpdemo.values.report import CloseReason, DrainProgress, DrainReport

_log = Logger(namespace="tcpdemo")

IDLE_AFTER: Final = 1.0
"""Seconds without a byte after which a connection counts as idle in a drain, if
no bytes are pending on it."""


class Drain:
    """
    One drain of a factory, from the first call to the last connection.

    It is visited at its deadline.

    @ivar tick: see L{Watched<twisted_tcpdemo.transports.deadlines.Watched>}.
    """

    def __init__(self, listeners: Listeners, ledger: Ledger, clock: Clock) -> None:
        """
        @param listeners: the listeners to stop.
        @param ledger: the ledger whose open connections are waited for.
        """
        self.tick = 0
        self._listeners = listeners
        self._ledger = ledger
        self._clock = clock
        self._waiters: list[Deferred[DrainReport]] = []
        self._report: DrainReport | None = None
        self._deadline: float | None = None
        self._expired = False
        self._closers: dict[Connection, IdleCloser] = {}
        self._aborted: dict[Connection, int] = {}
        self._startedAt = self._clock.seconds()
        self._stopping = 0
        self._left: dict[Connection, None] = {}
        self._told: set[Connection] = set()
        self._ended = 0
        self._rest: IDelayedCall | None = None
        self._spread: float | None = None

    def gather(self) -> None:
        """
        Stop the listeners of this moment, and take in the open connections.  Code
        called from here may drain the factory again, which must know of this
        drain by then.
        """
        self._stopping += 1
        stopped = self._listeners.stop()
        self._takeIn()
        stopped.addCallback(self._stopped)

    def until(self, deadline: float | None, spread: float) -> Deferred[DrainReport]:
        """
        Wait for the end, and bring it about by a deadline.

        @param deadline: seconds from now, or L{None}.  A deadline later than one
            set before changes nothing; C{0} aborts every connection now.
        @param spread: seconds over which idle connections are closed.
        """
        if self._report is not None:
            return succeed(self._report)
        waiter: Deferred[DrainReport] = Deferred()
        self._waiters.append(waiter)
        if deadline:
            self._endWithin(deadline, spread)
        elif deadline is not None:
            self.visit(self._clock.seconds())
        return waiter

    def progress(self) -> DrainProgress:
        """
        How far it is.
        """
        now = self._clock.seconds()
        return DrainProgress(
            left=len(self._left),
            ended=self._ended,
            aborted=len(self._aborted),
            age=now - self._startedAt,
            timeLeft=None if self._deadline is None else max(0.0, self._deadline - now),
        )

    def _endWithin(self, deadline: float, spread: float) -> None:
        at = self._clock.seconds() + deadline
        if self._spread is None:
            self._spread = min(spread, deadline)
        if not self._expired and (self._deadline is None or at < self._deadline):
            self._deadline = at
            deadlinesOf(self._clock).watch(self, at)
        self._press()

    def visit(self, now: float) -> None:
        """
        Abort every connection: the deadline has come.  Those that come later
        are aborted too.
        """
        self._expired = True
        self._takeIn()

    def left(self, connection: Connection) -> None:
        """
        Count off a connection that is over.
        """
        if connection in self._left:
            if connection in self._aborted:
                self._aborted[connection] = connection.counts.bytesPending
            del self._left[connection]
            self._ended += 1
        self._endIfEmpty()

    def _stopped(self, _: None) -> None:
        self._stopping -= 1
        self._takeIn()  # connections accepted at the last moment
        self._endIfEmpty()

    def _endIfEmpty(self) -> None:
        if self._stopping or self._left:
            return
        self._takeIn()  # connections made past the listeners
        if not self._left and self._report is None:
            self._finish()

    def _takeIn(self) -> None:
        """
        Wait for every open connection, and tell its protocol once, unless the
        factory listens again.
        """
        if not self._listeners.open:
            self._left.update(self._ledger.open)
        self._tell([c for c in self._left if c.isMade])
        if self._rest is None and not self._told.issuperset(self._left):
            # An observer of connectionOpened drains: the connection will be made
            # by the next turn.
            self._rest = self._clock.callLater(0, self._tellRest)

    def _tellRest(self) -> None:
        self._rest = None
        self._tell(list(self._left))

    def _tell(self, connections: list[Connection]) -> None:
        for connection in connections:
            if connection in self._left and connection not in self._told:
                self._told.add(connection)
                _tried(connection, connection.drainStarted)
        self._press()

    def _press(self) -> None:
        """
        End the connections that have been told, as far as there is a deadline.
        """
        for connection in list(self._left):
            if connection in self._told and connection in self._left:
                _tried(connection, partial(self._end, connection))

    def _end(self, connection: Connection) -> None:
        if self._expired:
            self._aborted.setdefault(connection, connection.counts.bytesPending)
            connection.abort(CloseReason.DRAIN)
        elif self._spread is not None and connection not in self._closers:
            self._closeWhenIdle(connection)

    def _closeWhenIdle(self, connection: Connection) -> None:
        assert self._spread is not None
        now = self._clock.seconds()
        closer = IdleCloser(connection, self._clock, now + self._spread * random())
        self._closers[connection] = closer
        closer.visit(now)

    def _finish(self) -> None:
        deadlines = deadlinesOf(self._clock)
        deadlines.forget(self)
        if self._rest is not None and self._rest.active():
            self._rest.cancel()
        for closer in self._closers.values():
            deadlines.forget(closer)
        aborted = len(self._aborted)
        self._report = report = DrainReport(
            finished=self._ended - aborted,
            aborted=aborted,
            bytesUnsent=sum(self._aborted.values()),
            duration=self._clock.seconds() - self._startedAt,
        )
        for waiter in self._waiters:
            waiter.callback(report)


def _tried(connection: Connection, act: Callable[[], object]) -> None:
    """
    Act on one connection.  Its transport may be anybody's, and harms no other.
    """
    try:
        act()
    except BaseException:
        _log.failure("{connection} could not be ended", connection=connection)


class IdleCloser:
    """
    Closes one connection as soon as it is idle.
    """

    __slots__ = ("_clock", "_connection", "_notBefore", "tick")

    def __init__(self, connection: Connection, clock: Clock, notBefore: float) -> None:
        self.tick = 0
        self._connection = connection
        self._clock = clock
        self._notBefore = notBefore

    def visit(self, now: float) -> None:
        """
        Close the connection, or look again when it may be idle.
        """
        if self._connection.closeReason is not None:
            return
        counts = self._connection.counts
        idleAt = max(self._notBefore, counts.lastActivity + IDLE_AFTER)
        if counts.bytesPending:
            idleAt = max(idleAt, now + IDLE_AFTER)
        if idleAt <= now:
            self._connection.closeIdle()
        else:
            deadlinesOf(self._clock).watch(self, idleAt)
