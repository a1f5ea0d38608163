"""
The configuration of HAProxy in front of an echo.
"""

from __future__ import annotations

from tests.harness.peers.wanted import Wanted

_TEXT = """
global
    nbthread 1
    hard-stop-after {drain}ms
    maxconn {most}
defaults
    mode tcp
    timeout connect 5s
    timeout client {idle}ms
    timeout server {idle}ms
    timeout client-fin {close}ms
    timeout server-fin {close}ms
frontend door
    bind fd@{descriptor}
    {limit}
    default_backend echo
backend echo
    server one 127.0.0.1:{port}
"""

_LIMIT = {
    "wait": "maxconn {limit}",
    "refuse": "tcp-request content reject if {{ fe_conn gt {limit} }}",
    "reset": "tcp-request connection reject if {{ fe_conn gt {limit} }}",
}


def configuration(wanted: Wanted, descriptor: int, port: int) -> str:
    """
    The text of the configuration.

    @param descriptor: the inherited socket to listen on.
    @param port: that of the echo.
    """
    idle = min(wanted.idle, wanted.stall, wanted.firstByte)
    return _TEXT.format(
        descriptor=descriptor,
        port=port,
        idle=round(idle * 1000),
        close=round(min(wanted.close, idle) * 1000),
        drain=round(wanted.drain * 1000),
        # Two descriptors for each client, and some others.
        most=wanted.descriptors // 2 - 20 if wanted.descriptors else 8000,
        limit=_LIMIT[wanted.overflow].format(limit=wanted.limit),
    )
