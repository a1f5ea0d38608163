"""
The targets of a client: a host, a UNIX socket, an open descriptor; and its own
address.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.protocol import Factory
from twisted.internet.tcp import makeBinding
from twisted.internet.testing import MemoryReactorClock

from tests.support.clients import (
    TLS,
    Client,
    Resolver,
    closed,
    freePort,
    installedReactor,
    silentServer,
    to,
)
from tests.support.contexts import TwistedContexts
from tests.support.peers import Peer, reset, serving
from tests.support.waiting import failureOf, turn
from twisted_tcpdemo import ClientEndpoint, CloseReason, TCPDemoFactory
from twisted_tcpdemo.client.targets import HostTarget, SocketTarget, pathTarget
from twisted_tcpdemo.errors import TCPDemoError
from twisted_tcpdemo.twistd.programs import Discard, Echo
from twisted_tcpdemo.values.checks import pathName

# Targets.


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_host(host: str) -> None:
    """
    A name and a literal lead to the same server, with the same counts and addresses
    on both sides.
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
    A literal needs no resolver, so a slow one does not hold it up.
    """
    async with serving(TCPDemoFactory(Discard)) as server:
        await closed(await to(server.port).connectProtocol(Client()))
        assert resolver.asked == []


async def test_nameWithUnderscore(resolver: Resolver) -> None:
    """
    A name with an underscore, as containers have them, is looked up like any other.
    """
    async with serving(TCPDemoFactory(Discard)) as server:
        resolver.addresses = [IPv4Address("TCP", "127.0.0.1", server.port)]
        await closed(await to(server.port, "my_server").connectProtocol(Client()))
        assert resolver.asked == [("my_server", None)]


async def test_race(resolver: Resolver, resources: ExitStack) -> None:
    """
    The addresses of a name race, so one that does not answer holds up no other.
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
    The path of a UNIX socket may be of any type that paths have.
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


# An open socket.


@pytest.mark.parametrize("family", ["unix", "tcp"])
async def test_fd(family: str, resources: ExitStack) -> None:
    """
    An open socket is adopted by its descriptor, and the caller's own can be closed.
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
    Closing the connection ends the socket, even for another owner of its
    descriptor.
    """
    ours, theirs = map(resources.enter_context, socket.socketpair())
    client = await ClientEndpoint(installedReactor(), fd=ours.fileno()).connectProtocol(Client())
    await closed(client)
    assert theirs.recv(1) == b""
    assert ours.recv(1) == b""


async def test_fdNotWritable(resources: ExitStack) -> None:
    """
    Without the writing half the peer gets a FIN, and reading goes on.
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
    Without the reading half no byte is delivered, the peer learns that its bytes
    are not read, and writing goes on.
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


@pytest.mark.parametrize("gone", [False, True])
async def test_fdIsNotConnected(gone: bool, resources: ExitStack) -> None:
    """
    A socket that was never connected, or whose peer has broken off, is a failure to
    connect and not a wrong argument.
    """
    lone = resources.enter_context(socket.socket())
    if gone:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            lone.connect(listener.getsockname())
            reset(listener.accept()[0])
    endpoint = ClientEndpoint(installedReactor(), fd=lone.fileno())
    assert isinstance(await failureOf(endpoint.connectProtocol(Client())), ConnectError)


async def test_fdIsClosed() -> None:
    """
    A descriptor that is closed before connect() is a failure to connect, too.
    """
    # What is opened once for all connections, such as the clock's timer, is open by then,
    # and does not get the number.
    await failureOf(to(freePort()).connectProtocol(Client()))
    with socket.socket() as lone:
        endpoint = ClientEndpoint(installedReactor(), fd=lone.fileno())
    error = await failureOf(endpoint.connectProtocol(Client()))
    assert isinstance(error, ConnectError)
    assert "bad file descriptor" in str(error)


async def test_fdTLS(resources: ExitStack) -> None:
    """
    TLS runs over an adopted socket too.
    """
    async with serving(TCPDemoFactory(Echo), TLS) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as ours:
            endpoint = ClientEndpoint(
                installedReactor(), fd=ours.fileno(), tls=TwistedContexts.client()
            )
            client = await endpoint.connectProtocol(Client())
        await client.write("hello")
        await client.whenReceived(5)
        await closed(client)


# The client's own address.


async def test_localAddress() -> None:
    """
    The client's own address and port can be chosen, even a port that another
    connection has just left.
    """
    port = freePort()
    for _ in range(2):
        async with serving(TCPDemoFactory(Discard)) as server:
            endpoint = to(server.port, localAddress="127.0.0.2", localPort=port)
            client = await endpoint.connectProtocol(Client())
            assert (client.localAddress, client.localPort) == ("127.0.0.2", port)
            await closed(client)


async def test_localAddressDecidesTheFamily(resolver: Resolver) -> None:
    """
    From an IPv4 address, only the IPv4 addresses of a name are tried.
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


# Failures.


async def test_nameThatIsNot(resolver: Resolver) -> None:
    """
    A name without addresses fails as a look-up.
    """
    resolver.addresses = []
    error = await failureOf(to(1, "example.test").connectProtocol(Client()))
    assert isinstance(error, DNSLookupError)


# The targets by themselves.


@pytest.mark.parametrize(
    ("host", "localAddress", "localPort", "bind"),
    [
        ("192.0.2.1", None, None, None),
        ("192.0.2.1", "127.0.0.2", None, ("127.0.0.2", 0)),
        ("192.0.2.1", None, 4000, ("", 4000)),
        ("::1", "::2", 4000, ("::2", 4000)),
    ],
)
def test_literal(
    host: str, localAddress: str | None, localPort: int | None, bind: tuple[str, int] | None
) -> None:
    """
    A literal goes straight to a socket, without a timeout of Twisted's, bound to
    the given address; a given port may just have been used.
    """
    reactor = MemoryReactorClock()
    HostTarget(reactor, host, 80, localAddress, localPort).connect(Factory.forProtocol(Peer))
    [(connectedTo, port, _, timeout, bound)] = reactor.tcpClients
    assert (connectedTo, port, timeout) == (host, 80, None)
    expected = bind and makeBinding(*bind, reuseAddress=localPort is not None)
    assert bound == expected


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sun_path has another size")
@pytest.mark.parametrize("prefix", [b"/", b"\0"], ids=["file", "abstract"])
def test_longestPath(prefix: bytes) -> None:
    """
    A path has room for 107 bytes; an abstract name, which no NUL ends, for one
    more.
    """
    longest = prefix + b"x" * (106 if prefix == b"/" else 107)
    name, _ = pathTarget(MemoryReactorClock(), longest)
    assert name == longest
    with pytest.raises(ValueError, match="fewer than 108 bytes"):
        pathName(longest + b"x")


async def test_socketIsLeftAlone(resources: ExitStack) -> None:
    """
    A target looks at a descriptor without closing it, whether it is valid or not,
    and whether the connection is made or not.
    """
    lone = resources.enter_context(socket.socket())
    before = os.listdir("/dev/fd")
    target = SocketTarget(installedReactor(), lone.fileno())
    assert isinstance(await failureOf(target.connect(Factory.forProtocol(Peer))), ConnectError)
    with pytest.raises(ValueError, match="stream"):
        datagram = resources.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        SocketTarget(installedReactor(), datagram.fileno())
    assert len(os.listdir("/dev/fd")) == len(before) + 1
    assert lone.fileno() >= 0 and datagram.type == socket.SOCK_DGRAM
    assert os.fstat(lone.fileno()) and os.fstat(datagram.fileno())
