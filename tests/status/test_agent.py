"""
The line that tells HAProxy's agent-check of a server.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.endpoints import clientFromString, connectProtocol

from tests.support.peers import Peer, connectTo, serving
from tests.support.staff import staffed
from tests.support.waiting import until
from twisted_tcpdemo import TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.service.companion import MAX_VISITORS, NEWCOMERS, Companion
from twisted_tcpdemo.service.startup import StartError
from twisted_tcpdemo.status.agent import companionFor, weightOf, wordsOf
from twisted_tcpdemo.twistd.tap import Options, makeService


class Resting:
    """
    What the weight needs of a factory.
    """

    def __init__(self, limit: int | None, count: int) -> None:
        self.effectiveLimit = limit
        self.connectionCount = count


@pytest.mark.parametrize(
    ("limit", "count", "weight"),
    [(None, 7, 100), (10, 0, 100), (10, 3, 70), (1000, 999, 1), (10, 10, 1), (3, 5, 1), (0, 0, 0)],
)
def test_weight(limit: int | None, count: int, weight: int) -> None:
    """
    The weight is the share of the places that are left, never nothing while the server
    admits anybody, and everything without a limit.
    """
    assert weightOf(Resting(limit, count)) == weight  # type: ignore[arg-type]


@asynccontextmanager
async def telling(factory: TCPDemoFactory, where: str) -> AsyncGenerator[Companion]:
    """
    Tell of a factory as long as the block lasts.
    """
    from twisted.internet import reactor

    companion = companionFor(reactor, factory, where)
    companion.privilegedStartService()
    companion.startService()
    try:
        yield companion
    finally:
        await companion.stopService()
    assert companion.visitors.connectionCount == 0


async def told(companion: Companion, where: str = "") -> str:
    """
    The line, read to its end.
    """
    from twisted.internet import reactor

    peer = Peer()
    port: Any = companion.port
    where = where or f"tcp:127.0.0.1:{port.getHost().port}"
    await connectProtocol(clientFromString(reactor, where), peer)
    await peer.whenEnded()
    peer.transport.loseConnection()
    await peer.whenLost()
    return peer.received.decode()


@pytest.mark.parametrize("kind", ["tcp", "fasttcp"])
async def test_states(kind: str) -> None:
    """
    A visitor reads C{up} with the weight of the moment, C{maint} while the server is
    suspended, and C{drain} while it is about to drain, drains, and afterwards.
    """
    factory = TCPDemoFactory(TCPDemoProtocol, maxConnections=4)
    where = f"{kind}:0:interface=127.0.0.1"
    async with telling(factory, where) as agent, serving(factory) as server:
        assert await told(agent) == "up ready 100%\n"
        peer = await server.connect()
        await until(lambda: factory.connectionCount == 1)
        assert await told(agent) == "up ready 75%\n"
        factory.suspend()
        assert await told(agent) == "maint\n"
        factory.resume()
        assert await told(agent) == "up ready 75%\n"
        factory.maxConnections = 2
        assert await told(agent) == "up ready 50%\n"
        factory.leaving = True
        assert await told(agent) == "drain\n"
        drained = factory.drain(None)
        assert await told(agent) == "drain\n"
        peer.transport.loseConnection()
        await drained
        assert await told(agent) == "drain\n"


async def test_unix(tmp_path: Path) -> None:
    """
    A path is a UNIX socket that only its owner can open.
    """
    path = tmp_path / "agent"
    async with telling(TCPDemoFactory(), str(path)) as agent:
        assert path.stat().st_mode & 0o777 == 0o600
        assert await told(agent, f"unix:{path}") == "drain\n"


async def test_workers() -> None:
    """
    A server is in maintenance as long as no worker can serve, and its weight is that of
    all workers.
    """
    factory = TCPDemoFactory(TCPDemoProtocol, maxConnections=10)
    where = "tcp:0:interface=127.0.0.1"
    async with telling(factory, where) as agent, staffed(factory) as server:
        assert wordsOf(factory) == "maint"
        await server.whenServing()
        assert await told(agent) == "up ready 100%\n"
        for _ in range(4):
            await server.connect()
        await until(lambda: factory.connectionCount == 4)
        assert await told(agent) == "up ready 60%\n"


@pytest.mark.parametrize("kind", ["tcp", "fasttcp"])
async def test_strangers(kind: str) -> None:
    """
    Strangers who stay, and who send without an end, hold no more than the places of
    visitors, and keep nobody from reading the line.
    """
    async with telling(TCPDemoFactory(), f"{kind}:0:interface=127.0.0.1") as agent:
        port: Any = agent.port
        strangers: list[socket.socket] = []
        try:
            for number in range(3 * MAX_VISITORS):
                strangers.append(connectTo(port.getHost().port))
                await until(lambda n=number: agent.visitors.acceptedCount > n)
                if number % 2:
                    strangers[-1].send(bytes(1000))
            assert await told(agent) == "drain\n"
            assert agent.visitors.connectionCount <= MAX_VISITORS + NEWCOMERS
            assert await told(agent) == "drain\n"
        finally:
            for stranger in strangers:
                stranger.close()
        await agent.visitors.whenEmpty()
        assert agent.visitors.conservation() == []


def test_badInput(capfd: pytest.CaptureFixture[str]) -> None:
    """
    What is no endpoint ends the start with one line.
    """
    options = Options()
    options.parseOptions(["--agent", "nonsense:1"])
    with pytest.raises(StartError):
        makeService(options)
    err = capfd.readouterr().err
    assert "--agent 'nonsense:1': it is no endpoint" in err and err.count("\n") == 1
