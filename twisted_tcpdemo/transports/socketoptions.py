"""
Socket options, where there is a TCP socket.
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
"""The most that Linux takes for TCP_KEEPIDLE (MAX_TCP_KEEPIDLE); it takes no
less than a second."""

_KEEP_ALIVE_DELAY: Final[int | None] = getattr(
    socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None)
)
"""What the system calls the option: macOS has a name of its own for it."""

# Looked up once, not for each connection: to find it takes half as long as to call it.
_isUNIX: Final = IUNIXTransport.providedBy


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """
    The TCP options of a connection.

    @ivar noDelay: TCP_NODELAY, that is, without Nagle's algorithm.
    @ivar keepAlive: SO_KEEPALIVE.
    @ivar keepAliveInitialDelay: seconds of silence before the first probe, in
        whole seconds as the kernel has them (TCP_KEEPIDLE); C{0} and L{None}
        leave the system's own.
    @raise TypeError: for a value of the wrong type.
    @raise ValueError: for a delay that the kernel would refuse, to go on with
        its own two hours.
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
        Set them on a connection, through whatever is wrapped around it.

        A peer may have reset it already; the kernel may then refuse, which the
        connection's end will tell soon enough.
        """
        bottom = bottomOf(transport)
        if _isUNIX(bottom):
            return  # it has the methods too, all the same
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
    What three attributes say that an application may set at any time.

    They are checked only here, where a client is waiting that cannot help it:
    a delay that the kernel would refuse is logged, once, and leaves the
    system's own.  Each new connection asks, so what was found is kept.

    @param noDelay: whatever counts as true or false; so is C{keepAlive}.
    """
    flags = bool(noDelay), bool(keepAlive)
    try:
        return SocketOptions(*flags, keepAliveInitialDelay)
    except (TypeError, ValueError) as error:
        _log.warn("{error}; the system's own holds", error=error)
        return SocketOptions(*flags)
