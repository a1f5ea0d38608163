"""
L{twisted_tcpdemo.fast.endpoint} and its port: where it listens, how it accepts.
"""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from errno import ECONNABORTED, EPERM
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.tcp import Port
from twisted.internet.testing import MemoryReactor
from twisted.logger import LogEvent, globalLogPublisher
from twisted.plugin import getPlugins
from twisted.python.reflect import namedAny
from zope.interface.verify import verifyObject

from tests.support.clients import installedReactor
from tests.support.contexts import TwistedContexts
from tests.support.descriptors import noFreeDescriptor
from tests.support.fast import FailingOnce, FastServer, Remembering, fastServer
from tests.support.peers import hasEnded, rawConnection, serving
from tests.support.waiting import failureOf, turn, until
from twisted_tcpdemo import TCPDemoFactory, TCPDemoProtocol, fastReactor
from twisted_tcpdemo.fast.accepting import PRIVATE_NAMES
from twisted_tcpdemo.fast.endpoint import ServerEndpoint, hasIPv6
from twisted_tcpdemo.fast.port import ServerTransport, WriteThroughPort
from twisted_tcpdemo.fast.unix import UNIXServerTransport
from twisted_tcpdemo.shapes import Overflow
from twisted_tcpdemo.twistd.programs import Echo

needsIPv6 = pytest.mark.skipif(not hasIPv6(), reason="there is no IPv6 here")


def installed() -> Any:
    """
    The reactor.
    """
    from twisted.internet import reactor

    return reactor


async def closeAll(server: Any) -> None:
    """
    End all connections of a server.
    """
    for protocol in server.made:
        if protocol.reason is None:
            protocol.transport.abortConnection()
            await protocol.whenLost()


@pytest.mark.parametrize("owner", PRIVATE_NAMES)
def test_privateNames(owner: str) -> None:
    """
    The installed Twisted has the private names that a port needs.
    """
    found = namedAny(owner)
    assert [name for name in PRIVATE_NAMES[owner] if not hasattr(found, name)] == []


def test_interface() -> None:
    """
    It is a server endpoint.
    """
    verifyObject(IStreamServerEndpoint, ServerEndpoint(MemoryReactor(), 0))


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"port": -1}, ValueError),
        ({"port": 65536}, ValueError),
        ({"port": "18001"}, TypeError),
        ({"port": 1.5}, TypeError),
        ({"port": True}, TypeError),
        ({"interface": 5}, TypeError),
        ({"interface": None}, TypeError),
        ({"backlog": 0}, ValueError),
        ({"backlog": 2**31}, ValueError),
        ({"backlog": "511"}, TypeError),
        ({"reusePort": "no"}, TypeError),
        ({"ipv6Only": 1}, TypeError),
        ({"ipv6Only": True, "interface": "127.0.0.1"}, ValueError),
        ({"ipv6Only": True, "interface": "::ffff:127.0.0.1"}, ValueError),
        ({"ipv6Only": True}, ValueError),  # a reactor without a poller
        ({"noDelay": 1}, TypeError),
        ({"tls": True}, TypeError),
        ({"tls": "certificate.pem"}, TypeError),
    ],
    ids=str,
)
def test_checked(wrong: dict[str, Any], kind: type[Exception]) -> None:
    """
    Options are checked when they are given, and the error names the option.
    """
    with pytest.raises(kind, match=next(iter(wrong))):
        ServerEndpoint(MemoryReactor(), **{"port": 0, **wrong})


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({}, "exactly one of: port, or path"),
        ({"port": 0, "path": "/s"}, "exactly one of: port, or path"),
        ({"path": "/s", "interface": "::"}, "go with port"),
        ({"path": "/s", "reusePort": True}, "go with port"),
        ({"path": "/s", "ipv6Only": True}, "go with port"),
        ({"path": "/s", "mode": 0o1000}, "mode"),
        ({"path": "/s", "mode": -1}, "mode"),
        ({"path": ""}, "path"),
        ({"path": "/" * 200}, "path"),
    ],
    ids=str,
)
def test_portOrPath(wrong: dict[str, Any], why: str) -> None:
    """
    An endpoint has either a port or a path, and the error says what does not fit.
    """
    with pytest.raises(ValueError, match=why):
        ServerEndpoint(MemoryReactor(), **wrong)


