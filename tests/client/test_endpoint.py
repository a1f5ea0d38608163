"""
Connecting: to what, how long, and what is left when it does not succeed.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from twisted.application.internet import ClientService
from twisted.internet import defer
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import (
    ConnectBindError,
    ConnectError,
    ConnectingCancelledError,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
    NoProtocol,
    TimeoutError,
)
from twisted.internet.interfaces import (
    IHandshakeListener,
    IHostnameResolver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.support.certificates import clientContext, pemFile
from tests.support.peers import Peer, serving
from tests.support.waiting import failureOf, turn, until
from twisted_tcpdemo import ClientEndpoint, CloseReason, TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.cli.outcome import Outcome
from twisted_tcpdemo.client.retry import Retry
from twisted_tcpdemo.errors import ConnectCancelledError, TCPDemoError
from twisted_tcpdemo.twistd.programs import Discard, Echo

TLS = f"ssl:0:interface=127.0.0.1:privateKey={pemFile()}"


def installedReactor() -> Any:
    """
    The reactor that runs the tests.
    """
    from twisted.internet import reactor

    return reactor


class Client(Peer, TCPDemoProtocol):
    """
    A counted protocol that remembers what happened to it.
    """


def to(port: int, host: str = "127.0.0.1", **options: Any) -> ClientEndpoint:
    """
    An endpoint on this machine.
    """
    return ClientEndpoint(installedReactor(), host, port, **options)


@pytest.fixture
def resources() -> Generator[ExitStack]:
    """
    Closes sockets when a test ends.
    """
    with ExitStack() as stack:
        yield stack


def freePort() -> int:
    """
    A port on which nobody listens.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def silentServer(resources: ExitStack, full: bool = False) -> int:
    """
    A port that accepts and never says a word.

    @param full: let the kernel's queue be full, so that nobody gets that far.
    @return: the port.
    """
    listener = resources.enter_context(socket.socket())
    listener.bind(("127.0.0.1", 0))
    listener.listen(0 if full else 5)
    for _ in range(3 if full else 0):
        waiting = resources.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(listener.getsockname())
    port: int = listener.getsockname()[1]
    return port


@implementer(IHostnameResolver)
class Resolver:
    """
    A resolver whose answers the test gives.
    """

    def __init__(self) -> None:
        self.addresses: list[Any] | None = None
        self.asked: list[tuple[str, Any]] = []

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        """
        Answer, if there are answers.
        """
        self.asked.append((hostName, addressTypes))
        if self.addresses is not None:
            resolutionReceiver.resolutionBegan(None)
            for address in self.addresses:
                if addressTypes is None or type(address) in addressTypes:
                    resolutionReceiver.addressResolved(address)
            resolutionReceiver.resolutionComplete()


@pytest.fixture
def resolver() -> Generator[Resolver]:
    """
    A resolver in the place of the reactor's.
    """
    replacement = Resolver()
    before = installedReactor().installNameResolver(replacement)
    yield replacement
    installedReactor().installNameResolver(before)


async def closed(client: Any) -> None:
    """
    Close a client and wait for its end.
    """
    client.transport.loseConnection()
    await client.whenLost()


# What it connects to.


def test_interface() -> None:
    """
    It is an endpoint for any Twisted program.
    """
    verifyObject(IStreamClientEndpoint, to(1))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_host(host: str) -> None:
    """
    A name and a literal lead to the same place, with the same counts and
    addresses on both sides.
    """
    async with serving(TCPDemoFactory(Echo)) as server:
        client = await to(server.port, host).connectProtocol(Client())
        await client.write("hello")
        await client.whenReceived(5)
        protocol = await server.protocol()
        assert (client.bytesRead, client.bytesWritten, client.bytesPending) == (5, 5, 0)
        assert (client.remoteAddress, client.remotePort) == ("127.0.0.1", server.port)
        assert (client.localAddress, client.localPort) == (
            protocol.remoteAddress,
            protocol.remotePort,
        )
        assert client.localFamily == client.remoteFamily == "IPv4"
        await closed(client)
        assert client.remotePort == server.port
        assert client.closeReason is CloseReason.LOCAL_CLOSE


async def test_IPv6() -> None:
    """
    An IPv6 literal is written without brackets.
    """
    async with serving(TCPDemoFactory(Discard), r"tcp6:0:interface=\:\:1") as server:
        client = await to(server.port, "::1").connectProtocol(Client())
        assert (client.remoteAddress, client.remoteFamily) == ("::1", "IPv6")
        await closed(client)


async def test_literalIsNotLookedUp(resolver: Resolver) -> None:
    """
    An address needs no resolver, so a slow one does not hold it up.
    """
    async with serving(TCPDemoFactory(Discard)) as server:
        await closed(await to(server.port).connectProtocol(Client()))
        assert resolver.asked == []


async def test_nameWithUnderscore(resolver: Resolver) -> None:
    """
    A name with an underscore, as containers have, is looked up like any other.
    """
    async with serving(TCPDemoFactory(Discard)) as server:
        resolver.addresses = [IPv4Address("TCP", "127.0.0.1", server.port)]
        await closed(await to(server.port, "my_server").connectProtocol(Client()))
        assert resolver.asked == [("my_server", None)]


