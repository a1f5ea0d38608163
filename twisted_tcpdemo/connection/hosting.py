"""
Any protocol of Twisted's, counted and limited: the protocol that hosts it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, IProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_tcpdemo.connection.protocol import TCPDemoProtocol
from twisted_tcpdemo.shapes import Connectable


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
        Connect it.
        """
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


def hosted(protocol: Callable[[], Connectable | IProtocol]) -> Callable[[], TCPDemoProtocol]:
    """
    Let a L{TCPDemoFactory<twisted_tcpdemo.TCPDemoFactory>} build a protocol that
    knows nothing of it.
    """
    return lambda: Hosted(protocol())
