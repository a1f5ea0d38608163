"""
The watch over the budgets of a connection.

Twisted's own timeouts end in C{loseConnection}, which waits for a peer that may
never read.  Here every budget ends: those that may have caught a live peer
close in order and leave the rest to the close budget; the others reset.

They measure the peer.  What it has taken is what has left the kernel's queue too: the
kernel says that there is room only when a third of its buffer is free, so that for
seconds nothing seems to move while a slow peer reads all the time.  What it has sent is
what waits in the socket too: something may have held the reactor up.

Nothing here does I/O or reads a clock.  The L{deadlines
<twisted_tcpdemo.transports.deadlines.Deadlines>} of the clock visit a
L{BudgetWatch} when one of its budgets may be used up.
"""

from __future__ import annotations

from collections.abc import Callable
from random import random
from typing import Final, Protocol

from twisted_tcpdemo.transports.counts import Counts
from twisted_tcpdemo.transports.deadlines import Deadlines
from twisted_tcpdemo.values.budgets import CLOSE_RATE, Budgets
from twisted_tcpdemo.values.report import CloseReason

GRACE: Final = 5.0
"""Seconds for which bytes that wait to be read keep a budget from ending.  They are read
in the next turn of the reactor, or when those before them have been."""


class Budgeted(Protocol):
    """
    A connection, as its watch sees it.

    @ivar openedAt: seconds of the clock.
    @ivar closingAt: when this side began to close, or L{None}.
    """

    openedAt: float
    closingAt: float | None

    @property
    def counts(self) -> Counts:
        """
        The byte counts.
        """

    @property
    def handshaking(self) -> bool:
        """
        Whether a TLS handshake has begun and not ended.
        """

    @property
    def lingering(self) -> bool:
        """
        Whether the peer has taken all, and the transport waits for its end.
        """

    @property
    def producing(self) -> bool:
        """
        Whether a producer on this side has not finished, and is waited for.
        """

    @property
    def queued(self) -> int:
        """
        Bytes that the kernel has taken and the peer has not.
        """

    @property
    def hasInput(self) -> bool:
        """
        Whether bytes of the peer, or its FIN, wait for a transport that reads.
        """

    def exceeded(self, reason: CloseReason) -> None:
        """
        End the connection, or call the hook: a budget is used up.
        """


