"""
The limit: how many connections there is room for.
"""

from __future__ import annotations

import resource
from collections.abc import Callable

import pytest
from twisted.logger import LogEvent, globalLogPublisher

from tests.support.memory import connect, lose
from tests.support.peers import serving
from tests.support.waiting import until
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.admission.rules import DeniedNetworks
from twisted_tcpdemo.server import capacity
from twisted_tcpdemo.server.capacity import descriptorLimit
from twisted_tcpdemo.twistd.programs import Discard


@pytest.mark.parametrize(
    ("soft", "expected"),
    [(1024, 960), (20000, 19936), (100, 50), (64, 32), (3, 1), (resource.RLIM_INFINITY, None)],
)
def test_descriptors(monkeypatch: pytest.MonkeyPatch, soft: int, expected: int | None) -> None:
    """
    The limit is the process's number of descriptors less a reserve, which never
    takes more than half.
    """
    monkeypatch.setattr(resource, "getrlimit", lambda what: (soft, soft))
    assert descriptorLimit() == expected


def test_noDescriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    On a system without a descriptor limit there is no limit.
    """
    monkeypatch.setattr(capacity, "resource", None)
    assert descriptorLimit() is None


@pytest.fixture
def descriptors(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """
    Give the process a number of descriptors.
    """

    def have(limit: int | None) -> None:
        monkeypatch.setattr(capacity, "descriptorLimit", lambda reserve: limit)

    return have


def test_descriptorsAreALimit(descriptors: Callable[[int | None], None]) -> None:
    """
    Without a limit given, running out of descriptors is a counted refusal.
    """
    descriptors(1)
    server = TCPDemoFactory()
    server.doStart()
    assert (server.maxConnections, server.effectiveLimit) == (None, 1)
    lose(connect(server))
    first = connect(server)
    connect(server)
    assert server.report().refusedBy == {"descriptorLimit": 1}
    lose(first)
    lose(connect(server))
    server.doStop()


def test_descriptorsUnlimited(descriptors: Callable[[int | None], None]) -> None:
    """
    Without a descriptor limit, or without a wish for it, there is no limit.
    """
    descriptors(None)
    server = TCPDemoFactory()
    server.doStart()
    assert server.effectiveLimit is None
    descriptors(1)
    server.descriptorReserve = None
    server.doStart()
    assert server.effectiveLimit is None


@pytest.mark.parametrize(("limit", "warnings"), [(10, 0), (11, 1), (None, 0)])
def test_limitAboveTheDescriptors(
    descriptors: Callable[[int | None], None], limit: int | None, warnings: int
) -> None:
    """
    A limit that cannot be reached is named in a warning at the start.
    """
    descriptors(10)
    lines: list[LogEvent] = []
    globalLogPublisher.addObserver(lines.append)
    TCPDemoFactory(maxConnections=limit).doStart()
    globalLogPublisher.removeObserver(lines.append)
    assert [line["maxConnections"] for line in lines] == [limit] * warnings


async def test_descriptorsOfTheRefused() -> None:
    """
    Refused clients that linger take descriptors too: no more of them wait than
    there are, and no client is admitted in their place.
    """
    refusing = TCPDemoFactory(Discard, admission=DeniedNetworks("127.0.0.0/8"))
    async with serving(refusing) as server:
        refusing.descriptorLimit = 2
        peers = [await server.connect() for _ in range(4)]
        await until(lambda: refusing.refusedCount == 4)
        for peer in peers:
            await peer.whenEnded()
        assert len(refusing._capacity.lingering) == 2
        refusing.admission = None
        await (await server.connect()).whenEnded()
        assert refusing.report().refusedBy == {"deniedNetworks": 2, "descriptorLimit": 3}
        peers[0].transport.loseConnection()
        await until(lambda: len(refusing._capacity.lingering) == 1)
        await server.connect()
        await until(lambda: refusing.connectionCount == 1)
        assert refusing.conservation() == []


async def test_descriptorsOfTheProcess() -> None:
    """
    A factory that listens takes the descriptor limit from the process.
    """
    async with serving(TCPDemoFactory(Discard)) as server:
        assert server.factory.effectiveLimit == capacity.descriptorLimit()
