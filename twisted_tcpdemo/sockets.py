"""
Socket options, where there is a TCP socket.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.interfaces import IUNIXTransport

from twisted_tcpdemo.stack import bottomOf


def tune(transport: Any, noDelay: bool, keepAlive: bool, keepAliveInitialDelay: float) -> None:
    """
    Set TCP options on a connection, through whatever is wrapped around it.

    A peer may have reset it already; the kernel may then refuse, which the
    connection's end will tell soon enough.

    @param noDelay: TCP_NODELAY, that is, without Nagle's algorithm.
    @param keepAlive: SO_KEEPALIVE.
    @param keepAliveInitialDelay: seconds of silence before the first probe, in
        whole seconds as the kernel has them (TCP_KEEPIDLE); C{0} leaves the
        system's own.
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
