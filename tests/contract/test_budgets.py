"""
Budgets measure the peer, over every transport.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from time import sleep

from twisted.internet.task import LoopingCall

from tests.contract.test_contract import Serve
from tests.support.peers import Peer, Server
from tests.support.waiting import until, within
from twisted_tcpdemo import CloseReason, TCPDemoProtocol
from twisted_tcpdemo.transports.layers import bottomOf
from twisted_tcpdemo.twistd.programs import Discard
from twisted_tcpdemo.values.budgets import Budgets

SIZE = 24_000_000
"""Bytes that no kernel takes at once."""


class Much(TCPDemoProtocol):
    """
    Writes much.
    """

    def connectionMade(self) -> None:
        """
        Write.
        """
        self.transport.write(bytes(SIZE))


class MuchAndClose(Much):
    """
    Writes much, and closes.
    """

    def connectionMade(self) -> None:
        """
        Write, and close.
        """
        super().connectionMade()
        self.transport.loseConnection()


@asynccontextmanager
async def readingSlowly(server: Server) -> AsyncGenerator[Peer]:
    """
    A peer that reads a little, again and again, as long as the block lasts.
    """
    peer = await server.connect()
    receive = peer.dataReceived

    def receiveAndPause(data: bytes) -> None:
        receive(data)
        if reading.running:
            peer.transport.pauseProducing()

    peer.dataReceived = receiveAndPause  # type: ignore[method-assign]
    reading = LoopingCall(lambda: peer.reason is None and peer.transport.resumeProducing())
    ended = reading.start(0.1)
    try:
        yield peer
    finally:
        reading.stop()
        await ended


async def test_slowReader(serve: Serve) -> None:
    """
    A peer that reads slowly and steadily gets all of what was written before the
    close, however short the budget.
    """
    async with serve(MuchAndClose, budgets=Budgets(closeFlush=1.2)) as server:
        async with readingSlowly(server) as peer:
            assert not await within(2.5, lambda: server.factory.closedCount)
        peer.transport.resumeProducing()
        await peer.whenEnded()
        assert len(peer.received) == SIZE


async def test_slowReaderOfOpenConnection(serve: Serve) -> None:
    """
    A peer that reads slowly is neither idle nor stalled; one that has stopped is.
    """
    async with serve(Much, budgets=Budgets(idle=1.2, writeStall=1.2)) as server:
        async with readingSlowly(server) as peer:
            assert not await within(2.5, lambda: server.factory.closedCount)
        peer.transport.pauseProducing()
        [record] = server.factory.records
        assert await within(4, lambda: record.closingAt is not None)
        peer.transport.abortConnection()
        await until(lambda: record.closeReason)
        assert record.closeReason in {CloseReason.IDLE, CloseReason.WRITE_STALL}


async def test_noReader(serve: Serve) -> None:
    """
    A peer that takes nothing after the close is reset in time.
    """
    async with serve(MuchAndClose, budgets=Budgets(closeFlush=0.5)) as server:
        peer = await server.connect()
        peer.transport.pauseProducing()
        assert await within(3, lambda: server.factory.closedCount)
        [report] = server.events.of("connectionClosed")
        assert report.closeReason is CloseReason.CLOSE_FLUSH


class Holding(Discard):
    """
    Holds the reactor up at each byte of a kind, while other bytes come.
    """

    meanwhile: Callable[[], object]

    def dataReceived(self, data: bytes) -> None:
        """
        Block.
        """
        if data == b"!":
            type(self).meanwhile()
            sleep(1.0)


async def test_heldUp(serve: Serve) -> None:
    """
    A peer whose bytes came while something held the reactor up is not idle, and has
    not been silent.
    """

    def meanwhile() -> None:
        for peer in peers:
            peer.transport.write(b"bytes")
            bottomOf(peer.transport).doWrite()

    Holding.meanwhile = meanwhile
    async with serve(Holding, budgets=Budgets(idle=0.5, firstByte=0.5)) as server:
        peers = [await server.connect() for _ in range(4)]
        await until(lambda: len(server.factory.records) == 4)
        await until(lambda: not any(r.handshaking for r in server.factory.records))
        for peer in peers[:3]:
            peer.transport.write(b"hello")
        await until(lambda: server.factory.bytesRead == 15)
        peers[0].transport.write(b"!")
        await until(lambda: server.factory.bytesRead == 36 or server.factory.closedCount)
        assert server.events.of("connectionClosed") == []


async def test_paused(serve: Serve) -> None:
    """
    Bytes that a paused protocol leaves in its socket put no budget off.
    """
    async with serve(Discard, budgets=Budgets(idle=0.4)) as server:
        peer = await server.connect()
        peer.transport.write(b"hello")
        await until(lambda: server.factory.bytesRead)
        (await server.protocol()).pause()
        peer.transport.write(b"more")
        [record] = server.factory.records
        assert await within(2.5, lambda: record.closingAt is not None)


async def test_kernelsFigures(serve: Serve, transport: str) -> None:
    """
    The kernel's own figures are there over every TCP transport, with TLS and without.
    """
    async with serve(Discard) as server:
        await server.connect()
        report = (await server.protocol()).report()
        assert (report.tcpInfo is None) is ("unix" in transport)
