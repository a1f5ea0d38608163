"""
Tests against Python's C{ssl}: blocking sockets in a thread.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, asynccontextmanager, closing
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.error import TimeoutError as ConnectTimeoutError
from twisted.internet.threads import deferToThread

from tests.support.clients import silentServer, to
from tests.support.contexts import PythonContexts, everyContext
from tests.support.waiting import failureOf
from tests.system.peers.support import (
    BROKEN,
    LARGE,
    Echo,
    Party,
    Saying,
    ours,
    pattern,
)
from twisted_tcpdemo import CloseReason

pytestmark = pytest.mark.deadline(20)

everyVersion = pytest.mark.parametrize("version", ["1.2", "1.3"])

PIECE = 100_000
"""Bytes that a blocking peer sends before it reads: less than the buffers hold."""


def plain(port: int) -> socket.socket:
    """
    A blocking socket that is connected to a port.
    """
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def secure(port: int, version: str = "") -> ssl.SSLSocket:
    """
    A blocking TLS client.  The end of the stream without a close_notify is an error
    for it.
    """
    return PythonContexts.client(version=version).wrap_socket(
        plain(port), server_hostname="localhost", suppress_ragged_eofs=False
    )


def exactly(peer: socket.socket, count: int) -> bytes:
    """
    Read a number of bytes, or up to the end.
    """
    got = bytearray()
    while len(got) < count and (data := peer.recv(count - len(got))):
        got += data
    return bytes(got)


def exchange(peer: socket.socket, data: bytes) -> bytes:
    """
    Send bytes piece by piece, and read as many after each.
    """
    got = b""
    pieces = (data[start : start + PIECE] for start in range(0, len(data), PIECE))
    for piece in pieces:
        peer.sendall(piece)
        got += exactly(peer, len(piece))
    return got


def breakOff(peer: socket.socket) -> None:
    """
    Close with RST.
    """
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def hello() -> bytes:
    """
    The first message of a client.
    """
    outgoing = ssl.MemoryBIO()
    client = PythonContexts.client().wrap_bio(
        ssl.MemoryBIO(), outgoing, server_hostname="localhost"
    )
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@asynccontextmanager
async def server(
    serve: Callable[[socket.socket], Any],
) -> AsyncGenerator[tuple[int, Deferred[Any]]]:
    """
    A blocking server of one client, as long as the block lasts.

    @param serve: what it does with the accepted socket, which it closes.
    @return: its port, and what C{serve} returns.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def one() -> Any:
        with closing(listener.accept()[0]) as accepted:
            accepted.settimeout(10)
            return serve(accepted)

    with closing(listener):
        served = deferToThread(one)
        yield listener.getsockname()[1], served
        await served


def secured(accepted: socket.socket, version: str = "") -> ssl.SSLSocket:
    """
    The server's side of TLS on an accepted socket.
    """
    return PythonContexts.server(version=version).wrap_socket(
        accepted, server_side=True, suppress_ragged_eofs=False
    )


# A client of Python's and our server.


@everyContext
@everyVersion
async def test_unwrap(contexts: Any, version: str) -> None:
    """
    A client that ends TLS gets the server's close_notify for its own, and an orderly
    end after it.
    """

    def talk() -> tuple[bytes, bytes]:
        with secure(serving.port, version) as peer:
            got = exchange(peer, b"hello")
            with peer.unwrap() as below:
                return got, below.recv(10)

    async with ours(tls=contexts.server(version=version)) as serving:
        assert await deferToThread(talk) == (b"hello", b"")
        report = await serving.report()
        assert report.closeReason is CloseReason.PEER_CLOSED
        assert (report.bytesRead, report.bytesWritten, report.bytesPending) == (5, 5, 0)


@everyContext
@everyVersion
async def test_cutShort(contexts: Any, version: str) -> None:
    """
    A client that leaves without a close_notify has broken the connection off.
    """

    def talk() -> None:
        with secure(serving.port, version) as peer:
            exchange(peer, b"hello")

    async with ours(tls=contexts.server(version=version)) as serving:
        await deferToThread(talk)
        report = await serving.report()
        assert report.closeReason in BROKEN
        assert (report.bytesRead, report.bytesWritten) == (5, 5)