@pytest.mark.parametrize(("path", "kind"), [(5, TypeError), (None, ValueError)])
def test_noPath(path: Any, kind: type[Exception]) -> None:
    """
    Only a path is a path.
    """
    with pytest.raises(kind, match="path"):
        ServerEndpoint(MemoryReactor(), path=path)


@pytest.mark.parametrize("mode", [0o600, 0o666])
async def test_path(tmp_path: Path, mode: int) -> None:
    """
    A UNIX socket has its mode, replaces one that was left behind, and is removed at
    the stop.
    """
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    endpoint = ServerEndpoint(installed(), path=path, mode=mode)
    assert repr(endpoint) == f"<ServerEndpoint unix:{path}>"
    async with serving(TCPDemoFactory(Echo), endpoint, f"unix:{path}") as server:
        assert stat.S_IMODE(path.stat().st_mode) == mode
        peer = await server.connect()
        peer.transport.write(b"hello")
        await peer.whenReceived(5)
        [protocol] = server.factory.connections
        assert isinstance(protocol.transport, UNIXServerTransport)
    assert list(tmp_path.iterdir()) == []


async def test_abstractPath() -> None:
    """
    An abstract name is a path, too.
    """
    name = f"\0tcpdemo-endpoint-{os.getpid()}"
    server = FastServer(Remembering)
    port: Any = await ServerEndpoint(installed(), path=name).listen(server)
    assert port.getHost().name == os.fsencode(name)
    error = await failureOf(ServerEndpoint(installed(), path=name).listen(server))
    assert isinstance(error, CannotListenError)
    await port.stopListening()


async def test_pathInUse(tmp_path: Path) -> None:
    """
    A path on which another process listens, or a file, is left alone.
    """
    path = tmp_path / "s"
    path.write_text("mine")
    assert "Address already in use" in str(await pathFailure(path))
    assert path.read_text() == "mine"
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        assert "Address already in use" in str(await pathFailure(path))
    assert path.is_socket()


async def pathFailure(path: Path) -> BaseException:
    """
    The reason why an endpoint does not listen on a path.
    """
    error = await failureOf(ServerEndpoint(installed(), path=path).listen(Factory()))
    assert isinstance(error, CannotListenError)
    return error


def test_pathOnOtherReactors(tmp_path: Path) -> None:
    """
    A reactor that is not one of Twisted's POSIX reactors listens on a path by its
    own means.
    """
    reactor = MemoryReactor()
    name = os.fsencode(tmp_path / "s")
    ServerEndpoint(reactor, path=name, backlog=9, mode=0o600).listen(Factory())
    [server] = reactor.unixServers
    assert (server[0], *server[2:]) == (name, 9, 0o600, 0)


async def test_tlsOnPath(tmp_path: Path) -> None:
    """
    A UNIX socket may be encrypted.
    """
    path = tmp_path / "s"
    endpoint = ServerEndpoint(installed(), path=path, tls=TwistedContexts.server())
    async with serving(TCPDemoFactory(Echo), endpoint, f"unix:{path}", tls=True) as server:
        peer = await server.connect()
        peer.transport.write(b"hello")
        await peer.whenReceived(5)


async def test_onAView() -> None:
    """
    On a view of a reactor an endpoint keeps its options.
    """
    server = FastServer(Remembering)
    endpoint = ServerEndpoint(fastReactor(installed()), 0, "127.0.0.1", noDelay=False)
    port: Any = await endpoint.listen(server)
    assert not port.noDelay
    await port.stopListening()


@pytest.mark.filterwarnings("ignore:.*does not explicitly provide")
async def test_wrongCertificate() -> None:
    """
    Unusable options for TLS fail the Deferred, as every other error of listening
    does.
    """

    class Broken:
        def getContext(self) -> Any:
            raise ZeroDivisionError

    endpoint = ServerEndpoint(MemoryReactor(), 0, tls=Broken())
    assert isinstance(await failureOf(endpoint.listen(Factory())), ZeroDivisionError)