async def test_race(resolver: Resolver, resources: ExitStack) -> None:
    """
    The addresses of a name race: one that does not answer holds nobody up.
    """
    async with serving(TCPDemoFactory(Discard)) as server:
        resolver.addresses = [
            IPv4Address("TCP", "127.0.0.1", silentServer(resources, full=True)),
            IPv4Address("TCP", "127.0.0.1", server.port),
        ]
        client = await to(server.port, "example.test").connectProtocol(Client())
        assert client.remotePort == server.port
        await closed(client)


@pytest.mark.parametrize("kind", [str, str.encode, Path])
async def test_path(tmp_path: Path, kind: Callable[[str], Any]) -> None:
    """
    A UNIX socket, by a path of any type.
    """
    path = str(tmp_path / "s")
    async with serving(TCPDemoFactory(Echo), f"unix:{path}") as server:
        endpoint = ClientEndpoint(installedReactor(), path=kind(path))
        client = await endpoint.connectProtocol(Client())
        await client.write("hello")
        await client.whenReceived(5)
        assert (client.remoteAddress, client.remotePort, client.remoteFamily) == (
            path,
            None,
            "UNIX",
        )
        assert server.factory.bytesRead == client.bytesWritten == 5
        await closed(client)


async def test_pathThatIsNot(tmp_path: Path) -> None:
    """
    A path where nobody listens is a failure to connect.
    """
    endpoint = ClientEndpoint(installedReactor(), path=tmp_path / "nothing")
    assert isinstance(await failureOf(endpoint.connectProtocol(Client())), ConnectError)


@pytest.mark.parametrize("description", ["tcp:127.0.0.1:{}", "tcp:host=localhost:port={}"])
async def test_fromString(description: str) -> None:
    """
    Any client string of Twisted's will do.
    """
    async with serving(TCPDemoFactory(Echo)) as server:
        endpoint = ClientEndpoint.fromString(description.format(server.port), installedReactor())
        client = await endpoint.connectProtocol(Client())
        client.transport.write(b"hello")
        await client.whenReceived(5)
        assert client.bytesRead == 5
        await closed(client)


@pytest.mark.parametrize(
    "kind", ["tls:127.0.0.1:{}:trustRoots={}", "ssl:127.0.0.1:{}:caCertsDir={}"]
)
async def test_fromStringTLS(kind: str, tmp_path: Path) -> None:
    """
    A string for TLS connects when the handshake is done.
    """
    (tmp_path / "ca.pem").write_bytes(pemFile().read_bytes())
    async with serving(TCPDemoFactory(Echo), TLS) as server:
        description = kind.format(server.port, tmp_path)
        client = await ClientEndpoint.fromString(description).connectProtocol(Client())
        assert client.transport.getPeerCertificate() is not None
        await client.write("hello")
        await client.whenReceived(5)
        assert (client.bytesRead, client.bytesWritten) == (5, 5)
        await closed(client)


async def test_manyConnections() -> None:
    """
    One endpoint connects as often as it is asked to.
    """
    async with serving(TCPDemoFactory(Discard)) as server:
        endpoint = to(server.port)
        clients = [await endpoint.connectProtocol(Client()) for _ in range(3)]
        await until(lambda: server.factory.connectionCount == 3)
        assert len({client.connectionID for client in clients}) == 3
        for client in clients:
            await closed(client)


# An open socket.


@pytest.mark.parametrize("family", ["unix", "tcp"])
async def test_fd(family: str, resources: ExitStack) -> None:
    """
    A socket that is open already is adopted by its descriptor, and the caller's
    own can be closed.
    """
    if family == "unix":
        ours, theirs = socket.socketpair()
    else:
        listener = resources.enter_context(socket.create_server(("127.0.0.1", 0)))
        ours = socket.create_connection(listener.getsockname())
        theirs = listener.accept()[0]
    resources.enter_context(theirs)
    with ours:
        endpoint = ClientEndpoint(installedReactor(), fd=ours.fileno())
        client = await endpoint.connectProtocol(Client())
    await client.write("to you")
    assert theirs.recv(100) == b"to you"
    theirs.send(b"to me")
    await client.whenReceived(5)
    assert (client.bytesRead, client.bytesWritten) == (5, 6)
    assert client.remoteFamily == ("UNIX" if family == "unix" else "IPv4")
    theirs.close()
    await client.whenLost()
    assert client.closeReason is CloseReason.PEER_CLOSED


async def test_fdIsClosedWithTheConnection(resources: ExitStack) -> None:
    """
    Closing the connection ends the socket, also for the one who still has a
    descriptor of it.
    """
    ours, theirs = map(resources.enter_context, socket.socketpair())
    client = await ClientEndpoint(installedReactor(), fd=ours.fileno()).connectProtocol(Client())
    await closed(client)
    assert theirs.recv(1) == b""
    assert ours.recv(1) == b""


async def test_fdNotWritable(resources: ExitStack) -> None:
    """
    Without the writing side the peer gets a FIN, and reading goes on.
    """
    ours, theirs = map(resources.enter_context, socket.socketpair())
    endpoint = ClientEndpoint(installedReactor(), fd=ours.fileno(), writable=False)
    client = await endpoint.connectProtocol(Client())
    await turn()
    assert theirs.recv(1) == b""
    assert isinstance(await failureOf(client.write("no")), TCPDemoError)
    theirs.send(b"still here")
    await client.whenReceived(10)
    theirs.close()
    await client.whenLost()
    assert client.bytesWritten == 0


