"""
The admission policy of a factory: whom it refuses, and what it counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from tests.support.certificates import pemFile
from tests.support.peers import Events, serving
from tests.support.waiting import until
from twisted_tcpdemo import TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.admission.policy import Admission
from twisted_tcpdemo.admission.rate import PeerRate
from twisted_tcpdemo.admission.rules import DeniedNetworks, PerPeerLimit, Rule
from twisted_tcpdemo.monitoring.log import LoggingObserver
from twisted_tcpdemo.server import capacity
from twisted_tcpdemo.server.watermarks import Watermarks
from twisted_tcpdemo.twistd.programs import Discard, Echo


def peerAddress(host: str, port: int = 1) -> IAddress:
    """
    The address of a peer.
    """
    return (IPv6Address if ":" in host else IPv4Address)("TCP", host, port)


def connect(server: TCPDemoFactory, host: str = "192.0.2.1", port: int = 1) -> Any:
    """
    Connect to a factory in memory.

    @return: the protocol, with its transport as C{wire}, refused or not.
    """
    address = peerAddress(host, port)
    protocol = server.buildProtocol(address)
    protocol.wire = StringTransport(peerAddress=address)
    protocol.makeConnection(protocol.wire)
    return protocol


def lose(protocol: Any, reason: type[Exception] = ConnectionDone) -> None:
    """
    End a connection in memory.
    """
    protocol.connectionLost(Failure(reason()))


def test_ruleIsNamed() -> None:
    """
    A refusal names its rule in the event and in the counters; the slot and the
    counts come back when a connection ends.
    """
    limit = PerPeerLimit(1)
    server, events = TCPDemoFactory(admission=Admission(limit)), Events()
    server.addObserver(events)
    first = connect(server)
    assert connect(server).wire.disconnecting
    [refusal] = events.of("connectionRefused")
    assert (refusal.rule, refusal.remote.address) == ("perPeerLimit", "192.0.2.1")
    assert server.report().refusedBy == {"perPeerLimit": 1}
    lose(first)
    assert len(limit) == 0
    lose(connect(server))
    assert (server.acceptedCount, server.refusedCount, len(limit)) == (2, 1, 0)
    assert server.conservation() == []


def test_refusalIsLogged() -> None:
    """
    The log says which rule has refused.
    """
    server = TCPDemoFactory(admission=DeniedNetworks("192.0.2.0/24"))
    server.addObserver(LoggingObserver(server))
    lines: list[LogEvent] = []
    globalLogPublisher.addObserver(lines.append)
    connect(server)
    globalLogPublisher.removeObserver(lines.append)
    assert [line["rule"] for line in lines if "rule" in line] == ["deniedNetworks"]


def test_refusedProtocolHearsNothing() -> None:
    """
    A protocol whose connection is refused by a rule is told nothing of it.
    """

    class Deaf(TCPDemoProtocol):
        def connectionMade(self) -> None:
            raise AssertionError

        connectionLost = dataReceived = connectionMade  # type: ignore[assignment]

    server = TCPDemoFactory(Deaf, admission=PerPeerLimit(0))
    protocol = connect(server)
    protocol.dataReceived(b"hello")
    lose(protocol)
    assert (server.refusedCount, server.closedCount) == (1, 0)


def test_limitComesFirst() -> None:
    """
    What the limit refuses is not asked of the policy, and takes no token.
    """
    rate = PeerRate(0.001)
    server = TCPDemoFactory(maxConnections=0, admission=rate, clock=Clock())
    connect(server)
    server.maxConnections = 1
    lose(connect(server))
    connect(server)
    assert server.report().refusedBy == {"maxConnections": 1, "peerRate": 1}


def test_rateHasTheFactorysClock() -> None:
    """
    A peer is admitted again when its bucket has a token.
    """
    clock = Clock()
    server = TCPDemoFactory(admission=PeerRate(1), clock=clock)
    lose(connect(server))
    connect(server)
    clock.advance(1)
    lose(connect(server))
    assert (server.acceptedCount, server.refusedCount) == (2, 1)


def test_replaced() -> None:
    """
    Another policy counts who is there already, and the first forgets them.
    """
    first, second = PerPeerLimit(9), PerPeerLimit(2)
    server = TCPDemoFactory()
    inside = [connect(server, port=port) for port in range(3)]
    server.admission = first
    assert len(first) == 1
    server.admission = second
    assert len(first) == 0
    connect(server)
    for protocol in inside[:2]:
        lose(protocol)
    connect(server)
    assert (server.connectionCount, server.refusedCount) == (2, 1)
    server.admission = None
    assert len(second) == 0
    assert server.admission is None
    assert server.conservation() == []


def test_noPolicy() -> None:
    """
    What is no policy is refused when it is given.
    """
    with pytest.raises(TypeError, match="does not provide IAdmissionPolicy"):
        TCPDemoFactory(admission=object())  # type: ignore[arg-type]


class Broken(Rule):
    """
    A policy with one method that raises.
    """

    def __init__(self, method: str) -> None:
        super().__init__()
        setattr(self, method, self._raise)

    def _raise(self, *args: object) -> None:
        raise ZeroDivisionError


@pytest.mark.parametrize("method", ["decide", "opened"])
def test_brokenPolicyRefuses(method: str, loggedErrors: Any) -> None:
    """
    A policy that raises is logged and refuses: a broken door is shut.
    """
    server = TCPDemoFactory(admission=Broken(method))
    connect(server)
    assert len(loggedErrors.take(ZeroDivisionError)) == 1
    assert server.report().refusedBy == {"admissionFailed": 1}
    assert (server.connectionCount, server.conservation()) == (0, [])


@pytest.mark.parametrize("method", ["adopted", "closed"])
def test_brokenPolicyHarmsNothing(method: str, loggedErrors: Any) -> None:
    """
    A policy that raises afterwards is logged; the slot is given back.
    """
    server = TCPDemoFactory()
    protocol = connect(server)
    server.admission = Broken(method)
    lose(protocol)
    assert len(loggedErrors.take(ZeroDivisionError)) == 1
    assert (server.connectionCount, server.closedCount) == (0, 1)
    assert server.conservation() == []


def test_addressThatChanges() -> None:
    """
    A connection is given back by the address by which it was counted, also if
    a PROXY header has told another since.
    """
    told: list[IAddress] = []

    class Remembers(Rule):
        def opened(self, host: IAddress, peer: IAddress, now: float) -> None:
            told.append(peer)

        def closed(self, peer: IAddress) -> None:
            told.append(peer)

    server = TCPDemoFactory(admission=Remembers())
    protocol = connect(server)
    protocol._connection._peer = IPv4Address("TCP", "198.51.100.1", 1)
    lose(protocol)
    assert told[0] == told[1]


def test_whatIsWrongIsSaid() -> None:
    """
    The check names what does not add up.
    """
    server = TCPDemoFactory(admission=PerPeerLimit(9))
    connect(server)
    assert server.conservation() == []
    server._ledger.accepted += 1
    server._ledger.closed += 2
    server._ledger.refused += 3
    assert server.conservation() == [
        "accepted is open and closed: 2 and 3",
        "closed is the sum over reasons: 2 and 0",
        "refused is the sum over rules: 3 and 0",
    ]
    server._ledger.open.clear()
    assert "none that is over is counted by the policy: 0 and 1" in server.conservation()


def test_bytesThatFall() -> None:
    """
    The check notices bytes that have disappeared since the last one.
    """
    server = TCPDemoFactory(Echo)
    connect(server).dataReceived(b"hello")
    assert server.conservation() == []
    server._ledger.open.clear()
    assert "bytes never fall: (5, 5) and (0, 0)" in server.conservation()


# The limit of the process.


@pytest.fixture
def descriptors(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """
    Give the process as many descriptors.
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
    Where there is no such limit, or it is not wanted, there is none.
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
    Clients that are being sent away take descriptors too: no more of them wait
    than there are, and nobody is admitted in their place.
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
    A factory that listens knows the limit of the process.
    """
    async with serving(TCPDemoFactory(Discard)) as server:
        assert server.factory.effectiveLimit == capacity.descriptorLimit()


# Watermarks.


def test_watermarks() -> None:
    """
    Observers are told when the limit is near, and when it is so no longer.
    """
    server = TCPDemoFactory(
        maxConnections=4, watermarks=Watermarks([0.5], cooldown=0), clock=Clock()
    )
    events = Events()
    server.addObserver(events)
    server.addObserver(LoggingObserver(server))
    first, _ = connect(server), connect(server)
    lose(first)
    server.maxConnections = 2
    crossings = events.of("watermarkCrossed")
    assert [(c.above, c.connectionCount, c.limit) for c in crossings] == [
        (True, 2, 4),
        (False, 1, 4),
        (True, 1, 2),
    ]


def test_watermarkAfterTheCooldown() -> None:
    """
    What a cooldown has kept back is told when it ends, though nothing happens.
    """
    clock = Clock()
    server = TCPDemoFactory(maxConnections=2, watermarks=Watermarks([0.5]), clock=clock)
    events = Events()
    server.addObserver(events)
    server.doStart()
    lose(connect(server))
    assert [c.above for c in events.of("watermarkCrossed")] == [True]
    clock.pump([1] * 5)
    assert [c.above for c in events.of("watermarkCrossed")] == [True, False]
    assert clock.getDelayedCalls() == []


def test_watermarkIsNotWaitedFor() -> None:
    """
    A server that has stopped leaves no delayed call behind.
    """
    clock = Clock()
    server = TCPDemoFactory(maxConnections=2, watermarks=Watermarks([0.5]), clock=clock)
    server.doStart()
    lose(connect(server))
    assert len(clock.getDelayedCalls()) == 1
    server.doStop()
    assert clock.getDelayedCalls() == []


# Over real sockets.


@pytest.mark.parametrize("tls", [False, True])
async def test_peersOverTCP(tls: bool) -> None:
    """
    A peer that has what it may have is refused, another comes in; with TLS too.
    """
    endpoint = (
        f"ssl:0:interface=127.0.0.1:privateKey={pemFile()}" if tls else "tcp:0:interface=127.0.0.1"
    )
    limited = TCPDemoFactory(Discard, admission=Admission(PerPeerLimit(2)))
    async with serving(limited, endpoint, tls=tls) as server:
        first, _ = await server.connect(), await server.connect()
        await until(lambda: limited.connectionCount == 2)
        refused = await server.connect()
        await refused.whenEnded()
        server.client += ":bindAddress=127.0.0.2"
        await server.connect()
        await until(lambda: limited.connectionCount == 3)
        server.client = server.client.partition(":bind")[0]
        first.transport.loseConnection()
        await until(lambda: limited.connectionCount == 2)
        await server.connect()
        await until(lambda: limited.connectionCount == 3)
        assert limited.report().refusedBy == {"perPeerLimit": 1}
        assert limited.conservation() == []
    assert limited.conservation() == []


async def test_mappedOverTCP() -> None:
    """
    An IPv4 client of a dual-stack listener is in its IPv4 network.
    """
    limited = TCPDemoFactory(Discard, admission=DeniedNetworks("127.0.0.0/8"))
    async with serving(limited, r"tcp6:0:interface=\:\:ffff\:127.0.0.1") as server:
        refused = await server.connect()
        await refused.whenEnded()
        assert limited.report().refusedBy == {"deniedNetworks": 1}


async def test_peersOverUNIX(tmp_path: Any) -> None:
    """
    Rules about networks are none for UNIX sockets.
    """
    where = f"unix:{tmp_path / 'socket'}"
    limited = TCPDemoFactory(Discard, admission=Admission(PerPeerLimit(0), PeerRate(0.001)))
    async with serving(limited, where, where) as server:
        for _ in range(3):
            await server.connect()
        await until(lambda: limited.connectionCount == 3)
    assert (limited.refusedCount, limited.conservation()) == (0, [])


async def test_storm() -> None:
    """
    Waves of twice what may come: never one too many, nobody lost, and all is
    given back.
    """
    limit = PerPeerLimit(10)
    limited = TCPDemoFactory(Discard, maxConnections=15, admission=Admission(limit))
    most = 0
    async with serving(limited) as server:
        for wave in range(1, 6):
            peers = [await server.connect() for _ in range(20)]
            await until(lambda: limited.acceptedCount + limited.refusedCount == 20 * wave)  # noqa: B023
            most = max(most, limited.connectionCount)
            assert limited.conservation() == []
            for peer in peers:
                peer.transport.abortConnection()
            await until(lambda: not limited.connectionCount)
            assert len(limit) == 0
    assert most == 10
    assert limited.report().refusedBy == {"perPeerLimit": 50}
    assert limited.conservation() == []


HOSTS = ["192.0.2.1", "198.51.100.1", "2001:db8::1"]


class Server(RuleBasedStateMachine):
    """
    A factory with a limit and a policy, both of which change, against a list of
    who is inside.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.server = TCPDemoFactory(Echo, clock=self.clock)
        self.limit = PerPeerLimit(2)
        self.server.admission = self.limit
        self.inside: list[tuple[Any, str]] = []
        self.refused: list[str] = []
        self.sent = 0
        self.arrivals = 0

    @rule(host=st.sampled_from(HOSTS))
    def arrive(self, host: str) -> None:
        """
        A client comes, and is told if it may not.
        """
        self.arrivals += 1
        total, ofPeer = self.server.maxConnections, self.limit.limit
        mine = sum(its == host for _, its in self.inside)
        protocol = connect(self.server, host, self.arrivals)
        if total is not None and len(self.inside) >= total:
            self.refused.append("maxConnections")
        elif ofPeer is not None and mine >= ofPeer:
            self.refused.append("perPeerLimit")
        else:
            self.inside.append((protocol, host))
            return
        assert protocol.wire.disconnecting
        lose(protocol)

    @precondition(lambda self: self.inside)
    @rule(data=st.data(), reason=st.sampled_from([ConnectionDone, ConnectionLost]))
    def leave(self, data: st.DataObject, reason: type[Exception]) -> None:
        """
        A connection ends; the end is told once or twice.
        """
        protocol, _ = self.inside.pop(data.draw(st.integers(0, len(self.inside) - 1)))
        lose(protocol, reason)
        if data.draw(st.booleans()):
            lose(protocol, reason)

    @precondition(lambda self: self.inside)
    @rule(data=st.data(), size=st.integers(1, 1000))
    def send(self, data: st.DataObject, size: int) -> None:
        """
        A client sends, and is answered.
        """
        protocol, _ = data.draw(st.sampled_from(self.inside))
        protocol.dataReceived(bytes(size))
        self.sent += size

    @rule(limit=st.none() | st.integers(0, 4))
    def changeTotal(self, limit: int | None) -> None:
        """
        The limit of all changes.
        """
        self.server.maxConnections = limit

    @rule(limit=st.none() | st.integers(0, 3))
    def changeLimit(self, limit: int | None) -> None:
        """
        The limit of a peer changes.
        """
        self.limit.limit = limit

    @rule()
    def replace(self) -> None:
        """
        Another policy takes over.
        """
        before, self.limit = self.limit, PerPeerLimit(self.limit.limit)
        self.server.admission = Admission(self.limit)
        assert len(before) == 0

    @invariant()
    def asTheModel(self) -> None:
        """
        Counts, bytes and refusals are those of the list.
        """
        server = self.server
        assert server.conservation() == []
        assert server.connections == [protocol for protocol, _ in self.inside]
        assert server.acceptedCount + server.refusedCount == self.arrivals
        assert server.bytesRead == server.bytesWritten == self.sent
        for host in HOSTS:
            mine = sum(its == host for _, its in self.inside)
            assert self.limit.connectionsOf(peerAddress(host)) == mine
        rules = {name: self.refused.count(name) for name in set(self.refused)}
        assert server.report().refusedBy == rules

    def teardown(self) -> None:
        """
        When all have gone nothing is left.
        """
        for protocol, _ in self.inside:
            lose(protocol)
        assert (len(self.limit), self.server.connectionCount) == (0, 0)
        assert self.server.conservation() == []


TestServer = Server.TestCase
TestServer.settings = settings(deadline=None, max_examples=40, stateful_step_count=30)
