"""
L{twisted_tcpdemo.fast.transport}: TLS on top of it, from the start or later.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred

from tests.support.clients import Client, to
from tests.support.contexts import TwistedContexts
from tests.support.fast import Pusher, accepted, closed, fastServer
from tests.support.peers import Peer, rawConnection, serving
from tests.support.secure import Sides, clientOf, serverOf
from tests.support.waiting import turn, until
from twisted_tcpdemo import TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.fast.endpoint import ServerEndpoint


class Upgrading(TCPDemoProtocol):
    """
    Answers the first message with STARTTLS, and echoes from then on.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Echo, and upgrade if asked to.
        """
        self.write(data)
        if data == b"upgrade":
            self.transport.startTLS(TwistedContexts.server())  # type: ignore[attr-defined]


async def test_startTLS() -> None:
    """
    Across startTLS a protocol's counts are those of its own bytes, and never fall;
    its writes fire.
    """
    from twisted.internet import reactor

    factory = TCPDemoFactory(Upgrading)
    async with serving(factory, ServerEndpoint(reactor, 0, "127.0.0.1")) as server:
        peer = await server.connect()
        peer.transport.write(b"upgrade")
        await peer.whenReceived(7)
        protocol = await server.protocol()
        assert (protocol.bytesRead, protocol.bytesWritten) == (7, 7)
        peer.transport.startTLS(TwistedContexts.client())
        peer.transport.write(b"secret")
        await peer.whenReceived(13)
        assert peer.received == b"upgradesecret"
        assert protocol.transport.logstr.startswith("Upgrading,")
        assert (protocol.bytesRead, protocol.bytesWritten) == (13, 13)
        assert await protocol.write(bytes(3_000_000)) == 3_000_013
        assert protocol.bytesPending == 0
        await peer.whenReceived(3_000_013)
        peer.transport.loseConnection()
        await until(lambda: factory.closedCount)
        assert factory.bytesWritten == 3_000_013


class Upgraded(TCPDemoProtocol):
    """
    Speaks TLS after the first message, and tells its test of the second one.

    @ivar secured: fires with the protocol itself.
    """

    def __init__(self) -> None:
        self.secured: Deferred[Any] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """
        Upgrade at the first message, and fire at the next.
        """
        if data == b"upgrade":
            self.transport.write(b"go")
            self.transport.startTLS(TwistedContexts.server())  # type: ignore[attr-defined]
        elif not self.secured.called:
            self.secured.callback(self)


@asynccontextmanager
async def secured(tls: str) -> AsyncGenerator[tuple[Any, Peer]]:
    """
    The two sides of a connection on which TLS is established.

    @param tls: whether TLS was C{"wrapped"} around it or C{"started"} later.
    """
    from twisted.internet import reactor

    made: list[Upgraded] = []

    def build() -> Upgraded:
        made.append(Upgraded())
        return made[-1]

    context = TwistedContexts.server() if tls == "wrapped" else None
    endpoint = ServerEndpoint(reactor, 0, "127.0.0.1", tls=context)
    async with serving(TCPDemoFactory(build), endpoint, tls=tls == "wrapped") as server:
        peer = await server.connect()
        if tls == "started":
            peer.transport.write(b"upgrade")
            await peer.whenReceived(2)
            peer.received.clear()
            peer.transport.startTLS(TwistedContexts.client())
        peer.transport.write(b"hello")
        await until(lambda: made)
        yield await made[0].secured, peer


bothTLS = pytest.mark.parametrize("tls", ["wrapped", "started"])


@bothTLS
async def test_tlsWriteFires(tls: str) -> None:
    """
    A small write under TLS, which the TLS layer keeps for a moment, fires.
    """
    async with secured(tls) as (protocol, peer):
        before = protocol.bytesWritten
        assert await protocol.write(b"small") == before + 5
        assert protocol.bytesPending == 0
        await peer.whenReceived(5)
        assert protocol.idle < 5


@bothTLS
@pytest.mark.parametrize("size", [1, 40_000, 3_000_000])
async def test_tlsWriteInTurn(tls: str, size: int) -> None:
    """
    A protocol that awaits each write keeps its order and loses no bytes, beside
    another writer.
    """
    from twisted.internet import reactor

    async with secured(tls) as (protocol, peer):
        pieces = [b"%d" % n * size for n in range(5)]

        async def inTurn() -> None:
            for piece in pieces:
                await protocol.write(piece)

        others: list[DelayedCall] = []
        for _ in range(3):
            others.append(reactor.callLater(0, protocol.transport.write, b"y"))  # type: ignore[attr-defined]
        await Deferred.fromCoroutine(inTurn())
        await until(lambda: not any(other.active() for other in others))
        await peer.whenReceived(5 * size + 3)
        assert peer.received.replace(b"y", b"") == b"".join(pieces)
        assert protocol.bytesPending == 0


@pytest.mark.parametrize("streaming", [False, True])
async def test_startTLSWithProducer(streaming: bool) -> None:
    """
    Bytes written after startTLS never go out in the clear, though the producer
    moves to the TLS layer meanwhile.
    """
    async with fastServer() as server:
        with rawConnection(server.port) as peer:
            protocol = await accepted(server)
            protocol.transport.registerProducer(Pusher(), streaming)
            protocol.transport.startTLS(TwistedContexts.server())
            protocol.transport.write(b"secret")
            for _ in range(3):
                await turn()
            with pytest.raises(BlockingIOError):
                peer.recv(100)
            await closed(protocol)


async def test_lostDuringHandshake() -> None:
    """
    A peer that leaves during the handshake of startTLS gives its slot back, and
    bytes that waited for the handshake stay pending.
    """
    from twisted.internet import reactor

    class Greeting(Upgraded):
        """
        Writes right after startTLS.
        """

        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            self.transport.write(b"hello")

    factory = TCPDemoFactory(Greeting)
    async with serving(factory, ServerEndpoint(reactor, 0, "127.0.0.1")) as server:
        with rawConnection(server.port) as peer:
            peer.send(b"upgrade")
            protocol = await server.protocol()
            await until(lambda: protocol.bytesWritten == len(b"gohello"))
        await until(lambda: factory.closedCount)
        [report] = server.events.of("connectionClosed")
        assert (report.bytesWritten, report.bytesPending) == (7, 5)


async def test_unregistersWhenStopped() -> None:
    """
    A producer under TLS may unregister when it is told to stop.
    """
    stopped = []

    class Leaving(Pusher):
        """
        Unregisters when it is stopped.
        """

        def stopProducing(self) -> None:
            protocol.transport.unregisterProducer()
            stopped.append(self)

    async with fastServer() as server:
        with rawConnection(server.port) as peer:
            protocol = await accepted(server)
            protocol.transport.startTLS(TwistedContexts.server())
            protocol.transport.registerProducer(Leaving(), True)
            peer.send(b"no TLS")
            await protocol.whenLost()
            assert len(stopped) == 1


@pytest.mark.parametrize("size", [0, 1, 6_000_000])
async def test_startTLSBothSides(sides: Sides, size: int) -> None:
    """
    Both sides can start TLS with either kind of context.  Bytes that are under way go
    out before it, as they are, and no byte is lost or mixed up.
    """
    contexts = {True: clientOf(sides.client), False: serverOf(sides.server)}
    named = {"hostname": "localhost"} if sides.client == "standard" else {}
    async with fastServer() as server:
        far = await to(server.port).connectProtocol(Client())
        near = await accepted(server)
        before = b"b" * size
        near.transport.write(before)
        near.transport.startTLS(contexts[False])
        near.transport.write(b"after")
        assert near.transport.bytesWritten == size + 5
        await far.whenReceived(size)
        assert far.received == before
        far.transport.startTLS(contexts[True], **named)
        far.transport.write(b"answer")
        await far.whenReceived(size + 5)
        await near.whenReceived(6)
        assert (far.received, near.received) == (before + b"after", b"answer")
        assert near.transport.bytesPending == far.bytesPending == 0
        for side in (near, far):
            with pytest.raises(RuntimeError, match="has been started"):
                side.transport.startTLS(contexts[side is far])
        await closed(far)
        await near.whenLost()


@pytest.mark.filterwarnings("ignore:.*does not explicitly provide")
async def test_startTLSWrong() -> None:
    """
    What is no context, or cannot be used, is refused, and the connection goes on as it
    was.
    """
    async with fastServer() as server:
        far = await to(server.port).connectProtocol(Client())
        near = await accepted(server)
        with pytest.raises(TypeError):
            near.transport.startTLS("certificate.pem")
        with pytest.raises(ValueError, match="hostname"):
            far.transport.startTLS(clientOf("standard"))
        near.transport.write(b"plain")
        await far.whenReceived(5)
        assert far.received == b"plain"
        await closed(far)
        await near.whenLost()
