"""
L{twisted_tcpdemo.fast.proxied}: clients behind a proxy, from C{accept} to their
protocol.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from struct import pack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor
from twisted.logger import LogEvent, eventAsText, globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface.verify import verifyObject

from tests.support.certificates import clientContext, serverContext
from tests.support.fast import FastServer, Remembering, closed, fastServer
from tests.support.hygiene import LoggedErrors
from tests.support.peers import Peer, Server, rawConnection, reset, serving
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
from twisted_tcpdemo.fast.accepting import AcceptingPort
from twisted_tcpdemo.fast.proxied import HeaderStage, Unserved
from twisted_tcpdemo.interfaces import IHeldClient, IHeldClients
from twisted_tcpdemo.twistd.programs import Discard, Echo

LOOPBACK = Proxy(trusted=["127.0.0.0/8", "::1"])

V2 = block(
    0x21,
    0x11,
    socket.inet_aton("192.0.2.7") + socket.inet_aton("192.0.2.1") + pack("!HH", 4711, 80),
)
V6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 80\r\n"
LOCAL = block(0x20, 0x00, b"")


def line(host: str, port: int = 4711) -> bytes:
    """
    A header for a client.
    """
    return f"PROXY TCP4 {host} 192.0.2.1 {port} 80\r\n".encode()


def behind(proxy: Proxy = LOOPBACK, interface: str = "127.0.0.1", **options: Any) -> ServerEndpoint:
    """
    An endpoint behind a proxy.
    """
    from twisted.internet import reactor

    return ServerEndpoint(reactor, 0, interface, proxy=proxy, **options)


def stageOf(server: Server) -> HeaderStage:
    """
    The stage of a server's only port.
    """
    [port] = server.factory.ports
    assert isinstance(port, AcceptingPort) and isinstance(port.stage, HeaderStage)
    return port.stage


@asynccontextmanager
async def proxiedServer(
    factory: TCPDemoFactory, endpoint: ServerEndpoint | None = None
) -> AsyncGenerator[tuple[Server, Any]]:
    """
    A server, and a function that connects a raw client and sends its first bytes.
    The accounts add up at the end.
    """
    raws: list[socket.socket] = []

    async with serving(factory, endpoint or behind()) as server:

        def client(data: bytes = b"") -> socket.socket:
            raw = rawConnection(server.port)
            raws.append(raw)
            if data:
                raw.send(data)
            return raw

        try:
            yield server, client
        finally:
            for raw in raws:
                raw.close()
    assert factory.conservation() == []
    assert factory.connectionCount == 0


async def received(raw: socket.socket, count: int) -> bytes:
    """
    Wait for a number of bytes.
    """
    got = bytearray()

    def some() -> bool:
        with suppress(BlockingIOError):
            got.extend(raw.recv(count - len(got)))
        return len(got) == count

    await until(some)
    return bytes(got)


def isOver(raw: socket.socket) -> bool:
    """
    Whether the server has closed, in order or by RST.
    """
    try:
        return raw.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


# The value.


@pytest.mark.parametrize(
    ("wrong", "kind", "text"),
    [
        ({"trusted": []}, ValueError, "trusted must name the proxies; nobody could connect"),
        ({"trusted": None}, TypeError, "trusted must be a list of networks, not None"),
        ({"trusted": 5}, TypeError, "trusted must be a list of networks, not 5"),
        ({"trusted": [5]}, TypeError, "trusted must hold networks such as '10.0.0.0/8', not 5"),
        ({"trusted": ["proxy"]}, ValueError, "'proxy' does not appear to be an IPv4 or IPv6"),
        ({"trusted": ["10.0.0.1/8"]}, ValueError, "10.0.0.1/8 has host bits set"),
        ({"trusted": ["::1"], "timeout": 0}, ValueError, "timeout must be a finite number above 0"),
        ({"trusted": ["::1"], "timeout": None}, TypeError, "timeout must be a number, not None"),
    ],
    ids=str,
)
def test_wrongProxy(wrong: dict[str, Any], kind: type[Exception], text: str) -> None:
    """
    What makes no sense is an error when it is given.
    """
    with pytest.raises(kind, match=text.replace("(", r"\(")):
        Proxy(**wrong)


def test_trusts() -> None:
    """
    Only named peers are trusted; those on UNIX sockets by a word of their own.
    """
    proxy = Proxy(trusted=["127.0.0.0/8", "2001:db8::/32"])
    assert proxy.trusts(IPv4Address("TCP", "127.0.0.9", 1))
    assert proxy.trusts(IPv6Address("TCP", "::ffff:127.0.0.9", 1))
    assert proxy.trusts(IPv6Address("TCP", "2001:db8::5", 1))
    assert not proxy.trusts(IPv4Address("TCP", "192.0.2.7", 1))
    assert not proxy.trusts(UNIXAddress(None))
    assert Proxy(trusted="unix").trusts(UNIXAddress(b"/run/proxy"))
    assert repr(proxy) == "Proxy(trusted=('127.0.0.0/8', '2001:db8::/32'), timeout=5.0)"
    assert proxy == Proxy(trusted=iter(["127.0.0.0/8", "2001:db8::/32"]))


def test_wrongEndpoint() -> None:
    """
    The endpoint takes a Proxy alone, and says what it needs where it cannot serve.
    """
    with pytest.raises(TypeError, match="proxy must be a Proxy, not '::1'"):
        behind("::1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="proxy needs a POSIX reactor of Twisted's, and epoll"):
        ServerEndpoint(MemoryReactor(), 0, proxy=LOOPBACK)


# Addresses.


class Noting(TCPDemoProtocol):
    """
    Remembers what it knows of its client in each hook.
    """

    built: Any = None

    def connectionMade(self) -> None:
        """
        Remember the addresses.
        """
        self.known = (self.peer, self.host, self.transport.getPeer(), self.transport.getHost())

    def dataReceived(self, data: bytes) -> None:
        """
        Answer with the client's address.
        """
        self.transport.write(data + f" from {self.remoteAddress}".encode())


class NotingFactory(TCPDemoFactory):
    """
    Remembers the addresses for which protocols are built.
    """

    def buildProtocol(self, addr: Any) -> Any:
        """
        Remember the address.
        """
        self.builtFor = addr
        self.built = super().buildProtocol(addr)
        return self.built


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


# Bytes.


async def test_drip() -> None:
    """
    A header may come byte by byte; the protocol hears nothing of it.
    """
    async with fastServer(proxy=LOOPBACK) as server:
        raw = rawConnection(server.port)
        for byte in V2[:-1]:
            raw.send(bytes([byte]))
            await turn()
        assert not server.made
        raw.send(V2[-1:] + b"x")
        await until(lambda: server.made and server.made[0].received)
        assert server.made[0].received == b"x"
        raw.close()
        await closed(server.made[0])


async def test_halfClose() -> None:
    """
    Data and a FIN right behind the header come to the protocol in order.
    """
    async with fastServer(proxy=LOOPBACK) as server:
        raw = rawConnection(server.port)
        raw.send(LINE + b"hello")
        raw.shutdown(socket.SHUT_WR)
        await until(lambda: server.made and server.made[0].ended)
        assert server.made[0].received == b"hello"
        assert IHalfCloseableProtocol.providedBy(server.made[0])
        server.made[0].transport.write(b"bye")
        server.made[0].transport.loseConnection()
        assert await received(raw, 3) == b"bye"
        raw.close()
        await server.made[0].whenLost()


async def test_paused() -> None:
    """
    A protocol that does not read gets no data behind the header until it does.
    """
    factory = TCPDemoFactory(Echo, pauseOnConnect=True)
    async with proxiedServer(factory) as (server, client):
        raw = client(LINE + b"hello")
        protocol = await server.protocol()
        for _ in range(5):
            await turn()
        assert protocol.bytesRead == 0
        protocol.resume()
        assert await received(raw, 5) == b"hello"


async def test_tls() -> None:
    """
    The header comes before TLS, and both sides see the client.
    """
    endpoint: Any = behind(tls=serverContext())
    factory = NotingFactory(Noting)
    from twisted.internet import reactor

    async with serving(factory, endpoint) as server:
        peer = Peer()
        inner = Factory.forProtocol(lambda: peer)  # type: ignore[type-var]
        secure = TLSMemoryBIOFactory(clientContext(), True, inner).buildProtocol(None)

        class Late(Peer):
            """
            Sends the header, and then begins TLS.
            """

            def connectionMade(self) -> None:
                """
                Do so.
                """
                self.transport.write(V2)
                self.transport.protocol = secure
                secure.makeConnection(self.transport)

        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", server.port), Late())
        peer.transport.write(b"hello")
        await peer.whenReceived(len(b"hello from 192.0.2.7"))
        assert peer.received == b"hello from 192.0.2.7"
        assert factory.built.known == (CLIENT, SERVER, CLIENT, SERVER)
        assert factory.built.proxied.header.source == CLIENT
        assert factory.built.bytesRead == 5
        peer.transport.loseConnection()
        await peer.whenLost()
        await factory.whenEmpty()
        assert factory.built.peer == CLIENT
        assert factory.built.proxied.header.source == CLIENT


# Refusals.


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


@pytest.mark.parametrize("end", [socket.socket.close, reset])
async def test_healthCheck(end: Any) -> None:
    """
    A proxy that only looks whether somebody listens is no event.
    """
    factory = TCPDemoFactory(Echo)
    async with proxiedServer(factory) as (server, client):
        raw = client()
        await until(lambda: stageOf(server).heldCount)
        end(raw)
        await until(lambda: not stageOf(server).heldCount)
        assert server.events.names == ["listening"]


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


# Admission and limits.


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


async def test_refuse() -> None:
    """
    A client beyond the limit is refused with its own address; a client without a
    header takes no slot.
    """
    factory = TCPDemoFactory(Echo, maxConnections=1, refusalMessage=b"full")
    async with proxiedServer(factory) as (server, client):
        client()
        await until(lambda: stageOf(server).heldCount)
        await received(client(LINE + b"1"), 1)
        assert await received(client(line("192.0.2.8")), 4) == b"full"
        [refusal] = server.events.of("connectionRefused")
        assert (str(refusal.remote), refusal.rule) == ("192.0.2.8:4711", "maxConnections")


async def test_wait() -> None:
    """
    Where clients wait, one whose header becomes whole while there is no slot waits
    too: never one too many, and none refused.
    """
    factory = TCPDemoFactory(Echo, maxConnections=2, overflow="wait")
    async with proxiedServer(factory) as (server, client):
        slow = [client(LINE[:10]) for _ in range(4)]
        await until(lambda: stageOf(server).heldCount == 4)
        served = [client(LINE + b"x"), client(LINE + b"x")]
        for raw in served:
            await received(raw, 1)
        for raw in slow:
            raw.send(LINE[10:] + b"y")
        for _ in range(10):
            await turn()
        assert (factory.connectionCount, stageOf(server).heldCount) == (2, 4)
        for last, raw in zip([*served, *slow], slow, strict=False):
            last.close()
            assert await received(raw, 1) == b"y"
            assert factory.connectionCount <= 2
        assert factory.refusedCount == 0
        await until(lambda: stageOf(server).heldCount == 0)


async def test_waitInOrder() -> None:
    """
    A client that waits comes in before those in the kernel's queue.
    """
    factory = TCPDemoFactory(Echo, maxConnections=1, overflow="wait")
    async with proxiedServer(factory) as (server, client):
        early = client(LINE[:10])
        await until(lambda: stageOf(server).heldCount)
        first = client(LINE + b"1")
        await received(first, 1)
        early.send(LINE[10:] + b"2")
        for _ in range(5):
            await turn()
        queued = client(LINE + b"3")
        first.close()
        assert await received(early, 1) == b"2"
        assert not factory.refusedCount
        early.close()
        assert await received(queued, 1) == b"3"


@pytest.mark.parametrize("change", ["maxConnections", "overflow"])
async def test_changed(change: str) -> None:
    """
    A waiting client comes in, or is refused, as soon as a change allows it.
    """
    factory = TCPDemoFactory(Echo, maxConnections=1, overflow="wait")
    async with proxiedServer(factory) as (server, client):
        early = client(LINE[:10])
        await until(lambda: stageOf(server).heldCount)
        await received(client(LINE + b"1"), 1)
        early.send(LINE[10:] + b"2")
        for _ in range(5):
            await turn()
        if change == "overflow":
            factory.overflow = "refuse"
            await until(lambda: factory.refusedCount)
            assert server.events.of("connectionRefused")[0].peer == CLIENT
        else:
            factory.maxConnections = 2
            assert await received(early, 1) == b"2"


async def test_suspended() -> None:
    """
    A header that becomes whole while the server is suspended keeps its client
    waiting until it resumes.
    """
    factory = TCPDemoFactory(Echo)
    async with proxiedServer(factory) as (server, client):
        raw = client(LINE[:10])
        await until(lambda: stageOf(server).heldCount)
        factory.suspend()
        raw.send(LINE[10:] + b"x")
        for _ in range(5):
            await turn()
        assert factory.acceptedCount == 0
        factory.resume()
        assert await received(raw, 1) == b"x"


async def test_descriptors() -> None:
    """
    A client without a whole header counts in the descriptors, and is refused where
    none is left for it.
    """
    factory = TCPDemoFactory(Echo)
    async with proxiedServer(factory) as (server, client):
        factory.descriptorLimit = 2
        held = client()
        await until(lambda: stageOf(server).heldCount)
        await received(client(LINE + b"1"), 1)
        client()
        await until(lambda: factory.refusedCount == 1)
        client(LINE)
        await until(lambda: factory.refusedCount == 2)
        assert factory.report().refusedBy == {"descriptorLimit": 2}
        held.close()
        await until(lambda: not stageOf(server).heldCount)
        await received(client(LINE + b"2"), 1)


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


# The end.


async def test_drain() -> None:
    """
    A drain serves the clients whose headers have come, and refuses the others.
    """
    factory = TCPDemoFactory(Echo)
    async with proxiedServer(factory) as (server, client):
        unfinished = client(LINE[:10])
        await until(lambda: stageOf(server).heldCount)
        whole = client(LINE + b"x")  # still in the kernel's queue
        drained = factory.drain(5)
        assert await received(whole, 1) == b"x"
        await until(lambda: isOver(unfinished))
        whole.close()
        report = await drained
        assert (report.finished, report.aborted) == (1, 0)
        assert factory.report().refusedBy == {"proxyStopped": 1}


async def test_drainWaiting() -> None:
    """
    A drain refuses a client that has waited for a slot, as it does those in the
    kernel's queue.
    """
    factory = TCPDemoFactory(Echo, maxConnections=1, overflow="wait", refusalMessage=b"full")
    async with proxiedServer(factory) as (server, client):
        waiting = client(LINE[:10])
        await until(lambda: stageOf(server).heldCount)
        first = client(LINE + b"x")
        await received(first, 1)
        waiting.send(LINE[10:])
        for _ in range(5):
            await turn()
        drained = factory.drain(5)
        assert await received(waiting, 4) == b"full"
        first.close()
        await drained


async def test_stopListening() -> None:
    """
    A port of a plain factory that stops leaves no client behind.
    """
    async with fastServer(proxy=LOOPBACK) as server:
        raw = rawConnection(server.port)
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


def test_interfaces() -> None:
    """
    The stage and the factory keep their contracts.
    """
    stage = Stage()
    ours, theirs = socket.socketpair()
    verifyObject(IHeldClient, Unserved(stage.stage, ours, "", UNIXAddress(None)))
    verifyObject(IHeldClients, TCPDemoFactory(Discard).heldClients)
    ours.close()
    theirs.close()
    stage.close()


# In memory.


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


def test_reactorStops() -> None:
    """
    When the reactor stops, every client is closed, and nobody is told.
    """
    factory = TCPDemoFactory(Discard, maxConnections=0, overflow="wait")
    stage = Stage(factory)
    unfinished, waiting = stage.client(b"PROXY"), stage.client(LINE)
    assert stage.stage.heldCount == 2
    stage.door.poller.connectionLost(proxied.Failure(ConnectionError()))
    assert isOver(unfinished) and isOver(waiting)
    assert factory.refusedCount == 0
    assert stage.door.poller.connectionCount == 0
    stage.close()


def test_noMoreWatches(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A client that the kernel does not watch is refused, with a header or without.
    """
    factory = TCPDemoFactory(Discard, maxConnections=0, overflow="wait")
    stage = Stage(factory)

    def add(connection: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stage.door.poller, "add", add)
    for data in (b"", LINE):
        assert isOver(stage.client(data))
    assert factory.report().refusedBy == {"descriptorLimit": 2}
    assert stage.stage.heldCount == 0
    stage.close()


@settings(deadline=None, max_examples=40)
@given(
    some.sampled_from([LINE, V2, V6, LOCAL, block(0x20, 0, tlv(4, bytes(600)))]),
    some.binary(max_size=600),
    some.data(),
)
def test_anySplit(header: bytes, behindIt: bytes, data: some.DataObject) -> None:
    """
    At any split, exactly the header is read, and the protocol gets the rest.
    """
    stream = header + behindIt
    cuts = data.draw(some.lists(some.integers(0, len(stream)), max_size=5).map(sorted))
    stage = Stage()
    cuts.append(len(stream))
    raw = stage.client(stream[: cuts[0]])
    for a, b in pairwise(cuts):
        if a < b:
            raw.send(stream[a:b])
        stage.turn()
    [(ours, _, told)] = stage.door.connected
    ours.setblocking(False)
    rest = bytearray()
    while len(rest) < len(behindIt):
        rest += ours.recv(4096)
    assert rest == behindIt
    assert told.source is None or told.source.port == 4711  # type: ignore[union-attr]
    stage.close()
