"""
Clients on the fast lane: connecting, failing, and the connection itself.
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import (
    ConnectBindError,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    TimeoutError,
    UserError,
)
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.internet.tcp import makeBinding
from twisted.python.reflect import namedAny

from tests.support.clients import Client, Failing, freePort, installedReactor, silentServer, to
from tests.support.fast import Remembering, accepted, fastServer
from tests.support.peers import Peer, rawConnection, reset, serving
from tests.support.waiting import failureOf, until
from twisted_tcpdemo import CloseReason, TCPDemoFactory, fastReactor
from twisted_tcpdemo.fast import connecting as connectingModule
from twisted_tcpdemo.fast import connector as connectorModule
from twisted_tcpdemo.fast.connector import ClientTransport
from twisted_tcpdemo.fast.poller import pollerOf
from twisted_tcpdemo.transports.layers import countsItself
from twisted_tcpdemo.twistd.programs import Echo


@pytest.fixture
def resources() -> Any:
    """
    Things to be closed after the test.
    """
    with ExitStack() as stack:
        yield stack


def endpoint(port: int, **options: Any) -> TCP4ClientEndpoint:
    """
    One of Twisted's own endpoints, on the lane.
    """
    return TCP4ClientEndpoint(fastReactor(installedReactor()), "127.0.0.1", port, **options)


def polled() -> int:
    """
    How many connections the poller serves.
    """
    return pollerOf(installedReactor()).connectionCount


async def gone(peer: Any) -> None:
    """
    Wait for the other side's end, and end this one.
    """
    await peer.whenEnded()
    peer.transport.loseConnection()
    await peer.whenLost()


PRIVATE_NAMES = {**connectingModule.PRIVATE_NAMES, **connectorModule.PRIVATE_NAMES}


@pytest.mark.parametrize("owner", PRIVATE_NAMES)
def test_privateNames(owner: str) -> None:
    """
    The installed Twisted has the private names that the connector needs.
    """
    found = namedAny(owner)
    assert [name for name in PRIVATE_NAMES[owner] if not hasattr(found, name)] == []


async def test_counts() -> None:
    """
    A client counts by its own transport, and keeps its addresses after the loss.
    """
    async with serving(TCPDemoFactory(Echo)) as server:
        client = await to(server.port).connectProtocol(Client())
        transport: Any = client.transport
        assert isinstance(transport, ClientTransport) and countsItself(transport)
        assert client.remotePort == server.port
        assert client.localPort == transport.socket.getsockname()[1]
        client.write("hello")
        await client.whenReceived(5)
        assert (client.bytesWritten, client.bytesRead, client.bytesPending) == (5, 5, 0)
        transport.loseConnection()
        await client.whenLost()
    assert client.closeReason is CloseReason.LOCAL_CLOSE
    assert (client.remoteAddress, client.remotePort) == ("127.0.0.1", server.port)
    assert transport.getPeer() == client.peer and transport.getHost() == client.host


async def test_writesThrough() -> None:
    """
    Bytes reach the kernel within the call of C{write()}.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = await connectProtocol(endpoint(listener.getsockname()[1]), Peer())
        raw, _ = listener.accept()
        with raw:
            client.transport.write(b"at once")
            assert raw.recv(100) == b"at once"
        await gone(client)


async def test_logPrefix() -> None:
    """
    Lines of the log begin with the protocol's name, as Twisted's clients have it.
    """
    async with serving(TCPDemoFactory(Echo)) as server:
        client = await connectProtocol(endpoint(server.port), Peer())
        assert client.transport.logPrefix() == "Peer,client"


async def test_refused() -> None:
    """
    Where no process listens, the attempt fails at once, and leaves nothing.
    """
    before = polled()
    error = await failureOf(endpoint(freePort()).connect(factoryOf(Peer)))
    assert isinstance(error, ConnectionRefusedError)
    assert polled() == before


async def test_timeout(resources: ExitStack) -> None:
    """
    An attempt that takes too long fails, and its socket is closed.
    """
    before = polled()
    connecting = endpoint(silentServer(resources, full=True), timeout=0.05).connect(factoryOf(Peer))
    await until(lambda: polled() == before + 1)
    assert isinstance(await failureOf(connecting), TimeoutError)
    assert polled() == before


async def test_stopConnecting(resources: ExitStack) -> None:
    """
    C{stopConnecting} ends an attempt with C{UserError}.
    """
    factory = Failing()
    reactor: Any = fastReactor(installedReactor())
    connector = reactor.connectTCP("127.0.0.1", silentServer(resources, full=True), factory)
    before = polled()
    await until(lambda: polled() == before + 1)
    connector.stopConnecting()
    assert isinstance(await failureOf(factory.failed), UserError)
    assert (connector.state, polled()) == ("disconnected", before)


