"""
Hosts of foreign protocols, which count and limit their connections.

The hosted protocol gets the transport itself, not a wrapper.  So producers,
C{abortConnection}, the protocol that TLS has negotiated and the credentials of a
UNIX socket work as they do without a host.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import (
    IFileDescriptorReceiver,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IProtocol,
    IProtocolFactory,
)
from twisted.internet.protocol import BaseProtocol, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from twisted_tcpdemo.connection.farewell import Farewell
from twisted_tcpdemo.connection.protocol import TCPDemoProtocol
from twisted_tcpdemo.connection.record import ISlots
from twisted_tcpdemo.shapes import Connectable, ProtocolFactory
from twisted_tcpdemo.transports.layers import isReading


@implementer(IHandshakeListener)
class Hosted(TCPDemoProtocol):
    """
    Counts the connection of a foreign protocol, and passes its events on.

    @ivar inner: the hosted protocol.
    """

    inner: Any

    def __init__(self, inner: Connectable) -> None:
        """
        @param inner: the hosted protocol.
        """
        self._host(inner)

    def _host(self, inner: Any) -> None:
        """
        Host a protocol, from before its connection on.
        """
        self.inner = inner
        if IFileDescriptorReceiver.providedBy(inner):
            alsoProvides(self, IFileDescriptorReceiver)

    def connectionMade(self) -> None:
        """
        Connect the hosted protocol.  It gets the factory of its host if it has
        none of its own.
        """
        if getattr(self.inner, "factory", None) is None:
            self.inner.factory = self.factory
        self.inner.makeConnection(self.transport)

    def handshakeCompleted(self) -> None:
        """
        Pass the end of the TLS handshake on, to a protocol that listens for it.
        """
        if IHandshakeListener.providedBy(self.inner):
            self.inner.handshakeCompleted()

    def dataReceived(self, data: bytes) -> None:
        """
        Pass the bytes on.
        """
        self.inner.dataReceived(data)

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """
        Pass a file descriptor on, to a protocol that takes them.
        """
        self.inner.fileDescriptorReceived(descriptor)

    def readConnectionLost(self) -> None:
        """
        Pass the peer's FIN on, to a protocol that can be half-closed.  Its
        C{allowHalfOpen}, if it has one, says whether the connection goes on.
        """
        self.allowHalfOpen = getattr(self.inner, "allowHalfOpen", self.allowHalfOpen)
        if IHalfCloseableProtocol.providedBy(self.inner):
            self.inner.readConnectionLost()

    def writeConnectionLost(self) -> None:
        """
        Pass the end of our half on, to a protocol that can be half-closed.
        """
        if IHalfCloseableProtocol.providedBy(self.inner):
            self.inner.writeConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Pass the loss on.
        """
        self.inner.connectionLost(reason)


class _Built(Hosted):
    """
    Hosts a protocol that another factory builds for the connection.

    The factory is asked when the client has a slot, and builds nothing for a
    refused client.
    """

    def __init__(self, factory: ProtocolFactory | IProtocolFactory) -> None:
        """
        @param factory: builds the protocol.
        """
        super().__init__(Protocol())  # hears of the end if no protocol is built
        self._builder: Any = factory

    def connectionMade(self) -> None:
        """
        Let the factory build the protocol, and connect that.  If the factory
        builds none, close the connection.
        """
        inner = self._builder.buildProtocol(self.peer)
        if inner is None:
            self.transport.loseConnection()
            return
        self._host(inner)
        if IFileDescriptorReceiver.providedBy(self) and isReading(self.transport):
            # The fast lane asks when it begins to read, which was before.
            self.transport.resumeProducing()
        super().connectionMade()


class HostedFactory:
    """
    Builds hosts for the protocols of another factory.

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
        Start the other factory: a port opens.
        """
        self._factory.doStart()

    def doStop(self) -> None:
        """
        Stop the other factory: a port has closed.
        """
        self._factory.doStop()


class HostedProtocol:
    """
    Builds hosts for protocols that have no factory.

    @ivar hosted: what builds the protocols.
    """

    def __init__(self, what: Callable[[], Any]) -> None:
        self.hosted = what

    def __call__(self) -> Hosted:
        """
        Build one host.
        """
        return Hosted(self.hosted())


def hosted(
    what: Callable[[], Connectable | IProtocol] | ProtocolFactory | IProtocolFactory,
) -> Callable[[], TCPDemoProtocol]:
    """
    Let a L{TCPDemoFactory<twisted_tcpdemo.TCPDemoFactory>} serve with any protocol,
    or with the protocols of another factory.

    A hosted protocol keeps its own factory; one without gets that of its host.

    @param what: a protocol class, or anything callable that returns a protocol;
        or a factory, such as a L{Site<twisted.web.server.Site>}.  A factory is
        started and stopped with each port, and builds a protocol for each client
        that has a slot.  Host it once only.
    @return: the C{protocol} of a L{TCPDemoFactory<twisted_tcpdemo.TCPDemoFactory>}.
    @raise TypeError: if it is neither.
    """
    if IProtocolFactory.providedBy(what):
        return HostedFactory(what)
    if not callable(what):
        raise TypeError(f"{what!r} is no factory, and cannot be called for a protocol")
    return HostedProtocol(what)


def isProtocol(built: object) -> bool:
    """
    Whether an object, or each of a class, can be a protocol.
    """
    names = ("makeConnection", "dataReceived", "connectionLost")
    return all(callable(getattr(built, name, None)) for name in names)


def hostFor(built: Any, slots: ISlots) -> Any:
    """
    A protocol whose connection is counted, for one that a program has built: itself,
    or its host.

    @param slots: the factory that counts.
    """
    if isinstance(built, TCPDemoProtocol):
        built._countedBy = slots
        if built.factory is None:
            built.factory = slots
        return built
    if isinstance(built, Farewell) or _leadsTo(slots, built):
        return built
    host = Hosted(built)
    host.factory = slots
    return host


def _leadsTo(slots: ISlots, built: object) -> bool:
    """
    Whether a protocol wraps one that has these slots, or a refusal, and will pass its
    connection on.  To host it would count the connection twice.
    """
    seen = {id(built)}
    wrappers = [built]
    while wrappers:
        for inner in getattr(wrappers.pop(), "__dict__", {}).values():
            if isinstance(inner, Farewell):
                return True
            if isinstance(inner, TCPDemoProtocol):
                if not inner.connected and (inner.factory is slots or inner._countedBy is slots):
                    return True
            elif isinstance(inner, BaseProtocol) and id(inner) not in seen:
                seen.add(id(inner))
                wrappers.append(inner)
    return False
