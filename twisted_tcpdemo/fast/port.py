"""
A TCP port whose connections write through.

Twisted's port runs a generator for each accepted client, makes a socket object by
way of two enumerations, looks up the name of an IPv6 address, and builds a transport
in layers.  This port needs a few calls for the same.  When C{accept(2)} fails,
Twisted's own code takes over: it knows what to do when descriptors run out.
"""

from __future__ import annotations

import select
from errno import ECONNABORTED, EPERM, EPROTO
from socket import AF_INET6, IPPROTO_IPV6, IPPROTO_TCP, IPV6_V6ONLY, TCP_NODELAY, socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import Binding, IProtocol, IProtocolFactory
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.tcp import Port, Server
from twisted.python import log

from twisted_tcpdemo.fast.poller import Poller, pollerOf
from twisted_tcpdemo.fast.transport import READ_SIZE, Name, WriteThroughTransport, scoped
from twisted_tcpdemo.shapes import AnyReactor, Reactor

WILDCARDS = ("", "0.0.0.0", "::")

_GONE = (ECONNABORTED, EPERM, EPROTO)
"""Errors of accept(2) that concern one client alone: the client has left, or a
firewall forbids it."""


class ServerTransport(WriteThroughTransport, Server):
    """
    The server's side of a connection.
    """

    # Twisted's types never leave out the server.
    server: Port | None  # type: ignore[assignment]
    client: Name

    def __init__(  # noqa: PLR0917
        self,
        sock: socket,
        protocol: IProtocol,
        client: Name,
        server: Port | None,
        sessionno: int,
        reactor: Reactor,
    ) -> None:
        """
        See L{Server<twisted.internet.tcp.Server>}.
        """
        # The base classes would do all of this, and more, in four layers.
        sock.setblocking(False)
        # A port has its poller; an adopted connection has no port of ours.
        poller: Poller | None = getattr(server, "poller", None)
        if poller is None:
            poller = pollerOf(reactor)
        # The attributes of each read and write are set first, and so lie together
        # in memory: with many connections, most of a transport has left the cache.
        self.reading = True
        self.socket = sock
        self.bytesRead = 0
        self.lastActivity = poller.now or reactor.seconds()
        self._poller = poller
        self.protocol = protocol
        self._direct = True
        self.bytesWritten = 0
        self._readSize = READ_SIZE
        self.reactor = reactor
        self.server = server
        self.client = client
        self.sessionno = sessionno
        self.hostname = client[0]
        if len(client) != 2:
            self._addressType = IPv6Address
        self._name = protocol.__class__.__name__
        self.descriptor = sock.fileno()
        poller.add(self)
        self.connected = 1

    def __repr__(self) -> str:
        given: str | None = getattr(self, "repstr", None)
        port = self.server and self.server._realPortNumber
        return given or f"<{self._name} #{self.sessionno} on {port}>"

    def _madeLogstr(self) -> str:
        return f"{self._prefix()},{self.sessionno},{self.hostname}"

    def _rememberHost(self) -> None:
        """
        Take the local address from the port, if all its connections have the same.
        """
        if self._host is None:
            self._host = getattr(self.server, "commonHost", None)
        super()._rememberHost()

    def _peerName(self) -> Name:
        return self.client


class WriteThroughPort(Port):
    """
    A listening port.

    The port accepts at most C{numberAccepts} clients in one turn of the reactor.
    Changing that number and calling C{stopReading} take effect before the next
    client, even while clients are being accepted.

    @ivar commonHost: the local address of all its connections, or L{None} where
        the address depends on the client.
    """

    reactor: Reactor  # type: ignore[assignment]  # with the time
    transport: Any = ServerTransport

    commonHost: IPv4Address | IPv6Address | None = None
    poller: Poller | None = None
    _accepting = False

    def __init__(  # noqa: PLR0917
        self,
        port: int | Binding,
        factory: IProtocolFactory,
        backlog: int = 511,
        interface: str = "",
        reactor: AnyReactor = None,
        noDelay: bool = False,
    ) -> None:
        """
        @param port: the number, or a
            L{Binding<twisted.internet.interfaces.Binding>}.
        @param noDelay: TCP_NODELAY for each connection.
        """
        # Twisted takes a Binding too; only its documentation says so.
        super().__init__(port, factory, backlog, interface, reactor)  # type: ignore[arg-type]
        self.noDelay = noDelay

    def createInternetSocket(self) -> socket:
        """
        Create the socket.  On the IPv6 wildcard it takes IPv4 clients too.
        """
        created: socket = super().createInternetSocket()
        if self.addressFamily == AF_INET6:
            created.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, self.interface != "::")
        return created

    def startListening(self) -> None:
        """
        Bind and listen.
        """
        # The port keeps the poller alive while no connection is open.
        self.poller = pollerOf(self.reactor)
        super().startListening()
        if self.noDelay:
            self.socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, True)
        # Connections inherit TCP_NODELAY from the listening socket (Linux).
        self.noDelay = bool(self.socket.getsockopt(IPPROTO_TCP, TCP_NODELAY))
        host = self.getHost()
        if host.host not in WILDCARDS:
            self.commonHost = host

    def startReading(self) -> None:
        """
        Accept clients.
        """
        self._accepting = True
        super().startReading()

    def stopReading(self) -> None:
        """
        Accept no clients; the kernel's queue holds them.
        """
        self._accepting = False
        super().stopReading()

    def doRead(self) -> None:
        """
        Accept the waiting clients, up to C{numberAccepts}.
        """
        accepted = 0
        # A drain calls this on a port that has stopped accepting, to empty the queue.
        asked = not self._accepting
        try:
            listener: Any = self.socket
            accept, family, kind = listener._accept, self.addressFamily, self.socketType
            while accepted < self.numberAccepts and (self._accepting or asked):
                try:
                    descriptor, name = accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno in _GONE:
                        accepted += 1  # or the loop might never end
                        continue
                    self.numberAccepts -= accepted
                    super().doRead()
                    return
                accepted += 1
                self._connected(socket(family, kind, 0, descriptor), name)
            if accepted == self.numberAccepts:
                self.numberAccepts += 20
            else:
                self.numberAccepts = max(1, accepted)
            if self.poller is not None:
                self.poller.announce()
        except BaseException:
            log.err()

    def _connected(self, accepted: socket, name: Name) -> None:
        """
        Give a client its protocol and its transport.
        """
        name = scoped(name)
        peer = self._addressType("TCP", *name)
        try:
            protocol = self.factory.buildProtocol(peer)  # type: ignore[union-attr]
            if protocol is None:
                accepted.close()
                return
            number = self.sessionno
            self.sessionno = number + 1
            transport = self.transport(accepted, protocol, name, self, number, self.reactor)
        except BaseException:
            accepted.close()
            raise
        transport.peerAddress = peer
        transport.inheritedNoDelay = self.noDelay
        protocol.makeConnection(transport)


def canPoll(reactor: object) -> bool:
    """
    Whether a reactor can have a L{Poller<twisted_tcpdemo.fast.poller.Poller>}: it is
    one of Twisted's POSIX reactors, and the system has epoll.
    """
    return isinstance(reactor, PosixReactorBase) and hasattr(select, "epoll")
