"""
Tests behind nginx's stream module, which tells in a PROXY header who its clients are.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import freePort, to
from tests.support.contexts import TwistedContexts, everyContext
from tests.support.processes import running
from tests.support.waiting import until
from tests.system.peers.support import (
    LARGE,
    Party,
    Saying,
    listens,
    needs,
    ours,
    pattern,
    program,
)
from twisted_tcpdemo import CloseReason, Proxy

MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")

pytestmark = [
    needs("nginx"),
    pytest.mark.skipif(not MODULE.exists(), reason="nginx has no stream module on this machine"),
    pytest.mark.deadline(20),
]

CONFIGURATION = """
load_module {module};
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ }}
stream {{
    server {{
        listen 127.0.0.1:{port};
        listen [::1]:{port};
        proxy_pass 127.0.0.1:{server};
        proxy_protocol on;
    }}
    server {{
        listen 127.0.0.1:{readyPort};
        return "";
    }}
}}
"""

TRUSTED = Proxy(trusted=["127.0.0.0/8"])


@asynccontextmanager
async def nginx(folder: Path, server: int) -> AsyncGenerator[int]:
    """
    Nginx before a server, as long as the block lasts, and the port of its clients.
    """
    port, readyPort = freePort(), freePort()
    file = folder / "nginx.conf"
    file.write_text(
        CONFIGURATION.format(
            module=MODULE, folder=folder, port=port, readyPort=readyPort, server=server
        )
    )
    command = [program("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(file)]
    async with running(command) as child:
        await until(lambda: child.status is not None or listens(readyPort))
        assert child.status is None, child.err
        yield port


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"], ids=["IPv4", "IPv6"])
async def test_address(host: str, tmp_path: Path) -> None:
    """
    The server sees the client's address, and not nginx's.
    """
    async with ours(proxy=TRUSTED) as serving, nginx(tmp_path, serving.port) as port:
        party = await to(port, host).connectProtocol(Party())
        party.transport.write(b"hello")
        await party.whenReceived(5)
        protocol = await serving.protocol()
        assert (protocol.remoteAddress, protocol.remotePort) == (host, party.localPort)
        assert (protocol.localAddress, protocol.localPort) == (host, port)
        assert protocol.remoteFamily == party.localFamily
        assert protocol.proxied.header.version == 1
        party.transport.loseConnection()
        await party.whenLost()
        report = await serving.report()
        assert (report.bytesRead, report.bytesWritten) == (5, 5)
        assert report.closeReason is CloseReason.PEER_CLOSED


async def test_large(tmp_path: Path) -> None:
    """
    A large transfer in both directions arrives whole.
    """
    data = pattern(LARGE)
    async with ours(proxy=TRUSTED) as serving, nginx(tmp_path, serving.port) as port:
        party = await to(port).connectProtocol(Party())
        party.transport.write(data)
        await party.whenReceived(LARGE)
        assert party.received == data
        party.transport.loseConnection()
        await party.whenLost()
        report = await serving.report()
        assert (report.bytesRead, report.bytesWritten, report.bytesPending) == (LARGE, LARGE, 0)


async def test_serverFirst(tmp_path: Path) -> None:
    """
    A server that speaks first and closes is heard.
    """
    async with ours(Saying, proxy=TRUSTED) as serving, nginx(tmp_path, serving.port) as port:
        party = await to(port).connectProtocol(Party())
        await party.whenLost()
        assert party.received == Saying.text


@everyContext
async def test_tls(contexts: Any, tmp_path: Path) -> None:
    """
    TLS that ends at our server begins behind the header.
    """
    async with (
        ours(proxy=TRUSTED, tls=contexts.server()) as serving,
        nginx(tmp_path, serving.port) as port,
    ):
        party = await to(port, tls=TwistedContexts.client()).connectProtocol(Party())
        party.transport.write(b"hello")
        await party.whenReceived(5)
        assert (await serving.protocol()).remotePort == party.localPort
        party.transport.loseConnection()
        await party.whenLost()
