"""
L{twisted_tcpdemo.fast.encrypting}: bytes, producers, and what is known of the peer.
"""

from __future__ import annotations

import tracemalloc
from random import Random
from typing import Any

import pytest

from tests.support.clients import Client, closed, to
from tests.support.fast import SMALL, Pusher
from tests.support.peers import Server
from tests.support.secure import Sides, clientOf, ended, listening, stranger
from tests.support.waiting import turn, until
from twisted_tcpdemo import CloseReason
from twisted_tcpdemo.twistd.programs import Echo

MOST = 30_000
"""Bytes for both sides of an idle connection."""


@pytest.mark.parametrize("size", [1, 5000, 16384, 16385, 2_000_000])
async def test_counts(sides: Sides, size: int) -> None:
    """
    Counts, pending bytes and completion are those of plaintext, on both sides.
    """
    data = Random(1).randbytes(size)
    async with sides.connected() as both:
        for side, other in both.bothWays():
            assert await side.write(data) == size
            assert side.bytesPending == 0
            await other.whenReceived(size)
            assert other.received == data
        for side, _ in both.bothWays():
            assert (side.bytesRead, side.bytesWritten) == (size, size)
        both.far.transport.loseConnection()
        report = await both.report()
        assert (report.bytesRead, report.bytesWritten, report.bytesPending) == (size, size, 0)


async def test_sequence(sides: Sides) -> None:
    """
    Many writes, of nothing, little and much, alone and in sequences, keep their order.
    """
    random = Random(2)
    async with sides.connected() as both:
        for side, other in both.bothWays():
            sent = []
            for _ in range(300):
                pieces = [random.randbytes(random.choice([0, 1, 50, 20_000])) for _ in range(3)]
                side.transport.writeSequence(pieces)
                side.transport.write(pieces[1])
                sent += [*pieces, pieces[1]]
            await other.whenReceived(side.bytesWritten)
            assert other.received == b"".join(sent)


async def test_bothAtOnce(sides: Sides) -> None:
    """
    Megabytes go both ways at once.
    """
    data = Random(3).randbytes(3_000_000)
    async with sides.connected() as both:
        for side, _ in both.bothWays():
            side.transport.write(data)
        for side, _ in both.bothWays():
            await side.whenReceived(len(data))
            assert side.received == data


async def test_wrongType(kind: str) -> None:
    """
    Text is a TypeError, and nothing of it is counted.
    """
    async with listening(kind) as server, stranger(server.port):
        near = await server.protocol()
        with pytest.raises(TypeError):
            near.transport.write("text")
        assert near.bytesWritten == 0
        await closed(near)


async def test_pushProducer(kind: str) -> None:
    """
    A streaming producer is paused while the peer does not read, and resumed when it
    does; the connection closes when the producer is done.
    """
    async with listening(kind) as server, stranger(server.port, SMALL) as far:
        near = await server.protocol()
        producer = Pusher()
        near.transport.registerProducer(producer, True)
        near.transport.write(bytes(8_000_000))
        assert producer.told == ["pause"]
        assert 0 < near.bytesPending <= 8_000_000
        near.transport.loseConnection()
        await until(lambda: far.receive() and producer.told[-1] == "resume")
        assert near.bytesPending == 0
        near.transport.write(b"last")
        near.transport.unregisterProducer()
        await until(lambda: far.receive() and far.engine.over)
        assert len(far.got) == 8_000_004 and far.got.endswith(b"last")
        far.socket.close()
        assert (await ended(server)).closeReason is CloseReason.LOCAL_CLOSE


@pytest.mark.parametrize("early", [False, True])
async def test_pullProducer(kind: str, early: bool) -> None:
    """
    A pull producer is asked for each piece, also where it is registered before the
    handshake.
    """

    class Counting:
        """
        Writes a hundred pieces.
        """

        left = 100

        def __init__(self, transport: Any) -> None:
            self._transport = transport
            transport.registerProducer(self, False)

        def resumeProducing(self) -> None:
            """
            Write one, or finish.
            """
            self.left -= 1
            self._transport.write(b"%03d" % self.left * 1000)
            if not self.left:
                self._transport.unregisterProducer()
                self._transport.loseConnection()

        def stopProducing(self) -> None:
            """
            Do nothing.
            """

    class Producing(Client):
        """
        Begins at once, or when it is asked to.
        """

        def connectionMade(self) -> None:
            super().connectionMade()
            if early:
                Counting(self.transport)

        def dataReceived(self, data: bytes) -> None:
            Counting(self.transport)

    async with listening(kind, Producing) as server, stranger(server.port) as far:
        if not early:
            far.send(b"go")
        await until(lambda: far.receive() is not None and far.engine.over)
        assert far.got == b"".join(b"%03d" % number * 1000 for number in reversed(range(100)))


async def test_backPressure(kind: str) -> None:
    """
    A paused protocol gets nothing, however much has come, and loses nothing.
    """
    data = Random(4).randbytes(200_000)
    async with listening(kind) as server, stranger(server.port) as far:
        near = await server.protocol()
        far.send(b"first")
        await near.whenReceived(5)
        for _ in range(5):
            near.pause()
            before = len(near.received)
            far.send(data)
            for _ in range(5):
                await turn()
            assert len(near.received) == before
            near.resume()
            await near.whenReceived(before + len(data))
        assert near.received == b"first" + data * 5
        await closed(near)


async def test_pausesInData(kind: str) -> None:
    """
    A protocol that pauses in dataReceived gets the rest of what came with it later, in
    order, and the end after it.
    """

    class Pausing(Client):
        """
        Pauses after each piece, for a turn.
        """

        def dataReceived(self, data: bytes) -> None:
            from twisted.internet import reactor

            super().dataReceived(data)
            assert not self.paused
            self.paused = True
            self.pause()
            reactor.callLater(0, self.goOn)  # type: ignore[attr-defined]

        paused = False

        def goOn(self) -> None:
            """
            Read on.
            """
            self.paused = False
            self.resume()

    data = Random(5).randbytes(100_000)
    async with listening(kind, Pausing) as server, stranger(server.port) as far:
        near = await server.protocol()
        far.send(data[:50_000])
        far.send(data[50_000:])
        far.end()
        assert (await ended(server)).closeReason is CloseReason.PEER_CLOSED
        assert near.received == data


async def test_memory(kind: str) -> None:
    """
    An idle connection with TLS holds little memory of Python's, its library's own not
    counted: no read buffer, and no copy of what has been sent.
    """
    clients: list[Any] = []

    async def connect(server: Server) -> None:
        endpoint = to(server.port, "localhost", tls=clientOf(kind))
        client = await endpoint.connectProtocol(Client())
        client.transport.write(bytes(100_000))
        await client.whenReceived(100_000)
        client.received = bytearray()
        clients.append(client)

    async with listening(kind, Echo) as server:
        tracemalloc.start()
        try:
            for _ in range(3):
                await connect(server)
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(20):
                await connect(server)
            used = (tracemalloc.get_traced_memory()[0] - before) / 20
        finally:
            tracemalloc.stop()
        for client in clients:
            await closed(client)
    assert used < MOST, used
