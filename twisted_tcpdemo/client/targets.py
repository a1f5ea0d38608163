"""
The targets of a client: a host, a UNIX socket, an open descriptor.

Each target checks its arguments and has the interface of Twisted's endpoints.  It
has no timeout: L{twisted_tcpdemo.client.attempt} has one for all stages together.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, execute
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
)
from twisted.internet.error import getConnectError
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IReactorSocket,
    IReactorTCP,
    IReactorUNIX,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.internet.tcp import makeBinding
from zope.interface import implementer
from zope.interface.interface import InterfaceClass

from twisted_tcpdemo.shapes import AnyReactor
from twisted_tcpdemo.transports.layers import looksUp
from twisted_tcpdemo.values.checks import pathName, whole

_NEVER: Any = None


def hostTarget(
    reactor: AnyReactor, host: str, port: int, localAddress: str | None, localPort: int | None
) -> IStreamClientEndpoint:
    """
    An endpoint for a host, by name or address.

    An address goes straight to a socket.  Twisted's L{HostnameEndpoint} would have
    a thread look it up, and slow names may be before it in the queue.
    """
    _require(reactor, IReactorTCP, "connect over TCP")
    whole("port", port, 1, 65535)
    family = checkHost(host)
    local = _localFamily(localAddress)
    bind = None
    if localAddress is not None or localPort is not None:
        number = 0 if localPort is None else whole("localPort", localPort, 0, 65535)
        # A chosen port is often in TIME_WAIT from the connection before.
        bind = makeBinding(localAddress or "", number, reuseAddress=bool(number))
    if family is None:
        if local is not None:
            reactor = _OneFamily(reactor, local)
        named = HostnameEndpoint(reactor, host, port, timeout=_NEVER, bindAddress=bind)
        if not looksUp(named, host):
            raise ValueError(f"host must be a name or an address, not {host!r}")
        return named
    if local not in (None, family):
        raise ValueError(f"there is no way from localAddress {localAddress!r} to {host!r}")
    literal = TCP4ClientEndpoint if family is IPv4Address else TCP6ClientEndpoint
    endpoint: IStreamClientEndpoint = literal(reactor, host, port, timeout=_NEVER, bindAddress=bind)
    return endpoint


def checkHost(host: object) -> type[IAddress] | None:
    """
    Check a host's name or address.

    @return: the family of an address, or L{None} for a name.
    @raise TypeError: if the host is no C{str}.
    @raise ValueError: if it is neither a name nor an address.
    """
    if not isinstance(host, str):
        raise TypeError(f"host must be a str, not {host!r}")
    if isIPAddress(host):
        return IPv4Address
    if isIPv6Address(host):
        return IPv6Address
    if host.startswith("["):
        raise ValueError(f"host must be an address without brackets, not {host!r}")
    if not host.isprintable() or any(c in " /:@[]\\" for c in host):
        raise ValueError(f"host must be a name or an address, not {host!r}")
    try:
        fits = 0 < len(host.encode("idna")) <= 254
    except UnicodeError:
        fits = False
    if not fits:
        raise ValueError(f"host must be a name or an address, not {host!r}")
    return None


def _localFamily(localAddress: object) -> type[IAddress] | None:
    if localAddress is None:
        return None
    if not isinstance(localAddress, str):
        raise TypeError(f"localAddress must be a str, not {localAddress!r}")
    if isIPAddress(localAddress):
        return IPv4Address
    if isIPv6Address(localAddress):
        return IPv6Address
    raise ValueError(f"localAddress must be an IP address, not {localAddress!r}")


@implementer(IReactorPluggableNameResolver, IHostnameResolver)
class _OneFamily:
    """
    A reactor that resolves names to addresses of one family.

    A socket bound to an IPv4 address cannot reach an IPv6 address.  Twisted would
    try all the same, and leak an open socket.
    """

    def __init__(self, reactor: AnyReactor, family: type[IAddress]) -> None:
        self._reactor = reactor
        self._family = family

    @property
    def nameResolver(self) -> IHostnameResolver:
        """
        This object.
        """
        return self

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """
        Install a resolver in the reactor.
        """
        old: IHostnameResolver = self._reactor.installNameResolver(resolver)
        return old

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """
        Ask the reactor's resolver for addresses of the family.
        """
        resolver: IHostnameResolver = self._reactor.nameResolver
        return resolver.resolveHostName(
            resolutionReceiver, hostName, portNumber, [self._family], transportSemantics
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


def pathTarget(
    reactor: AnyReactor, path: str | bytes | os.PathLike[str]
) -> tuple[bytes, IStreamClientEndpoint]:
    """
    An endpoint for a UNIX socket.

    @return: the path in bytes, and the endpoint.
    """
    _require(reactor, IReactorUNIX, "connect to UNIX sockets")
    name = pathName(path)
    endpoint: IStreamClientEndpoint = UNIXClientEndpoint(reactor, name, timeout=_NEVER)
    return name, endpoint


@implementer(IStreamClientEndpoint)
class SocketTarget:
    """
    An endpoint for an open, connected socket.
    """

    def __init__(self, reactor: AnyReactor, fd: int) -> None:
        _require(reactor, IReactorSocket, "adopt open sockets")
        self._reactor = reactor
        self._fd = whole("fd", fd, 0, 2**31 - 1)
        with _duplicate(self._fd) as probe:
            if probe.type != socket.SOCK_STREAM:
                raise ValueError(f"fd {fd} must be a stream socket, not {probe.type!r}")
            if probe.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                raise ValueError(f"fd {fd} must be a connected socket, and it is listening")
            if probe.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
                raise ValueError(f"fd {fd} must be TCP or UNIX, not {probe.family!r}")

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        Adopt the socket, and fire at once.
        """
        return execute(self._adopt, protocolFactory)

    def _adopt(self, factory: IProtocolFactory) -> Any:
        try:
            with _duplicate(self._fd) as probe:
                probe.getpeername()
                family = probe.family
        except OSError as error:
            raise getConnectError((error.errno, error.strerror)) from None
        builder = _Remembering(factory)
        self._reactor.adoptStreamConnection(self._fd, family, builder)
        return builder.built


class _Remembering(Factory[Any]):
    """
    Wraps a factory, and remembers the protocol that it builds.
    """

    noisy = False

    def __init__(self, factory: IProtocolFactory) -> None:
        self._factory = factory

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """
        Let the wrapped factory build a protocol.
        """
        self.built = self._factory.buildProtocol(addr)  # type: ignore[arg-type]
        return self.built


def _duplicate(fd: int) -> socket.socket:
    """
    A socket object on another descriptor of the same socket.

    @raise ValueError: if C{fd} is no open socket.
    """
    copy = -1
    try:
        copy = os.dup(fd)
        return socket.socket(fileno=copy)
    except OSError as error:
        if copy >= 0:
            os.close(copy)
        raise ValueError(f"fd {fd} is no open socket: {error.strerror}") from None


def _require(reactor: object, interface: InterfaceClass, what: str) -> None:
    """
    Check that a reactor has an interface.

    @raise TypeError: if it has not, or is no reactor.
    """
    if not interface.providedBy(reactor):
        raise TypeError(f"reactor must be one that can {what}, not {reactor!r}")
