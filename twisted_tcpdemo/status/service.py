"""
Listening for the status page.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IAddress, IListeningPort, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure

from twisted_tcpdemo.addresses import endpointOf
from twisted_tcpdemo.factory import TCPDemoFactory
from twisted_tcpdemo.service import _cannotListen, giveUp
from twisted_tcpdemo.status.site import StatusSite

_log = Logger(namespace="tcpdemo")

MOST_VIEWERS: Final = 100
"""How many may be connected to the page: its descriptors are the server's."""

GRACE: Final = 1.0
"""Seconds that an answer has to go out when the service stops."""


class Viewers(WrappingFactory):
    """
    Knows who is connected to the page, which Twisted's site does not.
    """

    noisy = False

    def __init__(self, site: StatusSite) -> None:
        super().__init__(site)
        self._waiters: list[Deferred[None]] = []

    def registerProtocol(self, p: ProtocolWrapper) -> None:
        """
        One more; too many are sent away.
        """
        super().registerProtocol(p)
        if len(self.protocols) > MOST_VIEWERS:
            p.abortConnection()

    def unregisterProtocol(self, p: ProtocolWrapper) -> None:
        """
        One has gone.
        """
        super().unregisterProtocol(p)
        if not self.protocols:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                waiter.callback(None)

    def end(self, reactor: Any) -> Deferred[None]:
        """
        Close all, and abort after a moment who does not go.
        """
        if not self.protocols:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        timer = reactor.callLater(GRACE, self._abort)

        def ended(_: None) -> None:
            if timer.active():
                timer.cancel()

        for viewer in list(self.protocols):
            viewer.loseConnection()
        return waiter.addCallback(ended)

    def _abort(self) -> None:
        for viewer in list(self.protocols):
            viewer.abortConnection()


class StatusService(Service):
    """
    Shows the status of a factory on an endpoint, from start to stop.
    """

    def __init__(
        self, factory: TCPDemoFactory, name: str, endpoint: IStreamServerEndpoint, reactor: Any
    ) -> None:
        """
        @param name: what the endpoint is called where it cannot be had.
        """
        self._name = name
        self._endpoint = endpoint
        self._reactor = reactor
        self._viewers = Viewers(StatusSite(factory, reactor))
        self._listening: Deferred[Any] | None = None
        self._port: IListeningPort | None = None

    @property
    def address(self) -> IAddress | None:
        """
        Where it can be seen, or L{None} if it can not.
        """
        return None if self._port is None else self._port.getHost()

    def privilegedStartService(self) -> None:
        """
        Listen, as long as the process may use low ports.

        @raise StartError: if it cannot listen.
        """
        super().privilegedStartService()
        self._listen()

    def startService(self) -> None:
        """
        Listen, if L{privilegedStartService} has not.

        @raise StartError: if it cannot listen.
        """
        super().startService()
        self._listen()

    def _listen(self) -> None:
        if self._listening is not None:
            return
        failures: list[Failure] = []
        listening = maybeDeferred(self._endpoint.listen, self._viewers)
        self._listening = listening.addCallbacks(self._opened, failures.append)
        if failures:
            giveUp(_cannotListen(self._name, failures[0]))
        # An endpoint that takes its time may fail when the reactor runs.  The
        # server has clients by then, and goes on without its page.
        listening.addCallback(lambda _: self._failed(failures))

    def _opened(self, port: IListeningPort) -> None:
        self._port = port
        _log.info("status page on {where}", where=str(endpointOf(port.getHost())))

    def _failed(self, failures: list[Failure]) -> None:
        if failures and self._listening is not None:
            _log.critical("{message}", message=_cannotListen(self._name, failures[0]))

    async def _stop(self, listening: Deferred[Any]) -> None:
        listening.cancel()
        await listening
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
        await self._viewers.end(self._reactor)

    def stopService(self) -> Deferred[None]:
        """
        Stop listening, and close what is connected to the page.
        """
        super().stopService()
        listening, self._listening = self._listening, None
        if listening is None:
            return succeed(None)
        return Deferred.fromCoroutine(self._stop(listening))
