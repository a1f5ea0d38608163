"""
A view of a reactor on which TCP connections write through.

Twisted's endpoints make ports and connectors by the methods of a reactor.  So
each of them runs on our transport without a line about it, when it is given a
L{fastReactor}: C{tcp:}, C{ssl:}, C{systemd:}, and L{HostnameEndpoint
<twisted.internet.endpoints.HostnameEndpoint>} with its racing addresses.
"""

from __future__ import annotations

import socket
from typing import Any, TypeAlias, TypeVar

from twisted.internet.interfaces import (
    Binding,
    IListeningPort,
    IProtocolFactory,
    IReactorSocket,
    IReactorSSL,
    IReactorTCP,
)
from twisted.internet.protocol import ClientFactory
from zope.interface import directlyProvides, implementer, providedBy

from twisted_tcpdemo.fast.accepting import canPoll
from twisted_tcpdemo.fast.connector import WriteThroughConnector
from twisted_tcpdemo.fast.port import ServerTransport, WriteThroughPort
from twisted_tcpdemo.shapes import AnyReactor

R = TypeVar("R")

AnyClientFactory: TypeAlias = ClientFactory[Any]
AnyContext: TypeAlias = Any
"""Whatever makes TLS contexts; Twisted has three interfaces for it."""

LocalAddress: TypeAlias = Binding | str | tuple[str, int] | None

_INTERNET = (socket.AF_INET, socket.AF_INET6)


@implementer(IReactorTCP, IReactorSSL, IReactorSocket)
class FastReactor:
    """
    A reactor, but for its ports, connectors and connections.

    It provides what the reactor provides, and passes on all that is not here.
    """

    def __init__(self, reactor: AnyReactor) -> None:
        self._reactor = reactor
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def __repr__(self) -> str:
        return f"<fastReactor of {self._reactor!r}>"

    def listenTCP(
        self, port: int | Binding, factory: IProtocolFactory, backlog: int = 50, interface: str = ""
    ) -> WriteThroughPort:
        """
        See L{IReactorTCP}.
        """
        listening = WriteThroughPort(port, factory, backlog, interface, self._reactor)
        listening.startListening()
        return listening

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: AnyClientFactory,
        timeout: float = 30,
        bindAddress: LocalAddress = None,
    ) -> WriteThroughConnector:
        """
        See L{IReactorTCP}.
        """
        connector = WriteThroughConnector(host, port, factory, timeout, bindAddress, self._reactor)
        connector.connect()
        return connector

    def listenSSL(
        self,
        port: int | Binding,
        factory: IProtocolFactory,
        contextFactory: AnyContext,
        backlog: int = 50,
        interface: str = "",
    ) -> WriteThroughPort:
        """
        See L{IReactorSSL}.
        """
        from twisted.protocols.tls import TLSMemoryBIOFactory

        encrypting = TLSMemoryBIOFactory(contextFactory, False, factory)
        listening = self.listenTCP(port, encrypting, backlog, interface)
        listening._type = "TLS"  # as Twisted calls it in its log
        return listening

    def connectSSL(  # noqa: PLR0917
        self,
        host: str,
        port: int,
        factory: AnyClientFactory,
        contextFactory: AnyContext,
        timeout: float = 30,
        bindAddress: LocalAddress = None,
    ) -> WriteThroughConnector:
        """
        See L{IReactorSSL}.
        """
        from twisted.protocols.tls import TLSMemoryBIOFactory

        encrypting: AnyClientFactory = TLSMemoryBIOFactory(contextFactory, True, factory)
        return self.connectTCP(host, port, encrypting, timeout, bindAddress)

    def adoptStreamPort(
        self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory
    ) -> IListeningPort:
        """
        See L{IReactorSocket}.
        """
        if addressFamily not in _INTERNET:
            foreign: IListeningPort = self._reactor.adoptStreamPort(
                fileDescriptor, addressFamily, factory
            )
            return foreign
        listening: WriteThroughPort = WriteThroughPort._fromListeningDescriptor(
            self._reactor, fileDescriptor, addressFamily, factory
        )
        listening.startListening()
        return listening

    def adoptStreamConnection(
        self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory
    ) -> Any:
        """
        See L{IReactorSocket}.
        """
        if addressFamily not in _INTERNET:
            return self._reactor.adoptStreamConnection(fileDescriptor, addressFamily, factory)
        return ServerTransport._fromConnectedSocket(
            fileDescriptor, addressFamily, factory, self._reactor
        )


def fastReactor(reactor: R) -> R:
    """
    A view of a reactor on which TCP connections write through.

    Give it to any endpoint of Twisted's in place of the reactor.  A reactor that
    cannot have a poller (it is none of Twisted's POSIX reactors, or the system has
    no epoll) is returned as it is, as is a view.
    """
    if not canPoll(reactor):
        return reactor
    view: Any = FastReactor(reactor)
    return view  # type: ignore[no-any-return]
