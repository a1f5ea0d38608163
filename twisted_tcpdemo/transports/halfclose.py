"""
Half-close through wrappers.

At the peer's FIN a transport asks whether what is above it provides
L{IHalfCloseableProtocol}, and if not, it closes and drops what is buffered.
Twisted's L{ProtocolWrapper} does not provide it, whatever it wraps; so with one
of them in between, a PROXY header's for example, the protocol would never be
asked.  Here such wrappers learn to pass on what they are told, as long as the
connection lasts.

Where there is TLS, nothing is changed: under it a FIN is a truncation unless
TLS itself has ended before (RFC 8446, section 6.1), and Twisted knows no
half-open TLS connection.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.protocols.policies import ProtocolWrapper

from twisted_tcpdemo.transports.layers import tlsOf
from twisted_tcpdemo.transports.patches import Patches


def relayHalfClose(transport: Any, close: Callable[[], object]) -> Patches | None:
    """
    Let a protocol hear of its halves through all wrappers below it.

    @param transport: the protocol's transport: the topmost wrapper, or one
        without any.
    @param close: is called at the peer's FIN if something that cannot be
        half-closed has taken the protocol's place behind a wrapper.
    @return: what has been placed for that, to be removed when the connection
        is over; L{None} if there was nothing to do.
    """
    if not isinstance(transport, ProtocolWrapper) or tlsOf(transport) is not None:
        return None
    patches = Patches()
    while isinstance(transport, ProtocolWrapper):
        if not _knowsItself(transport):
            patches.place(transport, "readConnectionLost", partial(_readEnded, transport, close))
            patches.place(transport, "writeConnectionLost", partial(_writeEnded, transport))
            patches.declare(transport, IHalfCloseableProtocol)
        transport = transport.transport
    # Twisted's client endpoints put one more below, which can pass it on, and
    # looked at the wrapper before it was one that is worth telling.
    front = getattr(transport, "protocol", None)
    if _knowsItself(front) and not isinstance(front, ProtocolWrapper):
        patches.declare(front, IHalfCloseableProtocol)
    return patches


def _knowsItself(layer: object) -> bool:
    """
    Whether it has a hook of its own.  What it provides does not tell: a wrapper
    claims to provide all that its transport does, and forwards to it all that
    it does not have.
    """
    return hasattr(type(layer), "readConnectionLost")


def _readEnded(wrapper: Any, close: Callable[[], object]) -> None:
    """
    Pass it on to what is wrapped now.
    """
    wrapped: Any = IHalfCloseableProtocol(wrapper.wrappedProtocol, None)
    (close if wrapped is None else wrapped.readConnectionLost)()


def _writeEnded(wrapper: Any) -> None:
    """
    Pass it on, if what is wrapped now wants to know.
    """
    wrapped: Any = IHalfCloseableProtocol(wrapper.wrappedProtocol, None)
    if wrapped is not None:
        wrapped.writeConnectionLost()
