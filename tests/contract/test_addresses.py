"""
One spelling of each address, over every transport and on both sides.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from ssl import SSLCertVerificationError
from typing import Any

import pytest
from twisted.internet.endpoints import TCP6ClientEndpoint, connectProtocol, serverFromString

from tests.support.clients import Client, closed, installedReactor, to
from tests.support.contexts import PythonContexts
from tests.support.links import LINK, NAME, NUMBER, needsLink
from tests.support.peers import Server, serving
from tests.support.proxied import LOOPBACK
from tests.support.waiting import failureOf, until
from twisted_tcpdemo import (
    Admission,
    AllowedNetworks,
    DeniedNetworks,
    ServerEndpoint,
    TCPDemoFactory,
    fastReactor,
)
from twisted_tcpdemo.fast.endpoint import hasIPv6
from twisted_tcpdemo.twistd.programs import Echo

pytestmark = pytest.mark.skipif(not hasIPv6(), reason="there is no IPv6 here")


def quoted(interface: str) -> str:
    """
    An address in the string of an endpoint.
    """
    return interface.replace(":", r"\:")


def ours(interface: str, **options: Any) -> ServerEndpoint:
    """
    An endpoint of ours.
    """
    return ServerEndpoint(installedReactor(), 0, interface, **options)


def ofString(reactor: Any, kind: str) -> Callable[[str], Any]:
    """
    Makes the endpoint of a string.
    """
    return lambda interface: serverFromString(reactor, f"{kind}:0:interface={quoted(interface)}")


LANES: dict[str, Callable[[str], Any]] = {
    "ServerEndpoint": ours,
    "fasttcp:": ofString(installedReactor(), "fasttcp"),
    "tcp: on the fast lane": ofString(fastReactor(installedReactor()), "tcp"),
    "tcp:": ofString(installedReactor(), "tcp"),
    "TLS": lambda interface: ours(interface, tls=PythonContexts.server()),
}
"""Makes an endpoint on an interface, over each transport of TCP."""

everyLane = pytest.mark.parametrize("lane", LANES)


def clientOf(lane: str, server: Server, host: str, **options: Any) -> Any:
    """
    The endpoint of a client.
    """
    if lane == "TLS":
        context = PythonContexts.client()
        context.check_hostname = False  # a certificate has no link-local address
        options["tls"] = context
    return to(server.port, host, **options)


@everyLane
@pytest.mark.parametrize("interface", ["::ffff:127.0.0.1", "0:0:0:0:0:ffff:7f00:1"])
async def test_mapped(lane: str, interface: str) -> None:
    """
    An IPv4-mapped address is the IPv4 address in it, to listen on, to connect to and
    to connect from, and in all reports.
    """
    async with serving(TCPDemoFactory(Echo), LANES[lane](interface)) as server:
        assert [listener.address for listener in server.factory.addresses()] == ["127.0.0.1"]
        endpoint = clientOf(lane, server, interface, localAddress="::ffff:127.0.0.2")
        client = await endpoint.connectProtocol(Client())
        protocol = await server.protocol()
        assert (client.remoteAddress, client.remoteFamily) == ("127.0.0.1", "IPv4")
        assert client.localAddress == protocol.remoteAddress == "127.0.0.2"
        assert (protocol.localAddress, protocol.localFamily) == ("127.0.0.1", "IPv4")
        await closed(client)


@everyLane
async def test_longIPv6(lane: str) -> None:
    """
    An IPv6 address that is written out is reported in its short spelling.
    """
    written = "0000:0000:0:0:0:0:0:1"
    async with serving(TCPDemoFactory(Echo), LANES[lane](written)) as server:
        assert [listener.address for listener in server.factory.addresses()] == ["::1"]
        client = await clientOf(lane, server, written, localAddress=written).connectProtocol(
            Client()
        )
        protocol = await server.protocol()
        assert client.remoteAddress == client.localAddress == "::1"
        assert protocol.remoteAddress == protocol.localAddress == "::1"
        await closed(client)


async def test_long() -> None:
    """
    A wildcard that is written out takes the clients of both families, as C{::} does.
    """
    async with serving(TCPDemoFactory(Echo), ours("0:0:0:0:0:0:0:0")) as server:
        for host in ("127.0.0.1", "::1"):
            client = await to(server.port, host).connectProtocol(Client())
            assert (await server.protocol()).remoteAddress == host
            await closed(client)
            await server.factory.whenEmpty()


@needsLink
@everyLane
async def test_zone(lane: str) -> None:
    """
    A link-local address has its zone on both sides, by the name of the interface,
    also where it was given by number.
    """
    zoned = f"{LINK}%{NAME}"
    async with serving(TCPDemoFactory(Echo), LANES[lane](f"{LINK}%{NUMBER}")) as server:
        assert [listener.address for listener in server.factory.addresses()] == [zoned]
        endpoint = clientOf(lane, server, f"{LINK}%{NUMBER}")
        client = await endpoint.connectProtocol(Client())
        protocol = await server.protocol()
        assert client.remoteAddress == client.localAddress == zoned
        assert protocol.remoteAddress == protocol.localAddress == zoned
        assert zoned in str(endpoint)
        await closed(client)


@needsLink
async def test_zoneUnderTLS() -> None:
    """
    A certificate is checked for the address without its zone, which means something on
    this machine alone.
    """
    zoned = f"{LINK}%{NAME}"
    async with serving(TCPDemoFactory(Echo), ours(zoned, tls=PythonContexts.server())) as server:
        endpoint = to(server.port, zoned, tls=PythonContexts.client())
        error = await failureOf(endpoint.connectProtocol(Client()))
        assert isinstance(error, SSLCertVerificationError)
        assert f"certificate is not valid for '{LINK}'" in str(error)


@needsLink
async def test_zoneOfTwisteds() -> None:
    """
    A client over Twisted's own transport reports the zone, too.
    """
    zoned = f"{LINK}%{NAME}"
    async with serving(TCPDemoFactory(Echo), LANES["tcp:"](zoned)) as server:
        endpoint = TCP6ClientEndpoint(installedReactor(), zoned, server.port)
        client: Any = await connectProtocol(endpoint, Client())
        assert client.remoteAddress == client.localAddress == zoned
        await closed(client)


@needsLink
@everyLane
@pytest.mark.parametrize(
    ("rule", "isRefused"),
    [
        (DeniedNetworks(f"{LINK}%{NUMBER}"), True),
        (DeniedNetworks(f"fe80::%{NAME}/10"), True),
        (DeniedNetworks(LINK), True),
        (DeniedNetworks(f"{LINK}%lo"), False),
        (AllowedNetworks(f"{LINK}%{NAME}"), False),
        (AllowedNetworks(f"{LINK}%lo"), True),
    ]
    if LINK
    else [],
    ids=repr,
)
async def test_ruleWithZone(lane: str, rule: Any, isRefused: bool) -> None:
    """
    A rule for an address in a zone holds for that zone alone; one without a zone
    holds for all.
    """
    factory = TCPDemoFactory(Echo, admission=Admission(rule))
    async with serving(factory, LANES[lane](f"{LINK}%{NAME}")) as server:
        with socket.socket(socket.AF_INET6) as raw:
            raw.connect((LINK, server.port, 0, NUMBER))
            await until(lambda: factory.acceptedCount + factory.refusedCount)
        assert factory.refusedCount == isRefused
        await factory.whenEmpty()


@pytest.mark.parametrize("written", ["2001:db8:0:0:0:0:0:7", "2001:DB8::7"])
async def test_header(written: str) -> None:
    """
    The client of a PROXY header is the same peer, however its address is written.
    """
    rule = DeniedNetworks("2001:db8::8")
    factory = TCPDemoFactory(Echo, admission=Admission(rule))
    async with serving(factory, ours("127.0.0.1", proxy=LOOPBACK)) as server:
        peer = await server.connect()
        peer.transport.write(f"PROXY TCP6 {written} 0:0:0:0:0:0:0:1 4711 80\r\n".encode())
        protocol = await server.protocol()
        assert (protocol.remoteAddress, protocol.localAddress) == ("2001:db8::7", "::1")
        other = await server.connect()
        other.transport.write(b"PROXY TCP6 2001:db8:0:0:0:0:0:8 ::1 4711 80\r\n")
        await until(lambda: factory.refusedCount)
        [refusal] = server.events.of("connectionRefused")
        assert str(refusal.remote) == "[2001:db8::8]:4711"


async def test_mappedHeader() -> None:
    """
    The client of a PROXY header is one of IPv4 where its address is mapped.
    """
    factory = TCPDemoFactory(Echo, admission=Admission(DeniedNetworks("::ffff:192.0.2.8/128")))
    async with serving(factory, ours("127.0.0.1", proxy=LOOPBACK)) as server:
        peer = await server.connect()
        peer.transport.write(b"PROXY TCP6 0:0:0:0:0:ffff:c000:207 ::1 4711 80\r\n")
        protocol = await server.protocol()
        assert (protocol.remoteAddress, protocol.remoteFamily) == ("192.0.2.7", "IPv4")
        other = await server.connect()
        other.transport.write(b"PROXY TCP6 0:0:0:0:0:ffff:c000:208 ::1 4711 80\r\n")
        await until(lambda: factory.refusedCount == 1)