async def test_fdNotReadable(resources: ExitStack) -> None:
    """
    Without the reading side nothing is delivered, the peer is told that nobody
    reads, and writing goes on.
    """
    ours, theirs = map(resources.enter_context, socket.socketpair())
    endpoint = ClientEndpoint(installedReactor(), fd=ours.fileno(), readable=False)
    client = await endpoint.connectProtocol(Client())
    await client.write("one way")
    assert theirs.recv(100) == b"one way"
    with pytest.raises(BrokenPipeError):
        theirs.send(b"no")
    theirs.close()
    for _ in range(5):
        await turn()
    assert client.reason is None and client.bytesRead == 0
    client.transport.write(b"is anybody there?")
    await client.whenLost()


async def test_fdIsNotConnected(resources: ExitStack) -> None:
    """
    A socket that was never connected, or whose peer has gone, is a failure to
    connect and not a wrong argument.
    """
    lone = resources.enter_context(socket.socket())
    endpoint = ClientEndpoint(installedReactor(), fd=lone.fileno())
    assert isinstance(await failureOf(endpoint.connectProtocol(Client())), ConnectError)


async def test_fdTLS(resources: ExitStack) -> None:
    """
    TLS runs over an adopted socket too.
    """
    async with serving(TCPDemoFactory(Echo), TLS) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as ours:
            endpoint = ClientEndpoint(installedReactor(), fd=ours.fileno(), tls=clientContext())
            client = await endpoint.connectProtocol(Client())
        await client.write("hello")
        await client.whenReceived(5)
        await closed(client)


# Where it connects from.


async def test_localAddress() -> None:
    """
    The client's address and port can be chosen, also a port that another
    connection has just left.
    """
    port = freePort()
    for _ in range(2):
        async with serving(TCPDemoFactory(Discard)) as server:
            endpoint = to(server.port, localAddress="127.0.0.2", localPort=port)
            client = await endpoint.connectProtocol(Client())
            assert (client.localAddress, client.localPort) == ("127.0.0.2", port)
            await closed(client)


# Twisted forgets to close the socket that it could not bind.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_localPortInUse(resources: ExitStack) -> None:
    """
    A local port that is taken is a failure to connect, and says so.
    """
    taken = resources.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
    endpoint = to(freePort(), localAddress="127.0.0.1", localPort=taken)
    assert isinstance(await failureOf(endpoint.connectProtocol(Client())), ConnectBindError)


async def test_localAddressDecidesTheFamily(resolver: Resolver) -> None:
    """
    From an IPv4 address only IPv4 addresses of a name are tried.
    """
    async with serving(TCPDemoFactory(Discard)) as server:
        resolver.addresses = [
            IPv6Address("TCP", "::1", server.port),
            IPv4Address("TCP", "127.0.0.1", server.port),
        ]
        endpoint = to(server.port, "example.test", localAddress="127.0.0.1")
        await closed(await endpoint.connectProtocol(Client()))
        assert resolver.asked == [("example.test", [IPv4Address])]
        nowhere = to(server.port, "example.test", localAddress="::1", timeout=1)
        resolver.addresses = resolver.addresses[1:]
        assert isinstance(await failureOf(nowhere.connectProtocol(Client())), DNSLookupError)


# TLS.


async def test_TLS() -> None:
    """
    ConnectionMade comes when the handshake is done, and counts are plaintext.
    """

    class Verifier(Client):
        def connectionMade(self) -> None:
            self.certificate = self.transport.getPeerCertificate()
            super().connectionMade()

    async with serving(TCPDemoFactory(Echo), TLS) as server:
        client = await to(server.port, tls=clientContext()).connectProtocol(Verifier())
        assert client.certificate is not None
        await client.write("hello")
        await client.whenReceived(5)
        assert (client.bytesRead, client.bytesWritten) == (5, 5)
        await closed(client)


@implementer(IHandshakeListener)
class Listener(Client):
    """
    Wants to know of the handshake.
    """

    order: tuple[str, ...] = ()

    def connectionMade(self) -> None:
        """
        Remember.
        """
        self.order += ("made",)
        super().connectionMade()

    def handshakeCompleted(self) -> None:
        """
        Remember.
        """
        self.order += ("handshake",)


async def test_handshakeListener() -> None:
    """
    A protocol that asks is told of the handshake, after connectionMade.
    """
    async with serving(TCPDemoFactory(Discard), TLS) as server:
        client = await to(server.port, tls=clientContext()).connectProtocol(Listener())
        assert client.order == ("made", "handshake")
        await closed(client)


async def test_TLSNotTrusted() -> None:
    """
    A certificate that is not trusted fails the Deferred; the protocol hears
    nothing, and it is not tried again.
    """
    async with serving(TCPDemoFactory(Discard), TLS) as server:
        client = Client()
        endpoint = to(server.port, tls=True, retry=Retry(initialDelay=60))
        error = await failureOf(endpoint.connectProtocol(client))
        assert "certificate" in repr(error)
        assert client.transport is None and client.reason is None
        await server.factory.whenEmpty()