@everyContext
@everyVersion
async def test_serverCloses(contexts: Any, version: str) -> None:
    """
    A client gets what the server says last, and then the server's close_notify.
    """

    def talk() -> bytes:
        with secure(serving.port, version) as peer:
            return exactly(peer, 100)

    async with ours(Saying, tls=contexts.server(version=version)) as serving:
        assert await deferToThread(talk) == Saying.text
        assert (await serving.report()).closeReason is CloseReason.LOCAL_CLOSE


class Parting(Saying):
    """
    Says a lot, and closes.
    """

    text = pattern(LARGE)


@everyContext
async def test_slowReader(contexts: Any) -> None:
    """
    A client that reads late gets everything that the server wrote before it closed.
    """

    def talk() -> bytes:
        with secure(serving.port) as peer:
            return exactly(peer, LARGE + 1)

    async with ours(Parting, tls=contexts.server()) as serving:
        assert await deferToThread(talk) == Parting.text
        report = await serving.report()
        assert (report.bytesWritten, report.bytesPending) == (LARGE, 0)


class Aborting(Party):
    """
    Answers, and aborts.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Do it.
        """
        super().dataReceived(data)
        self.transport.write(data)
        self.transport.abortConnection()


@everyContext
@everyVersion
async def test_serverAborts(contexts: Any, version: str) -> None:
    """
    An aborted connection is broken off for a client, never an orderly end.
    """

    def talk() -> None:
        with secure(serving.port, version) as peer:
            peer.sendall(b"hello")
            with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
                exactly(peer, 100)

    async with ours(Aborting, tls=contexts.server(version=version)) as serving:
        await deferToThread(talk)
        assert (await serving.report()).closeReason is CloseReason.ABORTED


@everyContext
@everyVersion
async def test_large(contexts: Any, version: str) -> None:
    """
    All bytes of a large transfer come back, in order.
    """
    data = pattern(LARGE)

    def talk() -> bytes:
        with secure(serving.port, version) as peer:
            return exchange(peer, data)

    async with ours(tls=contexts.server(version=version)) as serving:
        assert await deferToThread(talk) == data
        report = await serving.report()
        assert (report.bytesRead, report.bytesWritten) == (LARGE, LARGE)


@everyContext
@pytest.mark.parametrize("end", [socket.socket.close, breakOff], ids=["FIN", "RST"])
@pytest.mark.parametrize("said", ["nothing", "half", "all"])
async def test_lostInHandshake(contexts: Any, said: str, end: Callable[..., None]) -> None:
    """
    A client that leaves in the middle of the handshake gives its slot back, and is
    one event.
    """
    message = {"nothing": b"", "half": hello()[:100], "all": hello()}[said]

    def talk() -> None:
        peer = plain(serving.port)
        peer.sendall(message)
        if said == "all":
            assert peer.recv(1)
        end(peer)

    async with ours(tls=contexts.server(), factory={"maxConnections": 1}) as serving:
        await deferToThread(talk)
        report = await serving.report()
        if said == "nothing":
            assert report.closeReason is CloseReason.PROBE
        else:
            assert report.closeReason in {*BROKEN, CloseReason.PEER_CLOSED}
        assert (report.bytesRead, report.bytesWritten) == (0, 0)
        assert serving.factory.connectionCount == 0


@everyContext
async def test_untrustedByClient(contexts: Any) -> None:
    """
    A client that does not trust the certificate is a failure of TLS for the server.
    """

    def talk() -> None:
        context = ssl.create_default_context()
        with plain(serving.port) as peer, pytest.raises(ssl.SSLCertVerificationError):
            context.wrap_socket(peer, server_hostname="localhost")

    async with ours(tls=contexts.server(version="1.2")) as serving:
        await deferToThread(talk)
        assert (await serving.report()).closeReason in BROKEN


