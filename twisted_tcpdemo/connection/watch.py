"""
Budgets: how long a connection may take, how much it may hold, and when it must
go.

Twisted's own timeouts end in C{loseConnection}, which waits for a peer that may
never read.  Here every budget ends: those that may have caught a live peer
close in order and leave the rest to the close budget; the others reset.

Nothing here does I/O or reads a clock.  A L{BudgetWatch} is visited by the
L{deadlines<twisted_tcpdemo.transports.deadlines.Deadlines>} when one may have come.
"""

from __future__ import annotations

from collections.abc import Callable
from random import random
from typing import Final, Protocol

from twisted_tcpdemo.transports.counts import Counts
from twisted_tcpdemo.transports.deadlines import Deadlines
from twisted_tcpdemo.values.budgets import Budgets
from twisted_tcpdemo.values.report import CloseReason

CLOSE_RATE: Final = 16384
"""Bytes that a peer must take in each period of the close budget for a closing
connection to be given another one: slow is allowed, a drip is not.  Where our
own producer is the slow one, all that was pending will do."""


class Budgeted(Protocol):
    """
    What a watch needs to know of a connection.

    @ivar openedAt: seconds of the clock.
    @ivar closingAt: when this side closed, or L{None}.
    """

    openedAt: float
    closingAt: float | None

    @property
    def counts(self) -> Counts:
        """
        What has been counted of it.
        """

    @property
    def handshaking(self) -> bool:
        """
        Whether a TLS handshake has begun and not ended.
        """

    @property
    def producing(self) -> bool:
        """
        Whether a producer of this side's has not finished, and is waited for.
        """

    def exceeded(self, reason: CloseReason) -> None:
        """
        A budget is used up.
        """


