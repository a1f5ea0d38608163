"""
The kernel's own figures of a connection.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from twisted.internet.testing import StringTransport

from tests.support.certificates import pemFile
from tests.support.peers import rawConnection, serving
from tests.support.waiting import until
from twisted_tcpdemo import TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.connection import facts as connectionFacts
from twisted_tcpdemo.transports import tcpinfo
from twisted_tcpdemo.transports.tcpinfo import (
    acceptQueueOf,
    parse,
    roundTripTimeOf,
    tcpInfoOf,
)
from twisted_tcpdemo.twistd.programs import Discard, Echo

onLinux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this TCP_INFO")


class Holder:
    """
    An object that holds a socket, as a transport and a port do.
    """

    def __init__(self, held: socket.socket) -> None:
        self.socket = held


@pytest.fixture
def listener() -> Generator[socket.socket]:
    """
    A listening socket with its queue.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=7) as listening:
        yield listening


def structure(size: int = 240, **fields: tuple[str, int, int]) -> bytes:
    """
    A C{struct tcp_info} with some fields set: kind, offset, value.
    """
    raw = bytearray(size)
    for kind, offset, value in fields.values():
        struct.pack_into(kind, raw, offset, value)
    return bytes(raw)


@onLinux
def test_roundTripTime(listener: socket.socket) -> None:
    """
    The round trip time alone is that of all figures; a socket that is closed has none.
    """
    with socket.create_connection(listener.getsockname()) as client:
        info = tcpInfoOf(Holder(client))
        assert info is not None
        assert roundTripTimeOf(Holder(client)) == info.roundTripTime > 0
    assert roundTripTimeOf(Holder(client)) is None
    assert roundTripTimeOf(StringTransport()) is None


def test_fields() -> None:
    """
    Each figure is read from its place, and times are in seconds.
    """
    info = parse(
        structure(
            snd_mss=("I", 16, 1448),
            rtt=("I", 68, 25_000),
            rttvar=("I", 72, 1_500),
            snd_cwnd=("I", 80, 10),
            total_retrans=("I", 100, 3),
            notsent_bytes=("I", 144, 700),
            min_rtt=("I", 148, 20_000),
            delivery_rate=("Q", 160, 2**33),
        ),
        900,
    )
    assert info is not None
    assert (info.roundTripTime, info.roundTripVariance) == (0.025, 0.0015)
    assert info.minimumRoundTripTime == 0.02
    assert (info.congestionWindow, info.segmentSize) == (10, 1448)
    assert (info.bytesUnacknowledged, info.bytesUnsent) == (900, 700)
    assert (info.retransmits, info.deliveryRate) == (3, 2**33)


def test_oldKernel() -> None:
    """
    A figure that an old kernel does not have is None, and the rest is there.
    """
    info = parse(structure(104, rtt=("I", 68, 40_000)), 5)
    assert info is not None
    assert (info.roundTripTime, info.bytesUnacknowledged) == (0.04, 5)
    assert (info.bytesUnsent, info.minimumRoundTripTime, info.deliveryRate) == (None, None, None)


@given(some.binary(max_size=300))
def test_anyLength(raw: bytes) -> None:
    """
    A structure of any length is read as far as it goes.
    """
    assert (parse(raw, 0) is None) == (len(raw) < 104)


def test_nothingMeasured() -> None:
    """
    Before the first measurement there is no minimum.
    """
    info = parse(structure(min_rtt=("I", 148, 2**32 - 1)), 0)
    assert info is not None
    assert info.minimumRoundTripTime is None


@onLinux
@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
async def test_report(tls: bool) -> None:
    """
    The report of a connection has the kernel's figures, through TLS too.
    """
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={pemFile()}" if tls else "tcp:0"
    async with serving(TCPDemoFactory(Echo), endpoint, tls=tls) as server:
        peer = await server.connect()
        peer.transport.write(b"hello")
        await peer.whenReceived(5)
        info = (await server.protocol()).report().tcpInfo
        assert 0 < info.roundTripTime < 10
        assert info.congestionWindow > 0 and info.segmentSize > 0
        assert info.retransmits == 0


async def test_unix(tmp_path: Path) -> None:
    """
    A UNIX socket has no figures.
    """
    path = tmp_path / "socket"
    async with serving(TCPDemoFactory(Echo), f"unix:{path}", f"unix:{path}") as server:
        await server.connect()
        assert (await server.protocol()).report().tcpInfo is None


@onLinux
async def test_unacknowledged() -> None:
    """
    Bytes for which the peer's kernel has no room are unacknowledged.
    """
    async with serving(TCPDemoFactory(Discard)) as server:
        with rawConnection(server.port, receiveBuffer=4096):
            protocol = await server.protocol()
            protocol.write(bytes(5_000_000)).addErrback(lambda _: None)
            await until(lambda: protocol.report().tcpInfo.bytesUnacknowledged)
            report = protocol.report()
            assert report.tcpInfo.bytesUnacknowledged >= report.tcpInfo.bytesUnsent
            assert report.bytesPending + report.tcpInfo.bytesUnacknowledged <= 5_000_000


@onLinux
async def test_lastKnown() -> None:
    """
    After the loss the figures are the kernel's last ones, renewed once when a side
    closes.
    """
    async with serving(TCPDemoFactory(Echo)) as server:
        peer = await server.connect()
        protocol = await server.protocol()
        assert protocol.report().tcpInfo.deliveryRate == 0
        peer.transport.write(bytes(300_000))
        await peer.whenReceived(300_000)
        peer.transport.loseConnection()
        await server.factory.whenEmpty()
        assert protocol.report().tcpInfo.deliveryRate > 0
        [closed] = server.events.of("connectionClosed")
        assert closed.tcpInfo == protocol.report().tcpInfo


async def test_nobodyAsks(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without a request for a report, the kernel is never asked, with observers or
    without.
    """
    asked: list[Any] = []
    monkeypatch.setattr(connectionFacts, "tcpInfoOf", asked.append)
    async with serving(TCPDemoFactory(Echo)) as server:
        peer = await server.connect()
        peer.transport.write(b"hello")
        await peer.whenReceived(5)
        peer.transport.loseConnection()
        await until(lambda: server.factory.closedCount)
        facts = server.events.of("connectionOpened") + server.events.of("connectionClosed")
        assert [report.tcpInfo for report in facts] == [None, None]
        assert asked == []


def test_unitTest() -> None:
    """
    A transport without a socket has no figures.
    """
    protocol = TCPDemoProtocol()
    protocol.makeConnection(StringTransport())
    assert protocol.report().tcpInfo is None


@onLinux
def test_closedSocket(listener: socket.socket) -> None:
    """
    A socket that has been closed is no error.
    """
    client = socket.create_connection(listener.getsockname())
    assert tcpInfoOf(Holder(client)) is not None
    client.close()
    assert tcpInfoOf(Holder(client)) is None
    assert acceptQueueOf(Holder(client)) is None


@onLinux
def test_acceptQueue(listener: socket.socket) -> None:
    """
    A listening socket tells how many clients wait, and how many may.
    """
    port = Holder(listener)
    assert acceptQueueOf(port) == (0, 7)
    with socket.create_connection(listener.getsockname()):
        assert acceptQueueOf(port) == (1, 7)
        listener.accept()[0].close()
        assert acceptQueueOf(port) == (0, 7)


def test_otherSystems(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where TCP_INFO is missing or has another form, there are no figures.
    """
    monkeypatch.setattr(tcpinfo, "SUPPORTED", False)
    assert tcpInfoOf(Holder(listener)) is None
    assert acceptQueueOf(Holder(listener)) is None
