"""
The view of a reactor on which connections write through.
"""

from __future__ import annotations

import os
import socket
import stat
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    HostnameEndpoint,
    connectProtocol,
    serverFromString,
    wrapServerTLS,
)
from twisted.internet.error import UnsupportedAddressFamily
from twisted.internet.interfaces import (
    IReactorFDSet,
    IReactorPluggableNameResolver,
    IReactorSocket,
    IReactorTCP,
    IReactorTime,
    IReactorUNIX,
)
from twisted.internet.protocol import ClientFactory, Factory
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory

from tests.support.certificates import pemFile
from tests.support.clients import Client, installedReactor, to
from tests.support.contexts import TwistedContexts
from tests.support.fast import openFiles
from tests.support.peers import Peer, serving
from tests.support.waiting import until
from twisted_tcpdemo import ClientEndpoint, TCPDemoFactory, fastReactor
from twisted_tcpdemo.fast.connector import ClientTransport
from twisted_tcpdemo.fast.endpoint import ServerEndpoint, hasIPv6
from twisted_tcpdemo.fast.port import ServerTransport, WriteThroughPort
from twisted_tcpdemo.fast.unix import UNIXClientTransport, UNIXPort, UNIXServerTransport
from twisted_tcpdemo.transports.layers import countsItself
from twisted_tcpdemo.twistd.programs import Echo

needsIPv6 = pytest.mark.skipif(not hasIPv6(), reason="there is no IPv6 here")


@pytest.mark.parametrize(
    "interface",
    [
        IReactorFDSet,
        IReactorPluggableNameResolver,
        IReactorSocket,
        IReactorTCP,
        IReactorTime,
        IReactorUNIX,
    ],
)
def test_provides(interface: Any) -> None:
    """
    The view provides the interfaces of its reactor.
    """
    view = fastReactor(installedReactor())
    assert interface.providedBy(view) == interface.providedBy(installedReactor())


def test_passesOn() -> None:
    """
    Everything but ports and connectors is the reactor's own.
    """
    reactor = installedReactor()
    view = fastReactor(reactor)
    assert view.callLater == reactor.callLater and view.running
    assert repr(reactor) in repr(view)
    with pytest.raises(AttributeError):
        view.nothingOfTheKind  # noqa: B018


@pytest.mark.parametrize("reactor", [Clock(), MemoryReactorClock(), object()])
def test_givenBack(reactor: Any) -> None:
    """
    A reactor that cannot have a poller is returned as it is.
    """
    assert fastReactor(reactor) is reactor


def test_viewOfView() -> None:
    """
    A view is returned as it is.
    """
    view = fastReactor(installedReactor())
    assert fastReactor(view) is view


@pytest.mark.parametrize("tls", [False, True])
async def test_strings(tls: bool) -> None:
    """
    Twisted's endpoint strings make our ports, and their clients connect.
    """
    view = fastReactor(installedReactor())
    text = f"ssl:0:privateKey={pemFile()}" if tls else "tcp:0"
    endpoint = serverFromString(view, f"{text}:interface=127.0.0.1")
    async with serving(TCPDemoFactory(Echo), endpoint, tls=tls) as server:
        [port] = server.factory.ports
        assert isinstance(port, WriteThroughPort)
        peer = await server.connect()
        peer.transport.write(b"hello")
        await peer.whenReceived(5)


@pytest.mark.parametrize("where", ["tcp:0:interface=127.0.0.1", "fasttcp:0:interface=127.0.0.1"])
async def test_noDelay(where: str) -> None:
    """
    TCP_NODELAY is on for both sides, whatever the factory: a second small write does
    not wait for the peer's acknowledgement.
    """
    view: Any = fastReactor(installedReactor())
    server: Any = Factory.forProtocol(Peer)
    server.noisy = False
    made: list[Peer] = []
    server.buildProtocol = lambda _: made.append(Peer()) or made[-1]
    port = await serverFromString(view, where).listen(server)
    endpoint = HostnameEndpoint(view, "127.0.0.1", port.getHost().port)
    client = await connectProtocol(endpoint, Peer())
    try:
        await until(lambda: made and made[0].transport)
        for side in (client, made[0]):
            assert side.transport.getTcpNoDelay() is True
            side.transport.setTcpNoDelay(False)
            assert side.transport.getTcpNoDelay() is False
            side.transport.loseConnection()
        await client.whenLost()
        await made[0].whenLost()
    finally:
        await port.stopListening()