class BudgetWatch:
    """
    The budgets of one connection, and how far they are used up.

    @ivar tick: see L{Watched<twisted_tcpdemo.transports.deadlines.Watched>}.
    @ivar idle: the idle budget in force.
    """

    __slots__ = (
        "_budgets",
        "_connection",
        "_deadlines",
        "_handshakingSince",
        "_idleSince",
        "_lifetime",
        "_owed",
        "_readingSince",
        "_sampledAt",
        "_taken",
        "_told",
        "_wasProducing",
        "idle",
        "tick",
    )

    def __init__(self, connection: Budgeted, budgets: Budgets, deadlines: Deadlines) -> None:
        self.tick = 0
        self.idle = budgets.idle
        self._connection: Budgeted | None = connection
        self._budgets = budgets
        self._deadlines = deadlines
        self._lifetime = (budgets.lifetime or 0) * (1 - budgets.lifetimeJitter * random())
        self._readingSince: float | None = connection.openedAt
        self._handshakingSince: float | None = None
        self._idleSince = 0.0
        self._told = -1.0
        self._taken = 0
        self._owed = 0
        self._wasProducing = False
        self._sampledAt: float | None = None

    def stop(self) -> None:
        """
        The connection is over.
        """
        self._connection = None
        self._deadlines.forget(self)

    def hold(self) -> None:
        """
        Nothing is read, so the peer cannot have begun.
        """
        self._readingSince = None

    def release(self, now: float) -> None:
        """
        From now on, it can.  Nothing happens if it can already.
        """
        if self._readingSince is None:
            self._readingSince = now
            self.visit(now)

    def setIdle(self, seconds: float | None, now: float) -> None:
        """
        Change the idle budget, and begin it anew.
        """
        self.idle = seconds
        self._idleSince = now
        self._told = -1.0
        self.visit(now)

    def visitSoon(self) -> None:
        """
        Something is about to begin that has a budget.
        """
        self._deadlines.watch(self, 0.0)

    def visit(self, now: float) -> None:
        """
        Report each budget that is used up, and arrange for the next visit.
        """
        connection = self._connection
        if connection is None:
            return
        closing = connection.closingAt is not None
        upcoming = []
        for reason, rule in _CLOSING_RULES if closing else _OPEN_RULES:
            deadline = rule(self, connection, now)
            if deadline is not None and deadline <= now:
                connection.exceeded(reason)
                # It may be over now, or closing, which has arranged for its
                # own visit.
                if self._connection is None or closing != (connection.closingAt is not None):
                    return
                deadline = rule(self, connection, now)
            if deadline is not None:
                upcoming.append(deadline)
        if upcoming:
            self._deadlines.watch(self, min(upcoming))

    # Each rule gives the time at which to look again, or a time that is past
    # when its budget is used up, or None when it does not apply.

    def _handshakeEnd(self, connection: Budgeted, now: float) -> float | None:
        held = self._readingSince is None and connection.closingAt is None
        if self._budgets.handshake is None or held or not connection.handshaking:
            self._handshakingSince = None
            return None
        if self._handshakingSince is None:
            self._handshakingSince = now
        return self._handshakingSince + self._budgets.handshake

    def _firstByteEnd(self, connection: Budgeted, now: float) -> float | None:
        firstByte, since = self._budgets.firstByte, self._readingSince
        if firstByte is None or since is None or connection.counts.bytesRead:
            return None
        return since + firstByte

    def _lifetimeEnd(self, connection: Budgeted, now: float) -> float | None:
        if not self._lifetime:
            return None
        return connection.openedAt + self._lifetime

    def _idleEnd(self, connection: Budgeted, now: float) -> float | None:
        if self.idle is None:
            return None
        last = max(connection.counts.lastActivity, self._idleSince)
        if last == self._told:
            return now + self.idle
        if last + self.idle <= now:
            self._told = last
        return last + self.idle

    def _writeStallEnd(self, connection: Budgeted, now: float) -> float | None:
        stall = self._budgets.writeStall
        if stall is None:
            return None
        if not connection.counts.bytesPending:
            self._sampledAt = None
        elif self._sampledAt is None or self._progress(connection):
            self._sample(connection, now)
        elif self._sampledAt + stall <= now:
            return now
        # A stall may begin right after a look: four looks a period notice it
        # within a quarter of one.
        return now + stall / 4

    def _closeFlushEnd(self, connection: Budgeted, now: float) -> float | None:
        period, closingAt = self._budgets.closeFlush, connection.closingAt
        if period is None or closingAt is None:
            return None
        if self._sampledAt is None or self._sampledAt < closingAt:
            self._sample(connection, closingAt)
        elif self._progress(connection) >= self._share(connection, now):
            self._sample(connection, now)
        assert self._sampledAt is not None
        return self._sampledAt + period

    def _sample(self, connection: Budgeted, now: float) -> None:
        """
        Begin a period: remember what the peer has taken, and what it has not.
        """
        self._owed = connection.counts.bytesPending
        self._taken = connection.counts.bytesWritten - self._owed
        self._wasProducing = self._mayProduce(connection, now)
        self._sampledAt = now

    def _share(self, connection: Budgeted, now: float) -> int:
        """
        What the peer of a closing connection has to take in this period.  There
        need not be more, if there was a producer at either end of it.
        """
        producing = self._wasProducing or self._mayProduce(connection, now)
        return min(CLOSE_RATE, self._owed) if producing else CLOSE_RATE

    def _mayProduce(self, connection: Budgeted, now: float) -> bool:
        """
        Whether it is this side that a closing connection may be waiting for.
        """
        lifetimeEnd = self._lifetimeEnd(connection, now)
        if lifetimeEnd is not None and lifetimeEnd <= now:
            return False
        return connection.producing and not connection.handshaking

    def _progress(self, connection: Budgeted) -> int:
        """
        Bytes that the operating system has taken since the last sample.
        """
        taken = connection.counts.bytesWritten - connection.counts.bytesPending
        return taken - self._taken


_Rule = Callable[[BudgetWatch, Budgeted, float], "float | None"]

_OPEN_RULES: tuple[tuple[CloseReason, _Rule], ...] = (
    (CloseReason.HANDSHAKE, BudgetWatch._handshakeEnd),
    (CloseReason.FIRST_BYTE, BudgetWatch._firstByteEnd),
    (CloseReason.LIFETIME, BudgetWatch._lifetimeEnd),
    (CloseReason.IDLE, BudgetWatch._idleEnd),
    (CloseReason.WRITE_STALL, BudgetWatch._writeStallEnd),
)
_CLOSING_RULES: tuple[tuple[CloseReason, _Rule], ...] = (
    # What was written before the handshake is sent after it.
    (CloseReason.HANDSHAKE, BudgetWatch._handshakeEnd),
    (CloseReason.CLOSE_FLUSH, BudgetWatch._closeFlushEnd),
)
