"""
L{twisted_tcpdemo.fast.unserved}: exactly the header is read, and nothing is lost.
"""

from __future__ import annotations

import socket
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from tests.support.contexts import TwistedContexts
from tests.support.fast import closed, fastServer
from tests.support.peers import Peer, rawConnection, reset, serving
from tests.support.proxied import (
    LOCAL,
    LOOPBACK,
    V2,
    V6,
    Noting,
    NotingFactory,
    behind,
    isOver,
    proxiedServer,
    received,
    stageOf,
)
from tests.support.proxies import CLIENT, LINE, SERVER, Stage, block, tlv
from tests.support.waiting import turn, until
from twisted_tcpdemo import (
    TCPDemoFactory,
)
from twisted_tcpdemo.twistd.programs import Discard, Echo


async def test_drip() -> None:
    """
    A header may come byte by byte; the protocol hears nothing of it.
    """
    async with fastServer(proxy=LOOPBACK) as server:
        raw = rawConnection(server.port)
        for byte in V2[:-1]:
            raw.send(bytes([byte]))
            await turn()
        assert not server.made
        raw.send(V2[-1:] + b"x")
        await until(lambda: server.made and server.made[0].received)
        assert server.made[0].received == b"x"
        raw.close()
        await closed(server.made[0])


async def test_halfClose() -> None:
    """
    Data and a FIN right behind the header come to the protocol in order.
    """
    async with fastServer(proxy=LOOPBACK) as server:
        raw = rawConnection(server.port)
        raw.send(LINE + b"hello")
        raw.shutdown(socket.SHUT_WR)
        await until(lambda: server.made and server.made[0].ended)
        assert server.made[0].received == b"hello"
        assert IHalfCloseableProtocol.providedBy(server.made[0])
        server.made[0].transport.write(b"bye")
        server.made[0].transport.loseConnection()
        assert await received(raw, 3) == b"bye"
        raw.close()
        await server.made[0].whenLost()


async def test_paused() -> None:
    """
    A protocol that does not read gets no data behind the header until it does.
    """
    factory = TCPDemoFactory(Echo, pauseOnConnect=True)
    async with proxiedServer(factory) as (server, client):
        raw = client(LINE + b"hello")
        protocol = await server.protocol()
        for _ in range(5):
            await turn()
        assert protocol.bytesRead == 0
        protocol.resume()
        assert await received(raw, 5) == b"hello"


async def test_tls() -> None:
    """
    The header comes before TLS, and both sides see the client.
    """
    endpoint: Any = behind(tls=TwistedContexts.server())
    factory = NotingFactory(Noting)
    from twisted.internet import reactor

    async with serving(factory, endpoint) as server:
        peer = Peer()
        inner = Factory.forProtocol(lambda: peer)  # type: ignore[type-var]
        secure = TLSMemoryBIOFactory(TwistedContexts.client(), True, inner).buildProtocol(None)

        class Late(Peer):
            """
            Sends the header, and then begins TLS.
            """

            def connectionMade(self) -> None:
                """
                Do so.
                """
                self.transport.write(V2)
                self.transport.protocol = secure
                secure.makeConnection(self.transport)

        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", server.port), Late())
        peer.transport.write(b"hello")
        await peer.whenReceived(len(b"hello from 192.0.2.7"))
        assert peer.received == b"hello from 192.0.2.7"
        assert factory.built.known == (CLIENT, SERVER, CLIENT, SERVER)
        assert factory.built.proxied.header.source == CLIENT
        assert factory.built.bytesRead == 5
        peer.transport.loseConnection()
        await peer.whenLost()
        await factory.whenEmpty()
        assert factory.built.peer == CLIENT
        assert factory.built.proxied.header.source == CLIENT


@pytest.mark.parametrize("end", [socket.socket.close, reset])
async def test_healthCheck(end: Any) -> None:
    """
    A proxy that only looks whether somebody listens is no event.
    """
    factory = TCPDemoFactory(Echo)
    async with proxiedServer(factory) as (server, client):
        end(client())
        await received(client(LINE + b"x"), 1)
        assert not stageOf(server).heldCount
        assert server.events.names == ["listening", "connectionOpened"]


@settings(deadline=None, max_examples=40)
@given(
    some.sampled_from([LINE, V2, V6, LOCAL, block(0x20, 0, tlv(4, bytes(600)))]),
    some.binary(max_size=600),
    some.data(),
)
def test_anySplit(header: bytes, behindIt: bytes, data: some.DataObject) -> None:
    """
    At any split, exactly the header is read, and the protocol gets the rest.
    """
    stream = header + behindIt
    cuts = data.draw(some.lists(some.integers(0, len(stream)), max_size=5).map(sorted))
    stage = Stage()
    cuts.append(len(stream))
    raw = stage.client(stream[: cuts[0]])
    for a, b in pairwise(cuts):
        if a < b:
            raw.send(stream[a:b])
        stage.turn()
    [(ours, _, told)] = stage.door.connected
    ours.setblocking(False)
    rest = bytearray()
    while len(rest) < len(behindIt):
        rest += ours.recv(4096)
    assert rest == behindIt
    assert told.source is None or told.source.port == 4711  # type: ignore[union-attr]
    stage.close()


def test_reactorStops() -> None:
    """
    When the reactor stops, every client is closed, and nobody is told.
    """
    factory = TCPDemoFactory(Discard, maxConnections=0, overflow="wait")
    stage = Stage(factory)
    unfinished, waiting = stage.client(b"PROXY"), stage.client(LINE)
    assert stage.stage.heldCount == 2
    stage.door.poller.connectionLost(Failure(ConnectionError()))
    assert isOver(unfinished) and isOver(waiting)
    assert factory.refusedCount == 0
    assert stage.door.poller.connectionCount == 0
    stage.close()


def test_noMoreWatches(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A client that the kernel does not watch is refused, with a header or without.
    """
    factory = TCPDemoFactory(Discard, maxConnections=0, overflow="wait")
    stage = Stage(factory)

    def add(connection: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stage.door.poller, "add", add)
    for data in (b"", LINE):
        assert isOver(stage.client(data))
    assert factory.report().refusedBy == {"descriptorLimit": 2}
    assert stage.stage.heldCount == 0
    stage.close()