async def test_SSL() -> None:
    """
    C{listenSSL} and C{connectSSL} encrypt over our transports.
    """
    view: Any = fastReactor(installedReactor())
    server: Any = Factory.forProtocol(Peer)
    server.noisy = False
    port = view.listenSSL(0, server, TwistedContexts.server(), interface="127.0.0.1")
    made: list[Any] = []

    class Connecting(ClientFactory):
        noisy = False

        def buildProtocol(self, addr: Any) -> Peer:
            made.append(Peer())
            return made[0]

    view.connectSSL("127.0.0.1", port.getHost().port, Connecting(), TwistedContexts.client())
    try:
        await until(lambda: made and made[0].transport)
        assert isinstance(made[0].transport, ClientTransport)
        made[0].transport.write(b"hello")
        made[0].transport.loseConnection()
        await made[0].whenLost()
    finally:
        await port.stopListening()


@pytest.mark.parametrize("how", ["listenSSL", "tls=", "string", "adopted", "plain"])
async def test_nameInLog(how: str) -> None:
    """
    The last line of a port in the log calls it a TLS port where it has TLS, however it
    was made.
    """
    view: Any = fastReactor(installedReactor())
    factory: Any = Factory.forProtocol(Peer)
    factory.noisy = False
    ssl = f"ssl:0:interface=127.0.0.1:privateKey={pemFile()}"
    if how == "listenSSL":
        port = view.listenSSL(0, factory, TwistedContexts.server(), interface="127.0.0.1")
    elif how == "string":
        port = await serverFromString(view, ssl).listen(factory)
    elif how == "adopted":
        with socket.create_server(("127.0.0.1", 0)) as listener:
            endpoint = AdoptedStreamServerEndpoint(view, os.dup(listener.fileno()), socket.AF_INET)
            port = await wrapServerTLS(TwistedContexts.server(), endpoint).listen(factory)
    else:
        tls = TwistedContexts.server() if how == "tls=" else None
        port = await ServerEndpoint(view, 0, "127.0.0.1", tls=tls).listen(factory)
    number, lines = port.getHost().port, cast(list[LogEvent], [])
    globalLogPublisher.addObserver(lines.append)
    try:
        await port.stopListening()
    finally:
        globalLogPublisher.removeObserver(lines.append)
    name = "TCP" if how == "plain" else "TLS"
    assert f"({name} Port {number} Closed)" in [line.get("log_text") for line in lines]


async def test_wrapClientTLS() -> None:
    """
    A client with TLS has our transport.
    """
    async with serving(
        TCPDemoFactory(Echo), f"ssl:0:interface=127.0.0.1:privateKey={pemFile()}", tls=True
    ) as server:
        client = await to(server.port, tls=TwistedContexts.client()).connectProtocol(Peer())
        assert isinstance(client.transport, ClientTransport)
        client.transport.loseConnection()
        await client.whenLost()


async def test_adoptStreamPort() -> None:
    """
    A listening socket of another program becomes one of our ports.
    """
    view = fastReactor(installedReactor())
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        endpoint = AdoptedStreamServerEndpoint(view, os.dup(listener.fileno()), socket.AF_INET)
        factory = TCPDemoFactory(Echo)
        async with serving(factory, endpoint) as server:
            peer = await server.connect()
            await until(lambda: factory.connectionCount == 1)
            [protocol] = factory.connections
            assert isinstance(protocol.transport, ServerTransport)
            peer.transport.loseConnection()
            await peer.whenLost()


