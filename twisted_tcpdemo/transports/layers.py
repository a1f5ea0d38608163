"""
The layers under a protocol: wrappers, TLS, and the transport that owns the socket.

Twisted keeps some of the facts needed here in private attributes.  They are read
in this module and nowhere else; L{PRIVATE_NAMES} lists them, and a test compares
the list with the installed Twisted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

from twisted.internet import endpoints
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
)
from twisted.internet.interfaces import (
    IProtocol,
    IReactorFDSet,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure

from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.interfaces import ICountingTransport
from twisted_tcpdemo.tls.context import EngineMaker, makerOf

PRIVATE_NAMES: Final = {
    "twisted.internet.abstract.FileDescriptor": ("_tempDataLen", "_writeDisconnected"),
    "twisted.protocols.tls.TLSMemoryBIOProtocol": ("_appSendBuffer", "_handshakeDone", "_producer"),
    "twisted.protocols.tls.BufferingTLSTransport": ("_aggregator",),
    "twisted.protocols.tls._AggregateSmallWrites": ("_bufferLeft",),
    "twisted.internet.endpoints._WrappingProtocol": ("_wrappedProtocol",),
    "twisted.internet.endpoints": ("_WrapperEndpoint",),
    "twisted.internet.endpoints._WrapperEndpoint": ("_wrappedEndpoint", "_wrapperFactory"),
    "twisted.internet.endpoints.HostnameEndpoint": (
        "_hostBytes",
        "_port",
        "_timeout",
        "_bindAddress",
        "_reactor",
    ),
    "twisted.internet.endpoints.TCP4ClientEndpoint": ("_host", "_reactor"),
    "twisted.internet.endpoints.UNIXClientEndpoint": ("_reactor",),
    "twisted.internet.defer.Deferred": ("_callbacks", "_debugInfo"),
}

_KNOWN: Final = (HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint)
"""Endpoints that connect by the methods of their reactor."""


def bottomOf(transport: object) -> Any:
    """
    The transport that owns the socket, below TLS, PROXY and other wrappers.
    """
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport


def layersOf(transport: object) -> list[Any]:
    """
    A transport and those below it, the one that owns the socket last.
    """
    layers = [transport]
    while isinstance(layers[-1], ProtocolWrapper):
        layers.append(layers[-1].transport)
    return layers


def isOver(transport: object) -> bool:
    """
    Whether a transport has lost its socket.
    """
    bottom = bottomOf(transport)
    return isinstance(bottom, FileDescriptor) and bool(bottom.disconnected)


def descriptorOf(transport: object) -> int:
    """
    The number of the socket below a transport; C{-1} if there is none.
    """
    fileno = getattr(bottomOf(transport), "fileno", None)
    return -1 if fileno is None else fileno()


def isReading(transport: object) -> bool:
    """
    Whether the transport that owns the socket reads, and is not paused.
    """
    bottom = bottomOf(transport)
    reading: bool | None = getattr(bottom, "reading", None)
    if reading is not None:
        return reading
    # Only its reactor knows of one of Twisted's.
    reactor = getattr(bottom, "reactor", None)
    return bottom in (reactor.getReaders() if IReactorFDSet.providedBy(reactor) else ())


def tlsOf(transport: object) -> Any | None:
    """
    The layer of Twisted's that encrypts, or L{None}: a wrapper around the transport,
    or the layer that C{startTLS} has put in front of the protocol.
    """
    while isinstance(transport, ProtocolWrapper):
        # Its own: another wrapper above it forwards to all that it has.
        if "_appSendBuffer" in vars(transport):
            return transport
        transport = transport.transport
    if ICountingTransport.providedBy(transport):
        return None  # it encrypts by itself
    # A lost connection lets that layer go before it tells the protocol.
    return getattr(transport, "protocol", None) if getattr(transport, "TLS", False) else None


def isEncrypted(transport: object) -> bool:
    """
    Whether TLS is on a connection, as a layer or inside its transport.
    """
    return tlsOf(transport) is not None or getattr(bottomOf(transport), "TLS", False)


def countsItself(transport: object) -> bool:
    """
    Whether a transport counts the bytes of its protocol.

    A TLS layer claims to provide every interface of the transport below it, which
    counts ciphertext.
    """
    return not isinstance(transport, ProtocolWrapper) and ICountingTransport.providedBy(transport)


def heldBy(transport: object) -> Any:
    """
    What a transport delivers to; L{None} if it is nothing.
    """
    return getattr(transport, _placeOf(transport), None)


def deliversTo(transport: object, protocol: object) -> bool:
    """
    Whether a transport delivers to a protocol, directly or through the wrapper of
    Twisted's endpoints.
    """
    held = heldBy(transport)
    return held is protocol or getattr(held, "_wrappedProtocol", None) is protocol


def replaceProtocol(transport: object, old: IProtocol, new: IProtocol) -> None:
    """
    Let a transport deliver to another protocol, if it delivers to C{old} now.
    """
    if deliversTo(transport, old):
        setattr(transport, _placeOf(transport), new)


def _placeOf(transport: object) -> str:
    """
    Where a transport has its protocol.
    """
    return "wrappedProtocol" if isinstance(transport, ProtocolWrapper) else "protocol"


def withHosts(
    endpoint: IStreamClientEndpoint,
    replacement: Callable[[str, int, float, str | None], IStreamClientEndpoint | None],
) -> IStreamClientEndpoint:
    """
    Put another endpoint in place of one of Twisted's that connects over TCP, alone or
    below a layer of TLS.  Any other endpoint is left as it is.

    @param replacement: is called with host, port, seconds for each address, and the
        local address.  It returns L{None} to leave the endpoint as it is.
    """
    if type(endpoint) is HostnameEndpoint:
        host = endpoint._hostBytes.decode("ascii")
    elif type(endpoint) is TCP4ClientEndpoint:
        host = endpoint._host
    else:
        if type(endpoint) is endpoints._WrapperEndpoint:
            endpoint._wrappedEndpoint = withHosts(endpoint._wrappedEndpoint, replacement)
        return endpoint
    bind: Any = endpoint._bindAddress  # of a string: None, or an address and 0
    local = bind and bind[0]
    return replacement(host, endpoint._port, endpoint._timeout, local) or endpoint


def withoutTLS(
    endpoint: IStreamClientEndpoint, reactor: object
) -> tuple[IStreamClientEndpoint, EngineMaker | None]:
    """
    Take Twisted's layer of TLS away from a client's endpoint, as C{wrapClientTLS} and
    C{tls:} strings put it there.

    @param reactor: the reactor that will encrypt in its place.
    @return: the endpoint behind it, and the maker of engines in its place; or the
        endpoint as it is, if it may connect in another way.
    """
    tls = sys.modules.get("twisted.protocols.tls")
    if tls is None or type(endpoint) is not endpoints._WrapperEndpoint:
        return endpoint, None
    behind: Any = endpoint._wrappedEndpoint
    wrapping = endpoint._wrapperFactory(None)
    known = type(behind) in _KNOWN and behind._reactor is reactor
    if not known or type(wrapping) is not tls.TLSMemoryBIOFactory:
        return endpoint, None
    return behind, makerOf(wrapping, True)


def clockOf(transport: object) -> IReactorTime:
    """
    The L{steady} clock of the reactor that runs a transport.  A transport without
    one, as in a unit test, has that of the installed reactor.
    """
    clock: IReactorTime | None = getattr(transport, "reactor", None)
    if not IReactorTime.providedBy(clock):
        from twisted.internet import reactor

        clock = IReactorTime(reactor)
    return steady(clock)


def queuedBytes(transport: object) -> int:
    """
    Bytes that a transport and all layers below it hold for the operating system.
    """
    queued = 0
    tls = tlsOf(transport)
    if tls is not None:
        queued += sum(map(len, tls._appSendBuffer))
        left: int | None = getattr(getattr(tls, "_aggregator", None), "_bufferLeft", None)
        if left is not None:  # small writes are not added up: there may be thousands
            queued += tls._aggregator.MAX_BUFFER_SIZE - left
    bottom = bottomOf(transport)
    if ICountingTransport.providedBy(bottom):
        queued += bottom.bytesPending
    elif isinstance(bottom, FileDescriptor):
        queued += len(bottom.dataBuffer) - bottom.offset + bottom._tempDataLen
    return queued


def accepts(transport: object) -> bool:
    """
    Whether bytes written now are sent.  Twisted drops them silently otherwise.
    """
    bottom = bottomOf(transport)
    if not getattr(bottom, "connected", True) or getattr(bottom, "_writeDisconnected", False):
        return False
    if bottom is transport and not getattr(transport, "TLS", False):
        return True  # the most common case, found without another look
    tls = tlsOf(transport)
    return tls is None or not tls.disconnecting or tls._producer is not None


def isHandshaking(transport: object) -> bool:
    """
    Whether a TLS handshake has begun and not ended.
    """
    bottom = bottomOf(transport)
    if ICountingTransport.providedBy(bottom) and bottom.handshaking:
        return True
    tls = tlsOf(transport)
    return tls is not None and not tls._handshakeDone


def hasBegunTLS(transport: object) -> bool:
    """
    Whether the peer has sent anything of a TLS handshake.  Of Twisted's own TLS it is known
    only when the handshake is done.
    """
    if getattr(bottomOf(transport), "hasBegunTLS", False):
        return True
    tls = tlsOf(transport)
    return tls is not None and bool(tls._handshakeDone)


def tellsHandshake(transport: object) -> bool:
    """
    Whether the protocol of a transport with TLS will hear that the handshake is done.
    Other wrappers above the layer that encrypts do not pass it on.
    """
    return countsItself(transport) or tlsOf(transport) is transport


def hasLateAddresses(transport: object) -> bool:
    """
    Whether the addresses may change with the first data, as they do behind a PROXY
    header (twisted #12501).
    """
    return isinstance(transport, ProtocolWrapper)


def isWatched(waiter: Deferred[Any]) -> bool:
    """
    Whether somebody has added a callback to a Deferred.
    """
    return bool(waiter._callbacks)


def failQuietly(waiter: Deferred[Any], error: Exception | Failure) -> None:
    """
    Fail a Deferred.  If nobody has looked at it, Twisted logs nothing about it.
    Whoever looks later gets the failure, and Twisted logs it again if it is not
    handled then.
    """
    isUnasked = not isWatched(waiter)
    waiter.errback(error)
    if isUnasked and waiter._debugInfo is not None:
        waiter._debugInfo.failResult = None
