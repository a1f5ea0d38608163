"""
Listeners that accompany a server, such as the one that controls it: they start
with it, and stop only when it has come to rest.  A server that drains can still
be watched, and hurried.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure

from twisted_tcpdemo.service.startup import cannotListen, giveUp
from twisted_tcpdemo.values.addresses import endpointOf

_log = Logger(namespace="tcpdemo")

MAX_VISITORS = 64
"""Connections that a companion has at a time: it must not use up the
descriptors of the server that it accompanies."""


PATIENCE = 1.0
"""Seconds that they have to read the rest when the companion stops."""


class Visitors(WrappingFactory):
    """
    A factory whose connections are limited, and end when it says so.

    A connection over the limit is broken off at once.
    """

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """
        Build a protocol, if there is room.

        Returning L{None} where there is none would put a traceback into the log
        under TLS (twisted #6640).
        """
        return super().buildProtocol(addr) if len(self.protocols) < MAX_VISITORS else _Unwelcome()

    _gone: Deferred[None] | None = None

    def unregisterProtocol(self, p: ProtocolWrapper) -> None:
        """
        One has gone.
        """
        super().unregisterProtocol(p)
        if self._gone is not None and not self.protocols:
            gone, self._gone = self._gone, None
            gone.callback(None)

    def dismiss(self, clock: IReactorTime) -> Deferred[None]:
        """
        End all of them, and wait until they are gone.

        Not in this turn: it may be one of them that has asked for the end, and
        waits for the answer.
        """
        if not self.protocols:
            return succeed(None)
        self._gone = gone = Deferred[None]()
        calls = [
            clock.callLater(0, self._end, "lose"),
            clock.callLater(PATIENCE, self._end, "abort"),
        ]

        def ended(_: None) -> None:
            for call in calls:
                if call.active():
                    call.cancel()

        return gone.addCallback(ended)

    def _end(self, how: str) -> None:
        for visitor in list(self.protocols):
            getattr(visitor, f"{how}Connection")()


class _Unwelcome(Protocol):
    """
    A connection for which there is no room.
    """

    transport: Any

    def connectionMade(self) -> None:
        """
        Break it off.
        """
        self.transport.abortConnection()


class Companion(Service):
    """
    Listens on one endpoint as long as it runs.
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
        self._visitors = Visitors(factory)
        self._clock = clock
        self._privileged = privileged
        self._listening: Deferred[Any] | None = None
        self._port: IListeningPort | None = None

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
        if self._listening is not None:
            return
        failures: list[Failure] = []
        listening: Deferred[Any] = maybeDeferred(self._endpoint.listen, self._visitors)
        self._listening = listening.addCallbacks(self._opened, failures.append)
        if failures:
            giveUp(cannotListen(f"{self._where} for {self._purpose}", failures[0]))
        # An endpoint that takes its time may fail when the reactor runs.  The
        # server has clients by then, and goes on without its companion.
        listening.addCallback(lambda _: self._failed(failures))

    def _opened(self, port: IListeningPort) -> None:
        self._port = port
        where = endpointOf(port.getHost())
        _log.info("{purpose} on {where}", purpose=self._purpose, where=str(where))

    def _failed(self, failures: list[Failure]) -> None:
        if failures and self._listening is not None:
            where = f"{self._where} for {self._purpose}"
            _log.critical("{message}", message=cannotListen(where, failures[0]))

    def stopService(self) -> Deferred[None]:
        """
        Stop listening, and end what is connected.
        """
        super().stopService()
        listening, self._listening = self._listening, None
        if listening is None:
            return succeed(None)
        return Deferred.fromCoroutine(self._stop(listening))

    async def _stop(self, listening: Deferred[Any]) -> None:
        listening.cancel()
        await listening
        port, self._port = self._port, None
        stopping: Any = maybeDeferred(port.stopListening) if port is not None else succeed(None)
        await gatherResults([stopping, self._visitors.dismiss(self._clock)])


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
