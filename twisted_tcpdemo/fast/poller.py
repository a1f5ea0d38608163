"""
Readiness for many connections behind one reader of whatever reactor runs.

What Twisted's reactors do for each event (find the selectable, put a logging
context in place, call through three layers) costs more than the event.  Here a
L{Poller} owns an epoll object and is itself I{one} reader of the reactor, for an
epoll descriptor can be polled like any other (epoll(7)).  When it is readable,
it serves its connections directly, and looks again a few times while there is
work.

Facts that shape it:

  - It is level-triggered.  An event that is not served now comes again, so a
    batch can be left at any point, and a stale event costs one system call.
  - EPOLLHUP and EPOLLERR cannot be masked, and stay.  A connection that waits
    for nothing is therefore taken out of the epoll object, or it would spin.
  - A descriptor that somebody closes disappears from the epoll object by
    itself, and its number may come back as another connection's.
  - What a connection has to do when nobody's code is on the stack, most often
    to end, waits in a queue that is served at the end of the batch, or in the
    next turn of the reactor.
  - The poller is a reader only while a connection waits for something: a unit
    test that has closed all of them must find the reactor clean.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Final, Protocol
from weakref import ReferenceType, WeakKeyDictionary, ref

from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.logger import Logger
from twisted.python import context, log
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_tcpdemo.shapes import Reactor

_log = Logger(namespace="tcpdemo")

READ: Final = getattr(select, "EPOLLIN", 1)
WRITE: Final = getattr(select, "EPOLLOUT", 4)

ROUNDS: Final = 16
"""Batches that are served before the reactor has its turn again, if they are
short.  With 4, small messages cost a twentieth more (50 connections)."""

BATCH: Final = 32
"""Connections in a batch: what the kernel has looked at is still in the
processor's cache when it is read (with 512, a fiftieth more)."""

SLICE: Final = 0.01
"""Seconds after which no further batch is begun: timers wait for us."""

_NOBODY: Final[dict[object, object]] = {}
"""The context of what is done for no connection."""

_LOST = Failure(CONNECTION_LOST)
_DONE = Failure(CONNECTION_DONE)


class Polled(Protocol):
    """
    What a L{Poller} serves.

    @ivar reading: whether it wants to read; looked at when there is something.
    @ivar writing: whether it wants to write.
    @ivar descriptor: its number, remembered: it may have been closed.
    @ivar interest: what the epoll object knows of it; only the poller uses it.
    """

    reading: bool
    writing: bool
    descriptor: int
    interest: int

    def doRead(self) -> Exception | None:
        """
        Read once; a result is why it is lost.
        """

    def doWrite(self) -> Exception | None:
        """
        Write once; a result is why it is lost.
        """

    def doSoon(self) -> Exception | None:
        """
        Do what had to wait; a result is why it is lost.
        """

    def readConnectionLost(self, reason: Failure) -> None:
        """
        The peer has ended its side.
        """

    def connectionLost(self, reason: Failure) -> None:
        """
        It is over.
        """

    def logPrefix(self) -> str:
        """
        What its lines in the log begin with.
        """

    def __getitem__(self, key: object) -> dict[str, object]:
        """
        Its logging context, for the stack of L{twisted.python.context}, where
        it stands itself while it is served: so an event costs one store, and a
        context is made only when something logs.

        @raise KeyError: for any other key.
        """


