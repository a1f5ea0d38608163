"""
A connection for the tests of a watch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from twisted_tcpdemo import CloseReason, TCPDemoFactory
from twisted_tcpdemo.connection.watch import BudgetWatch
from twisted_tcpdemo.transports.counts import FinalCounts
from twisted_tcpdemo.transports.deadlines import Deadlines
from twisted_tcpdemo.values.budgets import Budgets


class Connection:
    """
    The part of a connection that a watch needs, driven by the test.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.openedAt = clock.seconds()
        self.closingAt: float | None = None
        self.counts = FinalCounts(0, 0, 0, clock.seconds())
        self.handshaking = False
        self.producing = False
        self.queued = 0
        self.hasInput = False
        self.lingering = False
        self.used: list[tuple[CloseReason, float]] = []
        self.answer: Callable[[CloseReason], object] = lambda reason: None

    def exceeded(self, reason: CloseReason) -> None:
        """
        Remember the budget, and call the test.
        """
        self.used.append((reason, self._clock.seconds()))
        self.answer(reason)

    @property
    def reasons(self) -> list[CloseReason]:
        """
        The budgets that have been used up.
        """
        return [reason for reason, _ in self.used]

    def read(self) -> None:
        """
        Let a byte come.
        """
        now = self._clock.seconds()
        self.counts = self.counts._replace(bytesRead=self.counts.bytesRead + 1, lastActivity=now)

    def pending(self, pending: int, written: int | None = None) -> None:
        """
        Let this many bytes be pending.
        """
        counts = self.counts
        total = counts.bytesWritten if written is None else written
        self.counts = counts._replace(bytesWritten=total, bytesPending=pending)


def begin(connection: Connection, clock: Clock, **budgets: float | None) -> BudgetWatch:
    """
    Watch a connection, with these budgets and no others.  A budget that is used up
    ends the connection, as most do.
    """
    allowed = Budgets(**{"closeFlush": None, "handshake": None, **budgets})  # type: ignore[arg-type]
    watch = BudgetWatch(connection, allowed, Deadlines(clock))
    connection.answer = lambda reason: watch.stop()
    watch.visit(clock.seconds())
    return watch


def wait(clock: Clock, seconds: float) -> None:
    """
    Let time pass in small steps.
    """
    for _ in range(round(seconds * 100)):
        clock.advance(0.01)


def close(connection: Connection, watch: BudgetWatch, clock: Clock) -> None:
    """
    Close from this side.
    """
    connection.closingAt = clock.seconds()
    watch.visit(clock.seconds())


def connected(factory: TCPDemoFactory) -> tuple[Any, StringTransport]:
    """
    A protocol of the factory on a transport in memory.
    """
    protocol, transport = factory.buildProtocol(None), StringTransport()
    protocol.makeConnection(transport)
    return protocol, transport