async def test_TLSWrongName() -> None:
    """
    A certificate for another name fails the Deferred.
    """
    async with serving(TCPDemoFactory(Discard), TLS) as server:
        endpoint = to(server.port, tls=clientContext("elsewhere.test"))
        error = await failureOf(endpoint.connectProtocol(Client()))
        assert "service_identity" in type(error).__module__
        await server.factory.whenEmpty()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_TLSDefaultTrust(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    tls=True is the system's trust and the name of the host.
    """
    monkeypatch.setenv("SSL_CERT_FILE", str(pemFile()))
    async with serving(TCPDemoFactory(Discard), TLS) as server:
        await closed(await to(server.port, host, tls=True).connectProtocol(Client()))


async def test_TLSPeerEndsDuringHandshake(resources: ExitStack) -> None:
    """
    A peer that goes away during the handshake is a connection lost.
    """
    listener = resources.enter_context(socket.create_server(("127.0.0.1", 0)))
    connecting = to(listener.getsockname()[1], tls=clientContext()).connectProtocol(Client())
    listener.setblocking(False)
    await turn()
    await turn()
    listener.accept()[0].close()
    assert isinstance(await failureOf(connecting), ConnectionLost)


# Half-open connections.


@pytest.mark.parametrize("unix", [False, True])
@pytest.mark.parametrize("half", [None, False])
async def test_peerEnds(unix: bool, half: bool | None, tmp_path: Path) -> None:
    """
    At the peer's FIN everything written is flushed, and then the connection
    closes, with or without a factory of ours.
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
    Any protocol can be connected, as Twisted would connect it: half-open if it
    says so.
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
    What a foreign protocol does at a FIN cannot be said here, and is not
    silently ignored.
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


# What can go wrong.


async def test_refused() -> None:
    """
    Nobody listens.
    """
    error = await failureOf(to(freePort()).connectProtocol(Client()))
    assert isinstance(error, ConnectionRefusedError)


async def test_nameThatIsNot(resolver: Resolver) -> None:
    """
    A name without addresses fails as a look-up.
    """
    resolver.addresses = []
    error = await failureOf(to(1, "example.test").connectProtocol(Client()))
    assert isinstance(error, DNSLookupError)


class Broken(Client):
    """
    Raises when it is connected.
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
    What connectionMade raises fails the Deferred, and the connection is broken
    off; it is not tried again.
    """
    async with serving(TCPDemoFactory(Discard), TLS if tls else "tcp:0") as server:
        client = protocol()
        endpoint = to(server.port, tls=clientContext() if tls else None, retry=5)
        assert isinstance(await failureOf(endpoint.connectProtocol(client)), ZeroDivisionError)
        await client.whenLost()
        await until(lambda: server.factory.closedCount)
        [report] = server.events.of("connectionClosed")
        assert report.closeReason is CloseReason.RESET
        assert server.factory.acceptedCount == 1


@pytest.mark.parametrize("tls", [False, True])
async def test_buildProtocolFails(tls: bool) -> None:
    """
    A factory that raises, or gives no protocol, fails the Deferred.
    """

    class Raising(Factory[Any]):
        def buildProtocol(self, addr: Any) -> Any:
            raise ZeroDivisionError("buildProtocol")

    class Giving(Factory[Any]):
        def buildProtocol(self, addr: Any) -> Any:
            return None

    async with serving(TCPDemoFactory(Discard), TLS if tls else "tcp:0") as server:
        endpoint = to(server.port, tls=clientContext() if tls else None)
        assert isinstance(await failureOf(endpoint.connect(Raising())), ZeroDivisionError)
        assert isinstance(await failureOf(endpoint.connect(Giving())), NoProtocol)
        await until(lambda: server.factory.closedCount == 2)


async def test_factoryOfOurs() -> None:
    """
    A TCPDemoFactory counts clients as it counts those of a server.
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
    Where the factory has no slot the connection fails, and none is lost.
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
    A factory that builds without asking whether there is a slot gets none
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


async def test_factoryIsStartedAndStopped() -> None:
    """
    A factory's startFactory and stopFactory are called as Twisted calls them.
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


async def test_notAFactory() -> None:
    """
    A protocol where a factory belongs, or the reverse, is told apart.
    """
    endpoint: Any = to(1)
    assert "connectProtocol" in str(await failureOf(endpoint.connect(Client())))
    assert "protocol" in str(await failureOf(endpoint.connectProtocol(TCPDemoFactory())))


async def test_connectProtocolOfTwisted() -> None:
    """
    Twisted's own connectProtocol takes the endpoint like any other.
    """
    async with serving(TCPDemoFactory(Discard)) as server:
        client: Any = await connectProtocol(to(server.port), Client())
        await closed(client)


@pytest.mark.parametrize("half", [None, True])
async def test_clientService(half: bool | None) -> None:
    """
    Twisted's ClientService connects again over it when a connection was lost,
    though it hides the protocol behind one of its own.
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
        await turn()  # the service hears of it after the protocol
        second: Any = await service.whenConnected()
        assert second is not first
        await turn()
        await service.stopService()
        assert second.closeReason is CloseReason.LOCAL_CLOSE


@pytest.mark.parametrize("protocol", [Client, Broken, BrokenPlain])
async def test_clientServiceFails(protocol: type[Any]) -> None:
    """
    A ClientService is told that the factory has no slot, or the protocol
    raises; of the connection that was, it hears nothing.
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


# Timeouts.


@pytest.mark.parametrize("stage", ["look-up", "connection", "handshake"])
async def test_timeout(stage: str, resolver: Resolver, resources: ExitStack) -> None:
    """
    The timeout covers every stage, with one error.
    """
    port = silentServer(resources, full=stage == "connection")
    host = "example.test" if stage == "look-up" else "127.0.0.1"
    endpoint = to(port, host, timeout=0.1, tls=clientContext() if stage == "handshake" else None)
    error = await failureOf(endpoint.connectProtocol(Client()))
    assert isinstance(error, TimeoutError) and "0.1 s" in str(error)


async def test_noTimeout() -> None:
    """
    Without a timeout, and without TLS, there is nothing to switch off again.
    """
    async with serving(TCPDemoFactory(Discard)) as server:
        endpoint = to(server.port, timeout=None, tls=False)
        await closed(await endpoint.connectProtocol(Client()))


async def test_fromStringTimeout(resources: ExitStack) -> None:
    """
    The timeout covers the handshake of a string's endpoint, which Twisted's own
    does not.
    """
    description = f"tls:127.0.0.1:{silentServer(resources)}"
    endpoint = ClientEndpoint.fromString(description, timeout=0.1)
    assert isinstance(await failureOf(endpoint.connectProtocol(Client())), TimeoutError)


# Trying again.


async def test_retry() -> None:
    """
    What the network refuses is tried again, with the pauses of the policy; the
    protocol is connected once.
    """
    clock = MemoryReactorClock()
    retry = Retry(attempts=3, initialDelay=2, factor=3, jitter=lambda: 0.5)
    client = Client()
    connecting = ClientEndpoint(clock, "192.0.2.1", 80, retry=retry).connectProtocol(client)
    for attempt, pause in (1, 2.5), (2, 6.5):
        assert len(clock.tcpClients) == attempt
        refuse(clock)
        clock.advance(pause - 0.1)
        assert len(clock.tcpClients) == attempt
        clock.advance(0.1)
    factory: Any = clock.tcpClients[-1][2]
    factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 80)).makeConnection(StringTransport())
    assert await connecting is client
    assert clock.getDelayedCalls() == []