@needsIPv6
@pytest.mark.parametrize("claimed", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
async def test_dualStack(claimed: int) -> None:
    """
    A socket for both families has the right addresses, whatever its string says.
    """
    view = fastReactor(installedReactor())
    with socket.socket(socket.AF_INET6) as listener:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, False)
        listener.bind(("::", 0))
        listener.listen()
        factory = TCPDemoFactory(Echo)
        endpoint = AdoptedStreamServerEndpoint(view, os.dup(listener.fileno()), claimed)
        async with serving(factory, endpoint) as server:
            four = socket.create_connection(("127.0.0.1", server.port))
            six = socket.create_connection(("::1", server.port))
            with four, six:
                await until(lambda: factory.connectionCount == 2)
                seen = {(p.remoteAddress, p.remotePort) for p in factory.connections}
                assert seen == {four.getsockname()[:2], six.getsockname()[:2]}
                assert {p.localAddress for p in factory.connections} == {"127.0.0.1", "::1"}


@pytest.mark.parametrize("claimed", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
async def test_pathOfOthers(tmp_path: Path, claimed: int) -> None:
    """
    A UNIX socket of another program is served, whatever its string says.  Its mode,
    its path and the socket itself are left alone.
    """
    path = tmp_path / "s"
    view = fastReactor(installedReactor())
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o660)
        listener.listen()
        for _ in range(2):  # a restart
            endpoint = AdoptedStreamServerEndpoint(view, os.dup(listener.fileno()), claimed)
            factory = TCPDemoFactory(Echo)
            async with serving(factory, endpoint, f"unix:{path}") as server:
                [port] = server.factory.ports
                assert isinstance(port, UNIXPort)
                peer = await server.connect()
                peer.transport.write(b"hello")
                await peer.whenReceived(5)
                [protocol] = factory.connections
                assert isinstance(protocol.transport, UNIXServerTransport)
                assert protocol.localAddress == str(path)
                peer.transport.loseConnection()
                await peer.whenLost()
            assert stat.S_IMODE(path.stat().st_mode) == 0o660