def test_otherReactors() -> None:
    """
    A reactor that is not one of Twisted's POSIX reactors listens by its own means.
    """
    reactor = MemoryReactor()
    ServerEndpoint(reactor, 18001, "127.0.0.1", 10).listen(Factory())
    assert [server[:1] + server[2:] for server in reactor.tcpServers] == [(18001, 10, "127.0.0.1")]


async def test_inUse() -> None:
    """
    A port that is taken fails the Deferred, as with any endpoint.
    """
    async with fastServer() as server:
        taken = ServerEndpoint(installed(), server.port, "127.0.0.1")
        assert isinstance(await failureOf(taken.listen(server)), CannotListenError)


async def test_reusePort() -> None:
    """
    With reusePort, several listen on one port.
    """
    async with fastServer(reusePort=True) as server:
        again = ServerEndpoint(installed(), server.port, "127.0.0.1", reusePort=True)
        second = await again.listen(server)
        assert second.getHost() == server.listening.getHost()
        await second.stopListening()


@needsIPv6
async def test_dualStack() -> None:
    """
    Without an interface the endpoint takes IPv6 and IPv4 clients, and reports each
    in its own family.
    """
    factory = TCPDemoFactory(TCPDemoProtocol)
    async with serving(factory, ServerEndpoint(installed(), 0)) as server:
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.socket(family) as peer:
                peer.connect((host, server.port))
                await until(lambda: factory.connectionCount == 1)
                [protocol] = factory.connections
                assert (protocol.remoteAddress, protocol.localAddress) == (host, host)
                assert protocol.localPort == server.port
                protocol.transport.abortConnection()
                await factory.whenEmpty()


@needsIPv6
async def test_onlyIPv6() -> None:
    """
    An endpoint on an IPv6 address takes no IPv4 clients.
    """
    async with fastServer(interface="::1") as server:
        with socket.socket() as peer, pytest.raises(ConnectionRefusedError):
            peer.connect(("127.0.0.1", server.port))
        with socket.socket(socket.AF_INET6) as peer:
            peer.connect(("::1", server.port))
            await until(lambda: server.made)
            assert server.made[0].transport.getHost().host == "::1"
            await closeAll(server)


@needsIPv6
@pytest.mark.parametrize("interface", ["", "::", "0:0:0:0:0:0:0:0", "::1"])
@pytest.mark.parametrize("reusePort", [False, True])
async def test_ipv6Only(interface: str, reusePort: bool) -> None:
    """
    With ipv6Only an endpoint takes no IPv4 clients, on every interface or one.
    """
    options = {"interface": interface, "reusePort": reusePort}
    async with fastServer(ipv6Only=True, **options) as server:
        with socket.socket() as peer, pytest.raises(ConnectionRefusedError):
            peer.connect(("127.0.0.1", server.port))
        with socket.socket(socket.AF_INET6) as peer:
            peer.connect(("::1", server.port))
            await until(lambda: server.made)
            await closeAll(server)


@needsIPv6
async def test_bothFamilies() -> None:
    """
    One port may have an endpoint for each family.
    """
    async with (
        fastServer(interface="0.0.0.0") as four,
        fastServer(port=four.port, interface="", ipv6Only=True) as six,
    ):
        for host, server in (("127.0.0.1", four), ("::1", six)):
            with socket.create_connection((host, four.port)):
                await until(lambda server=server: server.made)
                await closeAll(server)


@needsIPv6
async def test_ipv6OnlyOfString() -> None:
    """
    A C{fasttcp:} string can say so, too.
    """
    endpoint = serverFromString(installed(), "fasttcp:0:ipv6Only=yes")
    port = await endpoint.listen(Factory.forProtocol(Remembering))
    assert port.socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    await port.stopListening()


@needsIPv6
async def test_logPrefix() -> None:
    """
    The prefix of a connection's log lines has the plain address of an IPv4 client.
    """
    async with fastServer(interface="") as server:
        with rawConnection(server.port):
            await until(lambda: server.made)
            assert server.made[0].transport.logstr == "Remembering,0,127.0.0.1"
            await closeAll(server)


