"""
A view of a reactor on which connections write through, over TCP and UNIX sockets.

Twisted's endpoints make ports and connectors by the methods of a reactor.  So
each of them runs on our transport without a line about it, when it is given a
L{fastReactor}: C{tcp:}, C{ssl:}, C{unix:}, C{systemd:}, and L{HostnameEndpoint
<twisted.internet.endpoints.HostnameEndpoint>} with its racing addresses.
"""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from twisted.internet.interfaces import (
    Binding,
    IListeningPort,
    IProtocolFactory,
    IReactorCore,
    IReactorSocket,
    IReactorSSL,
    IReactorTCP,
    IReactorUNIX,
)
from twisted.internet.protocol import ClientFactory
from twisted.python.components import registerAdapter
from zope.interface import directlyProvides, implementer, providedBy

from twisted_tcpdemo.fast.accepting import adopted, canPoll
from twisted_tcpdemo.fast.connector import WriteThroughConnector
from twisted_tcpdemo.fast.port import ServerTransport, WriteThroughPort
from twisted_tcpdemo.interfaces import IFastReactor
from twisted_tcpdemo.shapes import AnyReactor
from twisted_tcpdemo.tls.context import EngineMaker, engineMaker, unwrapped

if TYPE_CHECKING:
    # At run time only on request: some systems have no UNIX sockets.
    from twisted_tcpdemo.fast.unix import UNIXConnector, UNIXPort, UNIXServerTransport

R = TypeVar("R")

AnyClientFactory: TypeAlias = ClientFactory[Any]
AnyContext: TypeAlias = Any
"""Whatever makes TLS contexts; Twisted has three interfaces for it."""

LocalAddress: TypeAlias = Binding | str | tuple[str, int] | None

_INTERNET = (socket.AF_INET, socket.AF_INET6)
_UNIX = getattr(socket, "AF_UNIX", None)


