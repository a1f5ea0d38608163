"""
The record of one connection: its life from the transport to the reason of its end.

A L{Connection} is made when a protocol gets its transport.  It keeps everything
that must stay right whatever a subclass of the protocol does, so none of it
lives in the protocol.  The factory, the ledger and the budgets deal with this
record; the protocol shows it to its author.

It is one file because its parts are short and need one another: each event of the
transport may end the connection, and the end settles writes, budgets and the slot.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IReactorTime, ITransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface, implementer

from twisted_tcpdemo.connection.ending import GRACEFUL, PRESUMED, blame, classify, isProbe
from twisted_tcpdemo.connection.facts import Facts
from twisted_tcpdemo.connection.pause import FirstPause
from twisted_tcpdemo.connection.watch import BudgetWatch
from twisted_tcpdemo.connection.writes import LOW_WATER, PendingWrites, refused
from twisted_tcpdemo.errors import WriteFailedError
from twisted_tcpdemo.interfaces import (
    IConnectionHooks,
    ICountingTransport,
    ITransportWatcher,
)
from twisted_tcpdemo.transports.counts import NOTHING, finalOf
from twisted_tcpdemo.transports.deadlines import deadlinesOf
from twisted_tcpdemo.transports.layers import (
    accepts,
    bottomOf,
    clockOf,
    countsItself,
    deliversTo,
    hasBegunTLS,
    hasLateAddresses,
    isHandshaking,
    layersOf,
)
from twisted_tcpdemo.transports.meter import Meter, watcherOf
from twisted_tcpdemo.transports.watchers import joined, without
from twisted_tcpdemo.values.budgets import DEFAULT_BUDGETS, Budgets
from twisted_tcpdemo.values.report import CloseReason

_log = Logger(namespace="tcpdemo")

AT_ONCE: Final = 64
"""Calls of C{whenWritable()} in a row whose Deferred may have fired already.  The next
one fires in a later turn of the reactor, so that a loop lets the others have theirs."""

_identities = [count(1)]


def identifyFrom(first: int) -> None:
    """
    Give connections their numbers from another one on: a worker has a range of its own.
    """
    _identities[0] = count(first)


class ISlots(Interface):
    """
    What a connection asks of its factory, the keeper of the slots.
    """

    budgets: Budgets = Attribute("The time budgets of its connections.")
    allowHalfOpen: bool = Attribute("Whether a connection outlives the peer's FIN.")
    clock: IReactorTime | None = Attribute("The clock of its connections, or the reactor's.")

    def admit(connection: Connection) -> bool:
        """
        Take a slot for a connection, and account for it from now on.

        @return: C{False} if there is no slot: the client is refused, and the
            protocol must hear nothing of the connection.
        """

    def release(connection: Connection) -> None:
        """
        Give back the slot of a connection that is over.
        """


@implementer(ITransportWatcher)
class Connection(Facts):
    """
    The record of one connection.

    @ivar protocol: the protocol of the connection; L{None} once it is over.
    """

    __slots__ = (
        "_aborting",
        "_atOnce",
        "_budgets",
        "_cause",
        "_pause",
        "_pending",
        "_readEnded",
        "_slots",
        "_watch",
        "_writeEnded",
        "protocol",
    )

    def __init__(
        self,
        protocol: IConnectionHooks | None,
        transport: ITransport,
        slots: ISlots | None = None,
    ) -> None:
        """
        @param slots: the factory that is asked for a slot; L{None} without one,
            as for most clients.
        """
        # All in one place, as each client waits for it.
        clock: IReactorTime | None = None
        self._budgets = DEFAULT_BUDGETS
        if slots is not None:
            self._budgets, clock = slots.budgets, slots.clock
        self._slots = slots
        self._clock = clock or clockOf(transport)
        self.connectionID = next(_identities[0])
        self.protocol: IConnectionHooks | None = protocol
        self.transport = transport
        self.openedAt = 0.0
        self.closingAt = self.closedAt = self.closeReason = None
        self._host = self._peer = self._tcpInfo = None
        if countsItself(transport):
            # It tells the addresses later, too.
            self.counts = self.transport
            self._identified = True
        else:
            self.counts = NOTHING
            self._host, self._peer = transport.getHost(), transport.getPeer()
            self._identified = not hasLateAddresses(transport)
        self._cause: CloseReason | None = None
        self._aborting = self._readEnded = self._writeEnded = False
        self._atOnce = 0
        self._pending: PendingWrites | None = None
        self._watch: BudgetWatch | None = None
        self._pause: FirstPause | None = None

    def __repr__(self) -> str:
        state = self.closeReason.value if self.closeReason else "open"
        return f"<Connection {self.connectionID} {state}>"

    # Its life.

    def attach(self) -> None:
        """
        Begin to count, and to watch the budgets.
        """
        transport = self.transport
        self.openedAt = self._clock.seconds()
        if self.counts is transport:
            self.transport.watcher = joined(self.transport.watcher, self)
            self.transport.budgets = self._budgets
            handshaking = self.transport.handshaking
        else:
            assert self.protocol is not None
            meter = Meter(transport, self, self._clock)
            meter.attach(self.protocol)
            self.counts = meter
            bottom = bottomOf(transport)
            if ICountingTransport.providedBy(bottom):
                bottom.budgets = self._budgets
            handshaking = isHandshaking(transport)
        if self._budgets.fromTheStart:
            self.watch().visit(self.openedAt)
        elif handshaking:
            self.watch().beginHandshake(self.openedAt)

    @property
    def isMade(self) -> bool:
        """
        Whether its protocol has its transport, and can be told of a drain.
        """
        return getattr(self.protocol, "transport", None) is not None

    def handOver(self, protocol: IConnectionHooks, transport: ITransport) -> None:
        """
        Go on with another protocol of the same socket: the slot, the counts and the
        number are the socket's.

        @param transport: the transport of that protocol: the same, or a layer above it,
            as after STARTTLS.
        """
        before, self.protocol = self.protocol, protocol
        counts = self.counts
        if transport is self.transport:
            # A protocol that carries another one still gets all events itself.
            if isinstance(counts, Meter) and not deliversTo(transport, before):
                counts.serve(protocol)
            return
        if isinstance(counts, Meter):
            counts.detach()
        else:
            self.transport.watcher = without(self.transport.watcher, self)
        self.transport = transport
        self.counts = meter = Meter(transport, self, self._clock)
        meter.attach(protocol)
        meter.goOnFrom(counts)

    def fail(self) -> None:
        """
        End a connection that could not be made, and give back what it has taken.
        """
        try:
            self.abort(CloseReason.ERROR)
        finally:
            if self.counts is NOTHING:  # no transport will ever tell the end
                self.transportLost(Failure(ConnectionAborted()))

    def detach(self) -> None:
        """
        Give the protocol its own methods back, for another connection.
        """
        if isinstance(self.counts, Meter):
            self.counts.leave()

    def close(self, cause: CloseReason) -> None:
        """
        Close in order: written bytes are flushed first.
        """
        if self.closeReason is None:
            self._blame(cause)
            self.transport.loseConnection()

    def closeIdle(self) -> None:
        """
        Close in order, as it is idle and the server drains.
        """
        self.close(CloseReason.LOCAL_CLOSE)

    def abort(self, cause: CloseReason) -> None:
        """
        Close at once, and drop pending bytes.
        """
        if self.closeReason is None:
            self._blame(cause)
            getattr(self.transport, "abortConnection", self.transport.loseConnection)()

    def _blame(self, cause: CloseReason) -> None:
        """
        Remember the first cause that ended the connection.
        """
        self._cause = cause if self._cause is None else blame(self._cause, cause)

    # What the transport tells.

    def transportFlushed(self) -> None:
        """
        See L{ITransportWatcher}.
        """
        if self._pending is not None:
            self._pending.settle(self.counts.bytesWritten, self.counts.bytesPending)

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
        Whether nothing can delay the end.  If bytes come to wait all the same,
        the transport calls L{transportWaiting}.
        """
        if self.counts is not self.transport or self.counts.bytesPending:
            return False
        return getattr(self.transport, "producer", None) is None

    def transportAborting(self) -> None:
        """
        See L{ITransportWatcher}.
        """
        self._blame(CloseReason.ABORTED)
        self._aborting = True
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
        if self._budgets.handshake is not None:
            self.watch().visitSoon()

    def transportLost(self, reason: Failure) -> None:
        """
        See L{ITransportWatcher}.
        """
        if self.closeReason is not None:
            return
        counts = self.counts
        self.counts = final = finalOf(counts)
        self.closedAt = self._clock.seconds()
        ended = classify(self._cause, reason, final.bytesPending)
        if self._slots is not None and isProbe(self._cause, ended, final, self.age):
            # A handshake is something that the client has said.
            ended = ended if hasBegunTLS(self.transport) else CloseReason.PROBE
        self.closeReason = ended
        try:
            if self._pause is not None:  # before the meter, over which it has its patch
                self._pause.end()
                self._pause = None
            if isinstance(counts, Meter):
                counts.end()
            elif counts is not NOTHING:
                self.transport.watcher = without(self.transport.watcher, self)
            if self._watch is not None:
                self._watch.stop()
        finally:
            # The accounts first: below runs code of the application.
            if self._slots is not None:
                self._slots.release(self)
            self.protocol = None
            if self._pending is not None:
                error = WriteFailedError(self.closeReason)
                self._pending.end(final.bytesWritten, final.bytesPending, error)

    def transportReadEnded(self, tell: Callable[[], object]) -> bool:
        """
        See L{ITransportWatcher}.
        """
        if self._readEnded or self.closeReason is not None:
            return False
        self._readEnded = True
        self._blame(CloseReason.PEER_CLOSED)
        self._askAgain()
        try:
            tell()
        except BaseException:
            self._blame(CloseReason.ERROR)
            raise
        return self._writeEnded or not self._mayStayHalfOpen()

    def transportWriteEnded(self, tell: Callable[[], object]) -> None:
        """
        See L{ITransportWatcher}.
        """
        if self._writeEnded or self.closeReason is not None:
            return
        self._writeEnded = True
        self._blame(CloseReason.LOCAL_CLOSE)
        try:
            tell()
        except BaseException:
            self._blame(CloseReason.ERROR)
            raise
        finally:
            if self._readEnded:
                self.close(CloseReason.LOCAL_CLOSE)

    def _mayStayHalfOpen(self) -> bool:
        own = None if self.protocol is None else self.protocol.allowHalfOpen
        return own if own is not None else self._slots is not None and self._slots.allowHalfOpen

    # What its protocol asks.

    def write(self, data: bytes) -> Deferred[int]:
        """
        Write, and fire when the operating system has taken the bytes.
        """
        before = self.counts.bytesWritten
        if self.closeReason is None:
            self.transport.write(data)
        written = self.counts.bytesWritten
        if self.closeReason is not None:
            return refused(WriteFailedError(self.closeReason))
        if written - before < len(data):
            if self._isVanishing():
                return self._pendingWrites().whenTaken(written + 1)
            return refused(WriteFailedError(self._ending()))
        if not self.counts.bytesPending:
            return succeed(written)
        return self._pendingWrites().whenTaken(written)

    def whenWritable(self) -> Deferred[None]:
        """
        Fire when few bytes are pending.
        """
        if self.closeReason is not None:
            return refused(WriteFailedError(self.closeReason))
        if self._isVanishing():
            return self._pendingWrites().whenLow()
        # A program that goes on writing after its own close could put the end off for
        # ever: the transport accepts bytes until those before have left.
        if self.closingAt is not None or not accepts(self.transport):
            return refused(WriteFailedError(self._ending()))
        if self.counts.bytesPending > LOW_WATER:
            return self._pendingWrites().whenLow()
        self._atOnce += 1
        if self._atOnce <= AT_ONCE:
            return succeed(None)
        self._atOnce = 0
        self.nextTurn(self.transportFlushed)
        return self._pendingWrites().whenLow()

    def nextTurn(self, call: Callable[[], object]) -> None:
        """
        Call something in the next turn of the reactor.
        """
        self._clock.callLater(0, call)

    def _isVanishing(self) -> bool:
        """
        Whether the transport has lost its connection, and is about to tell why.
        """
        return not (self._aborting or getattr(bottomOf(self.transport), "connected", True))

    def _ending(self) -> CloseReason | None:
        """
        Why the connection is about to end; L{None} if only its write side has ended.
        """
        return self._cause if self.closingAt is not None else None

    def _pendingWrites(self) -> PendingWrites:
        if self._pending is None:
            self._pending = PendingWrites()
        return self._pending

    # Its budgets.

    def watch(self) -> BudgetWatch:
        """
        The watch over its budgets, which begins with the first call.
        """
        if self._watch is None:
            self._watch = BudgetWatch(self, self._budgets, deadlinesOf(self._clock))
        return self._watch

    def pauseFirst(self, resumeAfter: float | None) -> None:
        """
        Read nothing until the transport is resumed.  The budgets for what the
        peer has to send begin then.

        @param resumeAfter: see L{FirstPause}.
        """
        self.watch().hold()
        self._pause = FirstPause(self.transport, self._clock, resumeAfter, self._resumed)

    def _resumed(self) -> None:
        if self.closeReason is None:
            self.watch().release(self._clock.seconds())

    def setTimeout(self, seconds: float | None) -> None:
        """
        Change the idle budget.  It begins with the call, as Node's does, also
        when the budget before has just been used up.
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
    def lingering(self) -> bool:
        """
        Whether the peer has taken all, and the transport waits for its end.
        """
        lingering: bool = getattr(bottomOf(self.transport), "lingering", False)
        return lingering

    @property
    def producing(self) -> bool:
        """
        Whether a producer has not finished, and is waited for.  An application
        that closes knows its producers; a budget that closes waits for none.
        """
        producer = getattr(bottomOf(self.transport), "producer", None)
        return producer is not None and self._cause in PRESUMED

    def exceeded(self, reason: CloseReason) -> None:
        """
        End the connection as a budget demands that is used up.
        """
        if reason is CloseReason.IDLE:
            self._timeoutConnection()
        elif reason in GRACEFUL:
            self.close(reason)
        else:
            self.abort(reason)

    def drainStarted(self) -> None:
        """
        Tell the protocol that the server is waiting for it.
        """
        self._call("drainStarted")

    def _timeoutConnection(self) -> None:
        """
        Call the hook, and blame the timeout if the hook ends the connection.
        """
        cause = self._cause
        self._blame(CloseReason.IDLE)
        self._call("timeoutConnection")
        if self.closingAt is None and self.closeReason is None:
            self._cause = cause

    def _call(self, hook: str) -> None:
        """
        Call a hook that no transport calls.  What it raises is logged, and ends
        the connection.
        """
        try:
            getattr(self.protocol, hook)()
        except BaseException:
            _log.failure("{hook} raised on {connection}", hook=hook, connection=self)
            self._cause = None
            self.abort(CloseReason.ERROR)


def recordOf(transport: ITransport, slots: ISlots | None) -> Connection | None:
    """
    The record of a socket that has been given to another protocol, if that record is to
    go on.

    @param transport: the transport of the new protocol, which may be a layer above.
    @param slots: the factory of the new protocol.  A socket without a slot needs one
        there.
    """
    if getattr(transport, "watcher", NOTHING) is None:
        return None  # most are new, and on the lane
    layers = layersOf(transport)
    for layer in layers:
        record = watcherOf(layer)
        if not isinstance(record, Connection) or record.closeReason is not None:
            continue
        isOther = slots is not None and slots is not record._slots
        if isOther and record._slots is None:
            return None
        # A protocol may also carry others over its own transport, those of another
        # factory among them: then both count.
        isCarried = deliversTo(layer, record.protocol)
        return None if isCarried and (isOther or layer is not transport) else record
    return None
