"""
What C{tls} means for a client: a reactor that encrypts, or a layer around an
endpoint.
"""

from __future__ import annotations

from ssl import PROTOCOL_TLS_SERVER, SSLContext

from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint

from twisted_tcpdemo.errors import NoEngineError, needTLS
from twisted_tcpdemo.fast.reactor import FastReactor, fastReactor
from twisted_tcpdemo.shapes import AnyReactor
from twisted_tcpdemo.tls.context import certified, engineMaker


def ownView(reactor: AnyReactor) -> AnyReactor:
    """
    A L{fastReactor} for one endpoint alone.

    The view decides whether its connections are encrypted, and for which name.  So one
    that the program has, for endpoints of all kinds, is left as it is.
    """
    return fastReactor(getattr(reactor, "viewed", reactor))


class Encryption:
    """
    The TLS of a client's connections, or none.

    @ivar reactor: the reactor to connect with.  Its connections are encrypted, if it
        can do that.
    """

    def __init__(self, tls: object, host: str | None, reactor: AnyReactor) -> None:
        """
        @param tls: see L{ClientEndpoint<twisted_tcpdemo.client.endpoint.ClientEndpoint>}.
        @param host: the name or address that a server's certificate has to have, see
            L{certified}.
        @raise TypeError: if C{tls} is nothing of the kind.
        @raise ValueError: for C{True} without a host, and for an C{SSLContext} that
            is a server's or has no name to check.
        @raise TLSNotInstalledError: for one of Twisted's without the extra C{tls}.
        """
        self._wrap: IOpenSSLClientConnectionCreator | None = None
        self.reactor = ownView(reactor)
        if tls is None or tls is False:
            return
        context = _checked(tls, host)
        if isinstance(self.reactor, FastReactor):
            self.reactor.engineMaker = engineMaker(context, True, hostname=host)
        elif isinstance(context, SSLContext):
            raise NoEngineError
        else:
            self._wrap = context

    def around(self, endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
        """
        The endpoint of encrypted connections, given one that uses the reactor.
        """
        return endpoint if self._wrap is None else wrapClientTLS(self._wrap, endpoint, self.reactor)


def _checked(tls: object, host: str | None) -> SSLContext | IOpenSSLClientConnectionCreator:
    """
    The context that C{tls} stands for.
    """
    if isinstance(tls, SSLContext):
        if tls.protocol is PROTOCOL_TLS_SERVER:
            raise ValueError("tls is an SSLContext for a server: make it with PROTOCOL_TLS_CLIENT")
        return tls
    if tls is True:
        if host is None:
            raise ValueError("tls=True goes with host; else say what name to expect")
        needTLS()
        from twisted.internet.ssl import optionsForClientTLS

        return optionsForClientTLS(certified(host))
    needTLS()
    if not IOpenSSLClientConnectionCreator.providedBy(tls):
        raise TypeError(
            f"tls must be True, an SSLContext, or what optionsForClientTLS returns, not {tls!r}"
        )
    return tls
