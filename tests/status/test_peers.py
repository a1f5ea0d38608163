"""
The peers with the most connections, or the most bytes.
"""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.internet.testing import StringTransport

from tests.status.test_history import finished
from tests.support.status import ask, connected, showing
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.status.peers import MOST, topPeers
from twisted_tcpdemo.twistd.programs import Discard, Echo


def visited(factory: TCPDemoFactory, *peers: tuple[IAddress, int]) -> None:
    """
    Connect clients that send some bytes.
    """
    for peer, size in peers:
        protocol = factory.buildProtocol(peer)
        protocol.makeConnection(StringTransport(peerAddress=peer))
        protocol.dataReceived(bytes(size))


def fromPort(port: int) -> tuple[IAddress, int]:
    """
    A client of a host that has several.
    """
    return IPv4Address("TCP", "192.0.2.1", port), 10


def test_orders() -> None:
    """
    Peers are grouped without their ports, and come in the order that is asked for.
    """
    factory = TCPDemoFactory(Discard)
    other = IPv6Address("TCP", "2001:db8::1", 5), 500
    visited(factory, fromPort(1), other, fromPort(2))
    byCount = finished(topPeers(factory.records, "connections"))
    assert byCount == {
        "peerCount": 2,
        "peers": [
            {"peer": "192.0.2.1", "connections": 2, "bytesRead": 20, "bytesWritten": 0},
            {"peer": "2001:db8::1", "connections": 1, "bytesRead": 500, "bytesWritten": 0},
        ],
    }
    byBytes = finished(topPeers(factory.records, "bytes"))
    assert [peer["peer"] for peer in byBytes["peers"]] == [  # type: ignore[attr-defined]
        "2001:db8::1",
        "192.0.2.1",
    ]


def test_many() -> None:
    """
    Few are told of, however many there are, and the work is cut into steps.
    """
    factory = TCPDemoFactory(Discard)
    peers = [(IPv4Address("TCP", f"10.0.{n // 250}.{n % 250}", 1), 1) for n in range(2000)]
    visited(factory, *peers)
    work = topPeers(factory.records, "connections")
    for _ in range(4):
        next(work)
    found = finished(work)
    assert found["peerCount"] == 2000
    assert len(found["peers"]) == MOST  # type: ignore[arg-type]


def test_unnamed() -> None:
    """
    The clients of a UNIX socket, which have no names, are one peer.
    """
    factory = TCPDemoFactory(Discard)
    visited(factory, (UNIXAddress(None), 1), (UNIXAddress(None), 1))
    assert finished(topPeers(factory.records, "connections"))["peerCount"] == 1


async def test_filterOfAPeer() -> None:
    """
    The filter of a peer shows its connections, and those of no other whose address is alike.
    """
    factory = TCPDemoFactory(Discard)
    alike = IPv4Address("TCP", "192.0.2.11", 1), 10
    visited(factory, fromPort(1), fromPort(2), alike)
    async with showing(factory) as port:
        shown = (await ask(port, "/status.json?peers=bytes&filter=peer:192.0.2.1")).data
        assert shown["connectionsMatching"] == 2
        assert [peer["connections"] for peer in shown["peers"]] == [2, 1]
        assert "peers" not in (await ask(port)).data


async def test_wrongOrder() -> None:
    """
    Another order is refused.
    """
    factory = TCPDemoFactory(Echo)
    connected(factory)
    async with showing(factory) as port:
        answer = await ask(port, "/status.json?peers=names")
    assert (answer.code, answer.body) == (400, b"peers must be one of connections, bytes\n")
