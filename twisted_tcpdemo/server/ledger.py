"""
The accounts of a factory: who is connected, who was, and who was sent away.

Each connection is entered once and struck out once.  The totals are of those
that are over; what is open is counted where it is, in its own record.
"""

from __future__ import annotations

from collections import Counter

from twisted.internet.defer import Deferred, succeed

from twisted_tcpdemo.connection.record import Connection
from twisted_tcpdemo.values.report import CloseReason


class Ledger:
    """
    Connections, refusals and bytes.

    @ivar open: the connections that are connected now, the oldest first; to be
        read only.
    @ivar accepted: connections that were entered.
    @ivar closed: those of them that were struck out.
    @ivar refused: clients that were sent away.
    @ivar closedBy: the ends, by their reason.
    @ivar refusedBy: the refusals, by the name of their rule.
    """

    __slots__ = (
        "_closedBytesRead",
        "_closedBytesWritten",
        "_emptyWaiters",
        "accepted",
        "closed",
        "closedBy",
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
        self._closedBytesRead = 0
        self._closedBytesWritten = 0
        self._emptyWaiters: list[Deferred[None]] = []

    def enter(self, connection: Connection) -> None:
        """
        A connection has been admitted.
        """
        self.open[connection] = None
        self.accepted += 1

    def strike(self, connection: Connection) -> None:
        """
        A connection is over.
        """
        del self.open[connection]
        assert connection.closeReason is not None
        self.closed += 1
        self.closedBy[connection.closeReason] += 1
        self._closedBytesRead += connection.counts.bytesRead
        self._closedBytesWritten += connection.counts.bytesWritten

    def refuse(self, rule: str) -> None:
        """
        A client has been sent away.
        """
        self.refused += 1
        self.refusedBy[rule] += 1

    @property
    def bytesRead(self) -> int:
        """
        Bytes delivered by all.
        """
        return self._closedBytesRead + sum(c.counts.bytesRead for c in self.open)

    @property
    def bytesWritten(self) -> int:
        """
        Bytes accepted by all.
        """
        return self._closedBytesWritten + sum(c.counts.bytesWritten for c in self.open)

    def whenEmpty(self) -> Deferred[None]:
        """
        Wait until nobody is connected and everybody who should know of the last
        one does.
        """
        if not self.open:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._emptyWaiters.append(waiter)
        return waiter

    def tellEmpty(self) -> None:
        """
        Tell those who wait, if nobody is connected.
        """
        if not self.open:
            waiters, self._emptyWaiters = self._emptyWaiters, []
            for waiter in waiters:
                waiter.callback(None)
