"""
The endpoint of a client.
"""

from __future__ import annotations

import os
from ssl import SSLContext
from typing import Any, TypeVar

from twisted.internet.address import HostnameAddress, UNIXAddress
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from zope.interface import implementer

from twisted_tcpdemo.client.connecting import Connecting
from twisted_tcpdemo.client.encryption import Encryption, ownView
from twisted_tcpdemo.client.halves import Halves
from twisted_tcpdemo.client.names import checkHost, encoded
from twisted_tcpdemo.client.retry import Retry
from twisted_tcpdemo.client.strings import checkString
from twisted_tcpdemo.client.targets import (
    ATTEMPT_DELAY,
    HostTarget,
    SocketTarget,
    StringTarget,
    checkDelay,
    pathTarget,
)
from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.connection.running import Answer
from twisted_tcpdemo.connection.stream import Stream
from twisted_tcpdemo.errors import TLSNotInstalledError
from twisted_tcpdemo.fast.reactor import FastReactor
from twisted_tcpdemo.shapes import AnyReactor, Connectable, ProtocolFactory
from twisted_tcpdemo.transports.layers import withoutTLS
from twisted_tcpdemo.transports.socketoptions import (
    KEEP_ALIVE_COUNT,
    KEEP_ALIVE_INTERVAL,
    SocketOptions,
)
from twisted_tcpdemo.values.checks import nonNegative, whole
from twisted_tcpdemo.values.text import printable

P = TypeVar("P", bound="Connectable | IProtocol")


