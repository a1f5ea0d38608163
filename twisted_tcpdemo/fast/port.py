"""
A TCP port whose connections write through.

Twisted looks up the name of each IPv6 client, and builds a transport in layers.  Here
a few assignments do the same.
"""

from __future__ import annotations

from socket import AF_INET6, IPPROTO_IPV6, IPPROTO_TCP, IPV6_V6ONLY, TCP_NODELAY, socket

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import Binding, IAddress, IProtocol, IProtocolFactory
from twisted.internet.tcp import Port, Server

from twisted_tcpdemo.fast.accepting import AcceptingPort
from twisted_tcpdemo.fast.poller import Poller, pollerOf
from twisted_tcpdemo.fast.transport import FIRST_SIZE, Name, WriteThroughTransport, scoped
from twisted_tcpdemo.shapes import AnyReactor, Reactor
from twisted_tcpdemo.values.addresses import IPAddress, canonical

WILDCARDS = ("", "0.0.0.0", "::")


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
            poller.announce()
        # The attributes of each read and write are set first, and so lie together
        # in memory: with many connections, most of a transport has left the cache.
        self.reading = True
        self.socket = sock
        self.bytesRead = 0
        self.lastActivity = poller.now or poller.seconds()
        self._poller = poller
        self.protocol = protocol
        self._direct = True
        self.bytesWritten = 0
        self._readSize = FIRST_SIZE
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
        port = self.getHost().port if self.server is None else self.server._realPortNumber
        return given or f"<{self._name} #{self.sessionno} on {port}>"

    @staticmethod
    def peerOf(sock: socket) -> tuple[Name, IPAddress]:
        """
        The other side's name, and the same as one of Twisted's addresses.
        """
        name = scoped(sock.getpeername())
        return name, (IPv4Address if len(name) == 2 else IPv6Address)("TCP", *name)

    def _madeLogstr(self) -> str:
        return f"{self._prefix()},{self.sessionno},{canonical(str(self.hostname))}"

    def _rememberHost(self) -> None:
        """
        Take the local address from the port, if all its connections have the same.
        """
        if self._host is None:
            self._host = getattr(self.server, "commonHost", None)
        if self._host is None:
            super()._rememberHost()

    def _peerName(self) -> Name:
        return self.client


class WriteThroughPort(AcceptingPort):
    """
    A listening TCP port.

    @ivar commonHost: the local address of all its connections, or L{None} where
        the address depends on the client.
    """

    transport = ServerTransport

    commonHost: IPv4Address | IPv6Address | None = None

    def __init__(  # noqa: PLR0917
        self,
        port: int | Binding,
        factory: IProtocolFactory,
        backlog: int = 511,
        interface: str = "",
        reactor: AnyReactor = None,
        noDelay: bool = True,
        ipv6Only: bool = False,
    ) -> None:
        """
        @param port: the number, or a
            L{Binding<twisted.internet.interfaces.Binding>}.
        @param noDelay: TCP_NODELAY for each connection.  Without it, the second of
            two small writes would wait for the peer to acknowledge the first, which
            takes 40 ms.
        @param ipv6Only: whether the IPv6 wildcard takes no IPv4 clients.
        """
        # Twisted takes a Binding too; only its documentation says so.  An IPv4-mapped
        # address is IPv4's: no socket for IPv6 alone can be bound to it.
        interface = canonical(interface)
        super().__init__(port, factory, backlog, interface, reactor)  # type: ignore[arg-type]
        self.noDelay = noDelay
        self._ipv6Only = ipv6Only

    def createInternetSocket(self) -> socket:
        """
        Create the socket.  On the IPv6 wildcard it takes IPv4 clients too, unless it
        is for IPv6 only.
        """
        created: socket = super().createInternetSocket()
        if self.addressFamily == AF_INET6:
            isOnly = self._ipv6Only or self.interface != "::"
            created.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, isOnly)
        return created

    def startListening(self) -> None:
        """
        Bind and listen.
        """
        if self.engineMaker is not None:
            self._type = "TLS"  # as Twisted calls it in its log
        super().startListening()
        if self.noDelay:
            self.socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, True)
        # Connections inherit TCP_NODELAY from the listening socket (Linux).
        self.noDelay = bool(self.socket.getsockopt(IPPROTO_TCP, TCP_NODELAY))
        host = self.getHost()
        if host.host not in WILDCARDS:
            self.commonHost = host

    def hostOf(self, client: socket) -> IPv4Address | IPv6Address:
        """
        This side's address of a client that has no transport.
        """
        host = self.commonHost
        if host is None:
            try:
                host = self._addressType("TCP", *scoped(client.getsockname()))
            except OSError:  # it has left
                host = self.getHost()
        return host

    def _accepted(self, client: socket, name: Name) -> None:
        if len(name) == 4:
            name = scoped(name)
        peer = self._addressType("TCP", *name)
        (self.connect if self.stage is None else self._stage)(client, name, peer)

    def addressOf(self, name: Name) -> IAddress:
        """
        The address of a client as one of Twisted's.
        """
        return self._addressType("TCP", *(scoped(name) if len(name) == 4 else name))
