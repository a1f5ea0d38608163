"""
The targets of a client: a host, a UNIX socket, an open descriptor.

Each target checks its arguments and has the interface of Twisted's endpoints.  It
has no timeout: L{twisted_tcpdemo.client.attempt} has one for all stages together.
"""

from __future__ import annotations

import os
import socket
from typing import Any, Final

from twisted.internet.address import HostnameAddress, IPv4Address
from twisted.internet.defer import Deferred, execute
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint
from twisted.internet.error import getConnectError
from twisted.internet.interfaces import (
    IAddress,
    IProtocol,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IReactorSocket,
    IReactorTCP,
    IReactorUNIX,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.internet.tcp import makeBinding
from zope.interface import implementer
from zope.interface.interface import InterfaceClass

from twisted_tcpdemo.client.lookup import lookUp
from twisted_tcpdemo.client.names import Family, checkHost, encoded, familyOf
from twisted_tcpdemo.client.race import Race, refuseItself
from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.fast.reactor import borrowed
from twisted_tcpdemo.shapes import AnyReactor
from twisted_tcpdemo.transports.layers import withHosts
from twisted_tcpdemo.values.addresses import IPAddress, canonical
from twisted_tcpdemo.values.checks import number, pathName, whole

_NEVER: Any = None

ATTEMPT_DELAY: Final = 0.3

LEAST_ATTEMPT_DELAY: Final = 0.01
"""Seconds; RFC 8305, section 5, forbids less."""


def checkDelay(attemptDelay: float) -> float:
    """
    Check the seconds from one address to the next.

    @raise TypeError: if it is no number.
    @raise ValueError: if it is too short.
    """
    return number("attemptDelay", attemptDelay, LEAST_ATTEMPT_DELAY)


@implementer(IStreamClientEndpoint)
class HostTarget:
    """
    An endpoint for a host, by name or address.

    The addresses of a name race.  An address is not looked up: slow names may be in
    the queue of the threads that do it.
    """

    def __init__(
        self,
        reactor: AnyReactor,
        host: str,
        port: int,
        localAddress: str | None = None,
        localPort: int | None = None,
        *,
        attemptDelay: float = ATTEMPT_DELAY,
        timeout: float | None = None,
        name: str = "",
    ) -> None:
        """
        @param attemptDelay: see L{Race}.
        @param timeout: seconds for each address.
        @param name: the name for errors; by default, host and port.
        """
        _require(reactor, IReactorTCP, "connect over TCP")
        whole("port", port, 1, 65535)
        checkHost(host)
        self._host = host = encoded(host)
        family = familyOf(host)
        localAddress, local = _checkedLocal(localAddress)
        if family is not None and local not in (None, family):
            raise ValueError(f"there is no way from localAddress {localAddress!r} to {host!r}")
        if family is None:
            _require(reactor, IReactorPluggableNameResolver, "look names up")
        self._bind = None
        self._localAddress: str | None = None
        if localAddress is not None or localPort is not None:
            own = 0 if localPort is None else whole("localPort", localPort, 0, 65535)
            # A chosen port is often in TIME_WAIT from the connection before.
            self._bind = makeBinding(localAddress or "", own, reuseAddress=bool(own))
            self._localAddress = _spelled(localAddress or "*", own)
        self._reactor = reactor
        self._port = port
        self._timeout: Any = timeout
        # A socket bound to an address of one family cannot reach the other.
        self._wanted = local
        self._attemptDelay = checkDelay(attemptDelay)
        self._mayBeItself = bool(localPort)
        self._name = name or _spelled(host, port)
        self._literal = None if family is None else family("TCP", host, port)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        Look the name up, and connect to the first address that answers.
        """
        if self._literal is not None:
            return self._race([self._literal], protocolFactory)
        found = lookUp(self._reactor, self._host, self._port, self._wanted)
        return found.addCallback(self._race, protocolFactory)

    def _race(self, addresses: list[IPAddress], factory: IProtocolFactory) -> Deferred[IProtocol]:
        def connectTo(address: IPAddress) -> Deferred[IProtocol]:
            kind = TCP4ClientEndpoint if type(address) is IPv4Address else TCP6ClientEndpoint
            endpoint: IStreamClientEndpoint = kind(
                self._reactor, address.host, address.port, self._timeout, self._bind
            )
            return endpoint.connect(factory)

        race = Race(
            addresses,
            connectTo,
            steady(self._reactor),
            name=self._name,
            address=self._literal or HostnameAddress(self._host.encode("ascii"), self._port),
            attemptDelay=self._attemptDelay,
            localAddress=self._localAddress,
            mayBeItself=self._mayBeItself,
        )
        race.start()
        return race.result


def _spelled(address: str, port: int) -> str:
    """
    An address and its port as text; C{0} is no port.
    """
    if not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _checkedLocal(localAddress: object) -> tuple[str | None, Family | None]:
    """
    The local address in its one spelling, and its family.
    """
    if localAddress is None:
        return None, None
    if not isinstance(localAddress, str):
        raise TypeError(f"localAddress must be a str, not {localAddress!r}")
    if familyOf(localAddress) is None:
        raise ValueError(f"localAddress must be an IP address, not {localAddress!r}")
    address = canonical(localAddress)
    return address, familyOf(address)


@implementer(IStreamClientEndpoint)
class StringTarget:
    """
    The endpoint of a string, with our own in place of those of Twisted's that connect
    over TCP.  Whatever is left does not connect to itself.
    """

    def __init__(
        self, reactor: AnyReactor, endpoint: IStreamClientEndpoint, **options: Any
    ) -> None:
        """
        @param options: see L{HostTarget}.
        """

        def hostTarget(
            host: str, port: int, timeout: float, local: str | None
        ) -> HostTarget | None:
            if local is not None and familyOf(local) is None:
                return None  # a name, which the kernel's own bind(2) looks up
            return HostTarget(reactor, host, port, local, timeout=timeout, **options)

        self._endpoint = withHosts(endpoint, hostTarget)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        Connect, but not to itself.
        """
        connecting: Deferred[IProtocol] = self._endpoint.connect(protocolFactory)
        return connecting.addCallback(refuseItself)


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
        try:
            with borrowed(self._fd) as probe:
                self._family = self._checked(probe)
        except OSError as error:
            raise ValueError(f"fd {fd} is no open socket: {error.strerror}") from None

    def _checked(self, probe: socket.socket) -> int:
        """
        Check the socket.

        @return: its family.
        """
        fd = self._fd
        if probe.type != socket.SOCK_STREAM:
            raise ValueError(f"fd {fd} must be a stream socket, not {probe.type!r}")
        if probe.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise ValueError(f"fd {fd} must be a connected socket, and it is listening")
        if probe.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
            raise ValueError(f"fd {fd} must be TCP or UNIX, not {probe.family!r}")
        return probe.family

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        Adopt the socket, and fire at once.
        """
        return execute(self._adopt, protocolFactory)

    def _adopt(self, factory: IProtocolFactory) -> Any:
        builder = _Remembering(factory)
        try:
            with borrowed(self._fd) as probe:
                probe.getpeername()  # a reactor of Twisted's would lose its copy
            self._reactor.adoptStreamConnection(self._fd, self._family, builder)
        except OSError as error:
            if type(error).__module__ != "builtins":
                raise  # an error of ssl
            raise getConnectError((error.errno, error.strerror)) from None
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


def _require(reactor: object, interface: InterfaceClass, what: str) -> None:
    """
    Check that a reactor has an interface.

    @raise TypeError: if it has not, or is no reactor.
    """
    if not interface.providedBy(reactor):
        raise TypeError(f"reactor must be one that can {what}, not {reactor!r}")
