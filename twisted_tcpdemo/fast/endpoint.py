"""
The server endpoint on the write-through transport, and its C{fasttcp:} string.
"""

from __future__ import annotations

import os
import socket
import stat
from errno import EADDRINUSE
from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from typing import cast

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred, execute
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    Binding,
    IListeningPort,
    IOpenSSLContextFactory,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.internet.tcp import makeBinding
from zope.interface import implementer

from twisted_tcpdemo.errors import NoEngineError, needTLS
from twisted_tcpdemo.fast.accepting import AcceptingPort, canPoll
from twisted_tcpdemo.fast.port import WriteThroughPort
from twisted_tcpdemo.fast.proxied import putBehind
from twisted_tcpdemo.fast.proxy import Proxy
from twisted_tcpdemo.shapes import AnyReactor, ContextFactory, ProtocolFactory
from twisted_tcpdemo.tls.context import engineMaker
from twisted_tcpdemo.values.addresses import canonical
from twisted_tcpdemo.values.checks import decimal, flag, pathName, whole
from twisted_tcpdemo.values.text import printable

_NEEDED = "needs a POSIX reactor of Twisted's, and epoll (Linux)"


@implementer(IStreamServerEndpoint)
class ServerEndpoint:
    """
    Listens on a TCP port or a UNIX socket, for any Twisted factory.

    Connections use L{WriteThroughTransport
    <twisted_tcpdemo.fast.transport.WriteThroughTransport>} under a POSIX reactor of
    Twisted's, on a system with epoll.  Elsewhere, as under the fake reactors of unit
    tests, they use the reactor's own transport; everything works the same, slower.
    """

    def __init__(
        self,
        reactor: AnyReactor,
        port: int | None = None,
        interface: str = "",
        backlog: int = 511,
        *,
        path: str | bytes | os.PathLike[str] | None = None,
        mode: int = 0o666,
        ipv6Only: bool = False,
        reusePort: bool = False,
        noDelay: bool = True,
        tls: SSLContext | ContextFactory | IOpenSSLServerConnectionCreator | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        """
        Give exactly one of C{port} and C{path}.

        @param port: the port number; C{0} takes a free one.
        @param interface: the IP address to listen on; empty for every IPv6 and
            IPv4 address, or every IPv4 one on a system without IPv6.
        @param backlog: how many clients the kernel holds until they are accepted.
        @param path: the path of a UNIX socket.  A socket that a process has left
            behind is replaced; the port removes its own when it stops.  On Linux a
            path that begins with NUL names an abstract socket.
        @param mode: the file mode of the path.
        @param ipv6Only: whether C{"::"}, or no interface, stands for every IPv6 address
            alone (IPV6_V6ONLY).  It needs epoll and a POSIX reactor of Twisted's.
        @param reusePort: whether other processes may listen on the port too,
            and share its clients (SO_REUSEPORT).
        @param noDelay: TCP_NODELAY for each connection, on by default: write-through
            under Nagle's algorithm waits 40 ms for a second small write.
        @param tls: an C{ssl.SSLContext} of the standard library, which is the fastest
            and needs no other package; or a context factory or a creator of TLS
            connections, as for L{wrapServerTLS
            <twisted.internet.endpoints.wrapServerTLS>}, most often a
            L{CertificateOptions<twisted.internet.ssl.CertificateOptions>}.
        @param proxy: the proxies before the server: every connection begins with a
            PROXY header, before any TLS.
        @raise TypeError: for a value of the wrong type.
        @raise ValueError: if a value is out of range, or does not go with another,
            and for C{proxy} and C{ipv6Only} under a reactor that has no poller.
        @raise TLSNotInstalledError: for a C{tls} of Twisted's without the extra
            C{tls}.
        """
        if (port is None) == (path is None):
            raise ValueError("give exactly one of: port, or path")
        if path is not None and (interface or ipv6Only or reusePort):
            raise ValueError("interface, ipv6Only and reusePort go with port")
        if not isinstance(interface, str):
            raise TypeError(f"interface must be a str, not {interface!r}")
        self._tls = None if tls is None else _checked(tls)
        # A view would listen as well, but without all of these options.
        self._reactor: AnyReactor = getattr(reactor, "viewed", reactor)
        self._port = None if port is None else whole("port", port, 0, 65535)
        self._path = None if path is None else pathName(path)
        self._mode = whole("mode", mode, 0, 0o777)
        self._proxy = checkedProxy(self._reactor, proxy)
        self._interface = canonical(interface)
        self._ipv6Only = flag("ipv6Only", ipv6Only)
        if ipv6Only and self._interface and ":" not in self._interface:
            raise ValueError(f"ipv6Only goes with an IPv6 interface, not {interface!r}")
        if ipv6Only and not canPoll(self._reactor):
            raise ValueError(f"ipv6Only {_NEEDED}")
        self._backlog = whole("backlog", backlog, 1, 2**31 - 1)
        self._reusePort = flag("reusePort", reusePort)
        self._noDelay = flag("noDelay", noDelay)

    def __repr__(self) -> str:
        if self._path is not None:
            return f"<ServerEndpoint unix:{printable(self._path)}>"
        return f"<ServerEndpoint [{self._interface}]:{self._port}>"

    def listen(
        self, protocolFactory: ProtocolFactory | IProtocolFactory
    ) -> Deferred[IListeningPort]:
        """
        See L{IStreamServerEndpoint<twisted.internet.interfaces.IStreamServerEndpoint>}.
        """
        listening = execute(self._listen, cast(IProtocolFactory, protocolFactory))
        if self._proxy is not None:
            listening.addCallback(putBehind, self._proxy, isOwn=True)
        return listening

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        if self._path is not None and not self._path.startswith(b"\0") and not vacate(self._path):
            taken = OSError(EADDRINUSE, os.strerror(EADDRINUSE))
            raise CannotListenError(None, self._path, taken)
        if not canPoll(self._reactor):
            return self._listenSlowly(factory)
        port = self._tcpPort(factory) if self._path is None else self._unixPort(factory)
        if self._tls is not None:
            port.engineMaker = engineMaker(self._tls, False, factory)
        port.startListening()
        return port

    def _tcpPort(self, factory: IProtocolFactory) -> AcceptingPort:
        binding, interface = self._binding()
        return WriteThroughPort(
            binding,
            factory,
            self._backlog,
            interface,
            self._reactor,
            self._noDelay,
            self._ipv6Only,
        )

    def _unixPort(self, factory: IProtocolFactory) -> AcceptingPort:
        from twisted_tcpdemo.fast.unix import UNIXPort

        assert self._path is not None
        return UNIXPort(self._path, factory, self._backlog, self._mode, self._reactor)

    def _binding(self) -> tuple[int | Binding, str]:
        """
        The number to bind, or more than that, and the interface.
        """
        assert self._port is not None
        interface = self._interface or ("::" if self._ipv6Only or hasIPv6() else "")
        if self._reusePort:
            return makeBinding(interface, self._port, reuseAddress=True, reusePort=True), interface
        return self._port, interface

    def _listenSlowly(self, factory: IProtocolFactory) -> IListeningPort:
        """
        Listen with the reactor's own transport.
        """
        if isinstance(self._tls, SSLContext):
            raise NoEngineError
        if self._tls is not None:
            from twisted.protocols.tls import TLSMemoryBIOFactory

            factory = TLSMemoryBIOFactory(self._tls, False, factory)
        port: IListeningPort
        if self._path is not None:
            port = self._reactor.listenUNIX(
                self._path, factory, backlog=self._backlog, mode=self._mode
            )
        else:
            binding, interface = self._binding()
            port = self._reactor.listenTCP(
                binding, factory, backlog=self._backlog, interface=interface
            )
        return port


def _checked(
    tls: object,
) -> SSLContext | IOpenSSLContextFactory | IOpenSSLServerConnectionCreator:
    """
    Check that an object makes TLS connections.

    @raise TypeError: if it does not.
    @raise ValueError: for an C{SSLContext} of a client.
    @raise TLSNotInstalledError: for one of Twisted's without the extra C{tls}.
    """
    if isinstance(tls, SSLContext):
        if tls.protocol is PROTOCOL_TLS_CLIENT:
            raise ValueError("tls is an SSLContext for a client: make it with PROTOCOL_TLS_SERVER")
        return tls
    needTLS()
    if IOpenSSLServerConnectionCreator.providedBy(tls):
        return tls
    if not callable(getattr(tls, "getContext", None)):
        raise TypeError(f"tls must be an SSLContext or CertificateOptions, not {tls!r}")
    return cast(IOpenSSLContextFactory, tls)


def checkedProxy(reactor: object, proxy: object) -> Proxy | None:
    """
    Check that there are proxies, or none, and that a reactor can serve clients
    behind them.

    @raise TypeError: if it is no L{Proxy}.
    @raise ValueError: if the reactor has no poller.
    """
    if not isinstance(proxy, Proxy | None):
        raise TypeError(f"proxy must be a Proxy, not {proxy!r}")
    if proxy is not None and not canPoll(getattr(reactor, "viewed", reactor)):
        raise ValueError(f"proxy {_NEEDED}")
    return proxy


def vacate(path: str | bytes) -> bool:
    """
    Remove a UNIX socket on which no process listens, and nothing else.

    @return: whether the path is free now.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                os.unlink(path)
        except OSError:
            pass  # bind() will tell what is wrong
    return not os.path.lexists(path)


def hasIPv6() -> bool:
    """
    Whether the system can bind an IPv6 socket.
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
    reactor: AnyReactor,
    port: str,
    *,
    interface: str = "",
    backlog: str = "511",
    ipv6Only: str = "no",
    reusePort: str = "no",
    noDelay: str = "yes",
    proxy: str = "",
) -> ServerEndpoint:
    """
    Build the endpoint of a C{fasttcp:} string,
    C{fasttcp:port:interface=..:backlog=..:ipv6Only=..:reusePort=..:noDelay=..:proxy=..}.

    @param proxy: the networks of the proxies, with commas between them.

    @raise ValueError: if a value is malformed or out of range.
    """
    if interface and not isIPv6Address(interface) and not isIPAddress(interface):
        raise ValueError(f"interface must be an IP address, not {interface!r}")
    return ServerEndpoint(
        reactor,
        decimal("port", port),
        interface,
        decimal("backlog", backlog),
        ipv6Only=_isYes("ipv6Only", ipv6Only),
        reusePort=_isYes("reusePort", reusePort),
        noDelay=_isYes("noDelay", noDelay),
        proxy=Proxy(trusted=proxy.split(",")) if proxy else None,
    )


_WORDS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def _isYes(name: str, word: str) -> bool:
    if word.lower() not in _WORDS:
        raise ValueError(f"{name} must be yes or no, not {word!r}")
    return _WORDS[word.lower()]
