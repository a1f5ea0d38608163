"""
The admission policy of a factory: the refusals and their counts.
"""

from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher

from tests.support.certificates import pemFile
from tests.support.memory import connect, lose
from tests.support.peers import Events, serving
from tests.support.waiting import until
from twisted_tcpdemo import TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.admission.policy import Admission
from twisted_tcpdemo.admission.rate import PeerRate
from twisted_tcpdemo.admission.rules import DeniedNetworks, PerPeerLimit, Rule
from twisted_tcpdemo.fast.endpoint import ServerEndpoint
from twisted_tcpdemo.monitoring.log import LoggingObserver
from twisted_tcpdemo.twistd.programs import Discard


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
    The log names the rule that has refused a client.
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
    A protocol whose connection is refused by a rule hears nothing of it.
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
    A client over the limit is refused before the policy is asked, and takes no
    token.
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
    A new policy counts the open connections, and the old one forgets them.
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
    An object that is no policy is refused when it is given.
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
    A policy that raises is logged, and refuses the client.
    """
    server = TCPDemoFactory(admission=Broken(method))
    connect(server)
    assert len(loggedErrors.take(ZeroDivisionError)) == 1
    assert server.report().refusedBy == {"admissionFailed": 1}
    assert (server.connectionCount, server.conservation()) == (0, [])


@pytest.mark.parametrize("method", ["adopted", "closed"])
def test_brokenPolicyHarmsNothing(method: str, loggedErrors: Any) -> None:
    """
    A policy that raises after the admission is logged, and the slot is given back.
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
    A connection is given back under the address under which it was counted, even if
    a PROXY header has changed it since.
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


# Over real sockets.


@pytest.mark.parametrize("tls", [False, True])
async def test_peersOverTCP(tls: bool) -> None:
    """
    A peer over its limit is refused and another one admitted, with TLS too.
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
    An IPv4 client of a dual-stack listener belongs to its IPv4 network.
    """
    limited = TCPDemoFactory(Discard, admission=DeniedNetworks("127.0.0.0/8"))
    async with serving(limited, r"tcp6:0:interface=\:\:ffff\:127.0.0.1") as server:
        refused = await server.connect()
        await refused.whenEnded()
        assert limited.report().refusedBy == {"deniedNetworks": 1}


async def test_peersOverUNIX(tmp_path: Any) -> None:
    """
    Rules about networks do not apply to UNIX sockets.
    """
    where = f"unix:{tmp_path / 'socket'}"
    limited = TCPDemoFactory(Discard, admission=Admission(PerPeerLimit(0), PeerRate(0.001)))
    async with serving(limited, where, where) as server:
        for _ in range(3):
            await server.connect()
        await until(lambda: limited.connectionCount == 3)
    assert (limited.refusedCount, limited.conservation()) == (0, [])


@pytest.mark.parametrize("lane", ["twisted", "fast"])
async def test_abstractName(tmp_path: Any, lane: str) -> None:
    """
    A client whose UNIX socket has an abstract name comes and goes like any other.
    """
    from twisted.internet import reactor

    path = str(tmp_path / "socket")
    endpoint = ServerEndpoint(reactor, path=path) if lane == "fast" else f"unix:{path}"
    limited = TCPDemoFactory(Discard, admission=Admission(PerPeerLimit(1)))
    async with serving(limited, endpoint, f"unix:{path}"):
        with socket.socket(socket.AF_UNIX) as client:
            client.bind(f"\0tcpdemo {tmp_path}")
            client.connect(path)
            await until(lambda: limited.connectionCount)
        await limited.whenEmpty()
    assert limited.conservation() == []