@implementer(IStreamClientEndpoint)
class ClientEndpoint:
    """
    Connects to a host, to a UNIX socket, or over an open socket.

    The same object can connect any number of times.  It takes any protocol;
    a L{TCPDemoProtocol<twisted_tcpdemo.TCPDemoProtocol>} has the same counts
    and addresses as on a server.
    """

    def __init__(
        self,
        reactor: AnyReactor,
        host: str | None = None,
        port: int | None = None,
        *,
        path: str | bytes | os.PathLike[str] | None = None,
        fd: int | None = None,
        readable: bool = True,
        writable: bool = True,
        localAddress: str | None = None,
        localPort: int | None = None,
        timeout: float | None = 30.0,
        tls: SSLContext | IOpenSSLClientConnectionCreator | bool | None = None,
        allowHalfOpen: bool | None = None,
        noDelay: bool = True,
        keepAlive: bool = False,
        keepAliveInitialDelay: float = 0.0,
        keepAliveInterval: float = KEEP_ALIVE_INTERVAL,
        keepAliveCount: int = KEEP_ALIVE_COUNT,
        attemptDelay: float = ATTEMPT_DELAY,
        retry: Retry | int | None = None,
    ) -> None:
        """
        Give exactly one of: C{host} and C{port}, C{path}, or C{fd}.

        @param host: a name or an IP address, without brackets.  The addresses
            of a name race one another, and the first to connect wins (RFC 8305).
            A name is encoded by IDNA 2008, for the look-up and for TLS alike.
        @param port: 1 to 65535.
        @param path: the path of a UNIX socket; on Linux a path that begins with
            NUL names an abstract socket.
        @param fd: the descriptor of a connected stream socket, TCP or UNIX.
            C{connect()} duplicates it, so you may close yours at any time.  Both
            descriptors name one socket: it becomes non-blocking, and it ends for
            both when the connection is closed.
        @param readable: C{False} ends the reading side of C{fd}: nothing is
            read, and the peer's end is noticed only when a write fails.
        @param writable: C{False} ends the writing side of C{fd}: the peer gets a
            FIN when C{connectionMade} has returned.
        @param localAddress: the IP address to connect from.
        @param localPort: the port to connect from; C{0} for any.  Without one, a
            connection to itself counts as refused.
        @param timeout: seconds for one attempt, from the look-up of the name to the
            end of the TLS handshake; L{None} or C{0} for no limit.
        @param tls: the options of TLS, from
            L{optionsForClientTLS<twisted.internet.ssl.optionsForClientTLS>}; an
            C{ssl.SSLContext} of the standard library, which needs no other package
            and checks for the name C{host} if it has C{check_hostname}; C{True} for
            the system's trust and the name C{host}.
        @param allowHalfOpen: whether a L{TCPDemoProtocol
            <twisted_tcpdemo.TCPDemoProtocol>} keeps its side open at the peer's
            FIN.  This value prevails over the protocol's and its factory's;
            L{None} leaves it to them.
        @param noDelay: TCP_NODELAY.  A
            L{TCPDemoFactory<twisted_tcpdemo.TCPDemoFactory>} has its own values of
            this and of the next two; they are set later and prevail.
        @param keepAlive: SO_KEEPALIVE.
        @param keepAliveInitialDelay: seconds of silence before the first probe;
            C{0} leaves the system's own.
        @param keepAliveInterval: seconds between probes that are not answered;
            C{0} leaves the system's own.
        @param keepAliveCount: the number of such probes after which the peer is
            taken for dead; C{0} leaves the system's own.
        @param attemptDelay: seconds from the attempt with one address of a name to
            that with the next; C{0.01} or more.  When one fails, the next starts at
            once.
        @param retry: the number of attempts in all, or a L{Retry}; L{None} for one
            attempt.  Another attempt follows a failure of the network or of the
            look-up, and a timeout, but not an untrusted certificate.
        @raise TypeError: for a value of the wrong type.
        @raise ValueError: for a value out of range, or one that does not go with
            another.
        @raise TLSNotInstalledError: for C{True} or a C{tls} of Twisted's without
            the extra C{tls}.
        """
        _checkReactor(reactor)
        given = {"host": host, "path": path, "fd": fd}
        if sum(value is not None for value in given.values()) != 1:
            raise ValueError("give exactly one of: host and port, path, or fd")
        if (host is None) != (port is None):
            raise ValueError("host and port go together")
        if host is None and not (localAddress is None and localPort is None):
            raise ValueError("localAddress and localPort go with host")
        if fd is None and not (readable and writable):
            raise ValueError("readable and writable go with fd")
        if fd is not None and retry is not None:
            raise ValueError("an open socket cannot be tried again: no retry with fd")
        checkDelay(attemptDelay)
        address: IAddress | None = None
        endpoint: IStreamClientEndpoint
        shown = host
        if host is not None:
            family = checkHost(host)
            host = encoded(host)
            shown = host if family else shown
        encryption = Encryption(tls, host, reactor)
        if host is not None and port is not None:
            name = f"[{host}]:{port}" if ":" in host else f"{shown}:{port}"
            endpoint = HostTarget(
                encryption.reactor,
                host,
                port,
                localAddress,
                localPort,
                attemptDelay=attemptDelay,
                name=name,
            )
            address = HostnameAddress(host.encode("ascii"), port)
        elif path is not None:
            pathName, endpoint = pathTarget(encryption.reactor, path)
            address, name = UNIXAddress(pathName), f"unix:{printable(pathName)}"
        elif fd is not None:
            endpoint, name = SocketTarget(encryption.reactor, fd), f"fd {fd}"
        if tls is not None and tls is not False:
            if not (readable and writable) or allowHalfOpen:
                raise ValueError("TLS has no half-open connections")
            endpoint = encryption.around(endpoint)
            name += " (TLS)"
        self._setUp(
            reactor,
            endpoint,
            name=name,
            address=address,
            timeout=timeout,
            retry=retry,
            options=SocketOptions(
                noDelay, keepAlive, keepAliveInitialDelay, keepAliveInterval, keepAliveCount
            ),
            halves=Halves(allowHalfOpen, readable, writable),
        )

    @classmethod
    def fromString(
        cls,
        description: str,
        reactor: AnyReactor = None,
        *,
        timeout: float | None = 30.0,
        allowHalfOpen: bool | None = None,
        noDelay: bool = True,
        keepAlive: bool = False,
        keepAliveInitialDelay: float = 0.0,
        keepAliveInterval: float = KEEP_ALIVE_INTERVAL,
        keepAliveCount: int = KEEP_ALIVE_COUNT,
        attemptDelay: float = ATTEMPT_DELAY,
        retry: Retry | int | None = None,
    ) -> ClientEndpoint:
        """
        The endpoint that a string of Twisted's describes.

        @param description: such as C{"tls:example.org:443"}; see
            L{clientFromString<twisted.internet.endpoints.clientFromString>}.
        @param reactor: the reactor; L{None} for the installed one.
        @param timeout: see C{__init__}, as for all further parameters.  A timeout
            in the string holds too, for each address.
        @raise TypeError: for a value of the wrong type.
        @raise ValueError: if the string is no client endpoint.
        @raise TLSNotInstalledError: for a string with TLS, without the extra
            C{tls}.
        """
        if reactor is None:
            from twisted.internet import reactor
        if not isinstance(description, str):
            raise TypeError(f"the description must be a str, not {description!r}")
        _checkReactor(reactor)
        checkDelay(attemptDelay)
        try:
            view = ownView(reactor)
            endpoint = StringTarget(
                view,
                _ofString(view, checkString(description)),
                name=description,
                attemptDelay=attemptDelay,
            )
        except TLSNotInstalledError:
            raise
        except TypeError as error:
            # Its text names functions inside Twisted.
            raise ValueError(f"{description!r} is no client endpoint: wrong arguments") from error
        except Exception as error:
            raise ValueError(f"{description!r} is no client endpoint: {error}") from error
        self = cls.__new__(cls)
        self._setUp(
            reactor,
            endpoint,
            name=description,
            address=None,
            timeout=timeout,
            retry=retry,
            options=SocketOptions(
                noDelay, keepAlive, keepAliveInitialDelay, keepAliveInterval, keepAliveCount
            ),
            halves=Halves(allowHalfOpen),
        )
        return self

    def _setUp(
        self,
        reactor: AnyReactor,
        endpoint: IStreamClientEndpoint,
        *,
        name: str,
        address: IAddress | None,
        timeout: float | None,
        retry: Retry | int | None,
        options: SocketOptions,
        halves: Halves,
    ) -> None:
        """
        The common part of C{__init__} and C{fromString}.
        """
        if retry is None:
            retry = 1
        if not isinstance(retry, Retry):
            retry = Retry(whole("retry", retry, 1))
        self._reactor = reactor
        self._endpoint = endpoint
        self._name = name
        self._address = address
        self._timeout = nonNegative("timeout", timeout)
        self._retry = retry
        self._options = options
        self._halves = halves

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name}>"

    def connect(self, protocolFactory: ProtocolFactory | IProtocolFactory) -> Deferred[Any]:
        """
        Connect a protocol that a factory builds.

        @return: fires with the protocol, when C{connectionMade} has returned.
            It fails with the exception of C{buildProtocol} or C{connectionMade};
            with L{NoProtocol<twisted.internet.error.NoProtocol>} if the factory
            builds no protocol, or has no slot; otherwise with the failure of the
            last attempt: most often a
            L{ConnectFailedError<twisted_tcpdemo.errors.ConnectFailedError>}, which is
            also one of Twisted's own such as
            L{ConnectionRefusedError<twisted.internet.error.ConnectionRefusedError>} or
            L{TimeoutError<twisted.internet.error.TimeoutError>}, or a
            L{NoAddressError<twisted_tcpdemo.errors.NoAddressError>}, under TLS
            an error of pyOpenSSL, service_identity or C{ssl}.  Cancelling it, at any
            stage, leaves nothing behind; it then fails with
            L{ConnectCancelledError<twisted_tcpdemo.errors.ConnectCancelledError>}.
        """
        if not callable(getattr(protocolFactory, "buildProtocol", None)):
            wrong = f"connect() takes a factory, not {protocolFactory!r}"
            return fail(TypeError(f"{wrong}; connectProtocol() takes a protocol"))
        connecting = Connecting(
            protocolFactory,
            self._endpoint,
            steady(self._reactor),
            name=self._name,
            address=self._address,
            options=self._options,
            halves=self._halves,
            timeout=self._timeout,
            delays=self._retry.delays(),
        )
        connecting.attempt()
        return connecting.result

    def connectProtocol(self, protocol: P) -> Deferred[P]:
        """
        Connect a protocol, without a factory.

        @return: see L{connect}.
        """
        if not IProtocol.providedBy(protocol):
            wrong = f"connectProtocol() takes an instance of a protocol, not {protocol!r}"
            return fail(TypeError(f"{wrong}; connect() takes a factory"))
        return self.connect(_One(protocol))

    def open(self) -> Deferred[Stream]:
        """
        Connect a L{Stream<twisted_tcpdemo.Stream>}, to read and write by C{await}::

            async with await endpoint.open() as stream: ...

        @return: see L{connect}.
        """
        return Answer.following(self.connectProtocol(Stream()))


class _One(Factory[Any]):
    """
    A factory for one existing protocol.
    """

    noisy = False

    def __init__(self, protocol: Connectable) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> Connectable:
        """
        Return the protocol.
        """
        return self._protocol


def _checkReactor(reactor: object) -> None:
    """
    Check a reactor before all else: where it has been forgotten, every argument is in
    the place of another.

    @raise TypeError: if it is none.
    """
    if not IReactorTime.providedBy(reactor):
        raise TypeError(f"reactor must be a reactor of Twisted's, not {reactor!r}")


def _ofString(reactor: AnyReactor, description: str) -> IStreamClientEndpoint:
    """
    The endpoint of a string.  On our transport TLS is inside, not a layer.
    """
    endpoint: IStreamClientEndpoint = clientFromString(reactor, description)
    if isinstance(reactor, FastReactor):
        endpoint, reactor.engineMaker = withoutTLS(endpoint, reactor)
    return endpoint
