"""
A race of the addresses of a server (RFC 8305).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from errno import ECONNREFUSED
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IAddress, IDelayedCall, ITCPTransport
from twisted.python.failure import Failure

from twisted_tcpdemo.client.failures import allFailed, attemptOf, isNetworks
from twisted_tcpdemo.errors import ConnectCancelledError, FailedAttempt
from twisted_tcpdemo.shapes import Clock
from twisted_tcpdemo.values.addresses import IPAddress, endpointOf


def isItself(transport: object) -> bool:
    """
    Whether a TCP connection is connected to itself.

    The kernel takes a port for the client from a range.  A port of this range on
    which nobody listens may be the one that it takes, and then the socket connects
    to itself (RFC 9293, simultaneous open).  It would echo its own bytes, and keep
    the server from its port.
    """
    if not ITCPTransport.providedBy(transport):
        return False
    try:
        host, peer = transport.getHost(), transport.getPeer()
    except (AttributeError, OSError):
        return False  # it is lost already
    own = endpointOf(host)
    return own.port is not None and own == endpointOf(peer)


def refuseItself(protocol: Any) -> Any:
    """
    Refuse a connection that is connected to itself.

    @param protocol: a protocol that has just been connected; it is returned.
    @raise ConnectionRefusedError: if its connection is one.
    """
    transport: Any = getattr(protocol, "transport", None)
    if isItself(transport):
        transport.abortConnection()
        raise ConnectionRefusedError(ECONNREFUSED)
    return protocol


class Race:
    """
    Connects to the addresses of a server: one starts after the other, and the first
    connection wins.

    The next address starts when C{attemptDelay} is over, or as soon as one has
    failed.  None is given up before there is a connection.

    @ivar result: fires with the protocol of the winner.
    """

    def __init__(
        self,
        addresses: Iterable[IPAddress],
        connectTo: Callable[[IPAddress], Deferred[Any]],
        clock: Clock,
        *,
        name: str,
        address: IAddress,
        attemptDelay: float,
        localAddress: str | None = None,
        mayBeItself: bool = False,
    ) -> None:
        """
        @param connectTo: begins to connect to one address.
        @param name: the name of the other side.
        @param address: the name that was looked up, or the only address.
        @param attemptDelay: seconds from the start of one address to that of the
            next.
        @param localAddress: the address to connect from, if one was given.
        @param mayBeItself: whether the application has chosen the port to connect
            from, and may connect to itself.
        """
        self.result: Deferred[Any] = Deferred(self._cancelled)
        self._left = deque(addresses)
        self._connectTo = connectTo
        self._clock = clock
        self._name = name
        self._address = address
        self._delay = attemptDelay
        self._localAddress = localAddress
        self._mayBeItself = mayBeItself
        self._pending: dict[IPAddress, Deferred[Any]] = {}
        self._failed: list[FailedAttempt] = []
        self._timer: IDelayedCall | None = None
        self._starting = False
        self._over = False

    def start(self) -> None:
        """
        Start the next address, and those after it that fail at once.
        """
        self._stopTimer()
        self._starting = True
        while self._left and not self._over:
            address = self._left.popleft()
            attempt = maybeDeferred(self._connectTo, address)
            self._pending[address] = attempt
            if not self._mayBeItself:
                attempt.addCallback(refuseItself)
            attempt.addCallback(self._won, address)
            attempt.addErrback(self._lost, address)
            if address in self._pending:
                break
        self._starting = False
        if self._left and not self._over:
            self._timer = self._clock.callLater(self._delay, self.start)
        self._end()

    def _won(self, protocol: object, address: IPAddress) -> None:
        self._pending.pop(address, None)
        if not self._over:
            self._stop()
            self.result.callback(protocol)

    def _lost(self, failure: Failure, address: IPAddress) -> None:
        self._pending.pop(address, None)
        if self._over:
            return
        error = failure.value
        if error is None or not isNetworks(error):
            self._stop()  # of TLS or the application: it would be the same elsewhere
            self.result.errback(failure)
            return
        self._failed.append(attemptOf(address, error, self._localAddress))
        if not self._starting:
            self.start()

    def _end(self) -> None:
        """
        Fail, if nothing is left to try.
        """
        if self._over or self._left or self._pending:
            return
        self._over = True
        error = allFailed(self._name, self._address, self._failed, self._localAddress)
        self.result.errback(error)

    def _stop(self) -> None:
        """
        Give up all other addresses.
        """
        self._over = True
        self._stopTimer()
        for attempt in list(self._pending.values()):
            attempt.cancel()

    def _stopTimer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _cancelled(self, _: object) -> None:
        waiting = [FailedAttempt(a, "did not answer", CancelledError()) for a in self._pending]
        self._stop()
        attempts = (*self._failed, *waiting)
        self.result.errback(ConnectCancelledError(self._address, attempts, self._name))
