"""
Upgrades as programs make them: TLS from the middle of a stream, by the transport and by a
layer of the program's own, and what a web server's request turns into.  One client has one
slot, one number and one count, over every transport.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from tests.contract.test_contract import Serve
from tests.contract.test_sockets import Foreign, Upgraded, rest
from tests.support.contexts import TwistedContexts
from tests.support.peers import Peer, Server
from tests.support.waiting import until
from twisted_tcpdemo import TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.connection.hosting import hosted
from twisted_tcpdemo.twistd.programs import Echo

ENDS = ["the peer closes", "a drain aborts"]


def isEncrypted(transport: str) -> bool:
    """
    Whether a transport of the contract has TLS from the start.
    """
    return transport.endswith(("tls", "ssl"))


def oneSlot(server: Server, number: int) -> Any:
    """
    Check that the only client has one slot and the number that it had.

    @return: its record.
    """
    [record] = server.factory.records
    assert record.connectionID == number
    assert (server.factory.connectionCount, server.factory.conservation()) == (1, [])
    return record


async def end(server: Server, peer: Peer, how: str, count: int) -> None:
    """
    Let the connection end, and check the accounts.
    """
    if how == "the peer closes":
        peer.transport.loseConnection()
        await rest(server, count)
    else:
        report = await server.factory.drain(0.05)
        assert report.aborted + report.finished == 1
        await rest(server, count)
        await peer.whenEnded()
        peer.transport.loseConnection()


# TLS from the middle of a stream.


class Starting(Echo):
    """
    Begins TLS when it is told to, and echoes.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Begin, or echo.
        """
        if data == b"STARTTLS":
            self.transport.write(b"go")
            self.transport.startTLS(TwistedContexts.server())  # type: ignore[attr-defined]
        else:
            super().dataReceived(data)


class Wrapping(Echo):
    """
    Puts a layer of TLS between itself, or another protocol, and its transport.
    """

    def behind(self) -> Any:
        """
        The protocol behind the layer.
        """
        return self

    def dataReceived(self, data: bytes) -> None:
        """
        Begin, or echo.
        """
        if data != b"STARTTLS":
            super().dataReceived(data)
            return
        transport: Any = self.transport
        transport.write(b"go")
        factory = TLSMemoryBIOFactory(TwistedContexts.server(), False, Factory())
        transport.protocol = layer = TLSMemoryBIOProtocol(factory, self.behind())
        layer.makeConnection(transport)


class ToAnother(Wrapping):
    """
    Puts it before another protocol of the factory.
    """

    def behind(self) -> Any:
        """
        The protocol behind the layer.
        """
        new = Upgraded()
        new.factory = self.factory
        return new


class ToForeign(Wrapping):
    """
    Puts it before a protocol of somebody else's.
    """

    def behind(self) -> Any:
        """
        The protocol behind the layer.
        """
        return Foreign()


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("kind", [Starting, Wrapping, ToAnother, ToForeign])
async def test_startTLS(kind: type[Echo], how: str, serve: Serve, transport: str) -> None:
    """
    A connection that is encrypted from its middle on keeps its slot, its number and its
    counts, and ends with its socket.
    """
    if isEncrypted(transport):
        pytest.skip("it is encrypted from the start")
    async with serve(kind, maxConnections=2) as server:
        for count in (1, 2) if how == ENDS[0] else (1,):
            peer = await server.connect()
            number = (await server.protocol()).connectionID
            peer.transport.write(b"STARTTLS")
            await peer.whenReceived(2)
            peer.transport.startTLS(TwistedContexts.client())
            peer.transport.write(b"hello")
            await peer.whenReceived(7)
            assert peer.received.upper() == b"GOHELLO"
            record = oneSlot(server, number)
            if kind is not ToForeign:  # of which only the ciphertext is known
                assert (record.counts.bytesRead, record.counts.bytesWritten) == (13, 7)
            await end(server, peer, how, count)


# What a request of a web server turns into.


class Turning(Resource):
    """
    Gives the transport of a request to another protocol, as libraries for WebSocket do.
    """

    isLeaf = True

    def __init__(self, build: Any) -> None:
        super().__init__()
        self.build = build

    def render(self, request: Request) -> int:
        """
        Answer by another protocol.
        """
        channel: Any = request.channel
        transport, channel.transport = channel.transport, None
        channel.setTimeout(None)
        new = self.build()
        place = "wrappedProtocol" if isinstance(transport, ProtocolWrapper) else "protocol"
        setattr(transport, place, new)
        new.makeConnection(transport)
        transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        return NOT_DONE_YET


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("isOurs", [True, False], ids=["ours", "foreign"])
async def test_web(isOurs: bool, how: str, serve: Serve) -> None:
    """
    A request that becomes a connection of another protocol keeps the slot and the number of
    its connection, and ends with its socket.
    """
    factories: list[Any] = []

    def build() -> Any:
        new: Any = Upgraded() if isOurs else Foreign()
        if isOurs:
            new.factory = factories[0]
        return new

    site = Site(Turning(build))
    async with serve(hosted(site), maxConnections=2) as server:
        factories.append(server.factory)
        for count in (1, 2) if how == ENDS[0] else (1,):
            peer = await server.connect()
            await until(lambda: server.factory.connectionCount == 1)
            number = server.factory.records[0].connectionID
            peer.transport.write(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: shout\r\n\r\n")
            await until(lambda peer=peer: b"\r\n\r\n" in peer.received)  # type: ignore[misc]
            peer.transport.write(b"hello")
            await until(lambda peer=peer: peer.received.endswith(b"HELLO"))  # type: ignore[misc]
            oneSlot(server, number)
            await end(server, peer, how, count)


# Factories in factories.


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("isWrapped", [True, False], ids=["wrapped", "bare"])
async def test_nested(isWrapped: bool, how: str, serve: Serve) -> None:
    """
    A factory that serves with the protocols of another one: both count, both have their
    limits, and both slots are free when the socket is closed.
    """
    inner = TCPDemoFactory(Echo, maxConnections=1)
    within: Any = WrappingFactory(inner) if isWrapped else inner
    async with serve(hosted(within), maxConnections=5) as server:
        for count in (1, 2) if how == ENDS[0] else (1,):
            peer = await server.connect()
            peer.transport.write(b"hello")
            await peer.whenReceived(5)
            assert peer.received == b"hello"
            for factory in (inner, server.factory):
                assert (factory.connectionCount, factory.conservation()) == (1, [])
                assert (factory.bytesRead, factory.bytesWritten) == (5 * count, 5 * count)
            await end(server, peer, how, count)
            assert (inner.connectionCount, inner.closedCount) == (0, count)
            assert inner.conservation() == []


async def test_carried(serve: Serve) -> None:
    """
    A protocol that carries another one over its own transport, and goes on itself, is one
    client.
    """

    class Carrying(TCPDemoProtocol):
        carried: Protocol

        def connectionMade(self) -> None:
            self.carried = ToAnother.behind(self)  # type: ignore[arg-type]
            self.carried.makeConnection(self.transport)

        def dataReceived(self, data: bytes) -> None:
            self.carried.dataReceived(data)

    async with serve(Carrying, maxConnections=1) as server:
        for count in (1, 2):
            peer = await server.connect()
            peer.transport.write(b"hello")
            await peer.whenReceived(5)
            assert peer.received == b"HELLO"
            oneSlot(server, server.factory.records[0].connectionID)
            await end(server, peer, ENDS[0], count)
