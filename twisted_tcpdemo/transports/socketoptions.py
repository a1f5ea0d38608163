"""
Socket options, where there is a TCP socket.
"""

from __future__ import annotations

import socket
from typing import Final

from twisted.internet.interfaces import IUNIXTransport

from twisted_tcpdemo.transports.layers import bottomOf
from twisted_tcpdemo.values.checks import nonNegative

LONGEST_KEEP_ALIVE_DELAY: Final = 32767
"""The most that Linux takes for TCP_KEEPIDLE (MAX_TCP_KEEPIDLE); it takes no
less than a second."""


def keepAliveDelay(delay: float | None) -> float:
    """
    Check the silence before the first probe: the kernel would refuse what is
    out of range, and go on with its own two hours.

    @param delay: seconds; C{0} and L{None} stand for the system's own.
    @raise TypeError: if it is no number.
    @raise ValueError: if the kernel does not take it.
    """
    delay = nonNegative("keepAliveInitialDelay", delay) or 0.0
    if delay and not 1 <= delay <= LONGEST_KEEP_ALIVE_DELAY:
        raise ValueError(
            f"keepAliveInitialDelay must be 1 to {LONGEST_KEEP_ALIVE_DELAY} seconds, "
            f"or 0 for the system's own, not {delay!r}"
        )
    return delay


def tune(transport: object, noDelay: bool, keepAlive: bool, keepAliveInitialDelay: float) -> None:
    """
    Set TCP options on a connection, through whatever is wrapped around it.

    A peer may have reset it already; the kernel may then refuse, which the
    connection's end will tell soon enough.

    @param noDelay: TCP_NODELAY, that is, without Nagle's algorithm.
    @param keepAlive: SO_KEEPALIVE.
    @param keepAliveInitialDelay: seconds of silence before the first probe, in
        whole seconds as the kernel has them (TCP_KEEPIDLE); C{0} leaves the
        system's own.  See L{keepAliveDelay}.
    """
    bottom = bottomOf(transport)
    if IUNIXTransport.providedBy(bottom):
        return  # it has the methods too, all the same
    if hasattr(bottom, "setTcpNoDelay"):
        bottom.setTcpNoDelay(noDelay)
    if keepAlive and hasattr(bottom, "setTcpKeepAlive"):
        try:
            bottom.setTcpKeepAlive(True)
            option = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))
            if option is not None and keepAliveInitialDelay >= 1:
                handle = bottom.socket
                handle.setsockopt(socket.IPPROTO_TCP, option, int(keepAliveInitialDelay))
        except OSError:
            pass
