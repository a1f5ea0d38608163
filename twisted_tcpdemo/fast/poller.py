"""
The poller: readiness of many connections behind one reader of the reactor.

Twisted's reactors find the selectable, set a logging context and call through
three layers for each event.  That costs more than the event.  A L{Poller} owns an
epoll object and is itself I{one} reader of the reactor: an epoll descriptor can be
polled like any other (epoll(7)).  When it is readable, the poller serves its
connections directly, and polls again a few times while there is work.

Facts that shape it:

  - The epoll object is level-triggered.  An event that is not served now comes
    again, so a batch can be left at any point.  A stale event costs one system call.
  - EPOLLHUP and EPOLLERR cannot be masked, and stay.  A connection that waits
    for nothing is therefore taken out of the epoll object, or the poller would spin.
  - A closed descriptor disappears from the epoll object by itself, and its number
    may come back for another connection.
  - A connection may have to act outside any application's call, most often to
    end.  It then waits in a queue, which is served at the end of the batch or in
    the next turn of the reactor.
  - A FIN that comes with data is told two turns of the reactor later: an application
    may answer in C{callLater(0, ...)}, or in one more after that, which has to come
    first.  With Twisted's transports the FIN takes one turn, and the close of this
    side another.  The FIN comes again by itself.
  - A client that has just connected cannot end in the same turn of the reactor,
    whatever its protocol asks for: the port at the other end may be in this
    process, and has not accepted it yet.
  - The poller is a reader only while a connection waits for something: a unit
    test that has closed all connections must find the reactor clean.

It is one file: the loop, and the few changes that connections make to it.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from errno import EBADF, ENOENT
from typing import Any, Final, Protocol
from weakref import ReferenceType, WeakKeyDictionary, ref

from twisted.internet.error import ConnectionFdescWentAway
from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.logger import Logger
from twisted.python import context, log
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.nextturn import NextTurn, hasten
from twisted_tcpdemo.shapes import Clock, Reactor

_log = Logger(namespace="tcpdemo")

READ: Final = getattr(select, "EPOLLIN", 1)
WRITE: Final = getattr(select, "EPOLLOUT", 4)

ROUNDS: Final = 16
"""Short batches in one turn of the reactor.  With 4, small messages cost a twentieth
more (50 connections)."""

BATCH: Final = 32
"""Connections in a batch: few enough that the kernel's data of a polled connection
is still in the processor's cache when it is read (with 512, a fiftieth more)."""

SLICE: Final = 0.01
"""Seconds after which no further batch begins: the reactor's timers are waiting."""

_NOBODY: Final[dict[object, object]] = {}
"""The logging context while no connection is being served."""

_GONE: Final = (EBADF, ENOENT)
"""Errors of epoll_ctl(2) for a descriptor that was closed under us: it has left the epoll
object.  After any other the connection would be deaf, and is ended."""

_LOST = Failure(CONNECTION_LOST)
_DONE = Failure(CONNECTION_DONE)


class Polled(Protocol):
    """
    A connection, as its L{Poller} sees it.

    @ivar reading: whether it wants to read.  The poller looks when bytes arrive.
    @ivar writing: whether it wants to write.
    @ivar descriptor: the number of its descriptor, kept when that has been closed.
    @ivar interest: the events that the epoll object reports for it, a sum of
        L{READ} and L{WRITE}.  Only the poller sets it.
    @ivar socket: the socket that has the descriptor.
    @ivar hasWaited: whether the peer's FIN has been held back.  Only the poller sets it.
    @ivar TLS: whether it is encrypted: no event tells of the end of the peer's stream.
    """

    socket: Any
    hasWaited: bool
    TLS: bool
    reading: bool
    writing: bool
    descriptor: int
    interest: int

    @property
    def lastActivity(self) -> float:
        """
        The time when a byte last moved, in seconds of the poller's clock.
        """

    def doRead(self) -> BaseException | None:
        """
        Read; return the reason why the connection is lost, if it is.
        """

    def doWrite(self) -> BaseException | None:
        """
        Write once; return the reason why the connection is lost, if it is.
        """

    def doSoon(self) -> BaseException | None:
        """
        Do the work that had to wait; return the reason why the connection is lost,
        if it is.  See L{Poller.soon}.
        """

    def readConnectionLost(self, reason: Failure) -> None:
        """
        Handle the peer's FIN.
        """

    def connectionLost(self, reason: Failure) -> None:
        """
        End: the connection is lost.
        """

    def logPrefix(self) -> str:
        """
        The prefix of the connection's log lines.
        """

    def __getitem__(self, key: object) -> dict[str, object]:
        """
        The logging context of the connection.  While the connection is served, it
        stands itself in the stack of L{twisted.python.context}: an event costs one
        store, and a context is made only for a log line.

        @raise KeyError: for any other key.
        """


