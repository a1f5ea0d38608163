"""
A call of C{connect()}: the hand-over to the protocol, and its failures.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from twisted.application.internet import ClientService
from twisted.internet import defer
from twisted.internet.error import NoProtocol
from twisted.internet.protocol import Factory
from twisted.protocols.amp import AMP

from tests.support.clients import TLS, Client, closed, installedReactor, silentServer, to
from tests.support.contexts import TwistedContexts
from tests.support.peers import Peer, serving
from tests.support.waiting import failureOf, turn, until
from twisted_tcpdemo import ClientEndpoint, CloseReason, TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.errors import ConnectCancelledError
from twisted_tcpdemo.twistd.programs import Discard, Echo

# Half-open connections.


@pytest.mark.parametrize("unix", [False, True])
@pytest.mark.parametrize("half", [None, False])
async def test_peerEnds(unix: bool, half: bool | None, tmp_path: Path) -> None:
    """
    At the peer's FIN written bytes are flushed, and then the connection closes,
    with or without a factory of ours.
    """
    path = tmp_path / "s"
    async with serving(
        TCPDemoFactory(Discard, allowHalfOpen=True), f"unix:{path}" if unix else "tcp:0"
    ) as server:
        target: Any = {"path": path} if unix else {"host": "127.0.0.1", "port": server.port}
        endpoint = ClientEndpoint(installedReactor(), allowHalfOpen=half, **target)
        client = await endpoint.connect(Factory.forProtocol(Client))
        protocol = await server.protocol()
        size = 5_000_000
        client.transport.write(bytes(size))
        protocol.transport.loseWriteConnection()
        await client.whenLost()
        assert (client.ended, client.closeReason) == (True, CloseReason.PEER_CLOSED)
        assert (client.bytesWritten, client.bytesPending) == (size, 0)
        await server.factory.whenEmpty()
        assert protocol.bytesRead == size


@pytest.mark.parametrize("unix", [False, True])
async def test_allowHalfOpen(unix: bool, tmp_path: Path) -> None:
    """
    With allowHalfOpen only the reading side ends at the peer's FIN.
    """
    path = tmp_path / "s"
    async with serving(
        TCPDemoFactory(Discard, allowHalfOpen=True), f"unix:{path}" if unix else "tcp:0"
    ) as server:
        target: Any = {"path": path} if unix else {"host": "127.0.0.1", "port": server.port}
        endpoint = ClientEndpoint(installedReactor(), allowHalfOpen=True, **target)
        client = await endpoint.connectProtocol(Client())
        protocol = await server.protocol()
        protocol.transport.loseWriteConnection()
        await client.whenEnded()
        assert client.reason is None
        await client.write("still here")
        await until(lambda: protocol.bytesRead == 10)
        await closed(client)


async def test_plainProtocol() -> None:
    """
    Any protocol can be connected as Twisted would connect it, half-open if it is
    made for that.
    """
    async with serving(TCPDemoFactory(Echo, allowHalfOpen=True)) as server:
        client = await to(server.port).connectProtocol(Peer())
        protocol = await server.protocol()
        protocol.transport.loseWriteConnection()
        await client.whenEnded()
        assert client.reason is None
        await closed(client)


async def test_allowHalfOpenNeedsOurProtocol() -> None:
    """
    Setting allowHalfOpen for a foreign protocol is an error: it would have no
    effect.
    """
    async with serving(TCPDemoFactory(Discard)) as server:
        endpoint = to(server.port, allowHalfOpen=True)
        error = await failureOf(endpoint.connectProtocol(Peer()))
        assert isinstance(error, TypeError) and "TCPDemoProtocol" in str(error)
        await until(lambda: server.factory.closedCount)


# Socket options.


async def test_options() -> None:
    """
    Socket options are set before connectionMade.
    """

    class Tuned(Client):
        def connectionMade(self) -> None:
            handle = self.transport.getHandle()
            self.delay = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
            self.alive = bool(handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
            super().connectionMade()

    async with serving(TCPDemoFactory(Discard)) as server:
        plain = await to(server.port).connectProtocol(Tuned())
        other = await to(server.port, noDelay=False, keepAlive=True).connectProtocol(Tuned())
        assert (plain.delay, plain.alive) == (False, False)
        assert (other.delay, other.alive) == (True, True)
        await closed(plain)
        await closed(other)


# Failures.


class Broken(Client):
    """
    A protocol that raises when it is connected.
    """

    def connectionMade(self) -> None:
        """
        Raise.
        """
        raise ZeroDivisionError("connectionMade")


class BrokenPlain(Peer):
    """
    A plain Twisted protocol that raises when it is connected.
    """

    def connectionMade(self) -> None:
        """
        Raise.
        """
        raise ZeroDivisionError("connectionMade")


@pytest.mark.parametrize("protocol", [Broken, BrokenPlain])
@pytest.mark.parametrize("tls", [False, True])
async def test_connectionMadeRaises(protocol: type[Any], tls: bool) -> None:
    """
    An exception in connectionMade fails the Deferred, the connection is aborted,
    and there is no second attempt.
    """
    async with serving(TCPDemoFactory(Discard), TLS if tls else "tcp:0") as server:
        client = protocol()
        endpoint = to(server.port, tls=TwistedContexts.client() if tls else None, retry=5)
        assert isinstance(await failureOf(endpoint.connectProtocol(client)), ZeroDivisionError)
        await client.whenLost()
        await until(lambda: server.factory.closedCount)
        [report] = server.events.of("connectionClosed")
        # Without TLS it has come and gone without a byte, as a probe does.
        assert report.closeReason is (CloseReason.RESET if tls else CloseReason.PROBE)
        assert server.factory.acceptedCount == 1


@pytest.mark.parametrize("tls", [False, True])
async def test_buildProtocolFails(tls: bool) -> None:
    """
    A factory that raises, or builds no protocol, fails the Deferred.
    """

    class Raising(Factory[Any]):
        def buildProtocol(self, addr: Any) -> Any:
            raise ZeroDivisionError("buildProtocol")

    class Giving(Factory[Any]):
        def buildProtocol(self, addr: Any) -> Any:
            return None

    async with serving(TCPDemoFactory(Discard), TLS if tls else "tcp:0") as server:
        endpoint = to(server.port, tls=TwistedContexts.client() if tls else None)
        assert isinstance(await failureOf(endpoint.connect(Raising())), ZeroDivisionError)
        assert isinstance(await failureOf(endpoint.connect(Giving())), NoProtocol)
        await until(lambda: server.factory.closedCount == 2)


async def test_factoryOfOurs() -> None:
    """
    A TCPDemoFactory counts clients like the connections of a server.
    """
    async with serving(TCPDemoFactory(Discard)) as server:
        factory = TCPDemoFactory(Client, maxConnections=1, noDelay=False)
        client = await to(server.port).connect(factory)
        assert factory.connections == [client]
        assert client.factory is factory
        handle = client.transport.getHandle()
        assert handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
        await closed(client)
        assert (factory.acceptedCount, factory.closedCount) == (1, 1)


async def test_factoryWithoutSlot() -> None:
    """
    When the factory has no slot, the connection fails, and no slot is lost.
    """
    async with serving(TCPDemoFactory(Discard)) as server:
        factory = TCPDemoFactory(Client, maxConnections=1)
        first = await to(server.port).connect(factory)
        assert isinstance(await failureOf(to(server.port).connect(factory)), NoProtocol)
        assert (factory.connectionCount, factory.refusedCount) == (1, 1)
        await closed(first)
        again = await to(server.port).connect(factory)
        await closed(again)
        assert factory.connectionCount == 0


async def test_factoryThatDoesNotAsk() -> None:
    """
    A factory that builds without a look at its slots does not exceed its limit
    either.
    """

    class Careless(TCPDemoFactory):
        def buildProtocol(self, addr: Any) -> Any:
            protocol = Client()
            protocol.factory = self
            return protocol

    async with serving(TCPDemoFactory(Discard)) as server:
        factory = Careless(maxConnections=0)
        assert isinstance(await failureOf(to(server.port).connect(factory)), NoProtocol)
        assert (factory.connectionCount, factory.refusedCount) == (0, 1)
        await until(lambda: server.factory.closedCount)


async def test_ownMakeConnection() -> None:
    """
    A protocol with AMP mixed in, whose makeConnection calls nobody's, is connected and
    counted.
    """

    class Boxes(AMP, TCPDemoProtocol): ...

    async with serving(TCPDemoFactory(Discard)) as server:
        client = await to(server.port).connectProtocol(Boxes())
        await client.write("hello")
        assert client.bytesWritten == 5
        client.transport.loseConnection()
        await until(lambda: client.closeReason)
        assert client.closeReason is CloseReason.LOCAL_CLOSE


async def test_factoryIsStartedAndStopped() -> None:
    """
    A factory is started and stopped as Twisted does it.
    """
    happened: list[str] = []

    class Told(Factory[Any]):
        protocol = Client
        noisy = False

        def startFactory(self) -> None:
            happened.append("start")

        def stopFactory(self) -> None:
            happened.append("stop")

    async with serving(TCPDemoFactory(Discard)) as server:
        client = await to(server.port).connect(Told())
        assert happened == ["start"]
        await closed(client)
        await until(lambda: happened == ["start", "stop"])


@pytest.mark.parametrize("half", [None, True])
async def test_clientService(half: bool | None) -> None:
    """
    Twisted's ClientService reconnects with the endpoint, though it hides the
    protocol behind one of its own.
    """
    async with serving(TCPDemoFactory(Discard)) as server:
        service = ClientService(
            to(server.port, allowHalfOpen=half),
            Factory.forProtocol(Client),
            lambda _: 0.01,
            installedReactor(),
        )
        service.startService()
        first: Any = await service.whenConnected()
        assert first.allowHalfOpen is half
        protocol = await server.protocol()
        protocol.transport.abortConnection()
        await first.whenLost()
        await turn()  # the service hears of the loss after the protocol
        second: Any = await service.whenConnected()
        assert second is not first
        await turn()
        await service.stopService()
        assert second.closeReason is CloseReason.LOCAL_CLOSE


@pytest.mark.parametrize("protocol", [Client, Broken, BrokenPlain])
async def test_clientServiceFails(protocol: type[Any]) -> None:
    """
    A ClientService hears that the factory has no slot, or that the protocol raises,
    and nothing of the connection.
    """
    made: list[Any] = []

    class Remembering(TCPDemoFactory):
        def buildProtocol(self, addr: Any) -> Any:
            made.append(super().buildProtocol(addr) if protocol is Client else protocol())
            return made[-1]

    async with serving(TCPDemoFactory(Discard)) as server:
        factory = Remembering(Client, maxConnections=0 if protocol is Client else None)
        service = ClientService(to(server.port), factory, clock=installedReactor())
        service.startService()
        error = await failureOf(service.whenConnected(1))
        assert isinstance(error, NoProtocol if protocol is Client else ZeroDivisionError)
        await turn()
        await service.stopService()
        if protocol is not Client:
            await made[0].whenLost()
        assert factory.connectionCount == 0
        await until(lambda: server.factory.closedCount)


# Cancelling.


@pytest.mark.parametrize("tls", [False, True])
async def test_cancelInConnectionMade(tls: bool) -> None:
    """
    The protocol itself may cancel while it is being connected.
    """

    class Unwilling(Client):
        def connectionMade(self) -> None:
            connecting.cancel()

    async with serving(TCPDemoFactory(Discard), TLS if tls else "tcp:0") as server:
        client = Unwilling()
        endpoint = to(server.port, tls=TwistedContexts.client() if tls else None)
        connecting = endpoint.connectProtocol(client)
        assert isinstance(await failureOf(connecting), ConnectCancelledError)
        await client.whenLost()
        assert client.closeReason is CloseReason.ABORTED
        await until(lambda: server.factory.closedCount)


async def test_addTimeout(resources: ExitStack) -> None:
    """
    A timeout that the caller puts on the Deferred fails it with a TimeoutError.
    """
    connecting = to(silentServer(resources, full=True)).connectProtocol(Client())
    connecting.addTimeout(0.05, installedReactor())
    assert isinstance(await failureOf(connecting), defer.TimeoutError)


async def test_cancelConnected() -> None:
    """
    Cancelling a Deferred that has fired changes nothing.
    """
    async with serving(TCPDemoFactory(Echo)) as server:
        connecting = to(server.port).connectProtocol(Client())
        client = await connecting
        connecting.cancel()
        client.transport.write(b"hello")
        await client.whenReceived(5)
        await closed(client)


# After the end.


@pytest.mark.parametrize("lane", ["fast", "twisted"])
@pytest.mark.parametrize("kind", ["tcp", "tls", "unix"])
@pytest.mark.parametrize(
    "method",
    [
        *("abortConnection", "loseConnection", "loseWriteConnection"),
        *("pauseProducing", "resumeProducing", "stopProducing"),
    ],
)
async def test_methodsAfterTheEnd(
    lane: str, kind: str, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A method that ends a connection, or that a producer has, does nothing when the
    connection is over.
    """
    if lane == "twisted":
        monkeypatch.setattr("twisted_tcpdemo.client.encryption.fastReactor", lambda r: r)
    path = tmp_path / "s"
    where = {"tcp": "tcp:0:interface=127.0.0.1", "tls": TLS, "unix": f"unix:{path}"}[kind]
    async with serving(TCPDemoFactory(Discard), where) as server:
        target: Any = {"path": path} if kind == "unix" else {"host": "localhost"}
        if kind != "unix":
            target["port"] = server.port
        if kind == "tls":
            target["tls"] = TwistedContexts.client()
        client = await ClientEndpoint(installedReactor(), **target).connectProtocol(Client())
        assert ("fast" in type(client.transport).__module__) == (lane == "fast")
        await closed(client)
        for _ in range(2):
            getattr(client.transport, method)()
        await turn()
        assert client.closeReason is CloseReason.LOCAL_CLOSE
