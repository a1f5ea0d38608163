"""
The factory: how many may connect, who is connected, what has been.

A connection takes its slot in C{makeConnection} and gives it back when it is
lost.  Its L{Connection} does that, not its protocol.  A protocol that is built
and never connected takes no slot.

This file is long because it is the whole public surface of a server.  Most of
its methods are a contract and one line that hands on: to L{Capacity} (the limit),
L{Ledger} (the accounts), L{Gate} (the admission policy), L{Listeners} (the ports),
L{Drain} and L{Observers}.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.connection.farewell import Farewell
from twisted_tcpdemo.connection.hosting import HostedFactory, hostFor, isProtocol
from twisted_tcpdemo.connection.protocol import TCPDemoProtocol
from twisted_tcpdemo.connection.record import Connection, ISlots
from twisted_tcpdemo.connection.stream import Handle, handled
from twisted_tcpdemo.interfaces import IAdmissionPolicy, IConnectionObserver, IHandOver
from twisted_tcpdemo.server.capacity import DESCRIPTOR_RESERVE, DESCRIPTORS, Capacity
from twisted_tcpdemo.server.conservation import Conservation
from twisted_tcpdemo.server.drain import Drain
from twisted_tcpdemo.server.gate import Gate
from twisted_tcpdemo.server.held import HeldClients
from twisted_tcpdemo.server.ledger import Ledger
from twisted_tcpdemo.server.listeners import Listeners, endpointFor
from twisted_tcpdemo.server.observers import Observers
from twisted_tcpdemo.server.watermarks import Watermarks
from twisted_tcpdemo.shapes import (
    AdmissionPolicy,
    Clock,
    Connectable,
    ListeningPort,
    Observer,
    Overflow,
    StreamServer,
)
from twisted_tcpdemo.transports.layers import clockOf
from twisted_tcpdemo.transports.socketoptions import (
    KEEP_ALIVE_COUNT,
    KEEP_ALIVE_INTERVAL,
    SocketOptions,
    socketOptionsOf,
)
from twisted_tcpdemo.values.addresses import Endpoint
from twisted_tcpdemo.values.budgets import Budgets
from twisted_tcpdemo.values.checks import flag, nonNegative, wholeOrNone
from twisted_tcpdemo.values.report import (
    DrainProgress,
    DrainReport,
    Refusal,
    ServerReport,
    Totals,
)

F = TypeVar("F", bound="TCPDemoFactory")
Options = ParamSpec("Options")

OVERFLOWS: Final[tuple[Overflow, ...]] = ("refuse", "reset", "wait")
"""What can happen to a client for whom there is no slot."""


@implementer(ISlots)
class TCPDemoFactory(Factory[TCPDemoProtocol]):
    """
    A factory with a limit, counts, totals and events.

    Listen with L{listen}, or hand the factory to any endpoint of Twisted's.  The
    limit and the counts hold in both cases, addresses and events of the listener
    only in the first.

    A subclass with an C{__init__} of its own need not call this one.  Options
    then have their defaults, and can be set as attributes.

    @ivar allowHalfOpen: whether connections outlive the peer's FIN; see
        L{TCPDemoProtocol.allowHalfOpen}.
    @ivar pauseOnConnect: whether connections begin paused, until C{resume()}.
    @ivar resumeAfter: seconds after which a paused connection reads by itself;
        L{None}: never.
    @ivar noDelay: TCP_NODELAY for each connection; on by default, unlike in
        Node's C{net}.
    @ivar keepAlive: SO_KEEPALIVE for each connection.
    @ivar keepAliveInitialDelay: seconds of silence before the first probe;
        C{0}: the system's own.
    @ivar keepAliveInterval: seconds between probes that are not answered; C{0}:
        the system's own.
    @ivar keepAliveCount: the number of such probes after which the peer is taken
        for dead; C{0}: the system's own.
    @ivar refusalMessage: bytes that a refused client is sent before the FIN.
    @ivar budgets: the time budgets of connections made from now on.
    @ivar watermarks: shares of the limit at which observers are told; L{None}:
        none.
    @ivar descriptorLimit: a limit that holds beside L{maxConnections}, so that
        the process does not run out of descriptors.  Each listener that starts
        takes it from the process's own limit; L{None}, as before that: none.
    @ivar descriptorReserve: descriptors kept for all but connections; L{None}:
        no limit by descriptors.
    @ivar handOver: takes its clients into other processes; L{None}: they are served here.
    @ivar leaving: whether it is about to drain.  It accepts clients until then; who asks
        for its health is told to send no more.
    """

    noisy = False
    protocol: Callable[..., TCPDemoProtocol] = TCPDemoProtocol

    allowHalfOpen = False
    pauseOnConnect = False
    resumeAfter: float | None = None
    noDelay = True
    keepAlive = False
    keepAliveInitialDelay: float = 0.0
    keepAliveInterval: float = KEEP_ALIVE_INTERVAL
    keepAliveCount: int = KEEP_ALIVE_COUNT
    refusalMessage = b""
    budgets = Budgets()
    clock: Clock | IReactorTime | None = None
    watermarks: Watermarks | None = None
    descriptorLimit: int | None = None
    descriptorReserve: int | None = DESCRIPTOR_RESERVE
    handOver: IHandOver | None = None
    leaving = False

    _maxConnections: int | None = None
    _overflow: Overflow = "refuse"

    _draining: Drain | None = None

    def __new__(cls: type[F], *args: object, **kwargs: object) -> F:
        """
        Make the parts here and not in C{__init__}.  A subclass may have one that
        does not call this one, as Twisted's own factories have none.
        """
        self = super().__new__(cls)
        self._ledger = Ledger()
        self._observers = Observers()
        self._capacity = Capacity(self, self._ledger.open, self._observers)
        self._listeners = Listeners(self._observers, self._capacity.room)
        self._held = HeldClients(self._capacity, self._placeFreed, self._refused)
        self._gate = Gate()
        self._conservation = Conservation(self._ledger, self._gate)
        if cls.buildProtocol is not TCPDemoFactory.buildProtocol:
            # One that calls super() wants the protocol, not the host of a foreign one.
            vars(self)["buildProtocol"] = partial(self._counting, self.buildProtocol)
        return self

    _ledger: Ledger
    _observers: Observers
    _capacity: Capacity
    _held: HeldClients
    _listeners: Listeners
    _gate: Gate
    _conservation: Conservation

    def __setattr__(self, name: str, value: object) -> None:
        """
        Count the connections of a C{buildProtocol} that replaces this one.
        """
        if name == "buildProtocol" and callable(value):
            value = partial(self._counting, value)
        super().__setattr__(name, value)

    def __init__(
        self,
        protocol: Callable[..., Connectable | IProtocol] | None = None,
        *,
        maxConnections: int | None = None,
        overflow: Overflow = "refuse",
        refusalMessage: bytes = b"",
        admission: AdmissionPolicy | IAdmissionPolicy | None = None,
        watermarks: Watermarks | None = None,
        allowHalfOpen: bool = False,
        pauseOnConnect: bool = False,
        resumeAfter: float | None = None,
        noDelay: bool = True,
        keepAlive: bool = False,
        keepAliveInitialDelay: float = 0.0,
        keepAliveInterval: float = KEEP_ALIVE_INTERVAL,
        keepAliveCount: int = KEEP_ALIVE_COUNT,
        budgets: Budgets | None = None,
        clock: Clock | IReactorTime | None = None,
    ) -> None:
        """
        @param protocol: a protocol class, or any callable that returns a protocol
            for each client.  One that is no L{TCPDemoProtocol} is hosted; to host
            the protocols of another factory, see L{hosted<twisted_tcpdemo.hosted>}.
        @param maxConnections: see the property.
        @param overflow: see the property.
        @param admission: see the property.
        @param clock: the source of time, in place of the reactor of each
            transport; for tests.
        @raise TypeError: for a value of the wrong type.
        @raise ValueError: for one that is out of range.
        """
        if protocol is None:
            _builder(self.protocol)
        else:
            self.protocol = _builder(protocol)
        self.maxConnections = maxConnections
        self.overflow = overflow
        if not isinstance(refusalMessage, bytes):
            raise TypeError(f"refusalMessage must be bytes, not {refusalMessage!r}")
        self.refusalMessage = refusalMessage
        self.admission = admission
        if not isinstance(watermarks, Watermarks | None):
            raise TypeError(f"watermarks must be Watermarks, not {watermarks!r}")
        self.watermarks = watermarks
        self.allowHalfOpen = flag("allowHalfOpen", allowHalfOpen)
        self.pauseOnConnect = flag("pauseOnConnect", pauseOnConnect)
        self.resumeAfter = nonNegative("resumeAfter", resumeAfter)
        options = SocketOptions(
            noDelay, keepAlive, keepAliveInitialDelay, keepAliveInterval, keepAliveCount
        )
        self.noDelay = options.noDelay
        self.keepAlive = options.keepAlive
        self.keepAliveInitialDelay = options.keepAliveInitialDelay
        self.keepAliveInterval = options.keepAliveInterval
        self.keepAliveCount = options.keepAliveCount
        if budgets is not None:
            if not isinstance(budgets, Budgets):
                raise TypeError(f"budgets must be Budgets, not {budgets!r}")
            self.budgets = budgets
        self.clock = _checkedClock(clock)

    @classmethod
    def forProtocol(
        cls: Callable[Options, F],
        protocol: Callable[..., Connectable | IProtocol],
        *args: Options.args,
        **kwargs: Options.kwargs,
    ) -> F:
        """
        Build a factory of this class for a protocol.

        It is Twisted's, with a type that knows which factory it returns.

        @param protocol: as for C{__init__}, with whose options the rest goes.
        """
        factory = cls(*args, **kwargs)
        factory.protocol = _builder(protocol)
        return factory

    @classmethod
    def forHandler(
        cls: Callable[Options, F], handle: Handle, *args: Options.args, **kwargs: Options.kwargs
    ) -> F:
        """
        Build a factory of this class whose connections a coroutine function handles.

        When it returns, its stream closes in order.  When it raises, that is logged, and
        the connection ends at once with L{CloseReason.ERROR
        <twisted_tcpdemo.values.report.CloseReason.ERROR>}; but an L{EndOfStreamError
        <twisted_tcpdemo.errors.EndOfStreamError>} or L{WriteFailedError
        <twisted_tcpdemo.errors.WriteFailedError>} when the peer, a budget or a drain has
        ended the connection is no fault of its own, and is not logged.  At the deadline of
        a L{drain} it is cancelled.

        @param handle: is called with a L{Stream<twisted_tcpdemo.Stream>} for each
            connection.  It may await Deferreds, and on the asyncio reactor, where it is a
            task, whatever asyncio has.
        @raise TypeError: if it cannot be called.
        """
        factory = cls(*args, **kwargs)
        factory.protocol = handled(handle)
        return factory

    # The limit.

    @property
    def maxConnections(self) -> int | None:
        """
        How many connections may be open at a time: L{None} for no limit, C{0}
        for none.  It may be changed at any time.  Lowering it closes no
        connection; new ones are admitted when enough have ended.

        @raise ValueError: when it is set to a negative number.
        @raise TypeError: when it is set to anything but a number or L{None}.
        """
        return self._maxConnections

    @maxConnections.setter
    def maxConnections(self, limit: int | None) -> None:
        self._maxConnections = wholeOrNone("maxConnections", limit)
        self._adjust()
        self._capacity.changed()

    @property
    def overflow(self) -> Overflow:
        """
        What happens to a client beyond the limit.  C{"refuse"} accepts it, sends
        the C{refusalMessage} if there is one, and then a FIN (Node's C{drop}).
        C{"reset"} sends RST.  C{"wait"} leaves it in the kernel's queue until a
        slot is free; a client that comes past the ports that L{listen} has
        opened is refused instead.

        @raise ValueError: when it is set to anything else.
        """
        return self._overflow

    @overflow.setter
    def overflow(self, overflow: Overflow) -> None:
        if overflow not in OVERFLOWS:
            raise ValueError(f"overflow must be one of {', '.join(OVERFLOWS)}, not {overflow!r}")
        self._overflow = overflow
        self._adjust()

    def _adjust(self) -> None:
        """
        Let in waiting clients if there is room, and then others.
        """
        self._held.retry()
        self._listeners.adjust()

    def placesChanged(self) -> None:
        """
        Ask once more whether clients can come in: what hands them over has become able to
        take some, or unable.
        """
        self._adjust()

    @property
    def heldClients(self) -> HeldClients:
        """
        The account of clients that a port has accepted and not connected yet; see
        L{IHeldClients<twisted_tcpdemo.interfaces.IHeldClients>}.
        """
        return self._held

    @property
    def admission(self) -> AdmissionPolicy | IAdmissionPolicy | None:
        """
        The policy that decides beside the limit, such as an L{Admission
        <twisted_tcpdemo.admission.policy.Admission>}; L{None}: the limit alone.
        It may be changed at any time, which closes no connection; the new
        policy is told of the open ones.

        @raise TypeError: when it is set to what does not provide
            L{IAdmissionPolicy}.
        """
        return self._gate.policy

    @admission.setter
    def admission(self, policy: AdmissionPolicy | IAdmissionPolicy | None) -> None:
        self._gate.install(policy, list(self._ledger.open))

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """
        Build a protocol, or a L{Farewell} when there is no slot.

        A subclass that overrides this need not ask whether there is a slot, and may
        return any protocol: one that is no L{TCPDemoProtocol} is hosted, unless it
        wraps one of this factory.  Observers are told of what this method raises.

        @raise TypeError: if C{protocol} builds anything but a protocol.
        """
        rule = self._capacity.refusing()
        if rule is not None:
            return self._farewell(rule)
        try:
            build = self.protocol
            if not callable(build):
                _builder(build)  # which raises
            built: object = build()
            if isinstance(built, TCPDemoProtocol):
                built.factory = built._countedBy = self
                return built
            if not isProtocol(built):
                raise TypeError(f"{build!r} built {built!r}, which is no protocol")
            return hostFor(built, self)
        except BaseException:
            self._observers.tell("serverError", Failure())
            raise

    def _counting(self, build: Callable[[IAddress | None], object], addr: IAddress | None) -> Any:
        """
        C{buildProtocol} of a program: host what it builds, if that would not be
        counted otherwise.
        """
        built = build(addr)
        return hostFor(built, self) if isProtocol(built) else built

    @property
    def effectiveLimit(self) -> int | None:
        """
        How many connections can be open at a time: the lower of
        L{maxConnections} and L{descriptorLimit}; L{None} if there is neither.
        """
        return self._capacity.effectiveLimit

    def _farewell(self, rule: str) -> Farewell:
        return Farewell(
            partial(self._refused, rule),
            self._capacity.lingering,
            gone=self._placeFreed,
            message=self.refusalMessage,
            reset=self._overflow == "reset",
            linger=self._capacity.hasDescriptors(),
            budgets=self.budgets,
            clock=self.clock,
        )

    def _placeFreed(self) -> None:
        """
        A connection or a lingering refusal has ended; its slot or descriptor is
        free for a waiting client.
        """
        if self._overflow == "wait":
            self._adjust()

    def _refused(self, rule: str, host: IAddress, peer: IAddress, detail: str = "") -> None:
        self._ledger.refuse(rule)
        if self._observers.present:
            self._observers.tell("connectionRefused", Refusal(host, peer, rule, detail))

    def admit(self, connection: Connection) -> bool:
        """
        See L{ISlots}.
        """
        farewell = self.enter(connection)
        if farewell is not None:
            farewell.standInFor(connection.protocol, connection.transport)
        return farewell is None

    def enter(self, connection: Connection) -> Farewell | None:
        """
        Take a slot for a connection, and account for it from now on.

        @return: L{None}, or the protocol of a client that is refused.
        """
        transport = connection.transport
        # The limit once more: the protocol was built while there was room, or
        # past buildProtocol.  The policy is asked here alone, where both addresses
        # are known and every connection that it counts is sure to come back.
        rule = self._capacity.refusing()
        if rule is None and self._gate.policy is not None:
            rule = self._gate.enter(connection, (self.clock or clockOf(transport)).seconds())
            if rule is None:
                rule = self._capacity.refusing()  # the policy may have let others in
                if rule is not None:
                    self._gate.leave(connection)
        if rule is not None:
            return self._farewell(rule)
        self._ledger.enter(connection)
        connection.attach()
        # Most have all of their options from the port.
        if self.keepAlive or getattr(transport, "inheritedNoDelay", None) is not self.noDelay:
            options = socketOptionsOf(
                self.noDelay,
                self.keepAlive,
                self.keepAliveInitialDelay,
                self.keepAliveInterval,
                self.keepAliveCount,
            )
            options.apply(transport)
        if self.pauseOnConnect:
            connection.pauseFirst(self.resumeAfter)
        if self._observers.present:
            self._observers.tell("connectionOpened", connection.report(asking=False))
        if self.watermarks is not None:
            self._capacity.changed()
        return None

    def release(self, connection: Connection) -> None:
        """
        See L{ISlots}.
        """
        if connection not in self._ledger.open:
            return
        self._ledger.strike(connection)
        try:
            self._gate.leave(connection)
            if self._observers.present:
                self._observers.tell("connectionClosed", connection.report())
            self._placeFreed()
            if self.watermarks is not None:
                self._capacity.changed()
        finally:
            # Whatever a port or a policy of the application's does.
            if not self._ledger.open:
                self._ledger.tellEmpty()
            if self._draining is not None:
                self._draining.left(connection)

    @property
    def records(self) -> list[Connection]:
        """
        The records of the open connections, the oldest first.
        """
        return list(self._ledger.open)

    # What is, and what has been.

    @property
    def connectionCount(self) -> int:
        """
        How many connections are open.
        """
        return len(self._ledger.open)

    @property
    def peakCount(self) -> int:
        """
        The most connections that were open at a time, since the start.
        """
        return self._ledger.peak

    def takeCrest(self) -> int:
        """
        The most connections that were open at a time since the last call, for the one who
        keeps a history of the server: the status page.
        """
        return self._ledger.takeCrest()

    def getConnections(self) -> Deferred[int]:
        """
        L{connectionCount} as a Deferred that has fired, as Node's
        C{server.getConnections} has it.
        """
        return succeed(len(self._ledger.open))

    @property
    def connections(self) -> list[TCPDemoProtocol]:
        """
        The protocols of the open connections, the oldest first.
        """
        protocols: list[Any] = [connection.protocol for connection in self._ledger.open]
        return [protocol for protocol in protocols if protocol is not None]

    @property
    def acceptedCount(self) -> int:
        """
        Connections admitted since the start.
        """
        return self._ledger.accepted

    @property
    def refusedCount(self) -> int:
        """
        Connections refused since the start.
        """
        return self._ledger.refused

    @property
    def closedCount(self) -> int:
        """
        Connections that have ended.  At any time,
        C{acceptedCount == connectionCount + closedCount}.
        """
        return self._ledger.closed

    @property
    def bytesRead(self) -> int:
        """
        Bytes that all connections together have delivered since the start.
        """
        return self._ledger.bytesRead

    @property
    def bytesWritten(self) -> int:
        """
        Bytes that all connections together have accepted since the start.
        """
        return self._ledger.bytesWritten

    def totalling(self) -> Generator[None, None, Totals]:
        """
        Add up the bytes of all connections, in steps of less than a millisecond, for
        those that want the sums of a hundred thousand connections and must not hold
        them up.

        @return: the L{Totals<twisted_tcpdemo.values.report.Totals>}, by the generator.
        """
        return self._ledger.totalling()

    def report(self, totals: Totals | None = None) -> ServerReport:
        """
        The counters of this moment, as a value that does not change.

        @param totals: the sums of bytes, if they are known.
        """
        return ServerReport(
            connectionCount=self.connectionCount,
            maxConnections=self._maxConnections,
            acceptedCount=self.acceptedCount,
            refusedCount=self.refusedCount,
            closedCount=self.closedCount,
            bytesRead=self.bytesRead if totals is None else totals.bytesRead,
            bytesWritten=self.bytesWritten if totals is None else totals.bytesWritten,
            refusedBy=dict(self._ledger.refusedBy),
            closedBy=dict(self._ledger.closedBy),
        )

    def conservation(self) -> list[str]:
        """
        Check the accounts; see L{Conservation}.  Each call looks at every open
        connection: it is meant for tests and debugging.

        @return: a sentence for each law that does not hold; empty if all do.
        """
        return self._conservation.violations()

    def addObserver(self, observer: Observer | IConnectionObserver) -> None:
        """
        Tell an observer of every event from now on.

        @raise TypeError: if it does not provide L{IConnectionObserver}.
        """
        self._observers.add(observer)

    def removeObserver(self, observer: Observer | IConnectionObserver) -> None:
        """
        Tell an observer no more.  Nothing happens if it was not told.
        """
        self._observers.remove(observer)

    # Listening.

    def listen(
        self, where: int | str | StreamServer | IStreamServerEndpoint
    ) -> Deferred[ListeningPort]:
        """
        Accept connections; several calls are allowed.

        @param where: a port number, which stands for a L{ServerEndpoint
            <twisted_tcpdemo.ServerEndpoint>} on every address; a string that
            describes an endpoint (see L{serverFromString
            <twisted.internet.endpoints.serverFromString>}), which is put on the fast
            lane; or an endpoint.  The first two use the installed reactor.
        @return: fires with the port when it listens, or with what an endpoint
            gives that only connects, such as C{stdio:}.  It fails with the
            endpoint's error, most often L{CannotListenError
            <twisted.internet.error.CannotListenError>}; observers are told too.
            It fails with L{ListeningStoppedError
            <twisted_tcpdemo.errors.ListeningStoppedError>} if listeners were
            stopped or drained before this one was open; it is closed then.
        @raise TypeError: if C{where} is none of the three.
        @raise ValueError: if the number is out of range, or the string describes
            no endpoint.
        """
        return self._listeners.listen(endpointFor(where), self)

    def doStart(self) -> None:
        """
        A port has opened: take the descriptor limit from the process.
        """
        if isinstance(self.protocol, HostedFactory):
            self.protocol.doStart()  # first: nothing is to be undone if it fails
        super().doStart()
        self._capacity.measureDescriptors()

    def doStop(self) -> None:
        """
        A port has closed: list it no more.
        """
        self._listeners.forgetClosed()
        super().doStop()
        if isinstance(self.protocol, HostedFactory):
            self.protocol.doStop()
        if not self.numPorts:
            self._capacity.forgetReminder()
            DESCRIPTORS.strikeOut()

    def address(self) -> Endpoint | None:
        """
        The address, port and family of the first listener (Node's
        C{server.address()}); L{None} when there is none.
        """
        return next(iter(self.addresses()), None)

    def listenerOf(self, host: IAddress) -> Endpoint | None:
        """
        The listener through which a connection came.

        @param host: the connection's own address.
        @return: the listener on the same port or path, else the first one;
            L{None} when there is none.
        """
        return self._listeners.listenerOf(host)

    def addresses(self) -> list[Endpoint]:
        """
        The address, port and family of every listener.
        """
        return self._listeners.addresses

    @property
    def ports(self) -> list[ListeningPort]:
        """
        The ports it listens on.
        """
        return list(self._listeners)

    @property
    def listening(self) -> bool:
        """
        Whether it listens anywhere, suspended or not.
        """
        return bool(self._listeners)

    def stopListening(self) -> Deferred[None]:
        """
        Close every listener, and leave connections alone.

        @return: fires when all listeners are closed; at once if there was none.
        """
        return self._listeners.stop()

    @property
    def suspended(self) -> bool:
        """
        Whether L{suspend} holds.
        """
        return self._capacity.suspended

    def suspend(self) -> None:
        """
        Stop accepting, and stay bound: the kernel queues clients, up to the
        backlog.  Connections are left alone.
        """
        self._capacity.suspended = True
        self._listeners.adjust()

    def resume(self) -> None:
        """
        Go on accepting, clients in the queue first.
        """
        self._capacity.suspended = False
        self._adjust()

    def whenEmpty(self) -> Deferred[None]:
        """
        Wait until no connection is open.

        @return: a new Deferred each time; it has fired if none is open now.
        """
        return self._ledger.whenEmpty()

    def drain(self, deadline: float | None = None, spread: float = 0.0) -> Deferred[DrainReport]:
        """
        Stop listening and let the connections end; see
        L{twisted_tcpdemo.server.drain}.

        @param deadline: seconds until open connections are aborted; L{None} to
            wait as long as they take, C{0} to abort at once.
        @param spread: seconds over which idle connections are closed, so that
            their clients do not all return together.
        @return: fires when no connection is open any more; if the factory has
            listened again meanwhile, when those of the last drain have ended.  A
            second call may bring the deadline forward, and takes in connections
            made since.
        @raise TypeError: for a time that is no number.
        @raise ValueError: for one that is negative or not finite.
        """
        # Before anything is closed.  C{0} is a deadline, and not none at all.
        nonNegative("deadline", deadline)
        nonNegative("spread", spread)
        draining = self._draining
        if draining is None:
            draining = self._draining = Drain(
                self._listeners, self._ledger, self.clock or clockOf(None)
            )
            draining.until(None, 0.0).addCallback(self._drained)
        draining.gather()
        return draining.until(deadline, spread)

    def _drained(self, _: DrainReport) -> None:
        self._draining = None
        if not self._listeners.open:
            for farewell in list(self._capacity.lingering):
                farewell.end()

    @property
    def draining(self) -> bool:
        """
        Whether a drain is under way: no client is accepted, and open connections
        are waited for.  Listening again ends it for the factory.
        """
        return self._draining is not None and not self._listeners.open

    @property
    def drainProgress(self) -> DrainProgress | None:
        """
        How far the drain under way is; L{None} if the server does not drain.
        """
        return self._draining.progress() if self._draining and self.draining else None

    def close(self) -> Deferred[DrainReport]:
        """
        Stop listening and wait for the connections to end by themselves (Node's
        C{server.close()}).  It may be called before L{listen} and repeatedly.
        """
        return self.drain()


def _builder(protocol: object) -> Any:
    """
    Check what builds the protocols.

    @raise TypeError: if it cannot be called for one.
    """
    if IProtocolFactory.providedBy(protocol):
        raise TypeError(f"protocol is a factory, {protocol!r}; host it: hosted(factory)")
    isClass = isinstance(protocol, type)
    if not callable(protocol) or (isClass and not isProtocol(protocol)):
        raise TypeError(
            "protocol must be a protocol class, or a callable that returns a new protocol for "
            f"each client, not {protocol!r}"
        )
    return protocol


def _checkedClock(clock: Clock | IReactorTime | None) -> Clock | IReactorTime | None:
    """
    Check a source of time.

    @return: its L{steady} clock, if it is a reactor.
    @raise TypeError: if it is none.
    """
    for method in ("seconds", "callLater"):
        if clock is not None and not callable(getattr(clock, method, None)):
            raise TypeError(f"clock must be a reactor or a Clock, not {clock!r}")
    return steady(clock)
