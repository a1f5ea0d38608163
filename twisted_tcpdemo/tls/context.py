"""
What C{tls} stands for: from a context to the engine of each connection.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from twisted.internet.interfaces import IProtocolFactory

from twisted_tcpdemo.errors import needTLS
from twisted_tcpdemo.tls.engine import Engine
from twisted_tcpdemo.tls.standard import StandardEngine

EngineMaker: TypeAlias = Callable[[Any], Engine]
"""Makes the engine of one connection, given its L{SecureSocket
<twisted_tcpdemo.tls.securesocket.SecureSocket>}."""

PRIVATE_NAMES: Final = {
    "twisted.protocols.tls.TLSMemoryBIOFactory": ("_creatorCallable",),
}


def engineMaker(
    context: object, isClient: bool, factory: object = None, hostname: str | None = None
) -> EngineMaker:
    """
    The maker of engines for a context.

    @param context: an C{ssl.SSLContext}, or whatever Twisted takes: something with
        C{getContext()}, or a creator of TLS connections.
    @param factory: the factory of the protocols; Twisted asks it for those that ALPN
        may choose.
    @param hostname: for an C{ssl.SSLContext} of a client: the server's name, see
        L{certified}.
    @raise TLSNotInstalledError: for a context of Twisted's without the extra C{tls}.
    @raise TypeError: if it is no context.
    @raise ValueError: for an C{ssl.SSLContext} that is to check a name, without one.
    """
    if isinstance(context, ssl.SSLContext):
        if isClient and context.check_hostname and hostname is None:
            # The library would check no name, and not say so.
            raise ValueError("an SSLContext with check_hostname needs a hostname to check")
        standard: ssl.SSLContext = context
        name = None if hostname is None else certified(hostname)
        return lambda _: StandardEngine(standard, isClient, name)
    needTLS()
    from twisted.protocols.tls import TLSMemoryBIOFactory

    # A clock that is not asked for the time: Twisted would import a reactor for it.
    clock: Any = object()
    wrapping: Any = TLSMemoryBIOFactory(context, isClient, factory, clock)  # type: ignore[arg-type]
    return makerOf(wrapping, isClient)


def certified(host: str) -> str:
    """
    A host's name or address as a certificate has it.

    It has no zone, which means something on this machine alone, and not the final dot of
    an absolute name, which is for the look-up (RFC 6066, section 3; RFC 6125, section 2.2).
    """
    return host.partition("%")[0].removesuffix(".")


def unwrapped(factory: IProtocolFactory) -> tuple[IProtocolFactory, EngineMaker | None]:
    """
    Take Twisted's layer of TLS away from a server's factory, as C{wrapServerTLS} puts
    it there.

    @return: the factory behind it, and the maker of engines in its place; or the
        factory as it is.
    """
    tls = sys.modules.get("twisted.protocols.tls")
    if tls is None or type(factory) is not tls.TLSMemoryBIOFactory:
        return factory, None
    behind: IProtocolFactory = factory.wrappedFactory  # type: ignore[attr-defined]
    return behind, makerOf(factory, False)


def makerOf(wrapping: Any, isClient: bool) -> EngineMaker:
    """
    The maker of engines for a C{TLSMemoryBIOFactory} of Twisted's, of that side.
    """
    from twisted_tcpdemo.tls.openssl import OpenSSLEngine

    def make(secure: Any) -> Engine:
        secure.factory = wrapping
        return OpenSSLEngine(wrapping._creatorCallable(secure), isClient)

    return make
