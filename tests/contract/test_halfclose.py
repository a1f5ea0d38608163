"""
The peer's FIN works through wrappers of Twisted's as it does without them.
"""

from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapServerTLS
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.protocols.haproxy import proxyEndpoint
from twisted.protocols.policies import WrappingFactory

from tests.support.contexts import TwistedContexts
from tests.support.peers import Peer, Server, rawConnection, serving
from tests.support.waiting import turn, until
from tests.support.wrappers import (
    Knowing,
    KnowingFactory,
    Told,
    Wrapped,
    described,
    withTimeout,
    wrappersOf,
)
from twisted_tcpdemo import CloseReason, TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.twistd.programs import Discard
from twisted_tcpdemo.values.budgets import Budgets

HEADER = b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 2000\r\n"
SIZE = 5_000_000
BOTTOMS = ["tcp:0:interface=127.0.0.1", "fasttcp:0:interface=127.0.0.1"]


@pytest.fixture(params=BOTTOMS, ids=["tcp", "fasttcp"])
def bottom(request: pytest.FixtureRequest) -> str:
    """
    The endpoint below the wrappers.
    """
    name: str = request.param
    return name


class Answering(Told):
    """
    Answers any request with many bytes.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Answer.
        """
        self.transport.write(bytes(SIZE))


async def request(server: Server, data: bytes) -> Peer:
    """
    Send a request and a FIN, and read nothing until the server has both.
    """
    peer = await server.connect()
    peer.transport.pauseProducing()
    peer.transport.write(data)
    peer.transport.loseWriteConnection()
    return peer


async def test_answerArrives(bottom: str) -> None:
    """
    Behind a PROXY header, a client that sends a request and ends its side gets all
    of the answer, and then the connection closes.
    """
    async with serving(TCPDemoFactory(Answering), f"haproxy:{bottom}") as server:
        peer = await request(server, HEADER + b"request")
        protocol = await server.protocol()
        await until(lambda: protocol.told)
        peer.transport.resumeProducing()
        await peer.whenEnded()
        await server.factory.whenEmpty()
        assert len(peer.received) == SIZE
        assert protocol.told == ["read"]
        [report] = server.events.of("connectionClosed")
        assert (report.bytesRead, report.bytesWritten, report.bytesPending) == (7, SIZE, 0)
        assert report.closeReason is CloseReason.PEER_CLOSED


async def test_halfOpen(bottom: str) -> None:
    """
    With allowHalfOpen the server may answer after the client's FIN.
    """
    factory = TCPDemoFactory(Told, allowHalfOpen=True)
    async with serving(factory, f"haproxy:{bottom}") as server:
        peer = await server.connect()
        peer.transport.write(HEADER)
        peer.transport.loseWriteConnection()
        protocol = await server.protocol()
        await until(lambda: protocol.told)
        for _ in range(5):
            await turn()
        assert factory.connectionCount == 1
        protocol.transport.write(b"late")
        await peer.whenReceived(4)
        protocol.transport.loseConnection()
        await peer.whenEnded()
        await factory.whenEmpty()
        assert protocol.closeReason is CloseReason.PROBE  # it has sent its FIN alone


async def test_halfOpenUntilTheBudget(bottom: str) -> None:
    """
    A half-open connection on which no byte moves is ended by its budget.
    """
    factory = TCPDemoFactory(Told, allowHalfOpen=True, budgets=Budgets(idle=0.1))
    async with serving(factory, f"haproxy:{bottom}") as server:
        await request(server, HEADER)
        protocol = await server.protocol()
        await factory.whenEmpty()
        assert protocol.told == ["read"]
        assert protocol.closeReason is CloseReason.IDLE


async def test_answerIsNotRead(bottom: str) -> None:
    """
    A client that ends its side and does not read the answer is still ended.
    """
    factory = TCPDemoFactory(Answering, budgets=Budgets(closeFlush=0.1))
    async with serving(factory, f"haproxy:{bottom}") as server:
        await request(server, HEADER + b"request")
        protocol = await server.protocol()
        await factory.whenEmpty()
        assert protocol.closeReason is CloseReason.CLOSE_FLUSH
        assert protocol.bytesPending > 0


async def test_ourHalf(bottom: str) -> None:
    """
    loseWriteConnection() ends our half only, and the protocol hears of it; when the
    client ends its own half, the connection is over.
    """
    async with serving(TCPDemoFactory(Told), f"haproxy:{bottom}") as server:
        peer = await server.connect()
        peer.transport.write(HEADER)
        protocol = await server.protocol()
        protocol.transport.loseWriteConnection()
        await peer.whenEnded()
        await until(lambda: protocol.told)
        peer.transport.write(b"still")
        await until(lambda: protocol.bytesRead == 5)
        peer.transport.loseConnection()
        await server.factory.whenEmpty()
        assert protocol.told == ["write", "read"]
        assert protocol.closeReason is CloseReason.LOCAL_CLOSE


