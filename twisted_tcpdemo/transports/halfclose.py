"""
Half-close through wrappers.

At the peer's FIN a transport asks whether its protocol provides
L{IHalfCloseableProtocol}; if not, it closes and drops buffered bytes.  Twisted's
L{ProtocolWrapper} does not provide it, whatever it wraps.  With such a wrapper in
between, that of a PROXY header for example, the protocol would never be asked.
Here the wrappers learn to pass the halves on, as long as the connection lasts.

Under TLS nothing is changed.  There a FIN is a truncation unless TLS itself has
ended before (RFC 8446, section 6.1), and Twisted knows no half-open TLS
connection.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.protocols.policies import ProtocolWrapper

from twisted_tcpdemo.transports.layers import isEncrypted
from twisted_tcpdemo.transports.patches import Patches


def relayHalfClose(transport: object, close: Callable[[], object]) -> Patches | None:
    """
    Let a protocol hear of its halves through all wrappers below it.

    @param transport: the transport of the protocol, wrapped or not.
    @param close: is called at the peer's FIN if a protocol that cannot be
        half-closed has taken the place behind a wrapper.
    @return: the patches, to be removed when the connection is over; L{None} if
        none were needed.
    """
    if not isinstance(transport, ProtocolWrapper) or isEncrypted(transport):
        return None
    patches = Patches()
    while isinstance(transport, ProtocolWrapper):
        if not _knowsItself(transport):
            patches.place(transport, "readConnectionLost", partial(_readEnded, transport, close))
            patches.place(transport, "writeConnectionLost", partial(_writeEnded, transport))
            patches.declare(transport, IHalfCloseableProtocol)
        transport = transport.transport
    # Twisted's client endpoints put one more wrapper below.  It can pass the
    # halves on, but looked at the protocol before that could be half-closed.
    front = getattr(transport, "protocol", None)
    if _knowsItself(front) and not isinstance(front, ProtocolWrapper):
        patches.declare(front, IHalfCloseableProtocol)
    return patches


def _knowsItself(layer: object) -> bool:
    """
    Whether a layer has a hook of its own.  Its interfaces do not tell: a wrapper
    claims to provide those of its transport, and forwards to it.
    """
    return hasattr(type(layer), "readConnectionLost")


def _readEnded(wrapper: ProtocolWrapper, close: Callable[[], object]) -> None:
    """
    Pass the peer's FIN on to the wrapped protocol.
    """
    wrapped = IHalfCloseableProtocol(wrapper.wrappedProtocol, None)
    (close if wrapped is None else wrapped.readConnectionLost)()


def _writeEnded(wrapper: ProtocolWrapper) -> None:
    """
    Pass the end of our half on, if the wrapped protocol wants to know.
    """
    wrapped = IHalfCloseableProtocol(wrapper.wrappedProtocol, None)
    if wrapped is not None:
        wrapped.writeConnectionLost()
