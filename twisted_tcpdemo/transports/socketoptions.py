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
from twisted_tcpdemo.values.checks import flag, nonNegative, whole

_log = Logger(namespace="tcpdemo")

KEEP_ALIVE_INTERVAL: Final = 1.0
KEEP_ALIVE_COUNT: Final = 10
"""The defaults of Node (libuv): a peer is found dead ten seconds after the first
probe.  Those of Linux (75 s, nine probes) take eleven minutes."""

LONGEST_KEEP_ALIVE_DELAY: Final = 32767
LONGEST_KEEP_ALIVE_INTERVAL: Final = 32767
MOST_KEEP_ALIVE_PROBES: Final = 127
"""The most that Linux takes (MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL, MAX_TCP_KEEPCNT);
the least of each is 1."""

_KEEP_ALIVE_DELAY: Final[int | None] = getattr(
    socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None)
)
"""The system's number of the option; macOS has its own name for it."""

_KEEP_ALIVE_INTERVAL: Final[int | None] = getattr(socket, "TCP_KEEPINTVL", None)
_KEEP_ALIVE_COUNT: Final[int | None] = getattr(socket, "TCP_KEEPCNT", None)

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
    @ivar keepAliveInterval: seconds between probes that are not answered
        (TCP_KEEPINTVL), likewise.
    @ivar keepAliveCount: the number of such probes after which the peer is taken for
        dead (TCP_KEEPCNT); C{0} leaves the system's own.
    @raise TypeError: for a value of the wrong type.
    @raise ValueError: for a value that the kernel would refuse.  It would use its
        own instead: of the delay, two hours.
    """

    noDelay: bool = True
    keepAlive: bool = False
    keepAliveInitialDelay: float = 0.0
    keepAliveInterval: float = KEEP_ALIVE_INTERVAL
    keepAliveCount: int = KEEP_ALIVE_COUNT

    def __post_init__(self) -> None:
        flag("noDelay", self.noDelay)
        flag("keepAlive", self.keepAlive)
        for name, longest in (
            ("keepAliveInitialDelay", LONGEST_KEEP_ALIVE_DELAY),
            ("keepAliveInterval", LONGEST_KEEP_ALIVE_INTERVAL),
        ):
            object.__setattr__(self, name, _seconds(name, getattr(self, name), longest))
        whole("keepAliveCount", self.keepAliveCount, 0, MOST_KEEP_ALIVE_PROBES)

    def apply(self, transport: Any) -> None:
        """
        Set the options on a connection, through any wrappers.

        The kernel may refuse them when the peer has already reset the connection.
        That error is dropped: the transport is about to report the loss.
        """
        bottom = bottomOf(transport)
        if _isUNIX(bottom):
            return  # Twisted's UNIX transports have these methods too
        try:
            if hasattr(bottom, "setTcpNoDelay"):
                bottom.setTcpNoDelay(self.noDelay)
            if self.keepAlive and hasattr(bottom, "setTcpKeepAlive"):
                bottom.setTcpKeepAlive(True)
                for option, value in (
                    (_KEEP_ALIVE_DELAY, self.keepAliveInitialDelay),
                    (_KEEP_ALIVE_INTERVAL, self.keepAliveInterval),
                    (_KEEP_ALIVE_COUNT, self.keepAliveCount),
                ):
                    if option is not None and value:
                        bottom.socket.setsockopt(socket.IPPROTO_TCP, option, int(value))
        except OSError:
            pass


def _seconds(name: str, value: float | None, longest: int) -> float:
    seconds = nonNegative(name, value) or 0.0
    if seconds and not 1 <= seconds <= longest:
        raise ValueError(
            f"{name} must be 1 to {longest} seconds, or 0 for the system's own, not {seconds!r}"
        )
    return seconds


@lru_cache(maxsize=64)
def socketOptionsOf(
    noDelay: object,
    keepAlive: object,
    keepAliveInitialDelay: float,
    keepAliveInterval: float = KEEP_ALIVE_INTERVAL,
    keepAliveCount: int = KEEP_ALIVE_COUNT,
) -> SocketOptions:
    """
    Build the options from the attributes that an application may set at any time.

    The attributes are first checked here, when a client is already connected.  So
    a value that the kernel would refuse raises nothing: it is logged, once, and
    the system's own values hold.  Each new connection asks, so results are kept.

    @param noDelay: any value, for its truth.
    @param keepAlive: any value, for its truth.
    """
    flags = bool(noDelay), bool(keepAlive)
    try:
        return SocketOptions(*flags, keepAliveInitialDelay, keepAliveInterval, keepAliveCount)
    except (TypeError, ValueError) as error:
        _log.warn("{error}; the system's own holds", error=error)
        return SocketOptions(*flags, 0.0, 0.0, 0)