async def test_abortWhileConnecting(resources: ExitStack) -> None:
    """
    A transport that is aborted before it is connected fails the attempt.
    """
    factory = Failing()
    reactor: Any = fastReactor(installedReactor())
    before = polled()
    connector = reactor.connectTCP("127.0.0.1", silentServer(resources, full=True), factory)
    await until(lambda: polled() == before + 1)
    connector.transport.abortConnection()
    await failureOf(factory.failed)
    assert polled() == before


async def test_cannotBind() -> None:
    """
    A local port in use fails the attempt with C{ConnectBindError}.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        binding = makeBinding("127.0.0.1", taken.getsockname()[1])
        connecting = endpoint(freePort(), bindAddress=binding).connect(factoryOf(Peer))
        assert isinstance(await failureOf(connecting), ConnectBindError)


async def test_noProtocol() -> None:
    """
    A factory that builds no protocol gets a connection that closes.
    """
    lost: Deferred[Any] = Deferred()

    class Factory(ClientFactory):
        noisy = False

        def buildProtocol(self, addr: Any) -> None:
            return None

        def clientConnectionLost(self, connector: Any, reason: Any) -> None:
            lost.callback(reason.value)

    async with fastServer() as server:
        reactor: Any = fastReactor(installedReactor())
        reactor.connectTCP("127.0.0.1", server.port, Factory())
        assert isinstance(await lost, ConnectionDone)
        await gone(await accepted(server))


@pytest.mark.parametrize("where", ["buildProtocol", "connectionMade", "connectionLost"])
@pytest.mark.parametrize("family", ["TCP", "UNIX"])
async def test_raises(family: str, where: str, tmp_path: Path, loggedErrors: Any) -> None:
    """
    What the code of an application raises ends its connection, and the factory is told of
    the end; so it may connect again.
    """
    told: list[str] = []

    class Raising(Peer):
        def connectionMade(self) -> None:
            if where == "connectionMade":
                raise ZeroDivisionError
            self.transport.loseConnection()

        def connectionLost(self, reason: Any) -> None:
            if where == "connectionLost":
                raise ZeroDivisionError

    class Factory(ClientFactory):
        noisy = False
        protocol = Raising

        def buildProtocol(self, addr: Any) -> Any:
            if where == "buildProtocol":
                raise ZeroDivisionError
            return super().buildProtocol(addr)

        def clientConnectionFailed(self, connector: Any, reason: Any) -> None:
            told.append("failed")

        def clientConnectionLost(self, connector: Any, reason: Any) -> None:
            told.append("lost")

        def stopFactory(self) -> None:
            told.append("stopped")

    path, before = str(tmp_path / "s"), polled()
    options = {"path": path} if family == "UNIX" else {}
    async with fastServer(**options) as server:
        reactor: Any = fastReactor(installedReactor())
        if family == "UNIX":
            connector = reactor.connectUNIX(path, Factory())
        else:
            connector = reactor.connectTCP("127.0.0.1", server.port, Factory())
        await until(lambda: "stopped" in told)
        assert told == ["failed" if where == "buildProtocol" else "lost", "stopped"]
        assert connector.state == "disconnected"
        assert len(loggedErrors.take(ZeroDivisionError)) == 1
        await gone(await accepted(server))
    assert polled() == before


async def test_emptyProtocol() -> None:
    """
    A protocol that counts as false is connected as any other.
    """

    class Empty(Peer):
        def __len__(self) -> int:
            return 0

    async with serving(TCPDemoFactory(Echo)) as server:
        client = await connectProtocol(endpoint(server.port), Empty())
        client.transport.write(b"hello")
        await client.whenReceived(5)
        client.transport.loseConnection()
        await client.whenLost()


async def test_names() -> None:
    """
    Twisted's C{HostnameEndpoint}, with its racing, runs on the lane.
    """
    async with serving(TCPDemoFactory(Echo)) as server:
        reactor = fastReactor(installedReactor())
        client = await connectProtocol(HostnameEndpoint(reactor, "localhost", server.port), Peer())
        assert isinstance(client.transport, ClientTransport)
        client.transport.loseConnection()
        await client.whenLost()


async def test_adopted() -> None:
    """
    C{fd=} of a client is served by the lane, too.
    """
    async with fastServer() as server:
        with rawConnection(server.port) as raw:
            client = await connecting(raw.fileno())
            assert countsItself(client.transport)
            client.write("hello")
            protocol = await accepted(server)
            await protocol.whenReceived(5)
            client.transport.loseConnection()
            await client.whenLost()
            await gone(protocol)


async def connecting(descriptor: int) -> Any:
    """
    A client over an open socket.
    """
    from twisted_tcpdemo import ClientEndpoint

    return await ClientEndpoint(installedReactor(), fd=descriptor).connectProtocol(Client())


class Plain(Protocol):
    """
    A protocol that cannot be half-closed, and answers a turn after each request.
    """

    transport: Any
    factory: Any
    ended = False
    reason: Any = None

    def connectionMade(self) -> None:
        """
        Enter itself.
        """
        self.factory.made.append(self)

    def dataReceived(self, data: bytes) -> None:
        """
        Answer in the next turn, and close.
        """
        installedReactor().callLater(0, self._answer)

    def _answer(self) -> None:
        self.transport.write(b"answer")
        self.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        """
        Remember the reason.
        """
        self.reason = reason.value


@pytest.mark.parametrize("protocol", [Plain, Remembering])
async def test_resetAfterFailedWrite(protocol: Any) -> None:
    """
    A reset is told as C{ConnectionLost}, and not as a FIN before it, also where a
    write meets it first.
    """
    async with fastServer(protocol) as server:
        with rawConnection(server.port) as raw:
            await until(lambda: server.made)
            [made] = server.made
            transport = made.transport

            def write() -> None:
                # From a timer: the poller comes before the next one.
                reset(raw)
                while not transport._sendFailed:
                    transport.write(b"x")

            installedReactor().callLater(0, write)
            await until(lambda: made.reason is not None)
        assert (type(made.reason), made.ended) == (ConnectionLost, False)


async def test_answerAfterFIN() -> None:
    """
    An answer in the next turn arrives, though the client's FIN came with its request.
    """
    for _ in range(20):
        async with fastServer(Plain) as server:
            with socket.create_connection(("127.0.0.1", server.port)) as raw:
                raw.sendall(b"request")
                raw.shutdown(socket.SHUT_WR)
                raw.setblocking(False)
                got = bytearray()
                await until(lambda: received(raw, got))  # noqa: B023
            assert got == b"answer"


async def test_forgottenByReactor(resources: ExitStack) -> None:
    """
    A client connects even after a test runner has removed all readers of the reactor,
    while an older connection is still open.
    """
    port = silentServer(resources)
    older = await connectProtocol(endpoint(port), Client())
    installedReactor().removeReader(pollerOf(installedReactor()))
    newer = await connectProtocol(endpoint(port), Client())
    for client in (older, newer):
        client.transport.abortConnection()
        await client.whenLost()


async def test_delayedCallBeforeEnd(resources: ExitStack) -> None:
    """
    A client that is aborted as soon as it is connected ends in a later turn of the
    reactor, as with Twisted's: a port of this process has then accepted it.
    """
    told: list[str] = []

    class Aborting(Client):
        def connectionMade(self) -> None:
            super().connectionMade()
            self.transport.abortConnection()
            installedReactor().callLater(0, told.append, "called")

        def connectionLost(self, reason: Any) -> None:
            told.append("lost")
            super().connectionLost(reason)

    port = silentServer(resources)
    client = await connectProtocol(endpoint(port), Aborting())
    await client.whenLost()
    assert told == ["called", "lost"]


def received(raw: socket.socket, got: bytearray) -> bool:
    """
    Whether the peer has ended; what came before is kept.
    """
    try:
        data = raw.recv(1000)
    except BlockingIOError:
        return False
    got.extend(data)
    return not data


async def test_pullProducerAfterWrite() -> None:
    """
    A pull producer that is registered after a write is asked again when that has
    left, as it is by Twisted's transports.
    """

    class Hesitant:
        asked = 0

        def __init__(self, transport: Any) -> None:
            self._transport = transport

        def resumeProducing(self) -> None:
            self.asked += 1
            if self.asked == 2:
                self._transport.write(b"at last")
                self._transport.unregisterProducer()

        def stopProducing(self) -> None:
            pass

    async with fastServer() as server:
        client = await connectProtocol(endpoint(server.port), Peer())
        client.transport.write(b"before, ")
        client.transport.registerProducer(Hesitant(client.transport), False)
        protocol = await accepted(server)
        await protocol.whenReceived(15)
        assert bytes(protocol.received) == b"before, at last"
        client.transport.loseConnection()
        await client.whenLost()
        await gone(protocol)


def factoryOf(protocol: Any) -> Any:
    """
    A factory of some protocols.
    """
    factory: Any = ClientFactory.forProtocol(protocol)
    factory.noisy = False
    return factory


async def test_descriptors(resources: ExitStack) -> None:
    """
    Attempts that fail leave no descriptor.
    """
    port, before = freePort(), len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        await failureOf(endpoint(port).connect(factoryOf(Peer)))
    assert len(os.listdir("/proc/self/fd")) == before
