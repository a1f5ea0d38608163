"""
L{twisted_tcpdemo.fast.proxied}: clients behind a proxy, from C{accept} to their
protocol.
"""

from __future__ import annotations

import socket
from collections.abc import Generator
from errno import ENOBUFS
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.testing import MemoryReactor
from twisted.logger import LogEvent, eventAsText, globalLogPublisher

from tests.support.clients import installedReactor
from tests.support.fast import FailingOnce, FastServer, Remembering, closed, fastServer
from tests.support.hygiene import LoggedErrors
from tests.support.peers import rawConnection, reset, serving
from tests.support.proxied import (
    LOCAL,
    LOOPBACK,
    V2,
    V6,
    Noting,
    NotingFactory,
    behind,
    isOver,
    line,
    proxiedServer,
    received,
    stageOf,
)
from tests.support.proxies import CLIENT, LINE, SERVER, Stage, block, tlv
from tests.support.waiting import turn, until
from twisted_tcpdemo import (
    Admission,
    AllowedNetworks,
    PerPeerLimit,
    Proxy,
    ServerEndpoint,
    TCPDemoFactory,
    TCPDemoProtocol,
)
from twisted_tcpdemo.fast import proxied
from twisted_tcpdemo.twistd.programs import Echo


def test_wrongEndpoint() -> None:
    """
    The endpoint takes a Proxy alone, and says what it needs where it cannot serve.
    """
    with pytest.raises(TypeError, match="proxy must be a Proxy, not '::1'"):
        behind("::1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="proxy needs a POSIX reactor of Twisted's, and epoll"):
        ServerEndpoint(MemoryReactor(), 0, proxy=LOOPBACK)


@pytest.mark.parametrize(
    ("header", "peer", "host"),
    [
        (LINE, CLIENT, SERVER),
        (V2, CLIENT, SERVER),
        (V6, IPv6Address("TCP", "2001:db8::7", 4711), IPv6Address("TCP", "2001:db8::1", 80)),
        (
            block(0x21, 0x31, b"/client".ljust(108, b"\0") + b"/server".ljust(108, b"\0")),
            UNIXAddress(b"/client"),
            UNIXAddress(b"/server"),
        ),
    ],
    ids=["v1", "v2", "IPv6", "UNIX"],
)
async def test_addresses(header: bytes, peer: Any, host: Any) -> None:
    """
    Every part of the server sees the client and its destination, from the first call
    to the last report.
    """
    factory = NotingFactory(Noting)
    async with proxiedServer(factory) as (server, client):
        raw = client(header + b"hello")
        await received(raw, 5)
        protocol = factory.built
        assert factory.builtFor == peer
        assert protocol.known == (peer, host, peer, host)
        assert protocol.bytesRead == 5
        own = IPv4Address("TCP", *raw.getsockname())
        assert (protocol.proxied.peer, protocol.proxied.host.port) == (own, server.port)
        assert protocol.proxied.header.source == peer
        raw.close()
        await until(lambda: factory.closedCount)
        assert (protocol.peer, protocol.host, protocol.proxied.peer) == (peer, host, own)
        [opened], [closed] = (
            server.events.of("connectionOpened"),
            server.events.of("connectionClosed"),
        )
        assert {opened.peer, closed.peer} == {peer}
        assert {opened.host, closed.host} == {host}


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", LOCAL, block(0x21, 0x00, b"")])
async def test_noAddresses(header: bytes) -> None:
    """
    A header without addresses leaves those of the socket.
    """
    factory = NotingFactory(Noting)
    async with proxiedServer(factory) as (server, client):
        raw = client(header + b"hello")
        await received(raw, 5)
        own = IPv4Address("TCP", *raw.getsockname())
        assert (factory.builtFor, factory.built.peer) == (own, own)
        assert factory.built.localPort == server.port
        assert factory.built.proxied.header.source is None


async def test_values() -> None:
    """
    The protocol can read the header's types and values.
    """
    factory = NotingFactory(Noting)
    header = block(0x20, 0x00, tlv(1, b"h2") + tlv(0xE0, b"mine"))
    async with proxiedServer(factory) as (_, client):
        await received(client(header + b"hello"), 5)
        assert factory.built.proxied.header.tlvs == ((1, b"h2"), (0xE0, b"mine"))
        assert factory.built.proxied.header.version == 2


async def test_notProxied() -> None:
    """
    Without a proxy there is no header.
    """
    factory = TCPDemoFactory(Echo)
    async with serving(factory, "fasttcp:0:interface=127.0.0.1") as server:
        peer = await server.connect()
        assert (await server.protocol()).proxied is None
        assert peer.transport.connected
    assert TCPDemoProtocol().proxied is None


async def test_logPrefix() -> None:
    """
    The prefix of log lines has the client's address.
    """
    async with fastServer(proxy=LOOPBACK) as server:
        raw = rawConnection(server.port)
        raw.send(LINE)
        await until(lambda: server.made)
        assert server.made[0].transport.logPrefix().endswith(",192.0.2.7")
        raw.close()
        await closed(server.made[0])


@pytest.mark.parametrize(
    ("proxy", "rule"), [(Proxy(trusted=["unix"]), None), (LOOPBACK, "proxyUntrusted")]
)
async def test_unix(tmp_path: Path, proxy: Proxy, rule: str | None) -> None:
    """
    A proxy on a UNIX socket is trusted by a word of its own; its clients may be of any
    family.
    """
    path = str(tmp_path / "s")
    factory = NotingFactory(Noting)
    endpoint = ServerEndpoint(installedReactor(), path=path, proxy=proxy)
    async with serving(factory, endpoint, f"unix:{path}") as server:
        peer = await server.connect()
        peer.transport.write(V6[:9])
        await until(lambda: stageOf(server).heldCount or factory.refusedCount)
        if rule is not None:
            assert factory.report().refusedBy == {rule: 1}
            return
        peer.transport.write(V6[9:] + b"hello")
        await peer.whenReceived(5)
        assert factory.builtFor == factory.built.peer
        assert factory.built.remoteAddress == "2001:db8::7"
        assert factory.built.localAddress == "2001:db8::1"
        assert factory.built.proxied.host == UNIXAddress(path.encode())
        assert factory.built.transport.logPrefix().endswith(",2001:db8::7")


async def test_acceptFails() -> None:
    """
    A client that Twisted's own code accepts, after accept(2) has failed, has to send a
    header like any other.
    """
    factory = NotingFactory(Noting)
    async with proxiedServer(factory) as (_, client):
        port: Any = factory.ports[0]
        real = port.socket
        port.socket = FailingOnce(real, ENOBUFS)
        raw = client(LINE + b"hello")
        await received(raw, 5)
        port.socket = real
        assert factory.built.peer == CLIENT
        assert factory.built.bytesRead == 5


async def test_dualStack() -> None:
    """
    An IPv4 proxy of a dual-stack listener is trusted by its IPv4 network.
    """
    factory = NotingFactory(Noting)
    async with proxiedServer(factory, behind(interface="")) as (_, client):
        await received(client(LINE + b"hello"), 5)
        assert (factory.built.peer, factory.built.host) == (CLIENT, SERVER)


async def test_string() -> None:
    """
    A C{fasttcp:} string takes the networks of the proxies.
    """
    factory = NotingFactory(Noting)
    where = r"fasttcp:0:interface=127.0.0.1:proxy=127.0.0.1,\:\:1"
    async with serving(factory, where) as server:
        peer = await server.connect()
        peer.transport.write(LINE + b"hello")
        await peer.whenReceived(5)
        assert factory.built.peer == CLIENT


@pytest.mark.parametrize(
    ("proxy", "data", "ending", "rule", "detail"),
    [
        (Proxy(trusted=["192.0.2.0/24"]), LINE, None, "proxyUntrusted", ""),
        (Proxy(trusted=["192.0.2.0/24"]), b"", None, "proxyUntrusted", ""),
        (LOOPBACK, b"GET / HTTP", None, "proxyHeader", "the header begins with 'GET / HTTP'"),
        (LOOPBACK, b"PROXY TCP4", "close", "proxyHeader", "the header breaks off"),
        (LOOPBACK, b"PROXY TCP4", "reset", "proxyHeader", "the header breaks off"),
        (
            Proxy(trusted=["127.0.0.1"], timeout=0.05),
            b"PROXY TCP4",
            None,
            "proxyTimeout",
            "no whole header in 0.05 s",
        ),
        (Proxy(trusted=["127.0.0.1"], timeout=0.05), b"", None, "proxyTimeout", None),
    ],
    ids=["untrusted", "untrusted and silent", "wrong", "closed", "reset", "late", "silent"],
)
async def test_refused(
    proxy: Proxy, data: bytes, ending: str | None, rule: str, detail: str | None
) -> None:
    """
    A client whose header cannot be believed is refused by a rule of its own, and no
    protocol is built for it.
    """
    factory = NotingFactory(Noting, maxConnections=1)
    async with proxiedServer(factory, behind(proxy)) as (server, client):
        raw = client(data)
        own = IPv4Address("TCP", *raw.getsockname())
        if ending is not None:
            await until(lambda: stageOf(server).heldCount or factory.refusedCount)
            (socket.socket.close if ending == "close" else reset)(raw)
        await until(lambda: factory.refusedCount)
        assert factory.report().refusedBy == {rule: 1}
        [refusal] = server.events.of("connectionRefused")
        assert (refusal.peer, refusal.host.port, refusal.rule) == (own, server.port, rule)
        assert detail is None or refusal.detail == detail
        assert not hasattr(factory, "built")
        if ending is None:
            await until(lambda: isOver(raw))


@pytest.fixture
def lines() -> Generator[list[str]]:
    """
    The lines of this package in the log.
    """
    found: list[str] = []

    def note(event: LogEvent) -> None:
        if event.get("log_namespace") == "tcpdemo":
            found.append(eventAsText(event, includeTimestamp=False, includeSystem=False))

    globalLogPublisher.addObserver(note)
    yield found
    globalLogPublisher.removeObserver(note)


def test_plainFactory(lines: list[str]) -> None:
    """
    Refusals of a factory that has no account are one line a second, and safe.
    """
    stage = Stage()
    stage.clock.advance(1000)
    for _ in range(3):
        stage.client(b"\x1b[31m\n")
    stage.clock.advance(1)
    stage.client(b"x" * 1000)
    stage.close()
    assert lines == [
        r"refused: unix:(unnamed) by proxyHeader (the header begins with '\x1b[31m\n')",
        "refused: unix:(unnamed) by proxyHeader (the header begins with "
        f"'{'x' * 60}... (+196 more)'); 2 more before",
    ]


async def test_admission() -> None:
    """
    Rules about networks and peers decide by the client's address, not the proxy's.
    """
    rules = Admission(AllowedNetworks("192.0.2.0/24"), PerPeerLimit(1))
    factory = TCPDemoFactory(Echo, admission=rules)
    async with proxiedServer(factory) as (server, client):
        first = client(line("192.0.2.7") + b"1")
        await received(first, 1)
        await received(client(line("192.0.2.8") + b"2"), 1)
        client(line("192.0.2.7", 4712))
        await until(lambda: factory.refusedCount == 1)
        client(line("198.51.100.1"))
        await until(lambda: factory.refusedCount == 2)
        assert factory.report().refusedBy == {"perPeerLimit": 1, "allowedNetworks": 1}
        peers = [str(refusal.remote) for refusal in server.events.of("connectionRefused")]
        assert peers == ["192.0.2.7:4712", "198.51.100.1:4711"]
        first.close()
        await until(lambda: factory.connectionCount == 1)
        await received(client(line("192.0.2.7", 4713) + b"3"), 1)


async def test_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A port accepts nobody while too many headers are unfinished, whatever its factory
    says; the kernel's queue holds the others.
    """
    monkeypatch.setattr(proxied, "MOST_UNFINISHED", 2)
    factory = TCPDemoFactory(Echo)
    async with proxiedServer(factory) as (server, client):
        slow = [client(LINE[:10]), client(LINE[:10])]
        await until(lambda: stageOf(server).heldCount == 2)
        factory.maxConnections = 10
        third = client(LINE + b"3")
        for _ in range(5):
            await turn()
        assert factory.acceptedCount == 0
        slow[0].send(LINE[10:] + b"1")
        assert await received(slow[0], 1) == b"1"
        assert await received(third, 1) == b"3"


async def test_fullAndSuspended(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A port that was told to accept nobody stays so when it is full no more.
    """
    monkeypatch.setattr(proxied, "MOST_UNFINISHED", 1)
    factory = TCPDemoFactory(Echo)
    async with proxiedServer(factory) as (server, client):
        raw = client(LINE[:10])
        await until(lambda: stageOf(server).heldCount == 1)
        factory.suspend()
        raw.close()
        await until(lambda: not stageOf(server).heldCount)
        queued = client(LINE + b"x")
        for _ in range(5):
            await turn()
        assert factory.acceptedCount == 0
        factory.resume()
        await received(queued, 1)


async def test_stopListening() -> None:
    """
    A port of a plain factory that stops leaves no client behind.
    """
    async with fastServer(proxy=LOOPBACK) as server:
        raw = rawConnection(server.port)
        raw.send(LINE[:1])
        await until(lambda: server.listening.stage.heldCount)
    assert isOver(raw)
    raw.close()


async def test_raises(loggedErrors: LoggedErrors) -> None:
    """
    A factory that raises loses that client, and no other.
    """

    class Raising(FastServer):
        """
        Raises for one address.
        """

        def buildProtocol(self, addr: Any) -> Any:
            """
            Do so.
            """
            if addr.host == "192.0.2.66":
                raise ZeroDivisionError
            return super().buildProtocol(addr)

    server = Raising(Remembering)
    server.listening = await behind().listen(server)
    bad, early, good = (rawConnection(server.port) for _ in range(3))
    early.send(line("192.0.2.66")[:10])
    await until(lambda: server.listening.stage.heldCount)
    bad.send(line("192.0.2.66"))
    early.send(line("192.0.2.66")[10:])
    good.send(LINE + b"x")
    await until(lambda: server.made and server.made[0].received)
    await until(lambda: isOver(bad) and isOver(early))
    for raw in (bad, early, good):
        raw.close()
    await closed(server.made[0])
    await server.listening.stopListening()
    assert len(loggedErrors.take(ZeroDivisionError)) == 2


def test_timeoutWhileHeldUp() -> None:
    """
    A header that has come while something held the reactor up is in time.
    """
    stage = Stage(timeout=5.0)
    whole, broken = stage.client(), stage.client()
    whole.send(LINE)
    broken.send(LINE[:10])
    stage.clock.advance(6)
    assert isOver(broken) and not isOver(whole)
    assert len(stage.door.connected) == 1
    stage.close()


def test_timeout() -> None:
    """
    Each client has its own time, however many bytes it sends.
    """
    stage = Stage(timeout=5.0)
    first = stage.client()
    stage.clock.advance(3)
    second = stage.client()
    first.send(b"PROXY")
    stage.turn()
    stage.clock.advance(1.9)
    assert not isOver(first)
    stage.clock.advance(0.2)
    assert isOver(first) and not isOver(second)
    second.send(LINE)
    stage.turn()
    stage.clock.advance(10)
    assert len(stage.door.connected) == 1
    stage.close()
    assert stage.clock.getDelayedCalls() == []
