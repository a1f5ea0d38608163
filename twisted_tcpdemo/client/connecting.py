"""
One call of C{connect()}: attempts, the pauses between them, and the hand-over
to the application's protocol.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
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
from twisted_tcpdemo.connection.farewell import Farewell
from twisted_tcpdemo.connection.protocol import TCPDemoProtocol
from twisted_tcpdemo.errors import ConnectCancelledError, NotConnectedError
from twisted_tcpdemo.shapes import ProtocolFactory
from twisted_tcpdemo.transports.socketoptions import SocketOptions
from twisted_tcpdemo.values.checks import flag

_log = Logger(namespace="tcpdemo")

TRANSIENT = (ConnectError, ConnectionClosed, DNSLookupError)
"""Failures that may be over the next time.  A certificate that is wrong now is
wrong in a second, and so is a protocol that raises."""


@dataclass(frozen=True, slots=True)
class Manner:
    """
    How a connection is to be; see L{ClientEndpoint
    <twisted_tcpdemo.client.endpoint.ClientEndpoint>}.

    @raise TypeError: for a value of the wrong type.
    @raise ValueError: for one that is out of range.
    """

    allowHalfOpen: bool | None
    options: SocketOptions
    readable: bool = True
    writable: bool = True

    def __post_init__(self) -> None:
        if self.allowHalfOpen is not None:
            flag("allowHalfOpen", self.allowHalfOpen)
        flag("readable", self.readable)
        flag("writable", self.writable)
        if not (self.readable or self.writable):
            raise ValueError("a connection that is neither readable nor writable has no use")


class Connecting:
    """
    One call of C{connect()}: attempts, until one succeeds.

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
        manner: Manner,
        timeout: float | None,
        delays: Iterator[float],
    ) -> None:
        """
        @param name: what the log is to call the other side.
        @param delays: seconds to wait after each failure; the failure after the
            last of them is final.
        """
        self.result: Deferred[Any] = Deferred(self._cancel)
        self._factory = factory
        self._endpoint = endpoint
        self._clock = clock
        self._name = name
        self._address = address
        self._manner = manner
        self._timeout = timeout
        self._delays = delays
        self._waiting: IDelayedCall | None = None
        self._cancelled = False
        self._attempt: Attempt | None = None

    def attempt(self) -> None:
        """
        Try, for the first time or again.
        """
        self._waiting = None
        self._attempt = Attempt(self._factory, self._ready, self._failed)
        self._attempt.start(self._endpoint, self._clock, self._timeout)

    def _failed(self, failure: Failure) -> None:
        try:
            delay = next(self._delays, None) if failure.check(*TRANSIENT) else None
        except Exception:  # of the jitter, which is the application's
            delay, failure = None, Failure()
        if delay is None:
            self.result.errback(failure)
            return
        _log.info(
            "cannot connect to {name}: {reason}; trying again in {delay:.1f} s",
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
        self.result.errback(ConnectCancelledError(self._address))

    def _handOver(self, placeholder: Placeholder) -> object:
        """
        Build the application's protocol and connect it.

        @raise NoProtocol: if the factory gives none, or has no slot for it.
        """
        transport, manner = placeholder.transport, self._manner
        manner.options.apply(transport)
        protocol = self._factory.buildProtocol(placeholder.address)  # type: ignore[arg-type]
        if protocol is None:
            raise NoProtocol(f"{self._factory!r} built no protocol")
        behind = _behind(protocol)
        ours = behind if isinstance(behind, TCPDemoProtocol) else None
        refused = isinstance(behind, Farewell)
        if manner.allowHalfOpen is not None and not refused:
            if ours is None:
                raise TypeError(
                    f"allowHalfOpen is for a TCPDemoProtocol, and {behind!r} is none; "
                    "mix it in: class P(YourProtocol, TCPDemoProtocol)"
                )
            ours.allowHalfOpen = manner.allowHalfOpen
        before = None if ours is None else _identity(ours)
        placeholder.giveWay(protocol, behind)
        if refused or (ours is not None and _identity(ours) == before):
            raise NoProtocol(f"{self._factory!r} has no slot")
        if not manner.readable:
            transport.pauseProducing()
            with suppress(OSError):  # the peer may have gone already
                transport.getHandle().shutdown(socket.SHUT_RD)
        if not manner.writable:
            transport.loseWriteConnection()
        return protocol


def _identity(protocol: TCPDemoProtocol) -> int | None:
    """
    The number of its latest connection, or L{None} if it never had one.
    """
    try:
        return protocol.connectionID
    except NotConnectedError:
        return None


def _behind(protocol: object) -> object:
    """
    The protocol that gets the data: the C{ClientService} of Twisted puts a
    proxy before each.
    """
    if isinstance(protocol, TCPDemoProtocol):
        return protocol
    receiver = getattr(getattr(protocol, "dataReceived", None), "__self__", protocol)
    return receiver if IProtocol.providedBy(receiver) else protocol
