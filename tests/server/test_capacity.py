"""
The limit: how many connections there is room for.
"""

from __future__ import annotations

import resource
from collections.abc import Callable

import pytest
from twisted.internet.protocol import Factory
from twisted.logger import LogEvent, globalLogPublisher

from tests.support.clients import installedReactor
from tests.support.memory import connect, lose
from tests.support.peers import serving
from tests.support.waiting import until
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.admission.rules import DeniedNetworks
from twisted_tcpdemo.server import capacity
from twisted_tcpdemo.server.capacity import descriptorLimit
from twisted_tcpdemo.service.companion import MAX_VISITORS, NEWCOMERS, Visitors
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
    monkeypatch.setattr("twisted_tcpdemo.values.descriptors.resource", None)
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


async def test_descriptorsOfOtherServers() -> None:
    """
    All servers of a process share its descriptors, those that drain included.
    """
    first, second = TCPDemoFactory(Discard), TCPDemoFactory(Discard)
    async with serving(first) as one, serving(second) as two:
        for _ in range(2):
            await one.connect()
        await until(lambda: first.connectionCount == 2)
        second.descriptorLimit = 3
        await two.connect()
        await until(lambda: second.connectionCount == 1)
        await (await two.connect()).whenEnded()
        assert second.report().refusedBy == {"descriptorLimit": 1}
        await first.stopListening()
        await (await two.connect()).whenEnded()
        one.peers[0].transport.loseConnection()
        await until(lambda: first.connectionCount == 1)
        await two.connect()
        await until(lambda: second.connectionCount == 2)


async def test_descriptorsSetAside(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The visitors of a companion have descriptors of their own, from its start to its
    end; with few descriptors they get an eighth.
    """
    async with serving(TCPDemoFactory(Discard)) as server:
        before = server.factory.effectiveLimit
        assert before is not None
        page = Visitors(Factory(), installedReactor())
        async with serving(page):
            assert server.factory.effectiveLimit == before - MAX_VISITORS - NEWCOMERS
        assert server.factory.effectiveLimit == before
        server.factory.descriptorLimit = 50  # the program's own
        async with serving(page):
            assert server.factory.effectiveLimit == 50
    monkeypatch.setattr(resource, "getrlimit", lambda what: (80, 80))
    assert Visitors(Factory(), installedReactor()).maxConnections == 10


def test_openDescriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What a program has open beside its connections is not given to them.
    """
    monkeypatch.setattr(capacity, "openNow", lambda: 300)
    monkeypatch.setattr(resource, "getrlimit", lambda what: (1024, 1024))
    server = TCPDemoFactory(Discard)
    server.doStart()
    assert server.effectiveLimit == 1024 - 300 - capacity.HEADROOM
    server.doStop()


async def test_descriptorsOfTheProcess() -> None:
    """
    A factory that listens takes the descriptor limit from the process.
    """
    async with serving(TCPDemoFactory(Discard)) as server:
        assert server.factory.effectiveLimit == capacity.descriptorLimit()
