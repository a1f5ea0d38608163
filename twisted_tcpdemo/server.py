"""
The endpoint of a TCP server on the write-through transport, and its string.
"""

from __future__ import annotations

import select
import socket
from typing import Any

from twisted.internet.abstract import isIPv6Address
from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.tcp import makeBinding
from zope.interface import implementer

from twisted_tcpdemo.port import WriteThroughPort
from twisted_tcpdemo.targets import needTLS


@implementer(IStreamServerEndpoint)
class ServerEndpoint:
    """
    Listens on a TCP port, for any Twisted factory.

    Connections use L{WriteThroughTransport
    <twisted_tcpdemo.transport.WriteThroughTransport>} where that is possible:
    under a reactor of Twisted's POSIX kind, where there is epoll.  Elsewhere, as
    under the fake reactors of unit tests, they use the reactor's own transport,
    and all is the same but slower.
    """

    def __init__(
        self,
        reactor: Any,
        port: int,
        interface: str = "",
        backlog: int = 511,
        *,
        reusePort: bool = False,
        noDelay: bool = False,
        tls: Any = None,
    ) -> None:
        """
        @param port: C{0} takes a free one.
        @param interface: the IP address to listen on; empty for every IPv6 and
            IPv4 address, or only every IPv4 one where there is no IPv6.
        @param backlog: clients that the kernel holds until they are accepted.
        @param reusePort: whether other processes may listen on the port too,
            and share its clients (SO_REUSEPORT).
        @param noDelay: TCP_NODELAY for each connection.
        @param tls: what makes TLS connections, as for
            L{wrapServerTLS<twisted.internet.endpoints.wrapServerTLS>}; most
            often a L{CertificateOptions<twisted.internet.ssl.CertificateOptions>}.
        @raise ValueError: if the port or the backlog is out of range.
        @raise TLSNotInstalledError: for C{tls} without the extra C{tls}.
        """
        if tls is not None:
            needTLS()
        if not 0 <= port <= 65535:
            raise ValueError(f"port must be from 0 to 65535, not {port!r}")
        if backlog < 1:
            raise ValueError(f"backlog must be 1 or more, not {backlog!r}")
        self._reactor = reactor
        self._port = port
        self._interface = interface
        self._backlog = backlog
        self._reusePort = reusePort
        self._noDelay = noDelay
        self._tls = tls

    def __repr__(self) -> str:
        return f"<ServerEndpoint [{self._interface}]:{self._port}>"

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        See L{IStreamServerEndpoint}.
        """
        if self._tls is not None:
            from twisted.protocols.tls import TLSMemoryBIOFactory

            protocolFactory = TLSMemoryBIOFactory(self._tls, False, protocolFactory)
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        interface = self._interface or ("::" if hasIPv6() else "")
        binding: Any = self._port
        if self._reusePort:
            binding = makeBinding(interface, self._port, reuseAddress=True, reusePort=True)
        if not isFast(self._reactor):
            own: IListeningPort = self._reactor.listenTCP(
                binding, factory, backlog=self._backlog, interface=interface
            )
            return own
        port = WriteThroughPort(
            binding, factory, self._backlog, interface, self._reactor, self._noDelay
        )
        port.startListening()
        return port


def isFast(reactor: object) -> bool:
    """
    Whether a reactor can have a L{Poller<twisted_tcpdemo.poller.Poller>}.
    """
    return isinstance(reactor, PosixReactorBase) and hasattr(select, "epoll")


def hasIPv6() -> bool:
    """
    Whether a dual-stack listener can be had.
    """
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


def parse(
    reactor: Any,
    port: str,
    *,
    interface: str = "",
    backlog: str = "511",
    reusePort: str = "no",
    noDelay: str = "no",
) -> ServerEndpoint:
    """
    Build what C{fasttcp:port:interface=..:backlog=..:reusePort=..:noDelay=..}
    describes.

    @raise ValueError: if a value makes no sense.
    """
    if interface and not isIPv6Address(interface):
        socket.inet_aton(interface)
    return ServerEndpoint(
        reactor,
        int(port),
        interface,
        int(backlog),
        reusePort=_isYes("reusePort", reusePort),
        noDelay=_isYes("noDelay", noDelay),
    )


_WORDS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def _isYes(name: str, word: str) -> bool:
    if word.lower() not in _WORDS:
        raise ValueError(f"{name} must be yes or no, not {word!r}")
    return _WORDS[word.lower()]