def refuse(clock: Any) -> None:
    """
    Let the last attempt of a reactor in memory fail.
    """
    factory, connector = clock.tcpClients[-1][2], clock.connectors[-1]
    factory.clientConnectionFailed(connector, Failure(ConnectionRefusedError()))


async def test_retryGivesUp() -> None:
    """
    After the last attempt its failure is the result.
    """
    clock = MemoryReactorClock()
    connecting = ClientEndpoint(clock, "192.0.2.1", 80, retry=2).connectProtocol(Client())
    refuse(clock)
    clock.advance(3)
    refuse(clock)
    assert isinstance(await failureOf(connecting), ConnectionRefusedError)
    assert len(clock.tcpClients) == 2
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    ("jitter", "kind"), [(lambda: 1 / 0, ZeroDivisionError), (lambda: "x", TypeError)]
)
async def test_jitterThatRaises(jitter: Any, kind: type[Exception]) -> None:
    """
    A jitter that is broken ends the call with its error.
    """
    clock = MemoryReactorClock()
    retry = Retry(jitter=jitter)
    connecting = ClientEndpoint(clock, "192.0.2.1", 80, retry=retry).connectProtocol(Client())
    refuse(clock)
    assert isinstance(await failureOf(connecting), kind)
    assert clock.getDelayedCalls() == []


async def test_retryForReal() -> None:
    """
    A server that comes up late is found.
    """
    port = freePort()
    retry = Retry(initialDelay=0.02, jitter=lambda: 0)
    connecting = to(port, retry=retry).connectProtocol(Client())
    await turn()
    await turn()
    async with serving(TCPDemoFactory(Echo), f"tcp:{port}:interface=127.0.0.1"):
        client = await connecting
        client.transport.write(b"hello")
        await client.whenReceived(5)
        await closed(client)


async def test_retryAfterFailedHandshake(resources: ExitStack) -> None:
    """
    A connection that breaks during the handshake is tried again, with the same
    protocol.
    """
    port = freePort()
    listener = resources.enter_context(socket.create_server(("127.0.0.1", port)))
    listener.setblocking(False)
    retry = Retry(initialDelay=0.05, jitter=lambda: 0)
    client = Client()
    connecting = to(port, tls=clientContext(), retry=retry).connectProtocol(client)

    def accepted() -> bool:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    await until(accepted)
    listener.close()
    async with serving(TCPDemoFactory(Discard), TLS.replace("ssl:0", f"ssl:{port}")):
        assert await connecting is client
        await closed(client)


def test_retryForever() -> None:
    """
    Without a number of attempts the pauses go on, up to the longest.
    """
    delays = Retry(initialDelay=1, maxDelay=5, factor=2, jitter=lambda: -0.5).delays()
    assert [next(delays) for _ in range(5)] == [0.5, 1.5, 3.5, 4.5, 4.5]
    assert list(Retry(attempts=1).delays()) == []


# Cancelling.


async def cancelled(connecting: Deferred[Any]) -> ConnectCancelledError:
    """
    Cancel, and return the error.
    """
    connecting.cancel()
    error = await failureOf(connecting)
    assert isinstance(error, ConnectCancelledError)
    assert isinstance(error, (ConnectingCancelledError, CancelledError))
    return error


async def test_cancelLookUp(resolver: Resolver) -> None:
    """
    Cancelled while the name is being looked up.
    """
    error = await cancelled(to(80, "example.test").connectProtocol(Client()))
    assert error.address == HostnameAddress(b"example.test", 80)


async def test_cancelConnecting(resources: ExitStack) -> None:
    """
    Cancelled while the connection is being made.
    """
    connecting = to(silentServer(resources, full=True)).connectProtocol(Client())
    await turn()
    await turn()
    await cancelled(connecting)