async def test_numberAccepts() -> None:
    """
    The port accepts no more clients in one turn than numberAccepts says, even when
    that changes meanwhile.
    """

    class Limiting(Remembering):
        def connectionMade(self) -> None:
            super().connectionMade()
            if len(server.made) == 2:
                server.listening.numberAccepts = 3

    async with fastServer(Limiting) as server:
        server.listening.stopReading()
        peers = [rawConnection(server.port) for _ in range(5)]
        server.listening.numberAccepts = 5
        server.listening.startReading()
        server.listening.doRead()
        assert len(server.made) == 3
        await until(lambda: len(server.made) == 5)
        await closeAll(server)
        for peer in peers:
            peer.close()


async def test_stopReading() -> None:
    """
    After stopReading() the port accepts no further client; the kernel's queue holds
    them until startReading().
    """

    class Limiting(Remembering):
        def connectionMade(self) -> None:
            super().connectionMade()
            if len(server.made) == 2:
                server.listening.stopReading()

    async with fastServer(Limiting) as server:
        peers = [rawConnection(server.port) for _ in range(5)]
        await until(lambda: len(server.made) == 2)
        for _ in range(5):
            await turn()
        assert len(server.made) == 2
        server.listening.startReading()
        await until(lambda: len(server.made) == 5)
        await closeAll(server)
        for peer in peers:
            peer.close()


async def test_refusedByFactory() -> None:
    """
    The port closes a client for which the factory builds no protocol.
    """
    async with fastServer(lambda: None) as server:
        server.buildProtocol = lambda addr: None  # type: ignore[method-assign]
        with rawConnection(server.port) as peer:
            await until(partial(hasEnded, peer))


async def test_builderRaises(loggedErrors: Any) -> None:
    """
    An exception in the factory is logged, and later clients are accepted.
    """
    async with fastServer() as server:
        build = server.buildProtocol

        def once(addr: Any) -> Any:
            server.buildProtocol = build  # type: ignore[method-assign]
            raise ZeroDivisionError

        server.buildProtocol = once  # type: ignore[method-assign]
        with rawConnection(server.port) as peer:
            await until(lambda: loggedErrors.take(ZeroDivisionError))
            await until(partial(hasEnded, peer))
        with rawConnection(server.port):
            await until(lambda: server.made)
            await closeAll(server)


@pytest.mark.parametrize("overflow", ["refuse", "reset", "wait"])
async def test_noDescriptor(overflow: Overflow, tmp_path: Path) -> None:
    """
    When the process has no descriptor left, a client is refused and counted; where
    clients wait it is not closed, and served when there is one.  Nothing else is logged.
    """
    path = tmp_path / "socket"
    factory = TCPDemoFactory(Echo, overflow=overflow)
    events: list[LogEvent] = []
    observe = events.append
    async with serving(factory, "fasttcp:0:interface=127.0.0.1") as server:
        await factory.listen(ServerEndpoint(installedReactor(), path=str(path)))
        globalLogPublisher.addObserver(observe)
        peers = [socket.socket(), socket.socket(), socket.socket(socket.AF_UNIX)]
        try:
            with noFreeDescriptor():
                for peer in peers:
                    peer.setblocking(False)
                    isTCP = peer.family == socket.AF_INET
                    peer.connect_ex(("127.0.0.1", server.port) if isTCP else str(path))
                if overflow == "wait":
                    for _ in range(20):
                        await turn()
                    assert not any(map(hasEnded, peers))
                else:
                    for peer in peers:
                        await until(partial(hasEnded, peer))
                    assert factory.report().refusedBy == {"descriptorLimit": 3}
        finally:
            globalLogPublisher.removeObserver(observe)
        if overflow == "wait":
            await until(lambda: factory.connectionCount == 3)
            assert factory.refusedCount == 0
        assert factory.conservation() == []
        assert events == []
        for peer in peers:
            peer.close()
        await factory.whenEmpty()
        with rawConnection(server.port):
            await until(lambda: factory.connectionCount == 1)


async def test_descriptorsRunOut() -> None:
    """
    When descriptors run out, clients of a foreign factory are closed as Twisted's port
    does it, and later ones are served.
    """
    async with fastServer() as server:
        peers = [socket.socket() for _ in range(3)]
        for peer in peers:
            peer.setblocking(False)
        with noFreeDescriptor():
            for peer in peers:
                peer.connect_ex(("127.0.0.1", server.port))
            for peer in peers:
                await until(partial(hasEnded, peer))
        assert not server.made
        for peer in peers:
            peer.close()
        with rawConnection(server.port):
            await until(lambda: server.made)
            await closeAll(server)