@implementer(IReadDescriptor)
class Poller:
    """
    Serves the connections of one reactor.

    @ivar clock: the reactor's L{steady<twisted_tcpdemo.clock.steady>} clock.
    @ivar seconds: its time.
    @ivar now: the time at the beginning of the present batch; C{0.0} between
        batches.
    @ivar logContext: the reactor's own logging context, for all connections.
    """

    def __init__(self, reactor: Reactor) -> None:
        self.now = 0.0
        self.logContext: dict[str, object] = {}
        self._reactor = reactor
        self.clock: Clock = steady(reactor)
        self.seconds: Callable[[], float] = self.clock.seconds
        self._epoll = select.epoll()
        # Indexed by descriptor; the kernel gives low numbers first.  A list finds a
        # connection in one step, a dictionary also compares keys.
        self._connections: list[Polled | None] = []
        self._count = 0
        self._soon: dict[Polled, None] = {}
        self._failing: dict[Polled, BaseException] = {}
        self._soonCall: NextTurn | None = None
        self._depth = 0
        self._active = 0
        self._began = 0.0
        self._owesTurn = False
        self._early: dict[Polled, int] = {}
        self._earlyCall: IDelayedCall | None = None
        self._trigger: object = None

    @property
    def connectionCount(self) -> int:
        """
        How many connections it serves, waiting for an event or not.
        """
        return self._count

    # What connections ask for.

    def add(self, connection: Polled, interest: int = READ) -> None:
        """
        Serve a connection.

        @param interest: what it waits for.
        @raise OSError: if the kernel watches no more descriptors (epoll_ctl(2),
            ENOSPC).
        """
        connections, descriptor = self._connections, connection.descriptor
        self._epoll.register(descriptor, interest)
        if descriptor >= len(connections):
            connections.extend([None] * (descriptor + 1 - len(connections)))
        former = connections[descriptor]
        if former is None:
            self._count += 1
        else:
            # The number is here again, so the descriptor of the former connection
            # was closed under it.  No event will ever come for that one, and its socket
            # must not act on the newcomer's.
            self._active -= bool(former.interest)
            former.interest = 0
            former.descriptor = -1
            former.socket.detach()
            self._failing[former] = ConnectionFdescWentAway()
            self.soon(former)
        connections[descriptor] = connection
        connection.interest = interest
        self._active += 1
        if self._active == 1:
            self._reactor.addReader(self)

    def remove(self, connection: Polled) -> None:
        """
        Forget a connection, before its socket is closed.
        """
        descriptor = connection.descriptor
        if descriptor >= 0 and self._connections[descriptor] is connection:
            self._connections[descriptor] = None
            self._count -= 1
            if connection.interest:
                self.watch(connection, 0)
            if self._earlyCall is not None:
                self._early.pop(connection, None)
                if not self._early:
                    self._earlyCall.cancel()
                    self._earlyCall = None
            if not self._count:
                self._rest()
        connection.descriptor = -1
        if self._failing:
            self._failing.pop(connection, None)
        if self._soon:
            self._soon.pop(connection, None)
            if not self._depth:
                self._planSoon()

    def _rest(self) -> None:
        """
        Be no reader while no connection waits for an event.  Connections that are
        still open are told by a trigger when the reactor stops.
        """
        self._reactor.removeReader(self)
        if self._count and self._trigger is None:
            self._trigger = self._reactor.addSystemEventTrigger(
                "during", "shutdown", self.connectionLost, _LOST
            )
        elif not self._count and self._trigger is not None:
            trigger, self._trigger = self._trigger, None
            self._reactor.removeSystemEventTrigger(trigger)

    def watch(self, connection: Polled, interest: int) -> None:
        """
        Change the events that a connection waits for.
        """
        before, descriptor = connection.interest, connection.descriptor
        if before == interest or descriptor < 0:
            return
        connection.interest = interest
        try:
            if not interest:
                self._epoll.unregister(descriptor)
            elif before:
                self._epoll.modify(descriptor, interest)
            else:
                self._epoll.register(descriptor, interest)
        except OSError as error:
            if error.errno in _GONE:
                connection.interest = interest = 0
            else:
                # Out of memory, most often: the epoll object reports what it did before.
                connection.interest = interest = before
                self._failing[connection] = error
                self.soon(connection)
        self._active += bool(interest) - bool(before)
        if not self._active:
            self._rest()
        elif self._active == 1:
            self._reactor.addReader(self)

    def announce(self) -> None:
        """
        Be a reader again.  A test runner removes all readers without telling
        them; connections made later must still be served.
        """
        if self._active:
            self._reactor.addReader(self)

    def soon(self, connection: Polled) -> None:
        """
        Call the connection's C{doSoon} outside any application's call.
        """
        self._soon[connection] = None
        if not self._depth:
            self._planSoon()

    def _planSoon(self) -> None:
        """
        Have a call for the next turn as long as anybody waits for it.
        """
        if self._soonCall is None and self._soon:
            self._soonCall = NextTurn(self._reactor, self._serveSoon)
        elif self._soonCall is not None and not self._soon:
            self._soonCall.cancel()
            self._soonCall = None

    def holdBack(self, connection: Polled, turns: int = 1) -> None:
        """
        Let delayed calls that are due, calls from threads, and all else that is ready
        come before anything but the bytes of a connection.

        @param turns: turns of the reactor.
        """
        self._early[connection] = turns
        if self._earlyCall is None:
            self._earlyCall = self._reactor.callLater(0, self._forgetEarly)

    def peerEnded(self, connection: Polled) -> None:
        """
        Tell a connection of the peer's FIN.  If it came with data, delayed calls that are
        due come first.  Then the event comes again; under TLS there is none, and C{doSoon}
        is called.  It waits once: what is written to the connection meanwhile, for others,
        is activity of it too.
        """
        if self._began <= connection.lastActivity <= self.now and not connection.hasWaited:
            connection.hasWaited = True
            self.holdBack(connection, 2)
        if not self._isHeldBack(connection):
            connection.readConnectionLost(_DONE)
        elif connection.TLS:
            self._soon[connection] = None

    # What the reactor calls.

    def fileno(self) -> int:
        """
        The descriptor of the epoll object.
        """
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """
        The prefix of log lines that belong to no connection.
        """
        return "Poller"

    def doRead(self, rounds: int = ROUNDS) -> None:
        """
        Serve the connections that are ready, and those that wait for C{doSoon}.

        @param rounds: the highest number of batches; C{0} for no event, but only the
            connections that wait for C{doSoon}.
        """
        outer, self.logContext = self.logContext, context.get(log.ILogContext) or {}
        contexts: list[object] = context.theContextTracker.currentContext().contexts
        # What context.call() does, without three layers.
        contexts.append(_NOBODY)
        self._depth += 1
        try:
            self._serve(rounds, contexts)
        finally:
            contexts.pop()
            self._depth -= 1
            self.logContext = outer
            if not self._depth:
                self.now = 0.0
                self._planSoon()

    def _serveSoon(self) -> None:
        self._soonCall = None
        # No event comes in a delayed call: others that are due may have to come between
        # it and the one before.  What follows from this comes as an event, too.  An
        # application expects that: the asyncio reactor leaves a delayed call behind if
        # one stops it.
        self.doRead(0)

    def _serve(self, rounds: int, contexts: list[object]) -> None:
        poll, connections = self._epoll.poll, self._connections
        seconds = self.seconds
        top = len(contexts) - 1
        end = 0.0
        self._owesTurn = False
        for _ in range(rounds or 1):
            events = poll(0, BATCH) if rounds else []
            if not events and not self._soon:
                return
            self.now = now = seconds()
            if not end:
                self._began, end = now, now + SLICE
            elif now > end or self._owesTurn:
                return
            for descriptor, event in events:
                connection = connections[descriptor]
                if connection is None:
                    continue  # it ended earlier in this batch
                contexts[top] = connection
                try:
                    if event == READ and connection.reading:
                        why = connection.doRead()
                        if why is not None:
                            self._lose(connection, why, True)
                    else:
                        self._serveOther(connection, event)
                except BaseException as error:
                    self._failed(connection, error)
            if self._soon:
                self._serveQueue(contexts, top)
            contexts[top] = _NOBODY

    def _serveOther(self, connection: Polled, event: int) -> None:
        """
        Serve any event except bytes for a reading connection.

        The next read or write notices a hang-up.  An event that the connection
        does not want any more is taken out of the epoll object here, not earlier:
        most pauses end before an event comes.
        """
        if event != WRITE and connection.reading:
            why = connection.doRead()
            if why is not None:
                self._lose(connection, why, True)
                return
        elif event == READ or not connection.writing:
            wanted = (READ if connection.reading else 0) | (WRITE if connection.writing else 0)
            self.watch(connection, wanted)
            return
        if event != READ and connection.writing and not self._isHeldBack(connection):
            why = connection.doWrite()
            if why is not None:
                self._lose(connection, why, False)

    def _serveQueue(self, contexts: list[object], top: int) -> None:
        queue, self._soon = self._soon, {}
        for connection in queue:
            if self._isHeldBack(connection):
                self._soon[connection] = None
                continue
            contexts[top] = connection
            try:
                why: BaseException | None = self._failing.pop(connection, None)
                if why is None:
                    why = connection.doSoon()
            except BaseException as error:
                self._failed(connection, error)
            else:
                if why is not None:
                    self._lose(connection, why, False)

    def _failed(self, connection: Polled, error: BaseException) -> None:
        """
        End the connection whose code has raised, and no other.
        """
        log.err()
        self._lose(connection, error, False)

    def _lose(self, connection: Polled, why: BaseException, reading: bool) -> None:
        try:
            if why is CONNECTION_DONE and reading:
                self.peerEnded(connection)
            elif why is CONNECTION_DONE:
                connection.connectionLost(_DONE)
            elif why is CONNECTION_LOST:
                connection.connectionLost(_LOST)
            else:
                connection.connectionLost(Failure(why))
        except BaseException:
            log.err()

    def _isHeldBack(self, connection: Polled) -> bool:
        isHeldBack = connection in self._early
        if isHeldBack:
            self._owesTurn = True
            if self._earlyCall is not None:
                # Whoever asks comes again in the next turn: cheaper than a call for sure.
                hasten(self._earlyCall, self._reactor)
        return isHeldBack

    def _forgetEarly(self) -> None:
        self._earlyCall = None
        self._early = {c: turns - 1 for c, turns in self._early.items() if turns > 1}
        if self._early:
            self._earlyCall = self._reactor.callLater(0, self._forgetEarly)

    def connectionLost(self, reason: Failure) -> None:
        """
        End all connections: the reactor has stopped.
        """
        self._trigger = None
        connections = [c for c in self._connections if c is not None]
        log.callWithLogger(self, self._loseAll, connections, reason)

    def _loseAll(self, connections: list[Polled], reason: Failure) -> None:
        for connection in connections:
            log.callWithLogger(connection, connection.connectionLost, reason)


_pollers: WeakKeyDictionary[Reactor, ReferenceType[Poller]] = WeakKeyDictionary()


def pollerOf(reactor: Reactor) -> Poller:
    """
    The one poller of a reactor.  It lives as long as a port or a connection has it.
    """
    reference = _pollers.get(reactor)
    poller = None if reference is None else reference()
    if poller is None:
        poller = Poller(reactor)
        _pollers[reactor] = ref(poller)
    return poller
