"""
One attempt to connect: from an endpoint of Twisted's to a transport that is ready,
or to a failure that leaves nothing behind.

Twisted's endpoints connect the application's protocol while they are at work
themselves.  An exception of C{connectionMade} goes to the log, and their Deferred
never fires.  Under TLS their Deferred fires before the handshake has begun.  Here a
L{Placeholder} holds the transport until nothing can fail any more, and then gives
way to the protocol:

  - An exception of C{buildProtocol} or C{connectionMade} fails the Deferred.
  - An untrusted certificate fails it too.  C{connectionMade} can inspect a trusted
    one.
  - The application's protocol hears nothing of an attempt that fails or is
    cancelled, so the next attempt can use the same protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import TimeoutError
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from twisted_tcpdemo.errors import FailedAttempt
from twisted_tcpdemo.shapes import ProtocolFactory
from twisted_tcpdemo.transports.layers import (
    bottomOf,
    isHandshaking,
    replaceProtocol,
    tellsHandshake,
)


@implementer(IHandshakeListener)
class Placeholder(Protocol):
    """
    Holds the transport until the connection is ready.

    Afterwards it forwards events, for transports that cannot deliver them to
    another protocol, such as those of unit tests.

    @ivar address: the address that the endpoint gave to C{buildProtocol}.
    @ivar ready: whether there is a connection, and its TLS handshake is done.
    @ivar reason: the reason for the loss of the connection, or L{None}.
    """

    transport: Any

    def __init__(self, attempt: Attempt, address: IAddress | None) -> None:
        self.address = address
        self.ready = False
        self.secured = False
        self.reason: Failure | None = None
        self._attempt = attempt
        self._unwanted = False
        self._successor: Any = None
        self._listener: object = None
        self._early: list[bytes] = []

    def connectionMade(self) -> None:
        """
        The connection is ready, unless a TLS handshake comes first.
        """
        if self._unwanted:
            self.abort()
        elif not isHandshaking(self.transport) or not tellsHandshake(self.transport):
            self.ready = True

    def handshakeCompleted(self) -> None:
        """
        The connection is ready.
        """
        self.ready = self.secured = True
        self._attempt.progress()

    def abort(self) -> None:
        """
        Abort the connection, now or as soon as it is made.
        """
        self._unwanted = True
        if self.transport is not None and self.reason is None:
            getattr(self.transport, "abortConnection", self.transport.loseConnection)()

    def giveWay(self, successor: Any, listener: object) -> None:
        """
        Connect the application's protocol.

        @param successor: the protocol, or a proxy before it.
        @param listener: the protocol itself.
        """
        transport, self._successor = self.transport, successor
        if IHalfCloseableProtocol.providedBy(successor):
            alsoProvides(self, IHalfCloseableProtocol)
        replaceProtocol(transport, self, successor)
        bottom = bottomOf(transport)
        if hasattr(bottom, "logstr"):
            name = getattr(successor, "logPrefix", lambda: type(successor).__name__)()
            bottom.logstr = f"{name},client"
        self._listener = listener
        successor.makeConnection(transport)
        if self.secured and IHandshakeListener.providedBy(successor):
            successor.handshakeCompleted()
        early, self._early = self._early, []
        for data in early:
            successor.dataReceived(data)

    def takeBack(self) -> None:
        """
        Abort the connection after all.

        The protocol has to hear of the loss.  A proxy before it must not: Twisted's
        C{ClientService} knows of no connection, and would be told of its end.
        """
        if self._successor is not None:
            replaceProtocol(self.transport, self._successor, self)
            self._successor = self._listener
        self.abort()

    def dataReceived(self, data: bytes) -> None:
        """
        Forward the data, or keep it for the protocol to come.
        """
        if self._successor is not None:
            self._successor.dataReceived(data)
        elif not self._unwanted:
            self._early.append(data)

    def readConnectionLost(self) -> None:
        """
        Forward the peer's FIN.
        """
        self._successor.readConnectionLost()

    def writeConnectionLost(self) -> None:
        """
        Forward the end of this side.
        """
        self._successor.writeConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Forward the loss, or let the attempt fail.
        """
        self.reason = reason
        if self._successor is not None:
            self._successor.connectionLost(reason)
        else:
            self._attempt.progress()


class Attempt(Factory[Placeholder]):
    """
    One attempt to connect; for the endpoint it is the factory.
    """

    noisy = False

    def __init__(
        self,
        factory: ProtocolFactory,
        succeeded: Callable[[Placeholder], None],
        failed: Callable[[Failure], None],
    ) -> None:
        """
        Either C{succeeded} or C{failed} is called, once, unless the attempt is
        abandoned.

        @param factory: the application's factory; it hears only of start and stop.
        @param succeeded: called when a connection is ready.
        @param failed: called when there will be no connection.
        """
        self._factory = factory
        self._succeeded = succeeded
        self._failed = failed
        self._over = False
        self._tried: tuple[FailedAttempt, ...] = ()
        self._timer: IDelayedCall | None = None
        self._connecting: Deferred[Any] | None = None
        self._made: list[Placeholder] = []
        self._placeholder: Placeholder | None = None

    def start(
        self, endpoint: IStreamClientEndpoint, clock: IReactorTime, timeout: float | None
    ) -> None:
        """
        Begin.

        @param timeout: seconds for all stages together; L{None} for no limit.
        """
        if timeout is not None:
            self._timer = clock.callLater(timeout, self._expire, timeout)
        self._connecting = maybeDeferred(endpoint.connect, self)
        self._connecting.addCallbacks(self._connected, self._fail)
        if self._over:
            self._connecting.cancel()

    def doStart(self) -> None:
        """
        Start the application's factory.
        """
        self._factory.doStart()

    def doStop(self) -> None:
        """
        Stop the application's factory.
        """
        self._factory.doStop()

    def buildProtocol(self, addr: IAddress | None) -> Placeholder:
        """
        Build a placeholder.
        """
        placeholder = Placeholder(self, addr)
        if self._over:
            # The endpoint could not be cancelled, and has connected.
            placeholder.abort()
        self._made.append(placeholder)
        return placeholder

    def _connected(self, placeholder: Placeholder) -> None:
        self._placeholder = placeholder
        self.progress()

    def progress(self) -> None:
        """
        Succeed if the connection is ready, and fail if it is lost.
        """
        placeholder = self._placeholder
        if placeholder is None:
            return
        if placeholder.reason is not None:
            self._fail(placeholder.reason)
        elif placeholder.ready and not self._over:
            self._finish()
            self._succeeded(placeholder)

    def _fail(self, failure: Failure) -> None:
        if self._over:
            self._tried = getattr(failure.value, "attempts", ())
        else:
            self.abandon()
            self._failed(failure)

    def _expire(self, timeout: float) -> None:
        late: Any = TimeoutError(string=f"after {timeout:g} s")
        self.abandon()
        # A race tells, as it is cancelled, which addresses it has tried.
        late.attempts = self._tried
        self._failed(Failure(late))

    def _finish(self) -> None:
        self._over = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def abandon(self) -> None:
        """
        Stop at any stage, and leave nothing behind.
        """
        self._finish()
        if self._connecting is not None:
            self._connecting.cancel()
        for placeholder in self._made:
            placeholder.abort()
