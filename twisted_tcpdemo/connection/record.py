"""
One connection: who it is, what it has carried, how it ends.

A L{Connection} is made when a protocol gets its transport.  It keeps everything
that must stay right whatever a subclass of the protocol does, so none of it
lives in the protocol itself.  The factory's registry and the budgets deal with
this object; the protocol shows it to its author.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, IReactorTime, ITransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface, implementer

from twisted_tcpdemo.connection.watch import BudgetWatch
from twisted_tcpdemo.connection.writes import LOW_WATER, PendingWrites
from twisted_tcpdemo.errors import WriteFailedError
from twisted_tcpdemo.interfaces import IConnectionHooks, ITransportWatcher
from twisted_tcpdemo.transports.counts import NOTHING, Counts, FinalCounts
from twisted_tcpdemo.transports.deadlines import Errand, deadlinesOf
from twisted_tcpdemo.transports.layers import (
    bottomOf,
    clockOf,
    countsItself,
    hasLateAddresses,
    isHandshaking,
)
from twisted_tcpdemo.transports.meter import Meter
from twisted_tcpdemo.transports.patches import Patches
from twisted_tcpdemo.transports.tcpinfo import tcpInfoOf
from twisted_tcpdemo.values.budgets import DEFAULT_BUDGETS, Budgets
from twisted_tcpdemo.values.report import CloseReason, ConnectionReport, TCPInfo

_log = Logger(namespace="tcpdemo")
_identities = count(1)

_PRESUMED = (None, CloseReason.PEER_CLOSED, CloseReason.LOCAL_CLOSE)
"""Causes that only say who began; what really ended the connection counts for
more."""

_TLS_PACKAGES = ("OpenSSL", "service_identity")

_GRACEFUL = (CloseReason.FIRST_BYTE, CloseReason.LIFETIME)
"""Budgets that may have caught a live peer: it gets what was written."""


class ISlots(Interface):
    """
    Who keeps the places of a server: what a connection asks of its factory.
    """

    budgets: Budgets = Attribute("The time budgets of its connections.")
    allowHalfOpen: bool = Attribute("Whether a connection outlives the peer's FIN.")
    clock: IReactorTime | None = Attribute("The clock of its connections, or the reactor's.")

    def admit(connection: Connection) -> bool:
        """
        Take a slot for a connection, and account for it from now on.

        @return: C{False} if there is no slot; then the connection is being sent
            away, and its protocol must hear nothing of it.
        """

    def release(connection: Connection) -> None:
        """
        Give back the slot of a connection, which is over.
        """


@implementer(ITransportWatcher)
class Connection:
    """
    The record of one connection.

    @ivar connectionID: a number, unique in the process, never reused.
    @ivar protocol: whose connection it is; L{None} once it is over.
    @ivar counts: the transport, if it counts, else the L{Meter} in front of
        it; once it is over, the L{FinalCounts}.
    @ivar openedAt: seconds of the clock; so are C{closingAt}, when this side
        closed it, and C{closedAt}; L{None} as long as that has not happened.
    @ivar closeReason: L{None} while the connection is open.
    """

    __slots__ = (
        "__weakref__",
        "_budgets",
        "_cause",
        "_clock",
        "_countsItself",
        "_errand",
        "_host",
        "_identified",
        "_pause",
        "_peer",
        "_readEnded",
        "_slots",
        "_tcpInfo",
        "_waiters",
        "_watch",
        "_writeEnded",
        "closeReason",
        "closedAt",
        "closingAt",
        "connectionID",
        "counts",
        "openedAt",
        "protocol",
        "transport",
    )

    def __init__(
        self,
        protocol: IConnectionHooks,
        transport: ITransport,
        slots: ISlots | None = None,
    ) -> None:
        """
        @param slots: the factory that is asked for a slot; L{None} where nobody
            counts, as for most clients.
        """
        self.connectionID = next(_identities)
        self.protocol: IConnectionHooks | None = protocol
        self.counts: Counts = NOTHING
        self.openedAt = 0.0
        self.closingAt: float | None = None
        self.closedAt: float | None = None
        self.closeReason: CloseReason | None = None
        self.transport: Any = transport
        self._slots = slots
        self._clock: IReactorTime = (slots and slots.clock) or clockOf(transport)
        # A transport that counts can be asked for the addresses later, too.
        self._countsItself = countsItself(transport)
        self._host: IAddress | None = None if self._countsItself else transport.getHost()
        self._peer: IAddress | None = None if self._countsItself else transport.getPeer()
        self._identified = not hasLateAddresses(transport)
        self._budgets = slots.budgets if slots is not None else DEFAULT_BUDGETS
        self._cause: CloseReason | None = None
        self._readEnded = False
        self._writeEnded = False
        self._waiters: PendingWrites | None = None
        self._watch: BudgetWatch | None = None
        self._errand: Errand | None = None
        self._pause: Patches | None = None
        self._tcpInfo: TCPInfo | None = None

    def __repr__(self) -> str:
        state = self.closeReason.value if self.closeReason else "open"
        return f"<Connection {self.connectionID} {state}>"

    # Its life.

    def attach(self) -> None:
        """
        Begin to account.
        """
        protocol, transport = self.protocol, self.transport
        assert protocol is not None
        self.openedAt = self._clock.seconds()
        if self._countsItself:
            self.counts = transport
            transport.watcher = self
        else:
            self.counts = meter = Meter(transport, self, self._clock)
            meter.attach(protocol)
        if self._budgets.fromTheStart or (not self._countsItself and self.handshaking):
            self.watch().visit(self.openedAt)

    def detach(self) -> None:
        """
        Give the protocol back its own methods, for another connection.
        """
        if isinstance(self.counts, Meter):
            self.counts.leave()

    def close(self, cause: CloseReason) -> None:
        """
        Close in order: what was written is flushed first.
        """
        if self.closeReason is None:
            self._blame(cause)
            self.transport.loseConnection()

    def abort(self, cause: CloseReason) -> None:
        """
        Close at once, and drop what is pending.
        """
        if self.closeReason is None:
            self._blame(cause)
            getattr(self.transport, "abortConnection", self.transport.loseConnection)()

    def _blame(self, cause: CloseReason) -> None:
        """
        Remember the first cause that ended the connection.
        """
        if self._cause is None or (self._cause in _PRESUMED and cause not in _PRESUMED):
            self._cause = cause

    # What the transport tells.

    def transportFlushed(self) -> None:
        """
        See L{ITransportWatcher}.
        """
        if self._waiters is not None:
            self._waiters.settle(self.counts.bytesWritten, self.counts.bytesPending)

    def transportWaiting(self) -> None:
        """
        See L{ITransportWatcher}.
        """
        limit = self._budgets.maxPending
        if limit is not None and self.counts.bytesPending > limit:
            self.exceeded(CloseReason.MAX_PENDING)
        if self.closingAt is not None and self.closeReason is None:
            self.watch().visit(self._clock.seconds())

    def transportClosing(self) -> None:
        """
        See L{ITransportWatcher}.
        """
        if self.closingAt is None and self.closeReason is None:
            self._blame(CloseReason.LOCAL_CLOSE)
            self._askAgain()
            self.closingAt = now = self._clock.seconds()
            if not self._endsAtOnce():
                self.watch().visit(now)

    def _endsAtOnce(self) -> bool:
        """
        Whether nothing can delay the end.  If bytes come to wait after all,
        L{transportWaiting} is called.
        """
        if self.counts is not self.transport or self.counts.bytesPending:
            return False
        return getattr(self.transport, "producer", None) is None

    def transportAborting(self) -> None:
        """
        See L{ITransportWatcher}.
        """
        self._blame(CloseReason.ABORTED)
        self._askAgain()
        if self.closingAt is None:
            self.closingAt = self._clock.seconds()

    def deliveryFailed(self) -> None:
        """
        See L{ITransportWatcher}.
        """
        self._blame(CloseReason.ERROR)

    def transportEncrypting(self) -> None:
        """
        See L{ITransportWatcher}.
        """
        protocol, counts = self.protocol, self.counts
        if protocol is not None and not isinstance(counts, Meter):
            self.counts = meter = Meter(self.transport, self, self._clock, counts)
            meter.attach(protocol)
        if self._budgets.handshake is not None:
            self.watch().visitSoon()

    def transportLost(self, reason: Failure) -> None:
        """
        See L{ITransportWatcher}.
        """
        if self.closeReason is not None:
            return
        self.closeReason = self._classify(reason)
        self.closedAt = self._clock.seconds()
        counts = self.counts
        self.counts = FinalCounts(
            counts.bytesRead, counts.bytesWritten, counts.bytesPending, counts.lastActivity
        )
        if isinstance(counts, Meter):
            counts.detach()
        else:
            self.transport.watcher = None
        if self._pause is not None:
            self._pause.remove()
        if self._watch is not None:
            self._watch.stop()
        if self._errand is not None:
            self._errand.cancel()
        # The accounts first: what fires below is the application's code.
        if self._slots is not None:
            self._slots.release(self)
        self.protocol = None
        if self._waiters is not None:
            self._waiters.settle(self.counts.bytesWritten, self.counts.bytesPending)
            self._waiters.fail(WriteFailedError(self.closeReason))

    def _classify(self, reason: Failure) -> CloseReason:
        if self._cause not in _PRESUMED:
            assert self._cause is not None
            return self._cause
        if isinstance(reason.value, ConnectionAborted):
            return CloseReason.ABORTED
        if isinstance(reason.value, ConnectionDone):
            return self._cause or CloseReason.PEER_CLOSED
        if self._cause is CloseReason.PEER_CLOSED and not self.counts.bytesPending:
            # The kernel tells of the end in another way when nobody reads any
            # more; nothing was broken off.
            return CloseReason.PEER_CLOSED
        if isinstance(reason.value, ConnectionLost):
            return CloseReason.RESET
        # pyOpenSSL's errors, and service_identity's about a certificate.
        # Neither is imported here: without TLS they need not be installed.
        origin = type(reason.value).__module__.partition(".")[0]
        return CloseReason.TLS_FAILED if origin in _TLS_PACKAGES else CloseReason.ERROR

    def transportReadEnded(self, tell: Callable[[], object]) -> None:
        """
        See L{ITransportWatcher}.
        """
        if self._readEnded or self.closeReason is not None:
            return
        self._readEnded = True
        self._blame(CloseReason.PEER_CLOSED)
        self._askAgain()
        try:
            self._tell(tell)
        finally:
            if self._writeEnded or not self._mayStayHalfOpen():
                self.close(CloseReason.PEER_CLOSED)

    def transportWriteEnded(self, tell: Callable[[], object]) -> None:
        """
        See L{ITransportWatcher}.
        """
        if self._writeEnded or self.closeReason is not None:
            return
        self._writeEnded = True
        self._blame(CloseReason.LOCAL_CLOSE)
        try:
            self._tell(tell)
        finally:
            if self._readEnded:
                self.close(CloseReason.LOCAL_CLOSE)

    def _tell(self, tell: Callable[[], object]) -> None:
        """
        Call a hook that, if it raises, is why the connection ends.
        """
        try:
            tell()
        except BaseException:
            self._blame(CloseReason.ERROR)
            raise

    def _mayStayHalfOpen(self) -> bool:
        own = None if self.protocol is None else self.protocol.allowHalfOpen
        return own if own is not None else self._slots is not None and self._slots.allowHalfOpen

    # What its protocol asks.

    @property
    def host(self) -> IAddress:
        """
        Our side.
        """
        self._identify()
        if self._host is None:
            self._host = self.transport.getHost()
        return self._host

    @property
    def peer(self) -> IAddress:
        """
        The other side.
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
        # Nobody may have asked before the loss: then the PROXY layer still
        # knows, and other wrappers ask a socket that is gone, and tell nothing
        # new.
        with suppress(AttributeError, OSError):
            self._host, self._peer = self.transport.getHost(), self.transport.getPeer()

    @property
    def age(self) -> float:
        """
        Seconds since it was made; once it is over, how long it lasted.
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

    def report(self, asking: bool = True) -> ConnectionReport:
        """
        All of it, at this moment.

        @param asking: whether the kernel is asked what it knows.
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
        Either side begins to close, and the socket may be gone before anybody
        is told: have the kernel's last word, if it was ever asked for.
        """
        if self._tcpInfo is not None:
            self._tcpInfo = tcpInfoOf(self.transport) or self._tcpInfo

    def write(self, data: bytes) -> Deferred[int]:
        """
        Write, and tell when the operating system has taken it.
        """
        before = self.counts.bytesWritten
        if self.closeReason is None:
            self.transport.write(data)
        written = self.counts.bytesWritten
        if written - before < len(data) or self.closeReason is not None:
            return fail(WriteFailedError(self.closeReason))
        if not self.counts.bytesPending:
            return succeed(written)
        return self._waiting().whenTaken(written)

    def whenWritable(self) -> Deferred[None]:
        """
        Tell when few bytes are pending.
        """
        if self.closeReason is not None:
            return fail(WriteFailedError(self.closeReason))
        if self.counts.bytesPending <= LOW_WATER:
            return succeed(None)
        return self._waiting().whenLow()

    def _waiting(self) -> PendingWrites:
        if self._waiters is None:
            self._waiters = PendingWrites()
        return self._waiters

    # Its budgets.

    def watch(self) -> BudgetWatch:
        """
        The watch over its budgets, which begins with the first call.
        """
        if self._watch is None:
            self._watch = BudgetWatch(self, self._budgets, deadlinesOf(self._clock))
        return self._watch

    def pauseFirst(self) -> None:
        """
        Read nothing until the transport is resumed; what the peer has to do in
        time begins then.
        """
        transport = self.transport
        self._pause = patches = Patches()

        def resumeProducing() -> None:
            patches.remove()
            transport.resumeProducing()
            if self.closeReason is None:
                self.watch().release(self._clock.seconds())

        transport.pauseProducing()
        patches.place(transport, "resumeProducing", resumeProducing)
        self.watch().hold()

    def setTimeout(self, seconds: float | None) -> None:
        """
        Change the idle budget.  It begins with the call, as Node's does, also
        where the one before has just been used up.
        """
        if self.closeReason is None:
            self.watch().setIdle(seconds, self._clock.seconds())

    @property
    def handshaking(self) -> bool:
        """
        Whether a TLS handshake has begun and not ended.
        """
        return isHandshaking(self.transport)

    @property
    def producing(self) -> bool:
        """
        Whether a producer has not finished, and is waited for.  Who closes
        knows his producers, but a budget that does knows of none.
        """
        producer = getattr(bottomOf(self.transport), "producer", None)
        return producer is not None and self._cause in _PRESUMED

    def exceeded(self, reason: CloseReason) -> None:
        """
        A budget is used up.
        """
        if reason is CloseReason.IDLE:
            self._timeoutConnection()
        elif reason in _GRACEFUL:
            self.close(reason)
        else:
            self.abort(reason)

    def drainStarted(self) -> None:
        """
        Tell the protocol that the server is waiting for it.
        """
        self._call("drainStarted")

    def later(self, delay: float, function: Callable[[], object]) -> None:
        """
        Call something after a time, unless the connection has ended by then.
        There is one such call at a time.
        """
        self._errand = Errand(deadlinesOf(self._clock), self._clock.seconds() + delay, function)

    def _timeoutConnection(self) -> None:
        """
        Call the hook, and blame the timeout if it ends the connection.
        """
        cause = self._cause
        self._blame(CloseReason.IDLE)
        self._call("timeoutConnection")
        if self.closingAt is None and self.closeReason is None:
            self._cause = cause

    def _call(self, hook: str) -> None:
        """
        Call a hook that no transport calls, and so nobody else protects.
        """
        try:
            getattr(self.protocol, hook)()
        except Exception:
            _log.failure("{hook} raised on {connection}", hook=hook, connection=self)
            self._cause = None
            self.abort(CloseReason.ERROR)