@implementer(IReactorTCP, IReactorSSL, IReactorSocket, IReactorUNIX)
class FastReactor:
    """
    A reactor, but for its ports, connectors and connections.

    It provides what the reactor provides, and passes on all that is not here.

    @ivar viewed: the reactor.
    @ivar engineMaker: makes the TLS engine of each client's connection; L{None}
        for connections without TLS.
    """

    engineMaker: EngineMaker | None = None

    def __init__(self, reactor: AnyReactor) -> None:
        self.viewed = reactor
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.viewed, name)

    def __repr__(self) -> str:
        return f"<fastReactor of {self.viewed!r}>"

    def listenTCP(
        self, port: int | Binding, factory: IProtocolFactory, backlog: int = 50, interface: str = ""
    ) -> WriteThroughPort:
        """
        See L{IReactorTCP}.
        """
        return self._listenTCP(port, *unwrapped(factory), backlog, interface)

    def _listenTCP(
        self,
        port: int | Binding,
        factory: IProtocolFactory,
        maker: EngineMaker | None,
        backlog: int,
        interface: str,
    ) -> WriteThroughPort:
        listening = WriteThroughPort(port, factory, backlog, interface, self.viewed)
        listening.engineMaker = maker
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
        return self._connectTCP(host, port, factory, self.engineMaker, timeout, bindAddress)

    def _connectTCP(  # noqa: PLR0917
        self,
        host: str,
        port: int,
        factory: AnyClientFactory,
        maker: EngineMaker | None,
        timeout: float,
        bindAddress: LocalAddress,
    ) -> WriteThroughConnector:
        connector = WriteThroughConnector(host, port, factory, timeout, bindAddress, self.viewed)
        connector.engineMaker = maker
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
        maker = engineMaker(contextFactory, False, factory)
        return self._listenTCP(port, factory, maker, backlog, interface)

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
        maker = engineMaker(contextFactory, True, factory, host)
        return self._connectTCP(host, port, factory, maker, timeout, bindAddress)

    def listenUNIX(
        self,
        address: str | bytes,
        factory: IProtocolFactory,
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: bool | int = 0,
    ) -> UNIXPort:
        """
        See L{IReactorUNIX}.
        """
        from twisted_tcpdemo.fast.unix import UNIXPort

        factory, maker = unwrapped(factory)
        # Twisted takes text, too; only its types do not say so.
        listening = UNIXPort(
            address,  # type: ignore[arg-type]
            factory,
            backlog,
            mode,
            self.viewed,
            wantPID,
        )
        listening.engineMaker = maker
        listening.startListening()
        return listening

    def connectUNIX(
        self,
        address: str | bytes,
        factory: AnyClientFactory,
        timeout: float = 30,
        checkPID: bool | int = 0,
    ) -> UNIXConnector:
        """
        See L{IReactorUNIX}.
        """
        from twisted_tcpdemo.fast.unix import UNIXConnector

        connector = UNIXConnector(address, factory, timeout, self.viewed, checkPID)
        connector.engineMaker = self.engineMaker
        connector.connect()
        return connector

    def adoptStreamPort(
        self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory
    ) -> IListeningPort:
        """
        See L{IReactorSocket}.  The family is the socket's own, whatever the caller
        takes it for.
        """
        family = _familyOf(fileDescriptor, addressFamily)
        behind, maker = unwrapped(factory)
        listening: WriteThroughPort | UNIXPort
        if family in _INTERNET:
            listening = WriteThroughPort._fromListeningDescriptor(
                self.viewed, fileDescriptor, family, behind
            )
        elif family == _UNIX:
            from twisted_tcpdemo.fast.unix import UNIXPort

            listening = UNIXPort._fromListeningDescriptor(self.viewed, fileDescriptor, behind)
        else:
            # With its layer of TLS, if it has one: nobody else would encrypt.
            foreign: IListeningPort = self.viewed.adoptStreamPort(fileDescriptor, family, factory)
            return foreign
        listening.engineMaker = maker
        listening.startListening()
        return listening

    def adoptStreamConnection(
        self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory
    ) -> Any:
        """
        See L{IReactorSocket}.  The family is the socket's own, whatever the caller
        takes it for.
        """
        family = _familyOf(fileDescriptor, addressFamily)
        kind: type[ServerTransport | UNIXServerTransport]
        if family in _INTERNET:
            kind = ServerTransport
        elif family == _UNIX:
            from twisted_tcpdemo.fast.unix import UNIXServerTransport

            kind = UNIXServerTransport
        else:
            return self.viewed.adoptStreamConnection(fileDescriptor, family, factory)
        return adopted(kind, fileDescriptor, family, factory, self.viewed, self.engineMaker)


@contextmanager
def borrowed(descriptor: int) -> Generator[socket.socket]:
    """
    A socket object on a descriptor, which it does not close.  A copy would need a
    free descriptor.

    @raise OSError: if it is no open socket.
    """
    sock = socket.socket(fileno=descriptor)
    try:
        yield sock
    finally:
        sock.detach()


def _familyOf(descriptor: int, claimed: int) -> int:
    """
    The family of a socket (SO_DOMAIN).  Whoever hands a socket over often does not
    know it: a string says C{INET} for a socket that systemd has made for both.

    @param claimed: what the caller takes it for.  A family that no reactor knows is
        returned as it is.
    @raise OSError: if the descriptor is no open socket.
    """
    if claimed not in {*_INTERNET, _UNIX}:
        return claimed
    with borrowed(descriptor) as sock:
        return sock.family


def fastReactor(reactor: R) -> R:
    """
    A view of a reactor on which connections write through, over TCP and UNIX sockets.

    Give it to any endpoint of Twisted's in place of the reactor.  A reactor that
    cannot have a poller (it is none of Twisted's POSIX reactors, or the system has
    no epoll) is returned as it is, as is a view.
    """
    if not canPoll(reactor):
        return reactor
    view: Any = FastReactor(reactor)
    return view  # type: ignore[no-any-return]


registerAdapter(fastReactor, IReactorCore, IFastReactor)