async def test_cancelRace(resolver: Resolver, resources: ExitStack) -> None:
    """
    Cancelled while two addresses race.
    """
    slow = IPv4Address("TCP", "127.0.0.1", silentServer(resources, full=True))
    resolver.addresses = [slow, slow]
    connecting = to(80, "example.test").connectProtocol(Client())
    writers = installedReactor().getWriters
    before = len(writers())
    await until(lambda: len(writers()) == before + 2)
    await cancelled(connecting)


async def test_cancelRetry() -> None:
    """
    Cancelled while it waits to try again.
    """
    connecting = to(freePort(), retry=Retry(initialDelay=60)).connectProtocol(Client())
    calls = installedReactor().getDelayedCalls
    await until(lambda: any(call.getTime() - installedReactor().seconds() > 35 for call in calls()))
    await cancelled(connecting)


async def test_cancelHandshake(resources: ExitStack) -> None:
    """
    Cancelled during the TLS handshake; the protocol has heard nothing.
    """
    client = Client()
    connecting = to(silentServer(resources), tls=clientContext()).connectProtocol(client)
    readers = installedReactor().getReaders
    before = len(readers())
    await until(lambda: len(readers()) > before)
    await turn()
    await cancelled(connecting)
    assert client.transport is None


@pytest.mark.parametrize("tls", [False, True])
async def test_cancelInConnectionMade(tls: bool) -> None:
    """
    Cancelled by the protocol itself, as it is being connected.
    """

    class Unwilling(Client):
        def connectionMade(self) -> None:
            connecting.cancel()

    async with serving(TCPDemoFactory(Discard), TLS if tls else "tcp:0") as server:
        client = Unwilling()
        endpoint = to(server.port, tls=clientContext() if tls else None)
        connecting = endpoint.connectProtocol(client)
        assert isinstance(await failureOf(connecting), ConnectCancelledError)
        await client.whenLost()
        assert client.closeReason is CloseReason.ABORTED
        await until(lambda: server.factory.closedCount)


async def test_addTimeout(resources: ExitStack) -> None:
    """
    A timeout that the caller puts on the Deferred is one, by its name.
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


@implementer(IStreamClientEndpoint)
class Stubborn:
    """
    A foreign endpoint that connects in memory, late, and cannot be cancelled.
    """

    def __init__(self) -> None:
        self.factory: Any = None
        self.connected: Deferred[Any] = Deferred()

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """
        Wait for the test.
        """
        self.factory = protocolFactory
        return self.connected

    def reach(self) -> tuple[Any, StringTransport]:
        """
        Connect, and do not tell yet.
        """
        protocol = self.factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        return protocol, transport


@pytest.fixture
def stubborn(monkeypatch: pytest.MonkeyPatch) -> Stubborn:
    """
    What C{fromString("stubborn:")} gives.
    """
    endpoint = Stubborn()
    monkeypatch.setattr("twisted_tcpdemo.client.endpoint.clientFromString", lambda *_: endpoint)
    return endpoint


async def test_foreignEndpointEarlyData(stubborn: Stubborn) -> None:
    """
    What a foreign endpoint delivers before it says that it has connected is
    not lost.
    """
    connecting = ClientEndpoint.fromString("stubborn:").connectProtocol(Client())
    placeholder, transport = stubborn.reach()
    placeholder.dataReceived(b"early")
    assert not connecting.called
    stubborn.connected.callback(placeholder)
    client = await connecting
    placeholder.dataReceived(b" bird")
    assert client.received == b"early bird"
    assert client.bytesRead == 10
    placeholder.readConnectionLost()
    placeholder.writeConnectionLost()
    assert client.ended and transport.disconnecting
    placeholder.connectionLost(Failure(ConnectionDone()))
    assert client.closeReason is CloseReason.PEER_CLOSED


async def test_foreignEndpointLostEarly(stubborn: Stubborn) -> None:
    """
    A connection that is lost before the endpoint speaks of it is a failure.
    """
    connecting = ClientEndpoint.fromString("stubborn:").connectProtocol(Client())
    placeholder, _ = stubborn.reach()
    placeholder.connectionLost(Failure(ConnectionLost()))
    stubborn.connected.callback(placeholder)
    assert isinstance(await failureOf(connecting), ConnectionLost)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_foreignEndpointNotCancelled(stubborn: Stubborn, when: str) -> None:
    """
    An endpoint that connects although it was cancelled is aborted.
    """
    connecting = ClientEndpoint.fromString("stubborn:").connectProtocol(Client())
    if when == "before":
        _, transport = stubborn.reach()
        await cancelled(connecting)
    else:
        await cancelled(connecting)
        _, transport = stubborn.reach()
    assert transport.disconnected or transport.disconnecting


async def test_foreignEndpointRaises(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    An endpoint that raises, or has failed or succeeded already, is no trouble.
    """
    endpoint: Any = Stubborn()
    monkeypatch.setattr("twisted_tcpdemo.client.endpoint.clientFromString", lambda *_: endpoint)

    def raising(factory: Any) -> Any:
        raise ZeroDivisionError

    def atOnce(factory: Any) -> Any:
        endpoint.factory = factory
        return succeed(endpoint.reach()[0])

    for connect in raising, lambda _: fail(ZeroDivisionError()):
        endpoint.connect = connect
        connecting = ClientEndpoint.fromString("stubborn:").connectProtocol(Client())
        assert isinstance(await failureOf(connecting), ZeroDivisionError)
    endpoint.connect = atOnce
    client = Client()
    assert await ClientEndpoint.fromString("stubborn:").connectProtocol(client) is client


