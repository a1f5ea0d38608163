"""
L{twisted_tcpdemo.fast.transport}: producers, and waiting for room to write.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from tests.support.fast import SMALL, Pusher, accepted, closed, drainPeer, fastServer
from tests.support.peers import hasEnded, rawConnection, serving
from tests.support.waiting import until
from twisted_tcpdemo import TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.fast.endpoint import ServerEndpoint
from twisted_tcpdemo.fast.transport import WriteThroughTransport


class Puller:
    """
    A pull producer: writes a piece each time it is asked.
    """

    def __init__(self, transport: Any, pieces: list[bytes]) -> None:
        self.transport = transport
        self.pieces = pieces
        self.stopped = False

    def resumeProducing(self) -> None:
        """
        Write the next one.
        """
        self.transport.write(self.pieces.pop(0))
        if not self.pieces:
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        """
        Remember being stopped.
        """
        self.stopped = True


@pytest.mark.parametrize("size", [1, 300_000])
async def test_pullProducer(size: int) -> None:
    """
    A pull producer is asked until it has no more, and then the connection closes as
    was asked.
    """
    async with fastServer() as server:
        with rawConnection(server.port, SMALL) as peer:
            protocol = await accepted(server)
            puller = Puller(protocol.transport, [b"%d" % n * size for n in range(10)])
            protocol.transport.registerProducer(puller, False)
            assert len(puller.pieces) == 9
            protocol.transport.loseConnection()
            got = await drainPeer(peer, 10 * size)
            assert got == b"".join(b"%d" % n * size for n in range(10))
            await protocol.whenLost()
            assert not puller.stopped


async def test_pushProducer() -> None:
    """
    A push producer is paused when many bytes wait, resumed when none do, and
    stopped at the end.
    """
    async with fastServer() as server:
        with rawConnection(server.port, SMALL) as peer:
            protocol = await accepted(server)
            pusher = Pusher()
            protocol.transport.registerProducer(pusher, True)
            protocol.transport.write(b"little")
            assert pusher.told == []
            protocol.transport.write(bytes(10_000_000))
            assert pusher.told == ["pause"]
            await drainPeer(peer, 10_000_006)
            await until(lambda: pusher.told == ["pause", "resume"])
            await closed(protocol)
            assert pusher.told == ["pause", "resume", "stop"]


async def test_closeAfterFINWithProducer() -> None:
    """
    loseConnection() after this side's FIN closes, even if a producer has more to
    write.
    """
    async with fastServer() as server:
        with rawConnection(server.port) as peer:
            protocol = await accepted(server)
            protocol.transport.loseWriteConnection()
            await until(partial(hasEnded, peer))
            puller = Puller(protocol.transport, [b"into the void"] * 100)
            protocol.transport.registerProducer(puller, False)
            protocol.transport.loseConnection()
            await protocol.whenLost()
            assert puller.stopped


async def test_whenWritable() -> None:
    """
    Without a producer, whenWritable() follows what the kernel takes.
    """
    from twisted.internet import reactor

    factory = TCPDemoFactory(TCPDemoProtocol)
    async with serving(factory, ServerEndpoint(reactor, 0, "127.0.0.1")) as server:
        with rawConnection(server.port, SMALL) as peer:
            protocol = await server.protocol()
            protocol.transport.write(bytes(16_000_000))
            writable: Deferred[None] = protocol.whenWritable()
            assert not writable.called
            assert isinstance(protocol.transport, WriteThroughTransport)
            assert protocol.transport.producer is None
            await drainPeer(peer, 16_000_000)
            await writable