async def test_withoutAHeader(bottom: str) -> None:
    """
    A client that ends its side before its PROXY header is complete is ended, and
    holds no slot.
    """
    async with serving(TCPDemoFactory(Told), f"haproxy:{bottom}") as server:
        peer = await server.connect()
        protocol = await server.protocol()
        peer.transport.write(HEADER[:-1])
        peer.transport.loseWriteConnection()
        await peer.whenEnded()
        await server.factory.whenEmpty()
        assert protocol.told == ["read"]
        assert protocol.closeReason is CloseReason.PROBE


async def test_hookRaises(bottom: str, loggedErrors: Any) -> None:
    """
    A hook that raises is logged once, and gives the reason of the end.
    """

    class Broken(TCPDemoProtocol):
        def readConnectionLost(self) -> None:
            raise ZeroDivisionError

    async with serving(TCPDemoFactory(Broken), f"haproxy:{bottom}") as server:
        await request(server, HEADER)
        protocol = await server.protocol()
        await server.factory.whenEmpty()
        assert protocol.closeReason is CloseReason.ERROR
        assert len(loggedErrors.take(ZeroDivisionError)) == 1


@pytest.mark.parametrize(
    "wrappings",
    [
        (withTimeout,),
        (withTimeout, WrappingFactory),
        (KnowingFactory,),
        (withTimeout, KnowingFactory),
        (KnowingFactory, withTimeout),
    ],
    ids=["one", "two", "knowing", "knowing below", "knowing above"],
)
async def test_wrappers(bottom: str, wrappings: Any) -> None:
    """
    Any wrapper passes the FIN on, and a wrapper that can be half-closed hears of it
    once.
    """
    async with serving(TCPDemoFactory(Answering), Wrapped(described(bottom), *wrappings)) as server:
        peer = await request(server, b"request")
        protocol = await server.protocol()
        knowing = [w for w in wrappersOf(protocol) if isinstance(w, Knowing)]
        await until(lambda: protocol.told)
        peer.transport.resumeProducing()
        await peer.whenEnded()
        await server.factory.whenEmpty()
        assert len(peer.received) == SIZE
        assert [w.told for w in knowing] == [["read"]] * len(knowing)
        assert protocol.closeReason is CloseReason.PEER_CLOSED


async def test_nothingStays(bottom: str) -> None:
    """
    After the loss, wrappers have no patch left.
    """
    endpoint = Wrapped(proxyEndpoint(described(bottom)), withTimeout)
    async with serving(TCPDemoFactory(Discard), endpoint) as server:
        peer = await server.connect()
        protocol = await server.protocol()
        wrappers = wrappersOf(protocol)
        assert len(wrappers) == 2
        assert all(IHalfCloseableProtocol.providedBy(wrapper) for wrapper in wrappers)
        peer.transport.loseConnection()
        await server.factory.whenEmpty()
        for wrapper in wrappers:
            assert not IHalfCloseableProtocol.providedBy(wrapper)
            assert not {"readConnectionLost", "writeConnectionLost"} & vars(wrapper).keys()


@pytest.mark.parametrize("tls", ["above", "below"])
async def test_tls(bottom: str, tls: str) -> None:
    """
    TLS has no half-open connections with any wrapper above or below it: a FIN ends
    the connection, and wrappers are not patched.
    """
    endpoint: Any = described(bottom)
    if tls == "above":
        endpoint = wrapServerTLS(TwistedContexts.server(), Wrapped(endpoint, withTimeout))
    else:
        endpoint = Wrapped(wrapServerTLS(TwistedContexts.server(), endpoint), withTimeout)
    factory = TCPDemoFactory(Told, allowHalfOpen=True)
    async with serving(factory, endpoint, tls=True) as server:
        peer = await server.connect()
        peer.transport.write(b"hello")
        protocol = await server.protocol()
        await until(lambda: protocol.bytesRead)
        wrappers = wrappersOf(protocol)
        assert len(wrappers) == 2
        assert not any(IHalfCloseableProtocol.providedBy(wrapper) for wrapper in wrappers)
        peer.transport.loseConnection()
        await factory.whenEmpty()
        assert protocol.told == []


