"""
The accounts of a factory: open connections, ended ones, refusals, bytes.

Each connection is entered once and struck out once.  The sums kept here are
those of connections that are over; an open connection counts in its own record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from typing import Final

from twisted.internet.defer import Deferred, succeed

from twisted_tcpdemo.connection.record import Connection
from twisted_tcpdemo.values.report import CloseReason, Totals

ADDED_AT_ONCE: Final = 2000
"""Connections to add up in one step."""


class Ledger:
    """
    Counts connections, refusals and bytes.

    @ivar open: the open connections, the oldest first; not to be changed by
        others.
    @ivar accepted: how many were entered.
    @ivar closed: how many of them were struck out.
    @ivar refused: how many clients were refused.
    @ivar closedBy: ended connections by their reason.
    @ivar refusedBy: refusals by the name of the rule.
    @ivar crest: the most connections that were open at a time, since L{takeCrest}.
    """

    __slots__ = (
        "_closedBytesRead",
        "_closedBytesWritten",
        "_emptyWaiters",
        "_peak",
        "accepted",
        "closed",
        "closedBy",
        "crest",
        "open",
        "refused",
        "refusedBy",
    )

    def __init__(self) -> None:
        self.accepted = 0
        self.closed = 0
        self.refused = 0
        self.closedBy: Counter[CloseReason] = Counter()
        self.refusedBy: Counter[str] = Counter()
        self.open: dict[Connection, None] = {}
        self.crest = self._peak = 0
        self._closedBytesRead = 0
        self._closedBytesWritten = 0
        self._emptyWaiters: list[Deferred[None]] = []

    def enter(self, connection: Connection) -> None:
        """
        Count a connection that was admitted.
        """
        self.open[connection] = None
        self.accepted += 1
        self.crest = max(self.crest, len(self.open))

    def strike(self, connection: Connection) -> None:
        """
        Move a connection that is over from the open ones to the closed ones.
        """
        del self.open[connection]
        assert connection.closeReason is not None
        self.closed += 1
        self.closedBy[connection.closeReason] += 1
        self._closedBytesRead += connection.counts.bytesRead
        self._closedBytesWritten += connection.counts.bytesWritten

    def refuse(self, rule: str) -> None:
        """
        Count a client that was refused.
        """
        self.refused += 1
        self.refusedBy[rule] += 1

    @property
    def peak(self) -> int:
        """
        The most connections that were open at a time, since the start.
        """
        return max(self._peak, self.crest)

    def takeCrest(self) -> int:
        """
        The most connections that were open at a time since the last call, for the one who
        keeps a history.
        """
        crest, self._peak = self.crest, self.peak
        self.crest = len(self.open)
        return crest

    @property
    def bytesRead(self) -> int:
        """
        Bytes that all connections have delivered since the start.
        """
        return self._closedBytesRead + sum(c.counts.bytesRead for c in self.open)

    @property
    def bytesWritten(self) -> int:
        """
        Bytes that all connections have accepted since the start.
        """
        return self._closedBytesWritten + sum(c.counts.bytesWritten for c in self.open)

    def totalling(self) -> Generator[None, None, Totals]:
        """
        Add up all bytes, in steps of less than a millisecond.  The sums never fall from
        one call to the next: a connection that ends meanwhile still has its counts, and
        one that begins is left for the next time.
        """
        read, written, pending = self._closedBytesRead, self._closedBytesWritten, 0
        for number, connection in enumerate(list(self.open), 1):
            counts = connection.counts
            read += counts.bytesRead
            written += counts.bytesWritten
            pending += counts.bytesPending if connection.closeReason is None else 0
            if number % ADDED_AT_ONCE == 0:
                yield
        return Totals(read, written, pending)

    def whenEmpty(self) -> Deferred[None]:
        """
        Wait until no connection is open, and observers and policy know of the
        last one.
        """
        if not self.open:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._emptyWaiters.append(waiter)
        return waiter

    def tellEmpty(self) -> None:
        """
        Fire what L{whenEmpty} has returned, if no connection is open.
        """
        if not self.open:
            waiters, self._emptyWaiters = self._emptyWaiters, []
            for waiter in waiters:
                waiter.callback(None)