@implementer(IReadDescriptor)
class Poller:
    """
    The connections of one reactor that are served together.

    @ivar now: the reactor's time when the batch that is being served began;
        C{0.0} when none is.
    @ivar logContext: what the reactor's own logging context has for all of
        them.
    """

    def __init__(self, reactor: Reactor) -> None:
        self.now = 0.0
        self.logContext: dict[str, object] = {}
        self._reactor = reactor
        self._epoll = select.epoll()
        # By descriptor, which the kernel keeps low: found in one step, where a
        # dictionary also looks at its key.
        self._connections: list[Polled | None] = []
        self._count = 0
        self._soon: list[Polled] = []
        self._soonCall: IDelayedCall | None = None
        self._depth = 0
        self._active = 0
        self._trigger: object = None

    @property
    def connectionCount(self) -> int:
        """
        How many it serves, whatever they wait for.
        """
        return self._count

    # What connections ask for.

    def add(self, connection: Polled) -> None:
        """
        Serve a connection, which wants to read.

        @raise OSError: if the kernel does not want to watch one more
            (epoll_ctl(2), ENOSPC).
        """
        connections, descriptor = self._connections, connection.descriptor
        self._epoll.register(descriptor, READ)
        if descriptor >= len(connections):
            connections.extend([None] * (descriptor + 1 - len(connections)))
        former = connections[descriptor]
        if former is None:
            self._count += 1
        else:
            # Its descriptor was closed under it, or the number could not be
            # here again.  Nothing will ever happen on it.
            self._active -= bool(former.interest)
            former.interest = 0
            former.descriptor = -1
            self.soon(former)
        connections[descriptor] = connection
        connection.interest = READ
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
            self.watch(connection, 0)
            if not self._count:
                self._rest()
        connection.descriptor = -1

    def _rest(self) -> None:
        """
        Nobody waits for anything: the reactor need not know us, unless to tell
        those who are still there that it stops.
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
        Change what a connection waits for.
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
        except OSError:
            # The descriptor was closed under us, and is gone from there too.
            connection.interest = interest = 0
        self._active += bool(interest) - bool(before)
        if not self._active:
            self._rest()
        elif self._active == 1:
            self._reactor.addReader(self)

    def announce(self) -> None:
        """
        Be a reader, even if we have been one: a test runner takes all readers
        away without a word, and later connections must not suffer from it.
        """
        if self._active:
            self._reactor.addReader(self)

    def soon(self, connection: Polled) -> None:
        """
        Call C{doSoon} when nobody's code is on the stack.
        """
        self._soon.append(connection)
        if not self._depth and self._soonCall is None:
            self._soonCall = self._reactor.callLater(0, self._serveSoon)

    # What the reactor calls.

    def fileno(self) -> int:
        """
        The epoll object's own descriptor.
        """
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """
        The prefix of what no connection logs.
        """
        return "Poller"

    def doRead(self) -> None:
        """
        Serve whoever is ready.
        """
        outer, self.logContext = self.logContext, context.get(log.ILogContext) or {}
        self._depth += 1
        try:
            context.call(_NOBODY, self._serve)
        finally:
            self._depth -= 1
            self.logContext = outer
            if not self._depth:
                self.now = 0.0
                if self._soon and self._soonCall is None:
                    self._soonCall = self._reactor.callLater(0, self._serveSoon)

    def _serveSoon(self) -> None:
        self._soonCall = None
        self.doRead()

    def _serve(self) -> None:
        poll, connections = self._epoll.poll, self._connections
        seconds: Callable[[], float] = self._reactor.seconds
        contexts: list[object] = context.theContextTracker.currentContext().contexts
        top = len(contexts) - 1
        end = 0.0
        for _ in range(ROUNDS):
            events = poll(0, BATCH)
            if not events and not self._soon:
                return
            self.now = now = seconds()
            if not end:
                end = now + SLICE
            elif now > end:
                return
            for descriptor, event in events:
                connection = connections[descriptor]
                if connection is None:
                    continue  # it has ended within this batch
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
        Serve any event but that there is something to read.

        A hang-up is found out by whatever the connection wants to do.  If it
        wants none of it, the kernel is told: not before, since most changes of
        mind are taken back before they matter.
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
        if event != READ and connection.writing:
            why = connection.doWrite()
            if why is not None:
                self._lose(connection, why, False)

    def _serveQueue(self, contexts: list[object], top: int) -> None:
        queue, self._soon = self._soon, []
        for connection in queue:
            contexts[top] = connection
            try:
                why = connection.doSoon()
            except BaseException as error:
                self._failed(connection, error)
            else:
                if why is not None:
                    self._lose(connection, why, False)

    def _failed(self, connection: Polled, error: BaseException) -> None:
        """
        Code of a connection has raised: that connection ends, no other.
        """
        log.err()
        self._lose(connection, error, False)

    def _lose(self, connection: Polled, why: BaseException, reading: bool) -> None:
        try:
            if why is CONNECTION_DONE and reading:
                connection.readConnectionLost(_DONE)
            elif why is CONNECTION_DONE:
                connection.connectionLost(_DONE)
            elif why is CONNECTION_LOST:
                connection.connectionLost(_LOST)
            else:
                connection.connectionLost(Failure(why))
        except BaseException:
            log.err()

    def connectionLost(self, reason: Failure) -> None:
        """
        The reactor has stopped, and disconnects all.
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
    The one poller of a reactor, which lives as long as anybody uses it.
    """
    reference = _pollers.get(reactor)
    poller = None if reference is None else reference()
    if poller is None:
        poller = Poller(reactor)
        _pollers[reactor] = ref(poller)
    return poller