async def test_startTLS(bottom: str) -> None:
    """
    A connection that turns to TLS behind a wrapper ends at a FIN, as with TLS from
    the start.
    """

    class Starting(Told):
        def dataReceived(self, data: bytes) -> None:
            self.transport.startTLS(TwistedContexts.server())  # type: ignore[attr-defined]

    factory = TCPDemoFactory(Starting, allowHalfOpen=True)
    async with serving(factory, Wrapped(described(bottom), withTimeout)) as server:
        await request(server, b"STARTTLS")
        protocol = await server.protocol()
        await factory.whenEmpty()
        assert protocol.told == []


async def test_usedAgain(bottom: str) -> None:
    """
    A protocol that is connected again, behind another wrapper, hears of each
    connection's FIN once.
    """
    protocol = Answering()
    factory = TCPDemoFactory(lambda: protocol)
    async with serving(factory, f"haproxy:{bottom}") as server:
        for number in (1, 2):
            peer = await request(server, HEADER + b"request")
            await until(lambda n=number: factory.acceptedCount == n)  # type: ignore[misc]
            await until(lambda: protocol.told)
            peer.transport.resumeProducing()
            await peer.whenEnded()
            await factory.whenEmpty()
            assert len(peer.received) == SIZE
            assert protocol.told == ["read"]
        assert factory.closedCount == 2


async def test_refused(bottom: str) -> None:
    """
    A client refused behind a wrapper is refused like any other, and takes no slot.
    """
    factory = TCPDemoFactory(Told, maxConnections=1, refusalMessage=b"full")
    async with serving(factory, f"haproxy:{bottom}") as server:
        first = await server.connect()
        await server.protocol()
        second = await request(server, HEADER + b"request")
        await until(lambda: factory.refusedCount)
        second.transport.resumeProducing()
        await second.whenEnded()
        assert second.received == b"full"
        first.transport.loseConnection()
        await factory.whenEmpty()
        third = await server.connect()
        await server.protocol()
        third.transport.loseConnection()
        await factory.whenEmpty()
        assert (factory.acceptedCount, factory.refusedCount) == (2, 1)


async def test_replaced(bottom: str) -> None:
    """
    A protocol that replaces ours behind the wrapper, and cannot be half-closed, is
    closed when written bytes are flushed.
    """

    class Another(Protocol):
        lost = False

        def connectionLost(self, reason: Any = None) -> None:
            self.lost = True

    class Switching(TCPDemoProtocol):
        def dataReceived(self, data: bytes) -> None:
            self.transport.wrappedProtocol = another  # type: ignore[attr-defined]
            self.transport.write(bytes(SIZE))

    another = Another()
    async with serving(TCPDemoFactory(Switching), f"haproxy:{bottom}") as server:
        peer = await request(server, HEADER + b"switch")
        protocol = await server.protocol()
        await until(lambda: protocol.transport.disconnecting)
        peer.transport.resumeProducing()
        await peer.whenEnded()
        await server.factory.whenEmpty()
        assert len(peer.received) == SIZE
        assert another.lost
        assert protocol.closeReason is CloseReason.PEER_CLOSED


async def test_clientSide() -> None:
    """
    A client of Twisted's whose connection is wrapped gets the server's FIN, and its
    own bytes arrive.
    """
    from twisted.internet import reactor

    class Ending(Discard):
        def connectionMade(self) -> None:
            self.transport.pauseProducing()
            self.transport.loseWriteConnection()

    class Sending(Told):
        def connectionMade(self) -> None:
            super().connectionMade()
            self.transport.write(bytes(SIZE))

    async with serving(TCPDemoFactory(Ending, allowHalfOpen=True)) as server:
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", server.port)
        wrapper: Any = await endpoint.connect(withTimeout(Factory.forProtocol(Sending)))
        client = wrapper.wrappedProtocol
        await until(lambda: client.told)
        protocol = await server.protocol()
        protocol.resume()
        await until(lambda: client.closeReason)
        await server.factory.whenEmpty()
        assert protocol.bytesRead == SIZE
        assert client.told == ["read"]
        assert client.closeReason is CloseReason.PEER_CLOSED


async def test_refusedAndGone(bottom: str) -> None:
    """
    A client that is refused before its PROXY header, and has already ended its
    side, still gets the message.
    """
    factory = TCPDemoFactory(Discard, maxConnections=0, refusalMessage=b"full")
    async with serving(factory, f"haproxy:{bottom}") as server:
        for _ in range(5):
            with rawConnection(server.port) as peer:
                peer.shutdown(socket.SHUT_WR)
                peer.setblocking(True)
                got = await deferToThread(peer.recv, 100)
                assert got == b"full"
        await until(lambda: not factory._capacity.lingering)
