"""
Crowds on real sockets: bounded in number and time, and the accounts add up
afterwards.
"""

from __future__ import annotations

import gc
import os
import re
import resource
import signal
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.crowds import Greeter, Highest, endpointFor, wave
from tests.support.peers import connectTo, serving
from tests.support.processes import portOf, running, twistd
from tests.support.storm import said, storm
from tests.support.waiting import until
from twisted_tcpdemo import CloseReason, TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.server.capacity import DESCRIPTOR_RESERVE
from twisted_tcpdemo.twistd.programs import Discard, Echo
from twisted_tcpdemo.values.budgets import Budgets

pytestmark = pytest.mark.storm

TRANSPORTS = ["tcp", "tls", "unix", "fast"]
QUEUE = int(Path("/proc/sys/net/core/somaxconn").read_text())
MUCH = bytes(8_000_000)
"""More bytes than the kernel holds for a peer that does not read."""


@pytest.fixture(params=["tcp", "fasttcp"])
def endpoint(request: pytest.FixtureRequest) -> str:
    """
    An endpoint with a queue for a whole crowd, on Twisted's transport and on ours.
    When a queue overflows, the kernel may forget clients that count as connected on
    their side (SYN cookies), and no accept ever returns them.
    """
    return f"{request.param}:0:interface=127.0.0.1:backlog=4096"


@pytest.mark.parametrize("overflow", ["refuse", "reset", "wait"])
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.deadline(60)
async def test_waves(transport: str, overflow: str, tmp_path: Path) -> None:
    """
    In ten waves of twice the limit it is never exceeded, and every client is either
    served or visibly refused.
    """
    limit = 25
    factory = TCPDemoFactory(Greeter, maxConnections=limit, overflow=overflow)
    highest = Highest(factory)
    async with serving(factory, **endpointFor(transport, tmp_path)) as server:
        for _ in range(10):
            seen = await wave(server.peers, server.connect, 2 * limit, overflow)
            await factory.whenEmpty()
            expected = {"served": 2 * limit} if overflow == "wait" else {"served": limit}
            assert seen["served"] == expected["served"]
            assert sum(seen.values()) == 2 * limit
            assert factory.conservation() == []
        assert highest.count == limit


@pytest.mark.deadline(60)
async def test_resets(endpoint: str) -> None:
    """
    During ten thousand resets in the middle of accepting, a good client is served,
    and the accounts add up.
    """
    factory = TCPDemoFactory(Echo, maxConnections=100)
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


@pytest.mark.deadline(300)
async def test_churn(endpoint: str) -> None:
    """
    After fifty thousand connections, descriptors, objects and delayed calls are
    back at their former numbers.
    """
    count = 50_000 if endpoint.startswith("fast") else 10_000
    from twisted.internet import reactor

    factory = TCPDemoFactory(Greeter, maxConnections=1000, budgets=Budgets(idle=600, lifetime=600))
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
        after = await once(count - 2_000)
        assert factory.closedCount == count
        assert factory.conservation() == []
        assert after[0] == before[0]
        assert after[1] - before[1] < 500
        assert after[2] == before[2]


class Flooder(TCPDemoProtocol):
    """
    Answers each byte with more bytes than a socket takes.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Answer.
        """
        self.transport.write(data if data == b"!" else MUCH)


@pytest.mark.deadline(120)
async def test_slow(endpoint: str) -> None:
    """
    A thousand clients that send nothing or do not read are ended by their budgets,
    while a good client is served.
    """
    small = resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 4096 or QUEUE < 1000
    count = 100 if small else 1000
    budgets = Budgets(firstByte=4, writeStall=2, closeFlush=1)
    async with serving(TCPDemoFactory(Flooder, budgets=budgets), endpoint) as server:
        good, sent = await server.connect(), 0
        with storm("slow", server.port, count) as crowd:
            await until(lambda: said(crowd))
            while server.factory.closedCount < count:
                good.transport.write(b"!")
                sent += 1
                await good.whenReceived(sent)
        # A byte that comes while a thousand clients are served may be read too late.
        reasons = Counter(r.closeReason for r in server.events.of("connectionClosed"))
        assert set(reasons) == {CloseReason.FIRST_BYTE, CloseReason.WRITE_STALL}
        assert reasons[CloseReason.FIRST_BYTE] >= count // 2
        assert server.factory.conservation() == []


@pytest.mark.deadline(60)
async def test_maximum(endpoint: str) -> None:
    """
    A full server refuses a crowd, one by one, and serves again when its clients
    have left.
    """
    factory = TCPDemoFactory(Discard, maxConnections=100)
    async with serving(factory, endpoint) as server:
        with storm("hold", server.port, 500) as crowd:
            await until(lambda: said(crowd))
            await until(lambda: factory.acceptedCount + factory.refusedCount == 500)
            assert (factory.connectionCount, factory.refusedCount) == (100, 400)
        await factory.whenEmpty()
        await server.connect()
        await until(lambda: factory.connectionCount == 1)
        await until(lambda: not factory._capacity.lingering)
        assert factory.conservation() == []


EXHAUSTED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
sys.argv = ["twistd", "-n", "--pidfile=", "tcpdemo", "--interface", "127.0.0.1", "--port", "0",
            "--protocol", "echo", "--transport", sys.argv[1]]
from twisted.scripts.twistd import run
run()
"""


def refusals(log: str) -> int:
    """
    The number of refusals in a log, in single lines and in summaries.
    """
    summed = sum(map(int, re.findall(r"(\d+) refused", log)))
    return summed + len(re.findall(r"refused: .* by descriptorLimit", log))


@pytest.mark.parametrize("transport", ["fast", "twisted"])
@pytest.mark.deadline(60)
async def test_descriptors(transport: str) -> None:
    """
    When descriptors run out, each client too many is refused and counted, the log
    is not flooded, and free places are given again.
    """
    async with running([sys.executable, "-c", EXHAUSTED, transport]) as server:
        port = await portOf(server)
        with storm("hold", port, 500) as crowd:
            await until(lambda: said(crowd))
            await until(lambda: refusals(server.out) == 500 - (200 - DESCRIPTOR_RESERVE))

        def served() -> bool:
            # Clients are refused until the server has noticed that the crowd has left.
            with suppress(ConnectionError), connectTo(port) as client:
                client.sendall(b"hello")
                return client.recv(10) == b"hello"
            return False

        await until(served)
    assert "EMFILE" not in server.out
    assert "Traceback" not in server.out


@pytest.mark.deadline(60)
async def test_restart() -> None:
    """
    A restart under load loses no connection: the new process listens on the
    same port before the old one drains.
    """
    options = ("--protocol", "echo", "--log-rate", "0")
    first = twistd(*options, "--listen", "fasttcp:0:interface=127.0.0.1:reusePort=yes")
    async with running(first) as old:
        port = await portOf(old)
        second = twistd(*options, "--listen", f"fasttcp:{port}:interface=127.0.0.1:reusePort=yes")
        with storm("calls", port, 300) as crowd:
            await old.whenPrinted("close 10:")
            async with running(second) as new:
                await new.whenPrinted("close 10:")
                old.signal(signal.SIGTERM)
                await old.whenEnded()
                assert await until(lambda: said(crowd)) == b"300 answered\n"
