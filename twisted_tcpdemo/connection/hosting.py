"""
Any protocol of Twisted's, counted and limited: the protocol that hosts it.

The hosted protocol gets the transport itself, not a wrapper.  What it asks of a
transport works as it does without its host: producers, C{abortConnection}, the
protocol that TLS has negotiated, the credentials of a UNIX socket.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    IProtocol,
    IProtocolFactory,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_tcpdemo.connection.protocol import TCPDemoProtocol
from twisted_tcpdemo.shapes import Connectable, ProtocolFactory


@implementer(IHandshakeListener)
class Hosted(TCPDemoProtocol):
    """
    Any protocol, counted: what happens to the connection is passed on to it.
    """

    def __init__(self, inner: Connectable) -> None:
        """
        @param inner: the protocol.
        """
        self.inner: Any = inner

    def connectionMade(self) -> None:
        """
        Connect it.  It gets the factory of its host if it has none of its own.
        """
        if getattr(self.inner, "factory", None) is None:
            self.inner.factory = self.factory
        self.inner.makeConnection(self.transport)

    def handshakeCompleted(self) -> None:
        """
        Pass it on, if it wants to know.
        """
        if IHandshakeListener.providedBy(self.inner):
            self.inner.handshakeCompleted()

    def dataReceived(self, data: bytes) -> None:
        """
        Pass it on.
        """
        self.inner.dataReceived(data)

    def readConnectionLost(self) -> None:
        """
        Pass it on, if it wants to know.
        """
        if IHalfCloseableProtocol.providedBy(self.inner):
            self.inner.readConnectionLost()

    def writeConnectionLost(self) -> None:
        """
        Pass it on, if it wants to know.
        """
        if IHalfCloseableProtocol.providedBy(self.inner):
            self.inner.writeConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Pass it on.
        """
        self.inner.connectionLost(reason)


class _Built(Hosted):
    """
    Hosts what another factory builds for the connection.

    That factory is asked when there is a slot, and not before: it builds
    nothing for a client that is refused.
    """

    def __init__(self, factory: ProtocolFactory | IProtocolFactory) -> None:
        """
        @param factory: builds the protocol.
        """
        super().__init__(Protocol())  # hears of the end if nothing is built
        self._builder: Any = factory

    def connectionMade(self) -> None:
        """
        Have the protocol built, and connect it.

        A factory that builds none does not want the connection, which is closed.
        """
        inner = self._builder.buildProtocol(self.peer)
        if inner is None:
            self.transport.loseConnection()
            return
        self.inner = inner
        super().connectionMade()


class HostedFactory:
    """
    Builds the hosts of another factory's protocols.

    A L{TCPDemoFactory<twisted_tcpdemo.TCPDemoFactory>} that has it as its
    C{protocol} starts and stops the other factory with each of its ports.
    """

    def __init__(self, factory: ProtocolFactory | IProtocolFactory) -> None:
        """
        @param factory: the other factory.
        """
        self._factory: Any = factory

    def __call__(self) -> Hosted:
        """
        Build one host.
        """
        return _Built(self._factory)

    def doStart(self) -> None:
        """
        A port opens.
        """
        self._factory.doStart()

    def doStop(self) -> None:
        """
        A port has closed.
        """
        self._factory.doStop()


def hosted(
    what: Callable[[], Connectable | IProtocol] | ProtocolFactory | IProtocolFactory,
) -> Callable[[], TCPDemoProtocol]:
    """
    Let a L{TCPDemoFactory<twisted_tcpdemo.TCPDemoFactory>} serve with a protocol
    that knows nothing of it.

    The hosted protocol keeps the factory that it has, and otherwise gets the
    one that hosts it.

    @param what: a protocol class, or anything callable that returns a protocol;
        or a factory, such as a L{Site<twisted.web.server.Site>}.  A factory is
        started and stopped with each port, and builds a protocol for each client
        that has got a slot.  It should be hosted once.
    @return: the C{protocol} of a L{TCPDemoFactory<twisted_tcpdemo.TCPDemoFactory>}.
    @raise TypeError: if it is neither.
    """
    if IProtocolFactory.providedBy(what):
        return HostedFactory(what)
    if not callable(what):
        raise TypeError(f"{what!r} is no factory, and cannot be called for a protocol")
    return lambda: Hosted(what())
