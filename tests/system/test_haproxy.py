"""
A real HAProxy in front of a server.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.clients import freePort
from tests.support.peers import serving
from tests.support.processes import running
from tests.support.proxied import Noting, NotingFactory, behind, received
from tests.support.waiting import until
from twisted_tcpdemo.fast.endpoint import hasIPv6

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")

pytestmark = pytest.mark.skipif(HAPROXY is None, reason="there is no HAProxy here")

CONFIGURATION = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 10s
    timeout server 10s
frontend tcpdemo
    bind {bind}
    default_backend tcpdemo
backend tcpdemo
    server one 127.0.0.1:{port} {options}
"""


@asynccontextmanager
async def proxying(folder: Path, bind: str, port: int, options: str) -> AsyncGenerator[None]:
    """
    Run HAProxy as long as the block lasts.
    """
    file = folder / "haproxy.cfg"
    file.write_text(CONFIGURATION.format(bind=bind, port=port, options=options))
    async with running([str(HAPROXY), "-db", "-f", str(file)]):
        yield


def connected(host: str, port: int) -> socket.socket | None:
    """
    A socket, if somebody listens already.
    """
    try:
        raw = socket.create_connection((host, port), timeout=1)
    except OSError:
        return None
    raw.setblocking(False)
    return raw


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2", "send-proxy-v2 crc32c"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_client(tmp_path: Path, version: str, host: str) -> None:
    """
    The server sees HAProxy's client, IPv4 or IPv6, by a header of either version.
    """
    if host == "::1" and not hasIPv6():
        pytest.skip("there is no IPv6 here")
    factory, front = NotingFactory(Noting), freePort()
    bind = f":::{front} v4v6" if hasIPv6() else f":{front}"
    options = version.replace(" crc32c", " proxy-v2-options crc32c,unique-id")
    async with (
        serving(factory, behind()) as server,
        proxying(tmp_path, bind, server.port, options),
    ):
        raw = await until(lambda: connected(host, front))
        raw.send(b"hello")
        shown = "127.0.0.1" if host == "127.0.0.1" else "::1"
        answer = f"hello from {shown}".encode()
        assert await received(raw, len(answer)) == answer
        own = raw.getsockname()
        protocol = factory.built
        assert (protocol.remoteAddress, protocol.remotePort) == (shown, own[1])
        assert (protocol.localPort, protocol.proxied.host.port) == (front, server.port)
        raw.close()
        await until(lambda: not factory.connectionCount)


async def test_check(tmp_path: Path) -> None:
    """
    HAProxy's health checks, with a header of its own, are connections of its own.
    """
    factory, front = NotingFactory(Noting), freePort()
    async with (
        serving(factory, behind()) as server,
        proxying(tmp_path, f"127.0.0.1:{front}", server.port, "send-proxy-v2 check inter 20ms"),
    ):
        await until(lambda: factory.closedCount >= 2)
        assert factory.refusedCount == 0
        assert {r.remote.address for r in server.events.of("connectionOpened")} == {"127.0.0.1"}
