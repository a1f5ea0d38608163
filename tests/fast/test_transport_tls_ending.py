"""
L{twisted_tcpdemo.fast.encrypting}: the end of a connection with TLS.
"""

from __future__ import annotations

import gc
import socket
from random import Random
from typing import Any
from weakref import ref

import pytest
from twisted.internet.error import ConnectionAborted, ConnectionDone

from tests.support.clients import Client
from tests.support.engines import Far, encrypted
from tests.support.fast import SMALL
from tests.support.peers import reset
from tests.support.secure import Sides, ended, isClosed, listening, stranger
from tests.support.waiting import turn, until
from twisted_tcpdemo import CloseReason, TCPDemoProtocol
from twisted_tcpdemo.values.budgets import Budgets


def delayedCalls() -> list[Any]:
    """
    What the reactor has to do later.
    """
    from twisted.internet import reactor

    return reactor.getDelayedCalls()  # type: ignore[attr-defined, no-any-return]


async def leftBy(far: Far) -> None:
    """
    Wait until the server has ended its stream and its side.
    """
    await until(lambda: far.receive() is not None and far.engine.over and isClosed(far.socket))


async def test_peersEnd(sides: Sides) -> None:
    """
    A side that closes has closed in order, and so has the other; neither has lost
    anything.
    """
    async with sides.connected() as both:
        both.far.transport.write(b"last words")
        both.far.transport.loseConnection()
        await both.far.whenLost()
        report = await both.report()
        assert report.closeReason is CloseReason.PEER_CLOSED
        assert both.far.report().closeReason is CloseReason.LOCAL_CLOSE
        assert both.near.received == b"last words"
        for side in (both.near, both.far):
            assert type(side.reason) is ConnectionDone


async def test_ourEnd(sides: Sides) -> None:
    """
    The same with the roles exchanged, and megabytes on their way.
    """
    data = Random(2).randbytes(3_000_000)
    async with sides.connected() as both:
        both.near.transport.write(data)
        both.near.transport.loseConnection()
        await both.far.whenLost()
        report = await both.report()
        assert report.closeReason is CloseReason.LOCAL_CLOSE
        assert both.far.report().closeReason is CloseReason.PEER_CLOSED
        assert (report.bytesWritten, report.bytesPending) == (len(data), 0)
        assert both.far.received == data


async def test_bothEnd(sides: Sides) -> None:
    """
    Two sides that close at once both have closed in order.
    """
    async with sides.connected() as both:
        for side, _ in both.bothWays():
            side.transport.write(b"bye")
            side.transport.loseConnection()
        for side, _ in both.bothWays():
            await side.whenLost()
            assert type(side.reason) is ConnectionDone
            assert side.report().closeReason is CloseReason.LOCAL_CLOSE


async def test_strangersEnd(kind: str) -> None:
    """
    A peer's close_notify is answered by ours and by a FIN, after what was written.
    """
    async with listening(kind) as server, stranger(server.port) as far:
        near = await server.protocol()
        near.transport.write(bytes(1_000_000))
        far.end()
        await leftBy(far)
        assert len(far.got) == 1_000_000
        assert (await ended(server)).closeReason is CloseReason.PEER_CLOSED


