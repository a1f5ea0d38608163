"""
Listeners that accompany a server, such as the one that controls it: they start
with it, and stop only when it has come to rest.  A server that drains can still
be watched, and hurried.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
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

from twisted_tcpdemo.service import giveUp

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
    ) -> None:
        """
        @param purpose: what it is for, in a word, for the log.
        @param where: the endpoint as its user calls it.
        @param endpoint: where to listen.
        @param factory: what serves there.
        @param clock: the reactor.
        """
        self._purpose = purpose
        self._where = where
        self._endpoint = endpoint
        self._visitors = Visitors(factory)
        self._clock = clock
        self._port: IListeningPort | None = None

    @property
    def port(self) -> IListeningPort | None:
        """
        The port, while it listens.
        """
        return self._port

    def startService(self) -> None:
        """
        Listen.

        Only now, when the process has shed its privileges: a UNIX socket has
        to belong to the user who is to remove it again.

        @raise StartError: if it cannot.
        """
        super().startService()
        failures: list[Failure] = []
        listening: Deferred[Any] = maybeDeferred(self._endpoint.listen, self._visitors)
        listening.addCallbacks(self._listening, failures.append)
        if failures:
            giveUp(f"cannot listen on {self._where} for {self._purpose}: {_why(failures[0])}")

    def _listening(self, port: IListeningPort) -> None:
        self._port = port
        _log.info("{purpose} on {where}", purpose=self._purpose, where=self._where)

    def stopService(self) -> Deferred[None]:
        """
        Stop listening, and end what is connected.
        """
        super().stopService()
        port, self._port = self._port, None
        stopping: Any = port and port.stopListening()
        return gatherResults(
            [maybeDeferred(lambda: stopping), self._visitors.dismiss(self._clock)]
        ).addCallback(lambda _: None)


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


def _why(failure: Failure) -> str:
    error = failure.value
    if isinstance(error, CannotListenError):
        error = error.socketError
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