@pytest.mark.parametrize("number", [EPERM, ECONNABORTED])
async def test_clientGoneInQueue(number: int) -> None:
    """
    A client that cannot be accepted does not hold up the next ones, and
    stopReading() still takes effect.
    """

    class Single(Remembering):
        def connectionMade(self) -> None:
            super().connectionMade()
            server.listening.stopReading()

    async with fastServer(Single) as server:
        real = server.listening.socket
        server.listening.socket = FailingOnce(real, number)
        peers = [rawConnection(server.port) for _ in range(4)]
        await until(lambda: server.made)
        for _ in range(5):
            await turn()
        assert len(server.made) == 1
        server.listening.socket = real
        await closeAll(server)
        for peer in peers:
            peer.close()


async def test_stockPort() -> None:
    """
    The transport works with Twisted's own port, in the place that Twisted documents
    for another transport.
    """

    class Stock(Port):
        transport = ServerTransport

    server = FastServer(Remembering)
    server.listening = Stock(0, server, interface="127.0.0.1", reactor=installed())
    server.listening.startListening()
    try:
        with rawConnection(server.port) as peer:
            await until(lambda: server.made)
            assert server.made[0].transport.getHost().port == server.port
            server.made[0].transport.loseConnection()
            await until(partial(hasEnded, peer))
            await server.made[0].whenLost()
    finally:
        await server.listening.stopListening()


async def test_limitWithinBatch() -> None:
    """
    The factory's limit is exact when many clients are accepted in one turn.
    """
    factory = TCPDemoFactory(TCPDemoProtocol, maxConnections=3)
    async with serving(factory, ServerEndpoint(installed(), 0, "127.0.0.1")) as server:
        peers = [rawConnection(server.port) for _ in range(8)]
        await until(lambda: factory.refusedCount == 5)
        assert factory.connectionCount == 3
        for peer in peers:
            peer.close()
        await factory.whenEmpty()


async def test_string() -> None:
    """
    C{fasttcp:} is an endpoint string for any Twisted program.
    """
    text = "fasttcp:0:interface=127.0.0.1:backlog=7:reusePort=yes:noDelay=no"
    port = await serverFromString(installed(), text).listen(Factory.forProtocol(Remembering))
    assert isinstance(port, WriteThroughPort)
    assert (port.backlog, port.noDelay, port.getHost().host) == (7, False, "127.0.0.1")
    assert port.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
    await port.stopListening()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("x", "port must be a whole number, not 'x'"),
        ("70000", "port must be"),
        ("0:backlog=0", "backlog must be"),
        ("0:backlog=many", "backlog must be a whole number, not 'many'"),
        ("0:reusePort=perhaps", "reusePort must be"),
        ("0:ipv6Only=perhaps", "ipv6Only must be"),
        ("0:ipv6Only=yes:interface=127.0.0.1", "ipv6Only goes with an IPv6 interface"),
        ("0:interface=nowhere", "interface must be an IP address, not 'nowhere'"),
    ],
)
def test_wrongString(wrong: str, why: str) -> None:
    """
    A malformed string is refused at once, with the reason.
    """
    with pytest.raises(ValueError, match=why):
        serverFromString(installed(), f"fasttcp:{wrong}")


def test_unknownInString() -> None:
    """
    A string with an unknown argument is refused too.
    """
    with pytest.raises(TypeError, match="frobnicate"):
        serverFromString(installed(), "fasttcp:0:frobnicate=yes")


def test_pluginIsLight() -> None:
    """
    The plugin's module imports nothing of this package.
    """
    program = (
        "import sys, twisted.plugins.tcpdemo_plugin;"
        "sys.exit(any(name.startswith('twisted_tcpdemo') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_plugin() -> None:
    """
    Twisted finds the parser.
    """
    from twisted.internet.interfaces import IStreamServerEndpointStringParser

    assert "fasttcp" in {p.prefix for p in getPlugins(IStreamServerEndpointStringParser)}
