"""
Wrappers, of Twisted's and of others, between a transport and a protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.protocols.policies import ProtocolWrapper, TimeoutFactory, WrappingFactory
from zope.interface import implementer

from twisted_tcpdemo import TCPDemoProtocol


@implementer(IStreamServerEndpoint)
class Wrapped:
    """
    An endpoint whose connections are wrapped; the first wrapper is next to the
    application.
    """

    def __init__(self, endpoint: Any, *wrappings: Callable[[Any], Any]) -> None:
        self._endpoint = endpoint
        self._wrappings = wrappings

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        Listen with a wrapped factory.
        """
        factory: Any = protocolFactory
        for wrap in self._wrappings:
            factory = wrap(factory)
        port: Deferred[IListeningPort] = self._endpoint.listen(factory)
        return port


@implementer(IHalfCloseableProtocol)
class Knowing(ProtocolWrapper):
    """
    A wrapper that can itself be half-closed, and remembers it.
    """

    told: list[str]

    def makeConnection(self, transport: Any) -> None:
        """
        Begin with nothing to remember.
        """
        self.told = []
        super().makeConnection(transport)

    def readConnectionLost(self) -> None:
        """
        Remember it, and pass it on.
        """
        self.told.append("read")
        self.wrappedProtocol.readConnectionLost()

    def writeConnectionLost(self) -> None:
        """
        Remember it, and pass it on.
        """
        self.told.append("write")
        self.wrappedProtocol.writeConnectionLost()


class KnowingFactory(WrappingFactory[Knowing]):
    """
    Wraps with L{Knowing}.
    """

    protocol = Knowing


class Told(TCPDemoProtocol):
    """
    A protocol that remembers the halves that have ended.
    """

    def connectionMade(self) -> None:
        """
        Begin with both halves open.
        """
        self.told: list[str] = []

    def readConnectionLost(self) -> None:
        """
        Remember it.
        """
        self.told.append("read")

    def writeConnectionLost(self) -> None:
        """
        Remember it.
        """
        self.told.append("write")


def described(description: str) -> Any:
    """
    The endpoint that a string describes.
    """
    from twisted.internet import reactor

    return serverFromString(reactor, description)


def withTimeout(factory: Any) -> TimeoutFactory:
    """
    Wrap in a timeout of Twisted's that does not run out here.
    """
    return TimeoutFactory(factory, timeoutPeriod=1000)


def wrappersOf(protocol: TCPDemoProtocol) -> list[Any]:
    """
    The wrappers below a protocol, the nearest first.
    """
    found, transport = [], protocol.transport
    while isinstance(transport, ProtocolWrapper):
        found.append(transport)
        transport = transport.transport
    return found
