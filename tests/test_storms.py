"""
Crowds on real sockets: bounded in number and time, and everything adds up
afterwards.
"""

from __future__ import annotations

import gc
import os
import resource
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import pemFile
from tests.support.peers import serving
from tests.support.storm import said, storm
from tests.support.waiting import until
from twisted_tcpdemo import CloseReason, TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.budgets import Budgets
from twisted_tcpdemo.observers import ConnectionObserver
from twisted_tcpdemo.programs import Discard, Echo

pytestmark = pytest.mark.storm

TRANSPORTS = ["tcp", "tls", "unix"]
MUCH = bytes(8_000_000)
"""More than the kernel holds for a peer that does not read."""


def endpointFor(transport: str, folder: Path) -> dict[str, Any]:
    """
    How to serve over a transport, with a queue for a wave.
    """
    if transport == "tls":
        endpoint = f"ssl:0:interface=127.0.0.1:backlog=200:privateKey={pemFile()}"
        return {"endpoint": endpoint, "tls": True}
    if transport == "unix":
        path = folder / "socket"
        return {"endpoint": f"unix:{path}:backlog=200", "client": f"unix:{path}"}
    return {"endpoint": "tcp:0:interface=127.0.0.1:backlog=200"}


class Greeter(TCPDemoProtocol):
    """
    Says hello at once.
    """

    def connectionMade(self) -> None:
        """
        Say it.
        """
        self.transport.write(b"hello")


class Highest(ConnectionObserver):
    """
    Remembers the greatest number that were connected at a time.
    """

    def __init__(self, factory: TCPDemoFactory) -> None:
        self.factory = factory
        self.count = 0
        factory.addObserver(self)

    def connectionOpened(self, report: object) -> None:
        """
        Look.
        """
        self.count = max(self.count, self.factory.connectionCount)


@pytest.mark.parametrize("overflow", ["refuse", "reset", "wait"])
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.deadline(60)
async def test_waves(transport: str, overflow: str, tmp_path: Path) -> None:
    """
    Ten waves of twice the limit: never one over, and every client is either
    served or visibly sent away.
    """
    limit = 25
    factory = TCPDemoFactory(Greeter, maxConnections=limit, overflow=overflow)
    highest = Highest(factory)
    async with serving(factory, **endpointFor(transport, tmp_path)) as server:
        for _ in range(10):
            server.peers.clear()
            peers = [await server.connect() for _ in range(2 * limit)]
            seen: Counter[str] = Counter()
            for peer in peers:
                await peer.when(lambda peer=peer: peer.received or peer.ended or peer.reason)
                seen["served" if peer.received else "refused"] += 1
                if overflow == "wait":
                    peer.transport.loseConnection()
            for peer in peers:
                peer.transport.loseConnection()
            for peer in peers:
                await peer.whenLost()
            await factory.whenEmpty()
            expected = {"served": 2 * limit} if overflow == "wait" else {"served": limit}
            assert seen["served"] == expected["served"]
            assert sum(seen.values()) == 2 * limit
            assert factory.conservation() == []
        assert highest.count == limit


@pytest.mark.deadline(60)
async def test_resets() -> None:
    """
    Ten thousand resets in the middle of accepting: a good client is served all
    the while, and everything adds up.
    """
    factory = TCPDemoFactory(Echo, maxConnections=100)
    endpoint = "tcp:0:interface=127.0.0.1:backlog=511"
    async with serving(factory, endpoint) as server:
        good = await server.connect()
        with storm("resets", server.port, 10_000) as crowd:
            sent = 0
            while not said(crowd):
                good.transport.write(b"hello")
                sent += 5
                await good.whenReceived(sent)
        await until(lambda: factory.connectionCount == 1)
        assert factory.conservation() == []


@pytest.mark.deadline(120)
async def test_churn() -> None:
    """
    After fifty thousand connections, descriptors, objects and delayed calls
    are back to where they were.
    """
    from twisted.internet import reactor

    factory = TCPDemoFactory(Greeter, maxConnections=1000, budgets=Budgets(idle=600, lifetime=600))
    endpoint = "tcp:0:interface=127.0.0.1:backlog=511"
    async with serving(factory, endpoint) as server:

        async def once(count: int) -> tuple[int, int, int]:
            closed = factory.closedCount
            with storm("churn", server.port, count) as crowd:
                await until(lambda: said(crowd))
            await until(lambda: factory.closedCount == closed + count)
            server.events.all.clear()
            gc.collect()
            calls = len(reactor.getDelayedCalls())  # type: ignore[attr-defined]
            return len(os.listdir("/proc/self/fd")), len(gc.get_objects()), calls

        before = await once(2_000)
        after = await once(48_000)
        assert factory.closedCount == 50_000
        assert factory.conservation() == []
        assert after[0] == before[0]
        assert after[1] - before[1] < 500
        assert after[2] == before[2]


class Flooder(TCPDemoProtocol):
    """
    Answers each byte with more than a socket takes.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Answer.
        """
        self.transport.write(MUCH)


@pytest.mark.deadline(60)
async def test_slow() -> None:
    """
    A thousand clients that say nothing or do not read are all ended inside
    their budgets, while a good client is served.
    """
    count = 400 if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 4096 else 1000
    budgets = Budgets(firstByte=4, writeStall=2, closeFlush=1)
    async with serving(
        TCPDemoFactory(Flooder, budgets=budgets), "tcp:0:interface=127.0.0.1:backlog=511"
    ) as server:
        with storm("slow", server.port, count) as crowd:
            await until(lambda: said(crowd))
            await until(lambda: server.factory.closedCount == count)
        reasons = Counter(r.closeReason for r in server.events.of("connectionClosed"))
        assert reasons == {CloseReason.FIRST_BYTE: count // 2, CloseReason.WRITE_STALL: count // 2}
        assert max(r.age for r in server.events.of("connectionClosed")) < 15
        assert server.factory.conservation() == []


@pytest.mark.deadline(60)
async def test_maximum() -> None:
    """
    A server that is full refuses a crowd, one by one, and serves again when
    those who were there have gone.
    """
    factory = TCPDemoFactory(Discard, maxConnections=100)
    async with serving(factory, "tcp:0:interface=127.0.0.1:backlog=511") as server:
        with storm("hold", server.port, 500) as crowd:
            await until(lambda: said(crowd))
            await until(lambda: factory.acceptedCount + factory.refusedCount == 500)
            assert (factory.connectionCount, factory.refusedCount) == (100, 400)
        await factory.whenEmpty()
        await server.connect()
        await until(lambda: factory.connectionCount == 1)
        await until(lambda: not factory._lingering)
        assert factory.conservation() == []