@pytest.mark.parametrize("data", [b"", b"data"])
async def test_endAlone(kind: str, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A close_notify that comes alone needs no other turn of the reactor; after data it
    lets those who have just got the data act first.
    """
    waits: list[str] = []
    async with listening(kind) as server, stranger(server.port) as far:
        near = await server.protocol()
        await turn()
        again = near.transport.readSoon

        def readSoon() -> None:
            waits.append("waits")
            again()

        monkeypatch.setattr(near.transport, "readSoon", readSoon)
        last = encrypted(far.engine, data) if data else b""
        far.engine.end()
        far.socket.sendall(last + far.engine.take(0))
        await leftBy(far)
        assert (await ended(server)).closeReason is CloseReason.PEER_CLOSED
        assert near.received == data
    assert bool(waits) is bool(data)


@pytest.mark.parametrize("before", [b"", b"half of an answer"])
async def test_cutShort(kind: str, before: bytes) -> None:
    """
    A FIN without a close_notify is a reset: somebody may have cut the stream short.
    """
    async with listening(kind) as server, stranger(server.port) as far:
        near = await server.protocol()
        if before:
            far.send(before)
        far.socket.shutdown(socket.SHUT_WR)
        report = await ended(server)
        assert report.closeReason is CloseReason.RESET
        assert near.received == before


@pytest.mark.parametrize("how", ["close", "end", "reset"])
async def test_closeAsTheyLike(kind: str, how: str) -> None:
    """
    After our close_notify it does not matter how the peer leaves: it has everything.
    """
    async with listening(kind) as server, stranger(server.port) as far:
        near = await server.protocol()
        near.transport.write(b"all of it")
        near.transport.loseConnection()
        await leftBy(far)
        assert far.got == b"all of it"
        if how == "end":
            far.end()
        elif how == "reset":
            reset(far.socket)
        far.socket.close()
        report = await ended(server)
        assert report.closeReason is CloseReason.LOCAL_CLOSE
        assert type(near.reason) is ConnectionDone


async def test_writtenAfterGoodbye(kind: str) -> None:
    """
    Bytes written after the close_notify are not accepted, and change nothing about the
    end.
    """
    async with listening(kind) as server, stranger(server.port) as far:
        near = await server.protocol()
        near.transport.write(b"all of it")
        near.transport.loseConnection()
        await leftBy(far)
        near.transport.write(b"too late")
        near.transport.writeSequence([b"much ", b"too late"])
        assert (near.bytesWritten, near.bytesPending) == (9, 0)
        far.socket.close()
        report = await ended(server)
        assert report.closeReason is CloseReason.LOCAL_CLOSE
        assert report.bytesWritten == 9


async def test_held(kind: str) -> None:
    """
    A peer that holds its socket open is waited for, but not for long.
    """
    limits = Budgets(linger=0.2)
    async with listening(kind, budgets=limits) as server, stranger(server.port) as far:
        near = await server.protocol()
        near.transport.loseConnection()
        await leftBy(far)
        assert near.reason is None
        far.send(b"I was not done yet")
        for _ in range(3):
            await turn()
        assert (near.reason, near.received) == (None, b"")
        report = await ended(server)
        assert report.closeReason is CloseReason.LOCAL_CLOSE
        assert report.age >= 0.2


async def test_slowReader(kind: str) -> None:
    """
    A peer that reads slowly, and writes meanwhile, gets all megabytes and the
    close_notify after them.
    """
    data = Random(3).randbytes(5_000_000)
    async with listening(kind) as server, stranger(server.port, SMALL) as far:
        near = await server.protocol()
        near.transport.write(data)
        near.transport.loseConnection()
        await turn()
        assert near.bytesPending
        reads = 0

        def read() -> bool:
            nonlocal reads
            for _ in range(50):
                if not far.read(5000):
                    break
                reads += 1
                if reads % 400 == 0:
                    far.send(b"not yet")
            return far.engine.over

        await until(read)
        assert far.got == data
        far.socket.close()
        report = await ended(server)
        assert (report.closeReason, report.bytesPending) == (CloseReason.LOCAL_CLOSE, 0)


async def test_brimful(kind: str) -> None:
    """
    Where the kernel has room for the data and none for the close_notify, that comes
    later all the same.
    """
    async with listening(kind) as server, stranger(server.port, SMALL) as far:
        near = await server.protocol()
        near.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        while not near.bytesPending:
            near.transport.write(b"brim")
        while near.bytesPending:
            far.read(27)
            await turn()
        near.transport.loseConnection()
        await leftBy(far)
        far.socket.close()
        assert (await ended(server)).closeReason is CloseReason.LOCAL_CLOSE
        assert far.got == b"brim" * (near.bytesWritten // 4)


async def test_abort(sides: Sides) -> None:
    """
    An aborted connection ends at once, without a close_notify.
    """
    async with sides.connected() as both:
        both.near.transport.write(bytes(10_000_000))
        both.near.transport.abortConnection()
        await both.near.whenLost()
        assert type(both.near.reason) is ConnectionAborted
        assert both.near.report().closeReason is CloseReason.ABORTED
        await both.far.whenLost()
        assert both.far.report().closeReason is CloseReason.RESET


async def test_resetByPeer(kind: str) -> None:
    """
    A reset in the middle is told as one.
    """
    async with listening(kind) as server, stranger(server.port) as far:
        near = await server.protocol()
        near.transport.write(b"x")
        reset(far.socket)
        assert (await ended(server)).closeReason is CloseReason.RESET


async def test_garbage(kind: str) -> None:
    """
    A peer that speaks no TLS any more has broken it, and hears so.
    """
    async with listening(kind) as server, stranger(server.port) as far:
        near = await server.protocol()
        far.send(b"good")
        far.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
        report = await ended(server)
        assert report.closeReason is CloseReason.TLS_FAILED
        assert near.received == b"good"


async def test_abortsInData(kind: str) -> None:
    """
    A protocol that aborts in dataReceived hears nothing after that.
    """

    class Aborting(Client):
        """
        Aborts at the first data.
        """

        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            self.transport.abortConnection()

    async with listening(kind, Aborting) as server, stranger(server.port) as far:
        near = await server.protocol()
        far.send(b"one")
        far.send(b"two" * 10_000)
        far.end()
        report = await ended(server)
        assert report.closeReason is CloseReason.ABORTED
        assert near.received.startswith(b"one")
        assert len(near.received) == report.bytesRead


@pytest.mark.parametrize("how", ["loseConnection", "abortConnection", "end", "reset", "garbage"])
async def test_freed(kind: str, how: str) -> None:
    """
    An ended connection and its engine are freed at once, without the garbage collector,
    and the reactor has nothing to do for it later.
    """
    calls = len(delayedCalls())
    left: list[Any] = []

    class Remembered(TCPDemoProtocol):
        """
        Ends as it is told.
        """

        def dataReceived(self, data: bytes) -> None:
            left.extend(map(ref, (self.transport, self.transport.getHandle())))  # type: ignore[attr-defined]
            getattr(self.transport, data.decode(), lambda: None)()

    async with listening(kind, Remembered) as server, stranger(server.port) as far:
        gc.collect()
        gc.disable()
        try:
            far.send(how.encode())
            await until(lambda: left)
            if how == "loseConnection":
                await leftBy(far)
            if how in {"loseConnection", "end"}:
                far.end()
            elif how == "garbage":
                far.socket.sendall(bytes(100))
            if how != "abortConnection":
                reset(far.socket) if how == "reset" else far.socket.shutdown(socket.SHUT_WR)
            await ended(server)
            await until(lambda: not any(thing() for thing in left))
        finally:
            gc.enable()
    assert len(delayedCalls()) <= calls + 1  # this test's own deadline


@pytest.mark.parametrize("when", ["made", "data", "lost"])
async def test_lateCalls(kind: str, when: str) -> None:
    """
    Calls at any time, after the end too, are harmless.
    """

    class Calling(TCPDemoProtocol):
        """
        Calls everything.
        """

        def call(self, now: str) -> None:
            """
            Call everything, if it is time.
            """
            if now == when:
                transport: Any = self.transport
                transport.loseConnection()
                transport.write(b"late")
                transport.pauseProducing()
                transport.resumeProducing()
                transport.loseConnection()
                transport.abortConnection()

        def connectionMade(self) -> None:
            self.call("made")

        def dataReceived(self, data: bytes) -> None:
            self.call("data")

        def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
            self.call("lost")

    async with listening(kind, Calling) as server, stranger(server.port, shake=False) as far:
        if when == "made":
            await ended(server)
        else:
            await until(far.handshake)
            far.send(b"data")
            if when == "lost":
                far.end()
            await ended(server)