WITHOUT_TLS = "import sys; sys.modules['OpenSSL'] = sys.modules['service_identity'] = None;"
TLS_MISSING = "TLS needs pyOpenSSL and service_identity: pip install 'twisted-tcpdemo[tls]'"


@pytest.mark.parametrize(
    "call",
    [
        "ClientEndpoint(reactor, 'localhost', 443, tls=True)",
        "ClientEndpoint.fromString('tls:localhost:443')",
        "ClientEndpoint.fromString('ssl:localhost:443')",
        "ServerEndpoint(reactor, 0, tls=object())",
    ],
)
def test_TLSNotInstalled(call: str) -> None:
    """
    Without pyOpenSSL, whatever needs TLS says how to get it.
    """
    program = (
        f"{WITHOUT_TLS} from twisted.internet import reactor;"
        "from twisted_tcpdemo import ClientEndpoint, ServerEndpoint;"
        f"from twisted_tcpdemo.errors import TLSNotInstalledError\ntry: {call}\n"
        "except TLSNotInstalledError as error: print(error)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (ran.stdout, ran.stderr) == (f"{TLS_MISSING}\n", "")


def test_connectWithoutTLS() -> None:
    """
    The command line says it in one line.
    """
    program = f"{WITHOUT_TLS} from twisted_tcpdemo.cli import main; sys.exit(main(sys.argv[1:]))"
    ran = subprocess.run(
        [sys.executable, "-c", program, "connect", "tls:localhost:443"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (Outcome.FAILED, f"tcpdemo: {TLS_MISSING}\n")


# Bad arguments.

WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({}, ValueError, "where to"),
    ({"host": "h", "port": 1, "path": "/p"}, ValueError, "where to"),
    ({"path": "/p", "fd": 0}, ValueError, "where to"),
    ({"host": "h"}, ValueError, "together"),
    ({"path": "/p", "port": 1}, ValueError, "together"),
    ({"host": b"h", "port": 1}, TypeError, "host"),
    ({"host": 1, "port": 1}, TypeError, "host"),
    ({"host": "", "port": 1}, ValueError, "host"),
    ({"host": "[::1]", "port": 1}, ValueError, "brackets"),
    ({"host": "example.org:80", "port": 1}, ValueError, "host"),
    ({"host": "http://example.org", "port": 1}, ValueError, "host"),
    ({"host": "a b", "port": 1}, ValueError, "host"),
    ({"host": "a\0b", "port": 1}, ValueError, "host"),
    ({"host": "\u2603\u0301", "port": 1}, ValueError, "host"),
    ({"host": "a" * 64, "port": 1}, ValueError, "host"),
    ({"host": "a..b", "port": 1}, ValueError, "host"),
    ({"host": "a." * 200, "port": 1}, ValueError, "host"),
    ({"host": "h", "port": "80"}, TypeError, "port"),
    ({"host": "h", "port": True}, TypeError, "port"),
    ({"host": "h", "port": 80.0}, TypeError, "port"),
    ({"host": "h", "port": 0}, ValueError, "port"),
    ({"host": "h", "port": 65536}, ValueError, "port"),
    ({"host": "h", "port": -1}, ValueError, "port"),
    ({"host": "h", "port": 1, "localAddress": "name"}, ValueError, "localAddress"),
    ({"host": "h", "port": 1, "localAddress": 1}, TypeError, "localAddress"),
    ({"host": "::1", "port": 1, "localAddress": "127.0.0.1"}, ValueError, "no way"),
    ({"host": "h", "port": 1, "localPort": 65536}, ValueError, "localPort"),
    ({"host": "h", "port": 1, "localPort": "1"}, TypeError, "localPort"),
    ({"path": "/p", "localPort": 1}, ValueError, "host"),
    ({"path": ""}, ValueError, "path"),
    ({"path": "/a\0b"}, ValueError, "path"),
    ({"path": "/" * 200}, ValueError, "bytes"),
    ({"path": 1}, TypeError, "path"),
    ({"fd": -1}, ValueError, "fd"),
    ({"fd": "0"}, TypeError, "fd"),
    ({"fd": 2**30}, ValueError, "no open socket"),
    ({"fd": "file"}, ValueError, "no open socket"),
    ({"fd": "datagram"}, ValueError, "stream"),
    ({"fd": "listening"}, ValueError, "listening"),
    ({"fd": "stream", "retry": 2}, ValueError, "retry"),
    ({"fd": "stream", "readable": False, "writable": False}, ValueError, "neither"),
    ({"fd": "stream", "readable": False, "tls": clientContext()}, ValueError, "half-open"),
    ({"fd": "stream", "tls": True}, ValueError, "host"),
    ({"path": "/p", "readable": False}, ValueError, "fd"),
    ({"path": "/p", "tls": True}, ValueError, "host"),
    ({"path": "/p", "tls": clientContext(), "allowHalfOpen": True}, ValueError, "half-open"),
    ({"path": "/p", "tls": "yes"}, TypeError, "tls"),
    ({"path": "/p", "timeout": -1}, ValueError, "timeout"),
    ({"path": "/p", "timeout": float("nan")}, ValueError, "timeout"),
    ({"path": "/p", "timeout": "30"}, TypeError, "timeout"),
    ({"path": "/p", "allowHalfOpen": 1}, TypeError, "allowHalfOpen"),
    ({"path": "/p", "noDelay": None}, TypeError, "noDelay"),
    ({"path": "/p", "keepAlive": "yes"}, TypeError, "keepAlive"),
    ({"path": "/p", "keepAliveInitialDelay": -1}, ValueError, "keepAliveInitialDelay"),
    ({"path": "/p", "retry": 0}, ValueError, "retry"),
    ({"path": "/p", "retry": True}, TypeError, "retry"),
    ({"path": "/p", "retry": "3"}, TypeError, "retry"),
]


@pytest.mark.parametrize(("arguments", "kind", "named"), WRONG, ids=lambda value: str(value)[:60])
def test_badArguments(
    arguments: dict[str, Any],
    kind: type[Exception],
    named: str,
    resources: ExitStack,
    tmp_path: Path,
) -> None:
    """
    Every bad argument is one clear error when the endpoint is made.
    """
    fd = arguments.get("fd")
    if fd in ("file", "datagram", "listening", "stream"):
        opened: Any
        if fd == "file":
            opened = (tmp_path / "f").open("w")
        elif fd == "datagram":
            opened = socket.socket(type=socket.SOCK_DGRAM)
        elif fd == "listening":
            opened = socket.create_server(("127.0.0.1", 0))
        else:
            opened, other = socket.socketpair()
            resources.enter_context(other)
        arguments = {**arguments, "fd": resources.enter_context(opened).fileno()}
    with pytest.raises(kind, match=named):
        ClientEndpoint(installedReactor(), **arguments)


@pytest.mark.parametrize(
    "where",
    [{"host": "h", "port": 1}, {"path": "/p"}, {"fd": 0}],
    ids=lambda where: next(iter(where)),
)
def test_badReactor(where: dict[str, Any]) -> None:
    """
    Something that is no reactor is a clear error too.
    """
    with pytest.raises(TypeError, match="reactor"):
        ClientEndpoint(object(), **where)


@pytest.mark.parametrize(
    ("description", "why"),
    [
        ("", "Unknown endpoint type"),
        ("nonsense", "Unknown endpoint type"),
        ("nonsense:1", "Unknown endpoint type"),
        ("tcp:host", "tcp:HOST:PORT"),
        ("tcp:", "tcp:HOST:PORT"),
        ("tcp:h:port", "port"),
        ("tcp:h:1:frobnicate=1", "wrong arguments"),
        ("tcp:h:1:2", "wrong arguments"),
        ("tcp:a..b:80", "host"),
        ("TCP:a..b:80", "host"),
        ("tcp:host=a..b:80", "host"),
        ("tcp:80:host=a..b", "host"),
        ("ssl:a..b:80", "host"),
        ("tls:a..b:80", "host"),
        (r"tcp:\[\:\:1\]:80", "brackets"),
        (f"tcp:{'a' * 64}.test:80", "host"),
        ("tcp:h:0", "port"),
        ("tcp:h:65536", "port"),
        ("tcp:h:-1", "port"),
        ("ssl:h:port=99999", "port"),
        ("unix:", "path"),
        (f"unix:path=/{'x' * 200}:timeout=3", "fewer than"),
    ],
)
def test_badString(description: str, why: str) -> None:
    """
    A string that is no client endpoint is a clear error when it is given.
    """
    with pytest.raises(ValueError, match="no client endpoint") as raised:
        ClientEndpoint.fromString(description)
    assert why in str(raised.value).partition("no client endpoint: ")[2]


@pytest.mark.parametrize(
    "description", [r"tcp:\:\:1:80", r"tcp:host=fe80\:\:1%lo:port=80", "tcp:my_server:80"]
)
def test_goodString(description: str) -> None:
    """
    An IPv6 address and a name with an underscore may be in a string.
    """
    assert description in repr(ClientEndpoint.fromString(description))


def test_stringThatIsNone() -> None:
    """
    Something that is no string at all is a clear error.
    """
    wrong: Any = b"tcp:h:1"
    with pytest.raises(TypeError, match="str"):
        ClientEndpoint.fromString(wrong)


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"attempts": 0}, ValueError),
        ({"attempts": 1.5}, TypeError),
        ({"initialDelay": -1}, ValueError),
        ({"maxDelay": "1"}, TypeError),
        ({"factor": 0.5}, ValueError),
        ({"jitter": 1}, TypeError),
    ],
    ids=str,
)
def test_badRetry(arguments: dict[str, Any], kind: type[Exception]) -> None:
    """
    A policy that makes no sense is a clear error.
    """
    with pytest.raises(kind, match=next(iter(arguments))):
        Retry(**arguments)


@pytest.mark.parametrize(
    ("where", "shown"),
    [
        ({"host": "example.org", "port": 443, "tls": True}, "example.org:443 (TLS)"),
        ({"host": "::1", "port": 80}, "[::1]:80"),
        ({"path": "/run/it.sock"}, "unix:/run/it.sock"),
        ({"path": "\0it"}, r"unix:\x00it"),
    ],
    ids=str,
)
def test_repr(where: dict[str, Any], shown: str) -> None:
    """
    It says where it connects to.
    """
    assert repr(ClientEndpoint(installedReactor(), **where)) == f"<ClientEndpoint {shown}>"
    assert "tcp:h:1" in repr(ClientEndpoint.fromString("tcp:h:1"))
