"""
The socket options of TCP connections.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from twisted.internet.interfaces import IUNIXTransport
from twisted.logger import Logger

from twisted_tcpdemo.transports.layers import bottomOf
from twisted_tcpdemo.values.checks import flag, nonNegative

_log = Logger(namespace="tcpdemo")

LONGEST_KEEP_ALIVE_DELAY: Final = 32767
"""The longest TCP_KEEPIDLE that Linux takes, in seconds (MAX_TCP_KEEPIDLE); the
shortest is 1."""

_KEEP_ALIVE_DELAY: Final[int | None] = getattr(
    socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None)
)
"""The system's number of the option; macOS has its own name for it."""

# Looked up once, not for each connection: the look-up takes half as long as the call.
_isUNIX: Final = IUNIXTransport.providedBy


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """
    The TCP options of a connection.

    @ivar noDelay: TCP_NODELAY, which switches Nagle's algorithm off.
    @ivar keepAlive: SO_KEEPALIVE.
    @ivar keepAliveInitialDelay: seconds of silence before the first probe
        (TCP_KEEPIDLE).  The kernel gets whole seconds.  C{0} and L{None} leave the
        system's own delay.
    @raise TypeError: for a value of the wrong type.
    @raise ValueError: for a delay that the kernel would refuse.  It would use its
        own instead, two hours.
    """

    noDelay: bool = True
    keepAlive: bool = False
    keepAliveInitialDelay: float = 0.0

    def __post_init__(self) -> None:
        flag("noDelay", self.noDelay)
        flag("keepAlive", self.keepAlive)
        delay = nonNegative("keepAliveInitialDelay", self.keepAliveInitialDelay) or 0.0
        if delay and not 1 <= delay <= LONGEST_KEEP_ALIVE_DELAY:
            raise ValueError(
                f"keepAliveInitialDelay must be 1 to {LONGEST_KEEP_ALIVE_DELAY} seconds, "
                f"or 0 for the system's own, not {delay!r}"
            )
        object.__setattr__(self, "keepAliveInitialDelay", delay)

    def apply(self, transport: Any) -> None:
        """
        Set the options on a connection, through any wrappers.

        The kernel may refuse them when the peer has already reset the connection.
        That error is dropped: the transport is about to report the loss.
        """
        bottom = bottomOf(transport)
        if _isUNIX(bottom):
            return  # Twisted's UNIX transports have these methods too
        if hasattr(bottom, "setTcpNoDelay"):
            bottom.setTcpNoDelay(self.noDelay)
        if self.keepAlive and hasattr(bottom, "setTcpKeepAlive"):
            try:
                bottom.setTcpKeepAlive(True)
                if _KEEP_ALIVE_DELAY is not None and self.keepAliveInitialDelay:
                    seconds = int(self.keepAliveInitialDelay)
                    bottom.socket.setsockopt(socket.IPPROTO_TCP, _KEEP_ALIVE_DELAY, seconds)
            except OSError:
                pass


@lru_cache(maxsize=64)
def socketOptionsOf(
    noDelay: object, keepAlive: object, keepAliveInitialDelay: float
) -> SocketOptions:
    """
    Build the options from three attributes that an application may set at any time.

    The attributes are first checked here, when a client is already connected.  So
    a delay that the kernel would refuse raises nothing: it is logged, once, and
    the system's own delay holds.  Each new connection asks, so results are kept.

    @param noDelay: any value, for its truth.
    @param keepAlive: any value, for its truth.
    """
    flags = bool(noDelay), bool(keepAlive)
    try:
        return SocketOptions(*flags, keepAliveInitialDelay)
    except (TypeError, ValueError) as error:
        _log.warn("{error}; the system's own holds", error=error)
        return SocketOptions(*flags)