class BudgetWatch:
    """
    The budgets of one connection, and how much of them is used up.

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
        "_queued",
        "_queuedWhenIdle",
        "_readingSince",
        "_sampledAt",
        "_servingSince",
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
        self._queued = 0
        self._queuedWhenIdle = 0
        self._servingSince: float | None = None
        self._wasProducing = False
        self._sampledAt: float | None = None

    def stop(self) -> None:
        """
        Watch no more: the connection is over.
        """
        self._connection = None
        self._deadlines.forget(self)

    def hold(self) -> None:
        """
        Stop the budgets that wait for the peer to send: nothing is read.
        """
        self._readingSince = None

    def release(self, now: float) -> None:
        """
        Begin them: the transport reads.  Nothing happens if it did already.
        """
        if self._readingSince is None:
            self._readingSince = now
            self.visit(now)

    def setIdle(self, seconds: float | None, now: float) -> None:
        """
        Replace the idle budget, and begin it anew.
        """
        self.idle = seconds
        self._idleSince = now
        self._told = -1.0
        self.visit(now)

    def beginHandshake(self, now: float) -> None:
        """
        Begin the budget of the handshake, where no other runs yet.
        """
        if self._budgets.handshake is not None:
            self._handshakingSince = now
            self._deadlines.watch(self, now + self._budgets.handshake)

    def visitSoon(self) -> None:
        """
        Look at the budgets soon: something that has one is about to begin.
        """
        self._deadlines.watch(self, 0.0)

    def visit(self, now: float) -> None:
        """
        Act on each budget that is used up, and arrange the next visit.
        """
        connection = self._connection
        if connection is None:
            return
        closing = connection.closingAt is not None
        upcoming = []
        isServing = False
        for reason, rule in _CLOSING_RULES if closing else _OPEN_RULES:
            deadline = rule(self, connection, now)
            if deadline is not None and deadline <= now:
                if reason in _OF_INPUT and self._mustServe(connection, now):
                    isServing = True
                    upcoming.append(now)
                    continue
                if reason is CloseReason.IDLE:
                    self._told = self._lastMoved(connection)
                connection.exceeded(reason)
                # The connection may be over now, or closing, which has arranged
                # its own visit.
                if self._connection is None or closing != (connection.closingAt is not None):
                    return
                deadline = rule(self, connection, now)
            if deadline is not None:
                upcoming.append(deadline)
        if not isServing:
            self._servingSince = None
        if upcoming:
            self._deadlines.watch(self, min(upcoming))

    def _mustServe(self, connection: Budgeted, now: float) -> bool:
        """
        Whether the peer has sent something that has not been read.
        """
        if not connection.hasInput:
            return False
        if self._servingSince is None:
            self._servingSince = now
        return now < self._servingSince + GRACE

    # Each rule returns the time of the next look, a past time when its budget is
    # used up, or None when it does not apply.

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
        last = self._lastMoved(connection)
        if last == self._told:
            return now + self.idle
        before, self._queuedWhenIdle = self._queuedWhenIdle, connection.queued
        if last + self.idle <= now and self._queuedWhenIdle < before:
            # Nothing has left this side, but the peer has taken bytes.
            self._idleSince = last = now
        return last + self.idle

    def _lastMoved(self, connection: Budgeted) -> float:
        return max(connection.counts.lastActivity, self._idleSince)

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
        # at most a quarter of a period late.
        return now + stall / 4

    def _closeFlushEnd(self, connection: Budgeted, now: float) -> float | None:
        period, closingAt = self._budgets.closeFlush, connection.closingAt
        if period is None or closingAt is None or connection.lingering:
            return None  # the transport has a limit for the peer's end
        if self._sampledAt is None or self._sampledAt < closingAt:
            self._sample(connection, closingAt)
        elif self._progress(connection) >= self._share(connection, now):
            self._sample(connection, now)
        assert self._sampledAt is not None
        return self._sampledAt + period

    def _sample(self, connection: Budgeted, now: float) -> None:
        """
        Begin a period: remember how many bytes the peer has taken and owes.
        """
        pending, self._queued = connection.counts.bytesPending, connection.queued
        self._owed = pending + self._queued
        self._taken = connection.counts.bytesWritten - pending
        self._wasProducing = self._mayProduce(connection, now)
        self._sampledAt = now

    def _share(self, connection: Budgeted, now: float) -> int:
        """
        How many bytes the peer of a closing connection has to take in this
        period: no more than it had left at the beginning, if a producer was at
        work then or is now.
        """
        producing = self._wasProducing or self._mayProduce(connection, now)
        return min(CLOSE_RATE, self._owed) if producing else CLOSE_RATE

    def _mayProduce(self, connection: Budgeted, now: float) -> bool:
        """
        Whether a closing connection may be waiting for this side.
        """
        lifetimeEnd = self._lifetimeEnd(connection, now)
        if lifetimeEnd is not None and lifetimeEnd <= now:
            return False
        return connection.producing and not connection.handshaking

    def _progress(self, connection: Budgeted) -> int:
        """
        Bytes that the peer has taken since the last sample.

        The kernel takes bytes when the peer has taken some, and without more of them
        its queue shrinks.  Under TLS only the queue counts ciphertext; so neither is
        subtracted from the other.
        """
        taken = connection.counts.bytesWritten - connection.counts.bytesPending
        return taken - self._taken + max(0, self._queued - connection.queued)


_OF_INPUT: Final = {CloseReason.HANDSHAKE, CloseReason.FIRST_BYTE, CloseReason.IDLE}
"""Budgets that bytes of the peer may keep from ending."""

_Rule = Callable[[BudgetWatch, Budgeted, float], "float | None"]

_OPEN_RULES: tuple[tuple[CloseReason, _Rule], ...] = (
    (CloseReason.HANDSHAKE, BudgetWatch._handshakeEnd),
    (CloseReason.FIRST_BYTE, BudgetWatch._firstByteEnd),
    (CloseReason.LIFETIME, BudgetWatch._lifetimeEnd),
    (CloseReason.IDLE, BudgetWatch._idleEnd),
    (CloseReason.WRITE_STALL, BudgetWatch._writeStallEnd),
)
_CLOSING_RULES: tuple[tuple[CloseReason, _Rule], ...] = (
    # Bytes written before the handshake are sent after it.
    (CloseReason.HANDSHAKE, BudgetWatch._handshakeEnd),
    (CloseReason.CLOSE_FLUSH, BudgetWatch._closeFlushEnd),
)
