"""
The system's clock may be set: over every transport, nothing ends early, or never.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionRefusedError, TimeoutError
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.contract.test_contract import Serve
from tests.support.clients import (
    Client,
    Resolver,
    closed,
    freePort,
    installedReactor,
    silentServer,
    to,
)
from tests.support.contexts import TwistedContexts
from tests.support.peers import rawConnection, serving
from tests.support.secure import CONTEXTS, lastFlight, listening, stranger
from tests.support.waiting import turn, until, within
from tests.support.wall import HOUR, Wall, settableWall
from twisted_tcpdemo import (
    CloseReason,
    Proxy,
    Retry,
    ServerEndpoint,
    TCPDemoFactory,
    fastReactor,
)
from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.twistd.programs import Discard, Echo
from twisted_tcpdemo.values.budgets import Budgets

pytestmark = pytest.mark.deadline(3 * HOUR)  # the deadline is the reactor's, too


@pytest.fixture
def wall() -> Iterator[Wall]:
    """
    The clock of the reactor.
    """
    with settableWall() as wall:
        yield wall


@pytest.mark.parametrize("by", [-HOUR, HOUR], ids=["back", "forward"])
async def test_drain(serve: Serve, wall: Wall, by: float) -> None:
    """
    A drain ends at its deadline, whatever happens to the system's clock meanwhile.
    """
    async with serve(Discard) as server:
        peer = await server.connect()
        peer.transport.write(b"busy")
        await until(lambda: server.factory.bytesRead)
        began, draining = monotonic(), server.factory.drain(0.5)
        await turn()
        wall.set(by)
        assert await within(5, lambda: draining.called)
        assert 0.45 <= monotonic() - began < 1
        report = await draining
        assert report.aborted == 1 and 0.45 <= report.duration < 1


async def test_drainInTheSameTurn(serve: Serve, wall: Wall) -> None:
    """
    A drain ends, and its port closes, though the system's clock is set back in the turn in
    which it begins.
    """
    async with serve(Discard) as server:
        await server.connect()
        await until(lambda: server.factory.connectionCount)
        draining = server.factory.drain(0.2)
        wall.set(-HOUR)
        assert await within(5, lambda: draining.called)
        assert not server.factory.listening


@pytest.mark.parametrize("kind", CONTEXTS)
async def test_resumedInTheSameTurn(kind: str, wall: Wall) -> None:
    """
    What TLS has taken from the kernel comes, though the clock is set back in the turn in
    which its protocol resumes.
    """
    paused: list[Client] = []

    @implementer(IHandshakeListener)
    class Pausing(Client):
        """
        Pauses in the handshake.
        """

        def handshakeCompleted(self) -> None:
            self.transport.pauseProducing()
            paused.append(self)

    async with listening(kind, Pausing) as server, stranger(server.port, shake=False) as far:
        await lastFlight(far, b"early")
        await until(lambda: paused)
        await turn()
        paused[0].transport.resumeProducing()
        wall.set(-HOUR)
        assert await within(5, lambda: bytes(paused[0].received) == b"early")


async def test_idleBack(serve: Serve, wall: Wall) -> None:
    """
    A silent peer is idle after its budget, though the clock was set back.
    """
    async with serve(Discard, budgets=Budgets(idle=0.4)) as server:
        peer = await server.connect()
        peer.transport.write(b"x")
        await until(lambda: server.factory.bytesRead)
        wall.set(-HOUR)
        assert await within(3, lambda: server.events.of("connectionClosed"))
        [report] = server.events.of("connectionClosed")
        assert report.closeReason is CloseReason.IDLE and 0.3 <= report.age < 1


async def test_forward(serve: Serve, wall: Wall) -> None:
    """
    Clients that are busy when the clock is set forward are neither idle nor old.
    """
    budgets = Budgets(idle=60, lifetime=600, firstByte=60, writeStall=60)
    async with serve(Echo, budgets=budgets) as server:
        peers = [await server.connect() for _ in range(3)]
        sending = LoopingCall(lambda: [peer.transport.write(b"x") for peer in peers])
        sending.clock = steady(installedReactor())
        sending.start(0.02)
        await until(lambda: all(len(peer.received) > 3 for peer in peers))
        wall.set(HOUR)
        before = server.factory.bytesRead
        await until(lambda: server.factory.bytesRead > before + 60)
        sending.stop()
        reports = [protocol.report() for protocol in server.factory.connections]
        assert len(reports) == 3
        assert all(report.age < 10 and report.idle < 10 for report in reports)


@pytest.mark.parametrize("stage", ["look-up", "connection", "handshake"])
async def test_clientTimeout(
    stage: str, wall: Wall, resolver: Resolver, resources: ExitStack
) -> None:
    """
    A client waits as long as its timeout says.
    """
    port = silentServer(resources, full=stage == "connection")
    host = "example.test" if stage == "look-up" else "127.0.0.1"
    endpoint = to(
        port, host, timeout=0.3, tls=TwistedContexts.client() if stage == "handshake" else None
    )
    began, failures = monotonic(), list[Failure]()
    endpoint.connectProtocol(Client()).addErrback(failures.append)
    await turn()
    wall.set(-HOUR)
    assert await within(3, lambda: failures)
    assert failures[0].check(TimeoutError) and monotonic() - began < 1


@pytest.mark.parametrize("family", ["TCP", "UNIX"])
async def test_connectsInTheSameTurn(family: str, wall: Wall, tmp_path: Path) -> None:
    """
    An attempt to connect begins, or fails, in the next turn, though the clock is set back
    in the one in which it is asked for.
    """
    path, view = str(tmp_path / "s"), fastReactor(installedReactor())
    endpoint: Any = ServerEndpoint(view, path=path) if family == "UNIX" else "tcp:0"
    async with serving(TCPDemoFactory(Discard), endpoint) as server:
        door: Any = TCP4ClientEndpoint(view, "127.0.0.1", server.port)
        if family == "UNIX":
            door = UNIXClientEndpoint(view, path)
        # Its path has no lock.
        shut = UNIXClientEndpoint(view, path, checkPID=True)
        made, failures = list[Client](), list[Failure]()
        connectProtocol(door, Client()).addCallback(made.append)
        connectProtocol(shut, Client()).addErrback(failures.append)
        wall.set(-HOUR)
        assert await within(3, lambda: made and failures)
        await closed(made[0])


@pytest.mark.parametrize("by", [-HOUR, HOUR], ids=["back", "forward"])
async def test_retry(wall: Wall, by: float) -> None:
    """
    The pause before another attempt lasts as long as it should, and no shorter.
    """
    retry, failures = Retry(attempts=2, initialDelay=0.3, jitter=lambda: 0.0), list[Failure]()
    began = monotonic()
    to(freePort(), retry=retry).connectProtocol(Client()).addErrback(failures.append)
    await turn()
    await turn()
    wall.set(by)
    assert await within(3, lambda: failures)
    assert failures[0].check(ConnectionRefusedError) and 0.25 < monotonic() - began < 1


async def test_attemptDelay(wall: Wall, resolver: Resolver, resources: ExitStack) -> None:
    """
    The next address has its turn when the delay is over.
    """
    async with serving(TCPDemoFactory(Discard)) as server:
        ports = silentServer(resources, full=True), server.port
        resolver.addresses = [IPv4Address("TCP", "127.0.0.1", port) for port in ports]
        made: list[Client] = []
        to(80, "example.test", attemptDelay=0.3).connectProtocol(Client()).addCallback(made.append)
        await turn()
        wall.set(-HOUR)
        assert await within(3, lambda: made)
        await closed(made[0])


async def test_refused(wall: Wall) -> None:
    """
    A refused client that does not leave is waited for no longer.
    """
    factory = TCPDemoFactory(Discard, maxConnections=0, budgets=Budgets(linger=0.3))
    async with serving(factory) as server:
        with rawConnection(server.port):
            await until(lambda: server.factory.refusedCount)
            wall.set(-HOUR)
            assert await within(3, lambda: not server.factory._capacity.lingering)


async def test_lingers(wall: Wall) -> None:
    """
    A client that goes on sending after the end is waited for no longer.
    """
    factory = TCPDemoFactory(Client, budgets=Budgets(linger=0.3))
    async with serving(factory, "fasttcp:0:interface=127.0.0.1") as server:
        with rawConnection(server.port) as raw:
            protocol = await server.protocol()
            raw.send(b"begin")
            protocol.transport.write(b"end")
            protocol.transport.loseConnection()
            await turn()
            raw.send(b"more")
            wall.set(-HOUR)
            assert await within(3, lambda: factory.closedCount)


async def test_proxyHeader(wall: Wall) -> None:
    """
    A PROXY header that does not come is waited for no longer.
    """
    proxy = Proxy(trusted=["127.0.0.1"], timeout=0.3)
    endpoint = ServerEndpoint(installedReactor(), 0, "127.0.0.1", proxy=proxy)
    async with serving(TCPDemoFactory(Discard), endpoint) as server:
        with rawConnection(server.port):
            await until(lambda: server.factory._capacity.held)
            wall.set(-HOUR)
            assert await within(3, lambda: server.factory.refusedCount)
