"""
Socket options, where there is a TCP socket.
"""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.support.peers import serving
from twisted_tcpdemo import ClientEndpoint, TCPDemoFactory
from twisted_tcpdemo.transports.socketoptions import keepAliveDelay
from twisted_tcpdemo.twistd.programs import Discard

HAS_KEEPIDLE = hasattr(socket, "TCP_KEEPIDLE")


def systemsOwn() -> int:
    """
    The silence before a probe on a socket that nobody has touched.
    """
    with socket.socket() as untouched:
        return untouched.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)


@pytest.mark.skipif(not HAS_KEEPIDLE, reason="the system does not tell")
@pytest.mark.parametrize("delay", [0, 1, 20.5, 32767])
async def test_keepAlive(delay: float) -> None:
    """
    A delay that is taken is the one that the kernel has; 0 leaves its own.
    """
    factory = TCPDemoFactory(Discard, keepAlive=True, keepAliveInitialDelay=delay)
    async with serving(factory) as server:
        await server.connect()
        handle = (await server.protocol()).transport.getHandle()
        assert handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        kept = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        assert kept == (int(delay) or systemsOwn())


@pytest.mark.parametrize("delay", [-1, 0.5, 32768, float("nan"), float("inf"), "5", True])
def test_badKeepAliveDelay(delay: Any) -> None:
    """
    A delay that the kernel would refuse is refused where it is given, on either
    side.
    """
    from twisted.internet import reactor

    with pytest.raises((TypeError, ValueError), match="keepAliveInitialDelay must be"):
        TCPDemoFactory(keepAliveInitialDelay=delay)
    with pytest.raises((TypeError, ValueError), match="keepAliveInitialDelay must be"):
        ClientEndpoint(reactor, path="/p", keepAliveInitialDelay=delay)


def test_keepAliveRange() -> None:
    """
    The error says what would be taken.
    """
    with pytest.raises(ValueError, match=r"1 to 32767 seconds, or 0 .*, not 40000"):
        keepAliveDelay(40000)
