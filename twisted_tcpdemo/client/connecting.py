"""
One call of C{connect()}: attempts, the pauses between them, and the hand-over
to the application's protocol.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError, NoProtocol
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocol,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_tcpdemo.client.attempt import Attempt, Placeholder
from twisted_tcpdemo.client.failures import explained
from twisted_tcpdemo.client.halves import Halves
from twisted_tcpdemo.connection.farewell import Farewell
from twisted_tcpdemo.connection.protocol import TCPDemoProtocol
from twisted_tcpdemo.errors import ConnectCancelledError, NotConnectedError
from twisted_tcpdemo.shapes import ProtocolFactory
from twisted_tcpdemo.transports.socketoptions import SocketOptions

_log = Logger(namespace="tcpdemo")

TRANSIENT = (ConnectError, ConnectionClosed, DNSLookupError)
"""Failures that may pass.  A wrong certificate stays wrong, and a protocol that
raises will raise again."""


class Connecting:
    """
    One call of C{connect()}: attempts, until one succeeds or a failure is final.

    @ivar result: fires with the connected protocol.
    """

    def __init__(
        self,
        factory: ProtocolFactory,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        *,
        name: str,
        address: IAddress | None,
        options: SocketOptions,
        halves: Halves,
        timeout: float | None,
        delays: Iterator[float],
    ) -> None:
        """
        @param name: the name of the other side, for the log.
        @param delays: seconds to wait after each failure; the failure after the
            last of them is final.
        """
        self.result: Deferred[Any] = Deferred(self._cancel)
        self._factory = factory
        self._endpoint = endpoint
        self._clock = clock
        self._name = name
        self._address = address
        self._options = options
        self._halves = halves
        self._timeout = timeout
        self._delays = delays
        self._waiting: IDelayedCall | None = None
        self._cancelled = False
        self._attempt: Attempt | None = None

    def attempt(self) -> None:
        """
        Begin the first attempt, or another.
        """
        self._waiting = None
        self._attempt = Attempt(self._factory, self._ready, self._failed)
        self._attempt.start(self._endpoint, self._clock, self._timeout)

    def _failed(self, failure: Failure) -> None:
        failure = explained(failure, self._name, self._address)
        try:
            delay = next(self._delays, None) if failure.check(*TRANSIENT) else None
        except BaseException:  # the jitter is the application's
            delay, failure = None, Failure()
        if delay is None:
            self.result.errback(failure)
            return
        _log.info(
            "{reason}; trying again in {delay:.1f} s",
            name=self._name,
            reason=failure.getErrorMessage(),
            delay=delay,
        )
        self._waiting = self._clock.callLater(delay, self.attempt)

    def _ready(self, placeholder: Placeholder) -> None:
        result: object
        try:
            result = self._handOver(placeholder)
        except BaseException:
            result = Failure()
        if self._cancelled or isinstance(result, Failure):
            placeholder.takeBack()
        if not self._cancelled:
            self.result.callback(result)

    def _cancel(self, _: object) -> None:
        self._cancelled = True
        if self._waiting is not None:
            self._waiting.cancel()
        if self._attempt is not None:
            self._attempt.abandon()
        self.result.errback(ConnectCancelledError(self._address, name=self._name))

    def _handOver(self, placeholder: Placeholder) -> object:
        """
        Build the application's protocol and connect it.

        @raise NoProtocol: if the factory builds no protocol, or has no slot.
        """
        transport = placeholder.transport
        self._options.apply(transport)
        protocol = self._factory.buildProtocol(placeholder.address)  # type: ignore[arg-type]
        if protocol is None:
            raise NoProtocol(f"{self._factory!r} built no protocol")
        behind = _behind(protocol)
        ours = behind if isinstance(behind, TCPDemoProtocol) else None
        refused = isinstance(behind, Farewell)
        if not refused:
            self._halves.prepare(behind)
        before = None if ours is None else _identity(ours)
        placeholder.giveWay(protocol, behind)
        if refused or (ours is not None and _identity(ours) == before):
            raise NoProtocol(f"{self._factory!r} has no slot")
        self._halves.apply(transport)
        return protocol


def _identity(protocol: TCPDemoProtocol) -> int | None:
    """
    The number of a protocol's latest connection, or L{None} before the first.
    """
    try:
        return protocol.connectionID
    except NotConnectedError:
        return None


def _behind(protocol: object) -> object:
    """
    The protocol that gets the data.  Twisted's C{ClientService} puts a proxy before
    each protocol.
    """
    if isinstance(protocol, TCPDemoProtocol):
        return protocol
    receiver = getattr(getattr(protocol, "dataReceived", None), "__self__", protocol)
    return receiver if IProtocol.providedBy(receiver) else protocol
