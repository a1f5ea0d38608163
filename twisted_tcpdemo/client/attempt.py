"""
One attempt to connect: from an endpoint of Twisted's to a transport that is
ready, or to nothing at all.

Twisted's endpoints connect the application's protocol while they are at work
themselves: what C{connectionMade} raises goes to the log and their Deferred
never fires, and under TLS they are content before the handshake has begun.
Here a L{Placeholder} stands at the transport until nothing can fail any more,
and then gives place:

  - what C{buildProtocol} or C{connectionMade} raises fails the Deferred;
  - a certificate that is not trusted fails it too, and one that is can be
    looked at in C{connectionMade};
  - of an attempt that fails, or is cancelled, the application's protocol hears
    nothing, so the next attempt can use the same one.
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

from twisted_tcpdemo.shapes import ProtocolFactory
from twisted_tcpdemo.transports.layers import bottomOf, isHandshaking, replaceProtocol, tlsOf


@implementer(IHandshakeListener)
class Placeholder(Protocol):
    """
    Has the transport until the connection is ready.

    It goes on forwarding afterwards, for transports that cannot be made to
    deliver elsewhere, such as those of unit tests.

    @ivar address: what the endpoint has given to C{buildProtocol}.
    @ivar ready: whether there is a connection, and its TLS handshake is done.
    @ivar reason: why it was lost before it was given away, or L{None}.
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
        It is ready, unless TLS has to shake hands.
        """
        if self._unwanted:
            self.abort()
        elif not isHandshaking(self.transport) or tlsOf(self.transport) is not self.transport:
            self.ready = True

    def handshakeCompleted(self) -> None:
        """
        TLS is done.
        """
        self.ready = self.secured = True
        self._attempt.progress()

    def abort(self) -> None:
        """
        Break it off, as soon as there is something to break off.
        """
        self._unwanted = True
        if self.transport is not None and self.reason is None:
            getattr(self.transport, "abortConnection", self.transport.loseConnection)()

    def giveWay(self, successor: Any, listener: object) -> None:
        """
        Connect the protocol that all this is for.

        @param listener: the same, without a proxy that may be before it.
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
        It was all in vain: break the connection off.

        The protocol has to hear of the loss.  A proxy before it has not: the
        C{ClientService} of Twisted knows of no connection, and would be told of
        its end.
        """
        if self._successor is not None:
            replaceProtocol(self.transport, self._successor, self)
            self._successor = self._listener
        self.abort()

    def dataReceived(self, data: bytes) -> None:
        """
        Forward it, or keep it for the one who comes.
        """
        if self._successor is not None:
            self._successor.dataReceived(data)
        elif not self._unwanted:
            self._early.append(data)

    def readConnectionLost(self) -> None:
        """
        Forward it.
        """
        self._successor.readConnectionLost()

    def writeConnectionLost(self) -> None:
        """
        Forward it.
        """
        self._successor.writeConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Forward it, or let the attempt fail.
        """
        self.reason = reason
        if self._successor is not None:
            self._successor.connectionLost(reason)
        else:
            self._attempt.progress()


class Attempt(Factory[Placeholder]):
    """
    One try.  For the endpoint it is the factory.
    """

    noisy = False

    def __init__(
        self,
        factory: ProtocolFactory,
        succeeded: Callable[[Placeholder], None],
        failed: Callable[[Failure], None],
    ) -> None:
        """
        @param factory: the application's; it is told only of start and stop.
        @param succeeded: called when a connection is ready,
        @param failed: or when there will be none; one of them, once.
        """
        self._factory = factory
        self._succeeded = succeeded
        self._failed = failed
        self._over = False
        self._timer: IDelayedCall | None = None
        self._connecting: Deferred[Any] | None = None
        self._made: list[Placeholder] = []
        self._placeholder: Placeholder | None = None

    def start(
        self, endpoint: IStreamClientEndpoint, clock: IReactorTime, timeout: float | None
    ) -> None:
        """
        Begin.

        @param timeout: seconds for all of it, or L{None}.
        """
        if timeout is not None:
            late = Failure(TimeoutError(string=f"no connection within {timeout} s"))
            self._timer = clock.callLater(timeout, self._fail, late)
        self._connecting = maybeDeferred(endpoint.connect, self)
        self._connecting.addCallbacks(self._connected, self._fail)
        if self._over:
            self._connecting.cancel()

    def doStart(self) -> None:
        """
        Tell the application's factory.
        """
        self._factory.doStart()

    def doStop(self) -> None:
        """
        Tell the application's factory.
        """
        self._factory.doStop()

    def buildProtocol(self, addr: IAddress | None) -> Placeholder:
        """
        Build a placeholder.
        """
        placeholder = Placeholder(self, addr)
        if self._over:
            # An endpoint that cannot be cancelled has come through.
            placeholder.abort()
        self._made.append(placeholder)
        return placeholder

    def _connected(self, placeholder: Placeholder) -> None:
        self._placeholder = placeholder
        self.progress()

    def progress(self) -> None:
        """
        Something has happened to a placeholder.
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
        if not self._over:
            self.abandon()
            self._failed(failure)

    def _finish(self) -> None:
        self._over = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def abandon(self) -> None:
        """
        Stop at whatever stage it is, and leave nothing behind.
        """
        self._finish()
        if self._connecting is not None:
            self._connecting.cancel()
        for placeholder in self._made:
            placeholder.abort()
