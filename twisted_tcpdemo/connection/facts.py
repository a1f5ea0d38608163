"""
The facts of a connection: addresses, counts, times, and why it ended.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IAddress, IReactorTime

from twisted_tcpdemo.transports.counts import Counts
from twisted_tcpdemo.transports.layers import descriptorOf, isReading
from twisted_tcpdemo.transports.tcpinfo import roundTripTimeOf, tcpInfoOf
from twisted_tcpdemo.values.readiness import isReadable
from twisted_tcpdemo.values.report import CloseReason, ConnectionReport, TCPInfo
from twisted_tcpdemo.values.sendqueue import queuedBytes


class Facts:
    """
    The facts of one connection.  They stay readable when it is over.  L{Connection
    <twisted_tcpdemo.connection.record.Connection>}, which is made for each client, sets
    all of them in its own constructor.

    @ivar connectionID: a number, unique in the process, never reused.
    @ivar transport: the topmost transport, the one that the protocol has.
    @ivar counts: the transport, if it counts, else the L{Meter
        <twisted_tcpdemo.transports.meter.Meter>} in front of it; once the
        connection is over, the L{FinalCounts
        <twisted_tcpdemo.transports.counts.FinalCounts>}.
    @ivar openedAt: seconds of the clock; so are C{closingAt}, when this side
        began to close, and C{closedAt}; L{None} as long as that has not
        happened.
    @ivar closeReason: L{None} while the connection is open.
    """

    __slots__ = (
        "__weakref__",
        "_clock",
        "_host",
        "_identified",
        "_peer",
        "_tcpInfo",
        "closeReason",
        "closedAt",
        "closingAt",
        "connectionID",
        "counts",
        "openedAt",
        "transport",
    )

    connectionID: int
    transport: Any
    counts: Counts
    openedAt: float
    closingAt: float | None
    closedAt: float | None
    closeReason: CloseReason | None

    _clock: IReactorTime
    _host: IAddress | None
    _peer: IAddress | None
    _identified: bool
    _tcpInfo: TCPInfo | None

    @property
    def host(self) -> IAddress:
        """
        This side's address.
        """
        self._identify()
        if self._host is None:
            self._host = self.transport.getHost()
        return self._host

    @property
    def peer(self) -> IAddress:
        """
        The other side's address.
        """
        self._identify()
        if self._peer is None:
            self._peer = self.transport.getPeer()
        return self._peer

    def _identify(self) -> None:
        """
        Behind a PROXY header the addresses are known only once it has come,
        which is before the first byte (twisted #12501).
        """
        if self._identified or not self.counts.bytesRead:
            return
        self._identified = True
        # After the loss the PROXY layer still knows the addresses.  Other
        # wrappers ask a socket that is gone, and have nothing new to tell.
        with suppress(AttributeError, OSError):
            self._host, self._peer = self.transport.getHost(), self.transport.getPeer()

    @property
    def proxied(self) -> Any:
        """
        The PROXY header, if the transport has read one; L{None} otherwise.
        """
        return getattr(self.transport, "proxied", None)

    @property
    def age(self) -> float:
        """
        Seconds since it was made; once it is over, its duration.
        """
        return max(0.0, self._until() - self.openedAt)  # a clock may be set back

    @property
    def idle(self) -> float:
        """
        Seconds since a byte last moved.
        """
        return max(0.0, self._until() - self.counts.lastActivity)

    def _until(self) -> float:
        return self._clock.seconds() if self.closedAt is None else self.closedAt

    @property
    def queued(self) -> int:
        """
        Bytes that the kernel has taken and the peer has not.
        """
        return queuedBytes(descriptorOf(self.transport)) or 0

    @property
    def roundTripTime(self) -> float | None:
        """
        Seconds that a segment takes to the peer and back, as the kernel estimates; L{None}
        where it has no estimate.
        """
        return roundTripTimeOf(self.transport) if self.closeReason is None else None

    @property
    def hasInput(self) -> bool:
        """
        Whether bytes of the peer, or its FIN, wait for a transport that reads.
        """
        return isReadable(descriptorOf(self.transport)) and isReading(self.transport)

    def report(self, asking: bool = True) -> ConnectionReport:
        """
        The facts of this moment.

        @param asking: whether to ask the kernel for its own figures.
        """
        counts = self.counts
        if asking and self.closeReason is None:
            self._tcpInfo = tcpInfoOf(self.transport) or self._tcpInfo
        return ConnectionReport(
            host=self.host,
            peer=self.peer,
            connectionID=self.connectionID,
            bytesRead=counts.bytesRead,
            bytesWritten=counts.bytesWritten,
            bytesPending=counts.bytesPending,
            age=self.age,
            idle=self.idle,
            closeReason=self.closeReason,
            tcpInfo=self._tcpInfo,
        )

    def _askAgain(self) -> None:
        """
        Ask the kernel once more, if it was asked before: one side begins to
        close, and the socket may be gone at the next report.
        """
        if self._tcpInfo is not None:
            self._tcpInfo = tcpInfoOf(self.transport) or self._tcpInfo