@pytest.mark.parametrize("claimed", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
@pytest.mark.parametrize("family", ["tcp", "unix"])
async def test_adoptedConnection(claimed: int, family: str) -> None:
    """
    A connection of another program is served by the lane, whatever its family is
    said to be.
    """
    view: Any = fastReactor(installedReactor())
    if family == "unix":
        ours, theirs = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
    with ours, theirs:
        protocols: list[Peer] = []

        class One(Factory[Any]):
            noisy = False

            def buildProtocol(self, addr: Any) -> Peer:
                protocols.append(Peer())
                return protocols[0]

        transport = view.adoptStreamConnection(ours.fileno(), claimed, One())
        kind = UNIXServerTransport if family == "unix" else ServerTransport
        assert isinstance(transport, kind)
        theirs.sendall(b"hello")
        await protocols[0].whenReceived(5)
        protocols[0].transport.loseConnection()
        await protocols[0].whenLost()


@pytest.mark.parametrize("family", ["tcp", "unix"])
@pytest.mark.parametrize("how", ["no protocol", "an error", "no engine", "no peer"])
async def test_adoptedForNothing(family: str, how: str) -> None:
    """
    A connection of another program that cannot be served leaves no open descriptor.
    """
    view: Any = fastReactor(installedReactor())

    class Failing(Factory[Any]):
        noisy = False

        def buildProtocol(self, addr: Any) -> Peer | None:
            if how == "an error":
                raise ZeroDivisionError
            return None if how == "no protocol" else Peer()

    def maker(secure: object) -> Any:
        raise ZeroDivisionError

    if how == "no engine":
        view.engineMaker = maker
    with ExitStack() as stack:
        kind = socket.AF_INET if family == "tcp" else socket.AF_UNIX
        ours, theirs = (stack.enter_context(socket.socket(kind)) for _ in range(2))
        if family == "unix":
            theirs.bind("")
        theirs.listen()
        if how != "no peer":
            ours.connect(theirs.getsockname())
        before = openFiles()
        adopt = partial(view.adoptStreamConnection, ours.fileno(), kind, Failing())
        if how == "no protocol":
            assert adopt() is None
        else:
            # The failure holds all that the call has left behind.
            with pytest.raises((ZeroDivisionError, OSError)) as failure:
                adopt()
            assert failure.value is not None
        assert openFiles() == before


async def test_adoptedName() -> None:
    """
    An adopted TCP connection is told by its port, and in the log by the client's.
    """
    view: Any = fastReactor(installedReactor())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    with ours, theirs:
        transport = view.adoptStreamConnection(
            ours.fileno(), socket.AF_INET, Factory.forProtocol(Peer)
        )
        here, there = ours.getsockname()[1], theirs.getsockname()[1]
        assert repr(transport) == f"<Peer #{there} on {here}>"
        assert transport.logstr == f"Peer,{there},127.0.0.1"
        assert transport.getPeer().port == there and transport.getHost().port == here
        transport.loseConnection()
        await transport.protocol.whenLost()


@pytest.mark.parametrize("method", ["adoptStreamPort", "adoptStreamConnection"])
async def test_otherFamilies(method: str) -> None:
    """
    A family that no reactor knows is refused, and so is a descriptor that is no socket.
    """
    view: Any = fastReactor(installedReactor())
    with socket.socket() as some, pytest.raises(UnsupportedAddressFamily):
        getattr(view, method)(some.fileno(), 12345, Factory())
    if hasattr(socket, "AF_VSOCK"):
        try:
            other = socket.socket(socket.AF_VSOCK)
        except OSError:
            pytest.skip("there are no sockets of another family here")
        with other, pytest.raises(UnsupportedAddressFamily):
            getattr(view, method)(other.fileno(), socket.AF_INET, Factory())
    with pytest.raises(OSError, match="Bad file descriptor"):
        getattr(view, method)(1_000_000, socket.AF_INET, Factory())


def test_otherFamilyWithTLS(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A port that is left to the reactor keeps its layer of TLS.
    """
    reactor = installedReactor()
    wrapped = TLSMemoryBIOFactory(TwistedContexts.server(), False, Factory())
    monkeypatch.setattr(reactor, "adoptStreamPort", lambda descriptor, family, factory: factory)
    assert fastReactor(reactor).adoptStreamPort(0, 12345, wrapped) is wrapped


@pytest.mark.parametrize("how", ["path", "string", "fd"])
async def test_clients(tmp_path: Path, how: str) -> None:
    """
    Each way to a UNIX socket that a client has is one of the lane, and counts by
    itself.
    """
    path = tmp_path / "s"
    reactor = installedReactor()
    factory = TCPDemoFactory(Echo)
    async with serving(factory, ServerEndpoint(reactor, path=path), f"unix:{path}"):
        with socket.socket(socket.AF_UNIX) as connected:
            if how == "path":
                endpoint = ClientEndpoint(reactor, path=path)
            elif how == "string":
                endpoint = ClientEndpoint.fromString(f"unix:{path}", reactor)
            else:
                connected.connect(str(path))
                endpoint = ClientEndpoint(reactor, fd=connected.fileno())
            client = await endpoint.connectProtocol(Client())
        kind = UNIXServerTransport if how == "fd" else UNIXClientTransport
        transport = client.transport
        assert isinstance(transport, kind) and countsItself(transport)
        client.write("hello")
        await client.whenReceived(5)
        assert (client.bytesWritten, client.bytesRead) == (5, 5)
        assert (client.remoteAddress, client.remoteFamily) == (str(path), "UNIX")
        transport.loseConnection()
        await client.whenLost()


async def test_UNIXString(tmp_path: Path) -> None:
    """
    C{unix:} strings make ports of the lane, with mode and lock.
    """
    path = tmp_path / "s"
    view = fastReactor(installedReactor())
    endpoint = serverFromString(view, f"unix:{path}:mode=600")
    async with serving(TCPDemoFactory(Echo), endpoint, f"unix:{path}") as server:
        [port] = server.factory.ports
        assert isinstance(port, UNIXPort)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.with_name("s.lock").is_symlink()
    assert list(tmp_path.iterdir()) == []