# Our client and a server of Python's.


@everyContext
@everyVersion
async def test_unwrapOfServer(contexts: Any, version: str) -> None:
    """
    A server that ends TLS gets the client's close_notify for its own.
    """

    def serve(accepted: socket.socket) -> bytes:
        peer = secured(accepted, version)
        got = exactly(peer, 5)
        with peer.unwrap() as below:
            return got + below.recv(10)

    async with server(serve) as (port, served):
        party = await to(port, "localhost", tls=contexts.client()).connectProtocol(Party())
        await party.write(b"hello")
        await party.whenLost()
        assert party.closeReason is CloseReason.PEER_CLOSED
        assert await served == b"hello"


@everyContext
@everyVersion
async def test_clientCloses(contexts: Any, version: str) -> None:
    """
    A server gets what the client says last, and then the client's close_notify.
    """

    def serve(accepted: socket.socket) -> bytes:
        with secured(accepted, version) as peer:
            return exactly(peer, LARGE + 1)

    data = pattern(LARGE)
    async with server(serve) as (port, served):
        party = await to(port, "localhost", tls=contexts.client()).connectProtocol(Party())
        party.transport.write(data)
        party.transport.loseConnection()
        assert await served == data
        await party.whenLost()
        assert party.closeReason is CloseReason.LOCAL_CLOSE
        assert (party.bytesWritten, party.bytesPending) == (LARGE, 0)


@everyContext
@everyVersion
async def test_largeOfServer(contexts: Any, version: str) -> None:
    """
    All bytes of a large transfer come back to the server, in order.
    """
    data = pattern(LARGE)

    def serve(accepted: socket.socket) -> bytes:
        with secured(accepted, version) as peer:
            return exchange(peer, data)

    async with server(serve) as (port, served):
        party = await to(port, "localhost", tls=contexts.client()).connectProtocol(Echo())
        assert await served == data
        await party.whenLost()
        assert party.bytesRead == party.bytesWritten == LARGE


@everyContext
@everyVersion
async def test_cutShortByServer(contexts: Any, version: str) -> None:
    """
    A server that leaves without a close_notify has broken the connection off.
    """

    def serve(accepted: socket.socket) -> None:
        with secured(accepted, version) as peer:
            exchange(peer, b"hello")

    async with server(serve) as (port, _):
        party = await to(port, "localhost", tls=contexts.client()).connectProtocol(Echo())
        await party.whenLost()
        assert party.closeReason in BROKEN
        assert party.received == b"hello"


@everyContext
@pytest.mark.parametrize("end", [socket.socket.close, breakOff], ids=["FIN", "RST"])
async def test_serverLostInHandshake(contexts: Any, end: Callable[..., None]) -> None:
    """
    A server that leaves in the middle of the handshake is one clear error.
    """

    def serve(accepted: socket.socket) -> None:
        assert accepted.recv(65536)
        end(accepted)

    async with server(serve) as (port, _):
        party = Party()
        tls = contexts.client()
        error = await failureOf(to(port, "localhost", tls=tls).connectProtocol(party))
        assert isinstance(error, ConnectionLost)


@everyContext
async def test_serverWithoutTLS(contexts: Any) -> None:
    """
    A server that speaks no TLS is one clear error.
    """

    def serve(accepted: socket.socket) -> None:
        accepted.sendall(b"220 ready\r\n")
        assert accepted.recv(65536)

    async with server(serve) as (port, _):
        tls = contexts.client()
        error = await failureOf(to(port, "localhost", tls=tls).connectProtocol(Party()))
        assert "wrong version number" in str(error)


@everyContext
async def test_silentServer(contexts: Any) -> None:
    """
    A server that never answers the handshake is a timeout.
    """
    with ExitStack() as resources:
        endpoint = to(silentServer(resources), tls=contexts.client(), timeout=0.2)
        error = await failureOf(endpoint.connectProtocol(Party()))
        assert isinstance(error, ConnectTimeoutError)
