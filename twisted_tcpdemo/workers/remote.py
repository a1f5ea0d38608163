"""
The record of a connection whose socket another process has.

It is a L{Connection} like any other to the ledger, the gate, a drain, the control: it takes
one slot and gives it back once.  What moves and ends it happens in the worker.  So its
counts are those that the worker told last, its budgets are the worker's, and asking it to
end is a message.
"""

from __future__ import annotations

from socket import socket
from typing import Any, Final, Protocol

from twisted.internet.interfaces import IAddress
from zope.interface import implementer

from twisted_tcpdemo.connection.record import Connection, ISlots
from twisted_tcpdemo.fast.proxyheader import Proxied
from twisted_tcpdemo.interfaces import ICountingTransport, ITransportWatcher
from twisted_tcpdemo.shapes import AnyReactor
from twisted_tcpdemo.transports.counts import FinalCounts
from twisted_tcpdemo.values.budgets import Budgets
from twisted_tcpdemo.values.report import CloseReason

NO_BUDGETS: Final = Budgets(closeFlush=None, handshake=None)


class Keeper(Protocol):
    """
    The process that has the socket of a connection, as its record sees it.
    """

    def tell(self, connection: Remote, verb: str, cause: CloseReason | None = None) -> None:
        """
        Have something done to a connection.
        """


@implementer(ICountingTransport)
class RemoteTransport:
    """
    What the parent knows of a transport in a worker.
    """

    __slots__ = (
        *("bytesPending", "bytesRead", "bytesWritten", "lastActivity"),
        *("_host", "_peer", "budgets", "proxied", "reactor", "roundTripTime", "watcher"),
    )

    handshaking = False
    lingering = False

    def __init__(
        self, reactor: AnyReactor, host: IAddress, peer: IAddress, proxied: Proxied | None
    ) -> None:
        self.reactor = reactor
        self.proxied = proxied
        self.budgets = NO_BUDGETS
        self.watcher: ITransportWatcher | None = None
        self.lastActivity = 0.0
        self.roundTripTime: float | None = None
        self._host = host
        self._peer = peer
        self.count(0, 0, 0)

    def count(self, bytesRead: int, bytesWritten: int, bytesPending: int) -> None:
        """
        Take the counts that a worker tells.
        """
        self.bytesRead = bytesRead
        self.bytesWritten = bytesWritten
        self.bytesPending = bytesPending

    def getHost(self) -> IAddress:
        """
        This side's address.
        """
        return self._host

    def getPeer(self) -> IAddress:
        """
        The other side's address.
        """
        return self._peer

    # The bytes pass in the worker.

    def write(self, data: bytes) -> None:
        """
        Do nothing: only the worker writes.
        """

    def writeSequence(self, data: object) -> None:
        """
        Do nothing: only the worker writes.
        """

    def loseConnection(self) -> None:
        """
        Do nothing: its record tells the worker.
        """

    def tellFlushedSoon(self) -> None:
        """
        Do nothing: only the worker writes.
        """


class Remote(Connection):
    """
    The record of a connection in a worker.

    @ivar client: its socket, as long as this process has it.
    @ivar message: what a worker is told of it, beside its number.
    @ivar keeper: the worker that has the socket, or is about to get it.
    @ivar abortedAt: when its abort was asked for, or L{None}.
    @ivar isDraining: whether its protocol is to hear of a drain.
    """

    __slots__ = ("_asked", "abortedAt", "client", "isDraining", "keeper", "message")

    transport: RemoteTransport

    def __init__(
        self, transport: RemoteTransport, slots: ISlots, client: socket, message: list[Any]
    ) -> None:
        super().__init__(None, transport, slots)
        self._budgets = NO_BUDGETS
        self.client: socket | None = client
        self.message = message
        self.keeper: Keeper | None = None
        self.isDraining = False
        self.abortedAt: float | None = None
        self._asked: CloseReason | None = None

    @property
    def isMade(self) -> bool:
        """
        Whether its protocol can be told of anything: the messages keep their order.
        """
        return True

    @property
    def roundTripTime(self) -> float | None:
        """
        What the worker told last, which asks the kernel about a few connections at a time.
        """
        return self.transport.roundTripTime

    def attach(self) -> None:
        """
        Begin to count.
        """
        self.openedAt = self.transport.lastActivity = self._clock.seconds()
        self.counts = self.transport

    def pauseFirst(self, resumeAfter: float | None) -> None:
        """
        Do nothing: the worker pauses it.
        """

    def close(self, cause: CloseReason) -> None:
        """
        Close in order: written bytes are flushed first.
        """
        self._ask("close", cause)

    def closeIdle(self) -> None:
        """
        Close when the worker finds it idle, whose counts are those of the moment.
        """
        self._ask("idle", CloseReason.LOCAL_CLOSE)

    def abort(self, cause: CloseReason) -> None:
        """
        Close at once, and drop pending bytes.
        """
        if self.abortedAt is None:
            self.abortedAt = self._clock.seconds()
        self._ask("abort", cause)

    def drainStarted(self) -> None:
        """
        Tell the protocol that the server is waiting for it; once, whether all of the server
        drains or its worker alone.
        """
        if self.isDraining:
            return
        self.isDraining = True
        if self.keeper is not None:
            self.keeper.tell(self, "drain")

    def _ask(self, verb: str, cause: CloseReason) -> None:
        if self.closeReason is not None:
            return
        if self.keeper is not None:
            self._asked = cause
            self.keeper.tell(self, verb, cause)
        else:
            self.ended(cause)  # it has not left this process

    def giveBack(self, client: socket) -> None:
        """
        Take the socket again: the worker has ended, and has not got it.  If the worker was to
        end the connection, that is done here.
        """
        self.client, self.keeper = client, None
        if self._asked is not None:
            self.ended(self._asked)

    def told(self, read: int, written: int, pending: int, idle: float) -> None:
        """
        Take the counts that the worker tells.
        """
        transport = self.transport
        transport.count(read, written, pending)
        transport.lastActivity = self._clock.seconds() - idle

    def ended(self, reason: CloseReason) -> None:
        """
        Close the accounts: the socket is closed.
        """
        if self.closeReason is not None:
            return
        if self.client is not None:
            self.client.close()
            self.client = None
        transport = self.transport
        self.counts = FinalCounts(
            transport.bytesRead,
            transport.bytesWritten,
            transport.bytesPending,
            transport.lastActivity,
        )
        self.closeReason = reason
        self.closedAt = self._clock.seconds()
        assert self._slots is not None
        self._slots.release(self)
