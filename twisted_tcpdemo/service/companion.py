"""
Companions of a server: the listeners of its status page and its control.

They start with the server, and stop when it is at rest, so a draining server can
still be watched, and hurried.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_tcpdemo.connection.hosting import hosted
from twisted_tcpdemo.connection.record import Connection
from twisted_tcpdemo.server.capacity import DESCRIPTORS, share
from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.service.startup import cannotListen, giveUp
from twisted_tcpdemo.values.addresses import endpointOf, isLocal
from twisted_tcpdemo.values.report import CloseReason, DrainReport

_log = Logger(namespace="tcpdemo")

MAX_VISITORS = 64
"""The most connections of a companion that may stay: it must not use up the descriptors
of its server."""

NEWCOMERS = 8
"""The most connections beyond that, for a turn of the reactor or two: each is in the
place of a visitor that is sent away.  So a newcomer has some turns to say what it wants
before it can be sent away itself, however many come."""

PATIENCE = 1.0
"""Seconds in which visitors can read the rest when a companion stops."""


class Guest(Protocol):
    """
    What the protocol of a visitor may tell of it.

    @ivar isKnown: whether it has proved that it may ask.  Nobody else can take its place.
    @ivar since: when it last asked for something, or came.
    """

    isKnown: bool
    since: float

    def leave(self) -> None:
        """
        End the connection, after an answer that is under way.
        """


class Visitors(TCPDemoFactory):
    """
    The factory of a companion: it limits the visitors and hosts their protocols.

    When all places are taken, a newcomer gets that of the visitor that has asked for
    nothing for the longest time, unless it is known.  So no number of slow visitors can
    keep others out.  Newcomers that come faster than others can be sent away wait in the
    kernel's queue, in their order.  Only among visitors that are all known is one reset.

    The hosted factory keeps its own time budgets; those for a TLS handshake, and for a
    close that the peer does not read, hold here too.
    """

    descriptorReserve = None

    def __init__(self, factory: IProtocolFactory, clock: IReactorTime) -> None:
        """
        @param factory: builds the protocols that serve them, best each a L{Guest}.
        @param clock: the reactor.
        """
        places = share(MAX_VISITORS + NEWCOMERS)
        super().__init__(hosted(factory), maxConnections=places, overflow="wait", clock=clock)
        self._served = factory
        self._stay = max(1, places - NEWCOMERS)
        self._sentAway: set[Connection] = set()

    def doStart(self) -> None:
        """
        Set descriptors aside for all visitors: the server's clients cannot keep them
        out, nor they the clients.
        """
        super().doStart()
        DESCRIPTORS.setAside(self._capacity, self.maxConnections or 0)

    def doStop(self) -> None:
        """
        Give the descriptors back.
        """
        super().doStop()
        if not self.numPorts:
            DESCRIPTORS.setAside(self._capacity, 0)

    def admit(self, connection: Connection) -> bool:
        """
        Admit a visitor, and send another away if there are too many.
        """
        admitted = super().admit(connection)
        if admitted and self.connectionCount - len(self._sentAway) > self._stay:
            self._sendAway(connection)
            if self.connectionCount == self.maxConnections and not self._sentAway:
                self.overflow = "reset"
        return admitted

    def release(self, connection: Connection) -> None:
        """
        Strike a visitor out.
        """
        self._sentAway.discard(connection)
        super().release(connection)
        if self.overflow != "wait":
            self.overflow = "wait"

    def _sendAway(self, newcomer: Connection) -> None:
        strangers = [
            record
            for record in self.records
            if record not in self._sentAway and record is not newcomer and not _isKnown(record)
        ]
        if strangers:
            longest = min(strangers, key=_since)
            self._sentAway.add(longest)
            longest.abort(CloseReason.ABORTED)

    def logPrefix(self) -> str:
        """
        The name of the hosted factory, for Twisted's line about an open port.
        """
        return type(self._served).__name__


def _guestOf(visitor: Connection) -> Guest | None:
    """
    What the protocol of a visitor tells of it, if that tells anything.
    """
    guest = getattr(visitor.protocol, "inner", None)
    return guest if callable(getattr(guest, "leave", None)) else None


def _isKnown(visitor: Connection) -> bool:
    guest = _guestOf(visitor)
    return guest is not None and guest.isKnown


def _since(visitor: Connection) -> float:
    guest = _guestOf(visitor)
    return visitor.openedAt if guest is None else guest.since


class Companion(Service):
    """
    Listens on one endpoint from start to stop.

    L{Visitors} says how many connections it has.  They end when it stops.
    """

    def __init__(
        self,
        purpose: str,
        where: str,
        endpoint: IStreamServerEndpoint,
        factory: IProtocolFactory,
        clock: IReactorTime,
        *,
        privileged: bool = False,
    ) -> None:
        """
        @param purpose: its purpose in a word, for the log.
        @param where: the endpoint in the words of its user.
        @param endpoint: the endpoint to listen on.
        @param factory: builds the protocols of its visitors.
        @param clock: the reactor.
        @param privileged: whether it listens while the process may use low ports.
            Otherwise it listens when the process has shed its privileges: a UNIX
            socket has to belong to the user that removes it again.
        """
        self._purpose = purpose
        self._where = where
        self._endpoint = endpoint
        self._visitors = Visitors(factory, clock)
        self._clock = clock
        self._privileged = privileged
        self._run: object = None
        self._port: IListeningPort | None = None
        self._refusal = ""

    @property
    def visitors(self) -> Visitors:
        """
        Its factory.
        """
        return self._visitors

    @property
    def port(self) -> IListeningPort | None:
        """
        The port, while it listens.
        """
        return self._port

    def privilegedStartService(self) -> None:
        """
        Listen, if it is privileged.

        @raise StartError: if it cannot.
        """
        super().privilegedStartService()
        if self._privileged:
            self._listen()

    def startService(self) -> None:
        """
        Listen, if it does not yet.

        @raise StartError: if it cannot.
        """
        super().startService()
        self._listen()

    def _listen(self) -> None:
        if self._run is not None:
            return
        self._run = run = object()
        failures: list[Failure] = []
        listening: Deferred[Any] = self._visitors.listen(self._endpoint)
        listening.addCallback(self._opened).addErrback(failures.append)
        if failures:
            giveUp(cannotListen(f"{self._where} for {self._purpose}", failures[0]))
        # An endpoint that takes its time may fail when the reactor runs.  The
        # server has clients by then, and goes on without its companion.
        listening.addCallback(lambda _: self._failed(failures, run))

    def refuseStrangers(self, why: str) -> None:
        """
        Do not listen where other machines can connect.

        @param why: the reason that the start ends with then.
        """
        self._refusal = why

    def _opened(self, port: IListeningPort) -> None:
        where = endpointOf(port.getHost())
        if self._refusal and not isLocal(where):
            self._visitors.drain(0)
            raise ValueError(self._refusal)
        self._port = port
        _log.info("{purpose} on {where}", purpose=self._purpose, where=str(where))

    def _failed(self, failures: list[Failure], run: object) -> None:
        if failures and run is self._run:
            where = f"{self._where} for {self._purpose}"
            _log.critical("{message}", message=cannotListen(where, failures[0]))

    def stopService(self) -> Deferred[None]:
        """
        Stop listening, and end the connections.

        @return: fires when the port is closed and no connection is open.
        """
        super().stopService()
        self._run = self._port = None
        drained = self._visitors.drain(PATIENCE)
        # Not in this turn: the stop may be the request of a visitor, which waits
        # for its answer.
        ending = self._clock.callLater(0, self._endVisitors)

        def ended(_: DrainReport) -> None:
            if ending.active():
                ending.cancel()

        return drained.addCallback(ended)

    def _endVisitors(self) -> None:
        for visitor in self._visitors.records:
            guest = _guestOf(visitor)
            if guest is not None:
                guest.leave()
                continue
            # An HTTP channel is a producer that never ends: the transport would
            # wait for it, and be aborted.
            visitor.transport.unregisterProducer()
            visitor.close(CloseReason.LOCAL_CLOSE)


class Accompanied(MultiService):
    """
    A server and its companions.
    """

    def __init__(self, server: Service, *companions: Service) -> None:
        """
        @param server: the server that they accompany.
        """
        super().__init__()
        self.server = server
        self.companions = companions
        for service in (server, *companions):
            service.setServiceParent(self)

    def stopService(self) -> Deferred[None]:
        """
        Stop the server, and its companions when it is at rest.
        """
        Service.stopService(self)
        stopping: Deferred[Any] = maybeDeferred(self.server.stopService)
        return stopping.addBoth(self._stopped)

    def _stopped(self, result: object) -> Deferred[Any]:
        stops = [maybeDeferred(companion.stopService) for companion in self.companions]
        return gatherResults(stops).addCallback(lambda _: result)
