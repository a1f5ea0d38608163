"""
L{twisted_tcpdemo.fast.lingering}: an ordered end destroys nothing that was written.

The clients here are plain blocking sockets, in threads: they do what real clients do.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.support.clients import Client, to
from tests.support.contexts import PythonContexts
from tests.support.fast import (
    SMALL,
    Remembering,
    accepted,
    closed,
    drainPeer,
    fastServer,
)
from tests.support.peers import Server, hasEnded, rawConnection, reset, serving
from tests.support.secure import ended, serverOf
from tests.support.waiting import turn, until
from twisted_tcpdemo import CloseReason, Proxy, TCPDemoFactory, hosted
from twisted_tcpdemo.fast.endpoint import ServerEndpoint
from twisted_tcpdemo.fast.lingering import ENDED, LOOK, Linger
from twisted_tcpdemo.values.budgets import CLOSE_RATE, Budgets

ANSWER = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n\r\n"
UPLOAD = 20_000_000
KINDS = ("tcp", "unix", "options", "standard", "proxied")

Connect = Callable[[], Any]


class Refusing(Client):
    """
    Answers the first bytes of an upload, and closes.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Answer, and close.
        """
        super().dataReceived(data)
        self.transport.write(ANSWER)
        self.transport.loseConnection()


def connecting(kind: str, address: Any) -> Any:
    """
    Connect a plain blocking socket, with TLS or a PROXY header if that is wanted.
    """
    raw: Any = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)
    raw.settimeout(8)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    raw.connect(address)
    if kind in {"options", "standard"}:
        context: ssl.SSLContext = PythonContexts.client()
        return context.wrap_socket(raw, server_hostname="localhost")
    if kind == "proxied":
        raw.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1111 2222\r\n")
    return raw


@asynccontextmanager
async def served(
    kind: str, folder: Path, protocol: Any = Refusing, **options: Any
) -> AsyncGenerator[tuple[Server, Connect]]:
    """
    Serve over one kind of transport; the second value connects a client.
    """
    from twisted.internet import reactor

    factory = TCPDemoFactory(protocol, **options)
    if kind == "unix":
        endpoint = ServerEndpoint(reactor, path=folder / "s")
    else:
        tls = serverOf(kind) if kind in {"options", "standard"} else None
        proxy = Proxy(trusted=["127.0.0.1"]) if kind == "proxied" else None
        endpoint = ServerEndpoint(reactor, 0, "127.0.0.1", tls=tls, proxy=proxy)
    async with serving(factory, endpoint, f"unix:{folder / 's'}") as server:
        address: Any = str(folder / "s") if kind == "unix" else ("127.0.0.1", server.port)
        yield server, lambda: connecting(kind, address)


def readAll(raw: Any) -> bytes:
    """
    Read to the end of the peer's stream.
    """
    return b"".join(iter(lambda: raw.recv(1 << 18), b""))


def upload(connect: Connect, begin: bytes = b"", size: int = UPLOAD) -> bytes:
    """
    Send all of an upload, and then read the answer, as many clients do.
    """
    with connect() as raw:
        raw.sendall(begin + bytes(size))
        return readAll(raw)


@pytest.mark.parametrize("kind", KINDS)
async def test_upload(kind: str, tmp_path: Path) -> None:
    """
    A client that sends 20 MB before it reads gets the answer to their first bytes.
    """
    made: list[int] = []

    class Once(Refusing):
        """
        Remembers how often it was called.
        """

        def dataReceived(self, data: bytes) -> None:
            made.append(len(data))
            super().dataReceived(data)

    async with served(kind, tmp_path, Once) as (server, connect):
        assert await deferToThread(upload, connect) == ANSWER
        report = await ended(server)
        assert report.closeReason is CloseReason.LOCAL_CLOSE
        assert (report.bytesWritten, report.bytesPending) == (len(ANSWER), 0)
        assert len(made) == 1 and report.bytesRead < UPLOAD
        assert server.factory.conservation() == []


async def test_uploadToSite(tmp_path: Path) -> None:
    """
    A hosted web server tells a client what was wrong with its upload.
    """
    begin = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n"
    async with served("tcp", tmp_path, hosted(Site(Resource()))) as (_, connect):
        answer = await deferToThread(upload, connect, begin)
        assert answer.startswith(b"HTTP/1.1 400 Bad Request")


class Answering(Client):
    """
    Closes after an answer that does not fit into any socket buffer, and keeps asking
    for more input.
    """

    size = 8_000_000

    def dataReceived(self, data: bytes) -> None:
        """
        Answer, and close.
        """
        super().dataReceived(data)
        self.transport.write(bytes(self.size))
        self.transport.loseConnection()
        self.transport.resumeProducing()


@pytest.mark.parametrize("halfClose", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_answerWaits(kind: str, halfClose: bool, tmp_path: Path) -> None:
    """
    A client that sends all of its own before it reads gets all of a large answer, and
    the protocol hears no more than the bytes that it has answered.
    """

    def talk(connect: Connect) -> int:
        with connect() as raw:
            raw.sendall(bytes(UPLOAD))
            if halfClose and not isinstance(raw, ssl.SSLSocket):
                raw.shutdown(socket.SHUT_WR)
            return len(readAll(raw))

    async with served(kind, tmp_path, Answering) as (server, connect):
        assert await deferToThread(talk, connect) == Answering.size
        report = await ended(server)
        assert report.closeReason is CloseReason.LOCAL_CLOSE
        assert (report.bytesWritten, report.bytesPending) == (Answering.size, 0)
        assert report.bytesRead < UPLOAD
        assert server.factory.conservation() == []


@pytest.mark.parametrize("kind", ["tcp", "unix", "proxied"])
async def test_answerPauses(kind: str, tmp_path: Path) -> None:
    """
    A protocol that pauses while its answer waits, after the client's FIN, makes the
    transport read no end of the input for a second time.
    """
    async with served(kind, tmp_path, Answering) as (server, connect):
        raw = await deferToThread(connect)
        with raw:
            raw.sendall(b"ask")
            raw.shutdown(socket.SHUT_WR)
            protocol = await server.protocol()
            await until(lambda: protocol.transport._readEnded)
            protocol.transport.pauseProducing()
            assert not protocol.transport.reading
            assert len(await deferToThread(readAll, raw)) == Answering.size


@pytest.mark.parametrize("kind", KINDS)
async def test_answerResumes(kind: str, tmp_path: Path) -> None:
    """
    A client that is still sending when the answer begins to move gets all of it too:
    a close in a moment in which nothing is unread would reset it.
    """

    def talk(connect: Connect) -> int:
        got = 0
        with connect() as raw:
            for _ in range(40):
                raw.sendall(bytes(100_000))
            while got < Answering.size:
                got += len(raw.recv(1 << 20))
                raw.sendall(b"more")
            return got

    async with served(kind, tmp_path, Answering) as (server, connect):
        assert await deferToThread(talk, connect) == Answering.size
        report = await ended(server)
        assert (report.closeReason, report.bytesPending) == (CloseReason.LOCAL_CLOSE, 0)


@pytest.mark.parametrize("kind", KINDS)
async def test_answerBounds(kind: str, tmp_path: Path) -> None:
    """
    What is forgotten while an answer waits is bounded: a client that sends without end
    waits itself, until the close budget is used up.
    """
    budgets = Budgets(lingerBytes=1_000_000, closeFlush=0.5)

    def talk(connect: Connect) -> None:
        with suppress(OSError), connect() as raw:
            for _ in range(UPLOAD):
                raw.sendall(bytes(100_000))

    async with served(kind, tmp_path, Answering, budgets=budgets) as (server, connect):
        await deferToThread(talk, connect)
        report = await ended(server)
        assert report.closeReason is CloseReason.CLOSE_FLUSH
        assert report.bytesPending


@pytest.mark.parametrize("kind", KINDS)
async def test_answerRefused(kind: str, tmp_path: Path) -> None:
    """
    A client that breaks off while an answer waits is told as that.
    """

    def talk(connect: Connect) -> None:
        raw = connect()
        raw.sendall(bytes(1_000_000))
        reset(raw)

    async with served(kind, tmp_path, Answering) as (server, connect):
        await deferToThread(talk, connect)
        report = await ended(server)
        assert report.closeReason is CloseReason.RESET
        assert report.bytesPending


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["close", "drain", "lifetime"])
async def test_slowReader(kind: str, how: str, tmp_path: Path) -> None:
    """
    A slow reader that sends once more while this side closes, drains or ends its
    lifetime gets all that was written.
    """
    size = 2_000_000
    budgets = Budgets(lifetime=0.2) if how == "lifetime" else Budgets()

    class Draining(Client):
        """
        Writes at once, and closes when the server drains.
        """

        def connectionMade(self) -> None:
            self.transport.write(bytes(size))
            super().connectionMade()

        def drainStarted(self) -> None:
            self.transport.loseConnection()

    def read(raw: Any, protocol: Any) -> int:
        got = len(raw.recv(1000))
        while protocol.bytesPending:
            got += len(raw.recv(10_000))
        with suppress(OSError):  # all is with the kernel: this meets the close
            raw.sendall(b"not so fast")
        while piece := raw.recv(100_000):
            got += len(piece)
        return got

    async with served(kind, tmp_path, Draining, budgets=budgets) as (server, connect):
        raw = await deferToThread(connect)
        protocol = await server.protocol()
        await until(lambda: protocol.bytesWritten)
        if how == "close":
            protocol.transport.loseConnection()
        drained = server.factory.drain(8) if how == "drain" else None
        await until(lambda: protocol.transport.disconnecting)
        assert await deferToThread(read, raw, protocol) == size
        raw.close()
        report = await ended(server)
        cause = CloseReason.LIFETIME if how == "lifetime" else CloseReason.LOCAL_CLOSE
        assert (report.closeReason, report.bytesPending) == (cause, 0)
        assert not protocol.received or how == "lifetime"
        if drained is not None:
            told = await drained
            assert (told.finished, told.aborted, told.bytesUnsent) == (1, 0, 0)


async def test_clientSide(tmp_path: Path) -> None:
    """
    A client that closes while the server goes on sending has delivered all of its own.
    """
    size = 3_000_000

    class Pouring(Client):
        """
        Sends for as long as the client lets it.
        """

        def connectionMade(self) -> None:
            super().connectionMade()
            self.transport.registerProducer(self, True)
            self.resumeProducing()

        def resumeProducing(self) -> None:
            self.transport.write(bytes(100_000))

        def pauseProducing(self) -> None:
            pass

        def stopProducing(self) -> None:
            pass

        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            self.transport.write(bytes(1000))

    async with served("tcp", tmp_path, Pouring) as (server, _):
        client = Client()
        await to(server.port).connectProtocol(client)
        await client.whenReceived(1)
        client.transport.write(bytes(size))
        client.transport.loseConnection()
        before = len(client.received)
        await client.whenLost()
        assert len(client.received) == before
        assert client.report().closeReason is CloseReason.LOCAL_CLOSE
        report = await ended(server)
        assert report.bytesRead == size


@pytest.mark.parametrize("kind", ["options", "standard"])
async def test_refusedUpload(kind: str, tmp_path: Path) -> None:
    """
    A client that is refused under TLS reads the message in spite of its upload.
    """
    refusal = {"maxConnections": 0, "refusalMessage": b"no room"}
    async with served(kind, tmp_path, **refusal) as (server, connect):
        assert await deferToThread(upload, connect, b"", 1_000_000) == b"no room"
        await until(lambda: not server.factory._capacity.lingering)


async def test_resultOfHook() -> None:
    """
    What C{readConnectionLost} returns means nothing.
    """

    class Returning(Remembering):
        """
        Returns something.
        """

        def readConnectionLost(self) -> bool:  # type: ignore[override]
            super().readConnectionLost()
            return True

    async with fastServer(Returning) as server:
        with rawConnection(server.port) as raw:
            made = await accepted(server)
            raw.shutdown(socket.SHUT_WR)
            await made.whenEnded()
            await turn()
            assert made.reason is None
            await closed(made)


# Limits.


@asynccontextmanager
async def lingering(
    before: int = 0, receiveBuffer: int = 0, **limits: Any
) -> AsyncGenerator[tuple[Server, Any, socket.socket]]:
    """
    A server that has closed, its protocol, and a client that has sent once more.

    @param before: bytes that the server has written before its close.
    """
    from twisted.internet import reactor

    factory = TCPDemoFactory(Client, budgets=Budgets(**limits))
    endpoint = ServerEndpoint(reactor, 0, "127.0.0.1")
    async with serving(factory, endpoint) as server:
        raw = rawConnection(server.port, receiveBuffer)
        with raw:
            protocol = await server.protocol()
            raw.send(b"begin")
            await protocol.whenReceived(5)
            protocol.transport.write(bytes(before) or b"answer")
            raw.send(b"more")
            protocol.transport.loseConnection()
            await until(lambda: protocol.transport.doRead.__name__ == "discard")
            yield server, protocol, raw


async def test_holds() -> None:
    """
    A client that has sent more and does not close holds its slot until the time is
    over, and then it has closed in order; the protocol hears nothing more.
    """
    async with lingering(linger=0.3) as (server, protocol, raw):
        raw.send(b"still here")
        assert server.factory.connectionCount == 1
        report = await ended(server)
        assert (report.closeReason, report.bytesRead) == (CloseReason.LOCAL_CLOSE, 5)
        assert type(protocol.reason) is ConnectionDone
        assert report.age >= 0.3
        assert await drainPeer(raw, 6) == b"answer"


@pytest.mark.parametrize("limits", [{"linger": 0.3}, {"lingerBytes": 2_000_000}])
async def test_sendsForEver(limits: dict[str, Any]) -> None:
    """
    A client that sends for ever is ended, by time or by bytes.
    """
    async with lingering(**limits) as (server, protocol, raw):

        def send() -> bool:
            with suppress(OSError):
                raw.send(bytes(100_000))
            return protocol.reason is not None

        await until(send)
        report = await ended(server)
        assert (report.closeReason, report.bytesPending) == (CloseReason.LOCAL_CLOSE, 0)
        assert report.age < 3


async def test_silent() -> None:
    """
    A client that has taken all and sends nothing more loses nothing, and does not hold
    its slot until the time is over.
    """
    async with serving(TCPDemoFactory(Refusing), "fasttcp:0:interface=127.0.0.1") as server:
        with rawConnection(server.port) as raw:
            raw.send(b"x")
            report = await ended(server)
            assert report.age < 2 * LOOK
            assert await drainPeer(raw, len(ANSWER)) == ANSWER
            assert hasEnded(raw)


async def test_nothingToLoseOnClose() -> None:
    """
    Where the peer has taken all, and all of its bytes have been read, a close is one at
    once: the protocol hears of it in the same turn of the reactor.
    """
    async with serving(TCPDemoFactory(Client), "fasttcp:0:interface=127.0.0.1") as server:
        with rawConnection(server.port):
            protocol = await server.protocol()
            protocol.transport.loseConnection()
            await turn()
            assert type(protocol.reason) is ConnectionDone


async def test_switchedOff() -> None:
    """
    With a linger of 0 a connection is closed when its bytes are with the system.
    """
    factory = TCPDemoFactory(Refusing, budgets=Budgets(linger=0))
    async with serving(factory, "fasttcp:0:interface=127.0.0.1") as server:
        with rawConnection(server.port) as raw:
            protocol = await server.protocol()
            raw.send(b"x")
            await protocol.whenReceived(1)
            await turn()
            assert type(protocol.reason) is ConnectionDone


async def test_aborts() -> None:
    """
    An abort ends the waiting at once.
    """
    async with lingering() as (server, protocol, _):
        protocol.transport.abortConnection()
        await protocol.whenLost()
        assert type(protocol.reason) is ConnectionAborted
        assert (await ended(server)).closeReason is CloseReason.ABORTED


async def test_drainDeadline() -> None:
    """
    The deadline of a drain ends a client that is waited for, and tells how many bytes
    it has not taken.
    """
    async with lingering(before=100_000, receiveBuffer=SMALL) as (server, _, _):
        told = await server.factory.drain(0.1)
        assert (told.finished, told.aborted) == (0, 1)
        assert 0 < told.bytesUnsent <= 100_000
        report = await ended(server)
        assert (report.closeReason, report.bytesPending) == (CloseReason.DRAIN, told.bytesUnsent)


@pytest.mark.parametrize("closeFlush", [0.2, 2.0])
async def test_neverReads(closeFlush: float) -> None:
    """
    A client that does not take what the kernel has is ended by the close budget, not by
    the time for its FIN; it is told what it cannot have got.
    """
    limits = {"closeFlush": closeFlush, "linger": 0.5}
    async with lingering(before=100_000, receiveBuffer=SMALL, **limits) as (server, _, _):
        report = await ended(server)
        assert report.closeReason is CloseReason.CLOSE_FLUSH
        assert 50_000 < report.bytesPending <= 100_000
        assert closeFlush <= report.age < closeFlush + 0.7


async def test_resets() -> None:
    """
    A client that breaks off while it is waited for has not got all: that is a reset, and
    what it has not taken is told.
    """
    async with lingering(before=100_000, receiveBuffer=SMALL) as (server, protocol, raw):
        reset(raw)
        report = await ended(server)
        assert report.closeReason is CloseReason.RESET
        assert 50_000 < report.bytesPending <= 100_000
        assert type(protocol.reason) is ConnectionLost


async def test_resetsWithAll() -> None:
    """
    A client that breaks off when it has taken all has got all.
    """
    async with lingering() as (server, _, raw):
        assert await drainPeer(raw, 6) == b"answer"
        await until(lambda: hasEnded(raw))
        reset(raw)
        report = await ended(server)
        assert (report.closeReason, report.bytesPending) == (CloseReason.LOCAL_CLOSE, 0)


async def test_anyCall() -> None:
    """
    Whatever a program calls while its connection lingers changes nothing.
    """
    async with lingering() as (server, protocol, raw):
        transport = protocol.transport
        for call in "pauseProducing", "loseConnection", "loseWriteConnection", "stopReading":
            getattr(transport, call)()
        transport.write(b"late")
        transport.writeSequence([b"very ", b"late"])
        transport.resumeProducing()
        transport.pauseProducing()
        transport.registerProducer(protocol, True)
        protocol.stopProducing = lambda: None
        await turn()
        assert protocol.reason is None
        assert await drainPeer(raw, 6) == b"answer"
        await until(lambda: hasEnded(raw))
        raw.shutdown(socket.SHUT_WR)
        report = await ended(server)
        assert (report.bytesWritten, report.bytesPending) == (6, 0)
        assert report.closeReason is CloseReason.LOCAL_CLOSE


async def test_halfClosed() -> None:
    """
    After the client's FIN nothing more can come: a close waits for nothing, whatever the
    client has not taken yet, and all of it arrives.
    """
    factory = TCPDemoFactory(Client, allowHalfOpen=True)
    async with serving(factory, "fasttcp:0:interface=127.0.0.1") as server:
        with rawConnection(server.port, SMALL) as raw:
            protocol = await server.protocol()
            raw.shutdown(socket.SHUT_WR)
            await protocol.whenEnded()
            protocol.transport.write(bytes(100_000))
            protocol.transport.loseConnection()
            await turn()
            assert type(protocol.reason) is ConnectionDone
            assert len(await drainPeer(raw, 100_000)) == 100_000
            await until(lambda: hasEnded(raw))
        assert (await ended(server)).bytesPending == 0


async def test_closedAfterOwnFIN() -> None:
    """
    A connection whose own half has ended before lingers, too.
    """
    factory = TCPDemoFactory(Client, allowHalfOpen=True)
    async with serving(factory, "fasttcp:0:interface=127.0.0.1") as server:
        with rawConnection(server.port) as raw:
            protocol = await server.protocol()
            protocol.transport.write(bytes(500_000))
            protocol.transport.loseWriteConnection()
            await until(lambda: not protocol.bytesPending)
            raw.send(b"more")
            protocol.transport.loseConnection()
            raw.send(b"and more")
            assert len(await drainPeer(raw, 500_000)) == 500_000
            await until(lambda: hasEnded(raw))


async def test_unread(tmp_path: Path) -> None:
    """
    A client of a UNIX socket that closes over an answer that it has not read has broken
    off.
    """
    async with served("unix", tmp_path) as (server, connect):
        raw = connect()
        raw.sendall(bytes(10))
        protocol = await server.protocol()
        await protocol.whenReceived(10)
        raw.close()
        assert (await ended(server)).closeReason is CloseReason.RESET


async def test_notCounted() -> None:
    """
    A connection that is not counted has no close budget: a client that does not take
    what the kernel has is waited for once, and the kernel goes on then, as with
    Twisted's transport.
    """
    size = 100_000
    async with fastServer() as server:
        with rawConnection(server.port, SMALL) as raw:
            made = await accepted(server)
            made.transport.budgets = Budgets(linger=0.3)
            raw.send(b"begin")
            await made.whenReceived(5)
            made.transport.write(bytes(size))
            made.transport.loseConnection()
            raw.send(b"more")
            await made.whenLost()
            assert isinstance(made.reason, ConnectionDone)
            assert 50_000 < made.transport.bytesPending <= size
            assert len(await drainPeer(raw, size)) == size
            await until(lambda: hasEnded(raw))


async def test_many() -> None:
    """
    A thousand connections that close over unread input leave nothing behind.
    """
    factory = TCPDemoFactory(Refusing)
    async with serving(factory, "fasttcp:0:interface=127.0.0.1:backlog=1000") as server:
        for _ in range(5):
            clients = [rawConnection(server.port) for _ in range(200)]
            for raw in clients:
                raw.send(b"begin")
            for raw in clients:
                with suppress(OSError):
                    raw.send(bytes(50_000))
            for raw in clients:
                assert await drainPeer(raw, len(ANSWER)) == ANSWER
                await until(lambda raw=raw: hasEnded(raw))  # type: ignore[misc]
                raw.close()
        await factory.whenEmpty()
        assert factory.report().closedBy == {CloseReason.LOCAL_CLOSE: 1000}
        assert factory.conservation() == []


# In memory.


class Still:
    """
    A transport whose peer does what the test says.
    """

    watcher: Any = None
    budgets = Budgets()
    over = False

    def __init__(self, untaken: int) -> None:
        self.untaken = untaken
        self.socket = self

    def recv_into(self, _: bytearray) -> int:
        """
        Receive one byte.
        """
        return 1

    def _dueSoon(self) -> None:
        self.over = True

    def _peerLeft(self) -> BaseException:
        raise AssertionError


@pytest.mark.parametrize(("rate", "patience"), [(CLOSE_RATE, True), (CLOSE_RATE - 1, False)])
def test_progress(rate: int, patience: bool) -> None:
    """
    Without a close budget a slow reader gets another period, a drip does not.
    """
    clock, still = Clock(), Still(1_000_000)
    linger = Linger(still, clock)
    linger.begin(5.0, still.untaken)
    for _ in range(10):
        still.untaken -= rate
        clock.pump([0.5] * 10)
    assert still.over is linger.isOver is not patience
    linger.stop()
    assert not clock.getDelayedCalls()


def test_oneMorePeriod() -> None:
    """
    A peer that sends and has taken all has until the end of the period.
    """
    clock, still = Clock(), Still(1_000_000)
    linger = Linger(still, clock)
    linger.begin(5.0, still.untaken)
    assert linger.discard() is None
    clock.advance(0.5)
    still.untaken = 0
    clock.pump([0.5] * 8)
    assert not linger.isOver
    clock.advance(0.5)
    assert linger.isOver and still.over
    assert not clock.getDelayedCalls()


def test_bytes() -> None:
    """
    It reads a bounded number of bytes, and a bounded number at a time.
    """
    still = Still(0)
    still.budgets = Budgets(lingerBytes=6)
    linger = Linger(still, Clock())
    linger.begin(5.0, 0)
    assert [linger.discard(), linger.discard()] == [None, ENDED]
    linger.stop()
