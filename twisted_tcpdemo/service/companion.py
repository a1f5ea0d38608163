"""
Listeners that accompany a server, such as the one that controls it: they start
with it, and stop only when it has come to rest.  A server that drains can still
be watched, and hurried.
"""

from __future__ import annotations

from typing import Any

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
from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.service.startup import cannotListen, giveUp
from twisted_tcpdemo.values.addresses import endpointOf
from twisted_tcpdemo.values.report import CloseReason, DrainReport

_log = Logger(namespace="tcpdemo")

MAX_VISITORS = 64
"""Connections that a companion has at a time: it must not use up the
descriptors of the server that it accompanies."""


PATIENCE = 1.0
"""Seconds that they have to read the rest when the companion stops."""


class Visitors(TCPDemoFactory):
    """
    The connections of a companion, counted and limited.

    A connection over the limit is reset at once.  Time budgets are the business
    of what is served; those for a TLS handshake, and for a close that the peer
    does not read, hold here too.
    """

    descriptorReserve = None

    def __init__(self, factory: IProtocolFactory, clock: IReactorTime) -> None:
        """
        @param factory: what serves them.
        @param clock: the reactor.
        """
        super().__init__(
            hosted(factory), maxConnections=MAX_VISITORS, overflow="reset", clock=clock
        )
        self._served = factory

    def logPrefix(self) -> str:
        """
        Name what is served, where Twisted logs that a port has opened.
        """
        return type(self._served).__name__


class Companion(Service):
    """
    Listens on one endpoint as long as it runs.

    Its connections have a limit, L{MAX_VISITORS}, and end when it stops.
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
        @param purpose: what it is for, in a word, for the log.
        @param where: the endpoint as its user calls it.
        @param endpoint: where to listen.
        @param factory: what serves there.
        @param clock: the reactor.
        @param privileged: whether it listens as long as the process may use low
            ports.  Otherwise it does when the process has shed its privileges:
            a UNIX socket has to belong to the user who is to remove it again.
        """
        self._purpose = purpose
        self._where = where
        self._endpoint = endpoint
        self._visitors = Visitors(factory, clock)
        self._clock = clock
        self._privileged = privileged
        self._run: object = None
        self._port: IListeningPort | None = None

    @property
    def visitors(self) -> Visitors:
        """
        Who is connected to it.
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
        Listen, if it is to have the privileges.

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
        listening.addCallbacks(self._opened, failures.append)
        if failures:
            giveUp(cannotListen(f"{self._where} for {self._purpose}", failures[0]))
        # An endpoint that takes its time may fail when the reactor runs.  The
        # server has clients by then, and goes on without its companion.
        listening.addCallback(lambda _: self._failed(failures, run))

    def _opened(self, port: IListeningPort) -> None:
        self._port = port
        where = endpointOf(port.getHost())
        _log.info("{purpose} on {where}", purpose=self._purpose, where=str(where))

    def _failed(self, failures: list[Failure], run: object) -> None:
        if failures and run is self._run:
            where = f"{self._where} for {self._purpose}"
            _log.critical("{message}", message=cannotListen(where, failures[0]))

    def stopService(self) -> Deferred[None]:
        """
        Stop listening, and end what is connected.

        @return: fires when the port is closed and nobody is connected any more.
        """
        super().stopService()
        self._run = self._port = None
        drained = self._visitors.drain(PATIENCE)
        # Not in this turn: one of them may have asked for the end, and waits for
        # the answer.
        ending = self._clock.callLater(0, self._endVisitors)

        def ended(_: DrainReport) -> None:
            if ending.active():
                ending.cancel()

        return drained.addCallback(ended)

    def _endVisitors(self) -> None:
        for visitor in self._visitors.records:
            # An HTTP channel is a producer that never ends: a transport that
            # waits for it would be aborted in the end.
            visitor.transport.unregisterProducer()
            visitor.close(CloseReason.LOCAL_CLOSE)


class Accompanied(MultiService):
    """
    A server and its companions.
    """

    def __init__(self, server: Service, *companions: Service) -> None:
        """
        @param server: what they accompany.
        """
        super().__init__()
        self.server = server
        self.companions = companions
        for service in (server, *companions):
            service.setServiceParent(self)

    def stopService(self) -> Deferred[None]:
        """
        Stop the server; when it is at rest, the others.
        """
        Service.stopService(self)
        stopping: Deferred[Any] = maybeDeferred(self.server.stopService)
        return stopping.addBoth(self._stopped)

    def _stopped(self, result: object) -> Deferred[Any]:
        stops = [maybeDeferred(companion.stopService) for companion in self.companions]
        return gatherResults(stops).addCallback(lambda _: result)
