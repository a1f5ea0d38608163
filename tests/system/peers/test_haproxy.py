"""
Tests behind HAProxy, which tells in a PROXY header who its clients are.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import pemFile
from tests.support.clients import freePort, to
from tests.support.contexts import TwistedContexts, everyContext
from tests.support.processes import portOf, running, twistd
from tests.support.waiting import until
from tests.system.peers.support import (
    LARGE,
    Echo,
    Party,
    Saying,
    listens,
    needs,
    ours,
    pattern,
    program,
)
from twisted_tcpdemo import Admission, CloseReason, PerPeerLimit, Proxy

pytestmark = [needs("haproxy"), pytest.mark.deadline(20)]

CONFIGURATION = """
global
    maxconn 100
    log stdout format raw local0 info
defaults
    mode tcp
    timeout connect 5s
    timeout client 10s
    timeout server 10s
    timeout check 1s
    retries 0
    log global
frontend plain
    bind :::{port} v4v6
    unique-id-format client-%cp
    default_backend server
frontend secure
    bind 127.0.0.1:{securePort} ssl crt {pem} ca-file {pem} verify optional
    default_backend server
frontend ready
    bind 127.0.0.1:{readyPort}
    tcp-request connection reject
backend server
    server ours 127.0.0.1:{server} {options}
"""

VERSIONS = {
    "1": "send-proxy",
    "2": "send-proxy-v2",
    "2 with all": "send-proxy-v2 proxy-v2-options crc32c,unique-id",
}

TRUSTED = Proxy(trusted=["127.0.0.0/8"])

everyVersion = pytest.mark.parametrize("options", VERSIONS.values(), ids=VERSIONS)
everyFamily = pytest.mark.parametrize("host", ["127.0.0.1", "::1"], ids=["IPv4", "IPv6"])


class Through:
    """
    A running HAProxy.

    @ivar port: the port of plain clients, IPv4 and IPv6.
    @ivar securePort: the port of clients whose TLS ends there.
    """

    def __init__(self, port: int, securePort: int) -> None:
        self.port = port
        self.securePort = securePort


@asynccontextmanager
async def haproxy(folder: Path, server: int, options: str) -> AsyncGenerator[Through]:
    """
    HAProxy before a server, as long as the block lasts.

    @param options: those of its connections to the server, with C{{server}} in place
        of its port.
    """
    through, readyPort = Through(freePort(), freePort()), freePort()
    options = options.format(server=server)
    text = CONFIGURATION.format(
        **vars(through), readyPort=readyPort, server=server, options=options, pem=pemFile()
    )
    file = folder / "haproxy.cfg"
    file.write_text(text)
    async with running([program("haproxy"), "-db", "-f", str(file)]) as child:
        await until(lambda: child.status is not None or listens(readyPort))
        assert child.status is None, child.err
        yield through


async def leave(party: Party) -> None:
    """
    Close a client, and wait for its end.
    """
    party.transport.loseConnection()
    await party.whenLost()


# Who the client is.


class Telling(Party):
    """
    Tells its client's address and port, in answer to anything.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Tell it.
        """
        super().dataReceived(data)
        self.transport.write(f"{self.remoteAddress} {self.remotePort}".encode())


@everyFamily
@everyVersion
async def test_address(options: str, host: str, tmp_path: Path) -> None:
    """
    Peer and host are those of the client from the first event on, in the report and
    for the protocol, which can tell its client at the first byte; the proxy's own
    addresses are known beside them.
    """
    async with (
        ours(Telling, proxy=TRUSTED) as serving,
        haproxy(tmp_path, serving.port, options) as proxy,
    ):
        party = await to(proxy.port, host).connectProtocol(Party())
        party.transport.write(b"hello")
        told = f"{host} {party.localPort}".encode()
        await party.whenReceived(len(told))
        assert party.received == told
        protocol = await serving.protocol()
        [opened] = serving.events.of("connectionOpened")
        assert (opened.remote.address, opened.remote.port) == (host, party.localPort)
        assert (opened.local.address, opened.local.port) == (host, proxy.port)
        assert (protocol.remoteAddress, protocol.remotePort) == (host, party.localPort)
        assert (protocol.localAddress, protocol.localPort) == (host, proxy.port)
        assert protocol.remoteFamily == party.localFamily
        assert protocol.proxied.peer.host == "127.0.0.1"
        assert protocol.proxied.host.port == serving.port
        own = party.localPort
        await leave(party)
        report = await serving.report()
        assert (report.remote.address, report.remote.port) == (host, own)
        assert (report.bytesRead, report.bytesWritten) == (5, len(told))
        assert report.closeReason is CloseReason.PEER_CLOSED


async def test_tlvs(tmp_path: Path) -> None:
    """
    The header's values (version 2) can be read: the checksum, which is checked, and
    the number that the proxy gives to the connection.
    """
    options = VERSIONS["2 with all"]
    async with ours(proxy=TRUSTED) as serving, haproxy(tmp_path, serving.port, options) as proxy:
        party = await to(proxy.port).connectProtocol(Party())
        header = (await serving.protocol()).proxied.header
        assert header.version == 2
        tlvs = dict(header.tlvs)
        assert len(tlvs[0x03]) == 4
        assert tlvs[0x05] == b"client-%d" % party.localPort
        await leave(party)


@pytest.mark.parametrize("shows", [False, True], ids=["without", "with"])
async def test_certificateName(shows: bool, tmp_path: Path) -> None:
    """
    Where TLS ends at the proxy, the header tells the version, and the name in the
    client's certificate.
    """
    options = "send-proxy-v2 proxy-v2-options ssl,cert-cn"
    async with ours(proxy=TRUSTED) as serving, haproxy(tmp_path, serving.port, options) as proxy:
        tls = TwistedContexts.client(shows=shows)
        party = await to(proxy.securePort, tls=tls).connectProtocol(Party())
        party.transport.write(b"hello")
        await party.whenReceived(5)
        protocol = await serving.protocol()
        assert protocol.remotePort == party.localPort
        value = dict(protocol.proxied.header.tlvs)[0x20]
        assert b"TLSv1.3" in value
        assert (b"localhost" in value) is shows
        await leave(party)


@everyFamily
async def test_log(host: str, tmp_path: Path) -> None:
    """
    The log of the server has the client's address, and nothing of the proxy's.
    """
    command = twistd(
        *("--port", "0", "--interface", "127.0.0.1", "--protocol", "echo"),
        *("--proxy-protocol", "--proxy-from", "127.0.0.0/8"),
    )
    async with running(command) as child:
        async with haproxy(tmp_path, await portOf(child), "send-proxy-v2 check") as proxy:
            party = await to(proxy.port, host).connectProtocol(Party())
            where = rf"{host}:{party.localPort} \(IPv4\)"
            if ":" in host:
                where = rf"\[{host}\]:{party.localPort} \(IPv6\)"
            await child.whenPrinted(rf"connection \d+: {where} to ")
            party.transport.write(b"hello")
            await party.whenReceived(5)
            await leave(party)
            await child.whenPrinted(r"close \d+: peer closed after")
        assert "refused" not in child.out
        assert "Traceback" not in child.out + child.err


async def test_admission(tmp_path: Path) -> None:
    """
    Limits for each peer count clients, not the proxy.
    """
    rules = {"admission": Admission(PerPeerLimit(1))}
    async with (
        ours(proxy=TRUSTED, factory=rules) as serving,
        haproxy(tmp_path, serving.port, "send-proxy-v2") as proxy,
    ):
        first = await to(proxy.port).connectProtocol(Party())
        await serving.protocol()
        second = await to(proxy.port).connectProtocol(Party())
        await second.whenEnded()
        other = await to(proxy.port, localAddress="127.0.0.7").connectProtocol(Party())
        other.transport.write(b"hello")
        await other.whenReceived(5)
        [refusal] = serving.events.of("connectionRefused")
        assert (refusal.remote.address, refusal.remote.port) == ("127.0.0.1", second.localPort)
        assert (serving.factory.acceptedCount, serving.factory.refusedCount) == (2, 1)
        for party in (first, second, other):
            await leave(party)


async def test_untrusted(tmp_path: Path) -> None:
    """
    A proxy that is not trusted is refused: the client sees an end and not a byte.
    """
    stranger = Proxy(trusted=["192.0.2.0/24"])
    async with (
        ours(proxy=stranger) as serving,
        haproxy(tmp_path, serving.port, "send-proxy-v2") as proxy,
    ):
        party = await to(proxy.port).connectProtocol(Party())
        party.transport.write(b"hello")
        await party.whenLost()
        assert party.received == b""
        await until(lambda: serving.events.of("connectionRefused"))
        [refusal] = serving.events.of("connectionRefused")
        assert refusal.rule == "proxyUntrusted"
        assert not serving.made


# What passes through.


@pytest.mark.parametrize("options", list(VERSIONS.values())[:2], ids=list(VERSIONS)[:2])
async def test_large(options: str, tmp_path: Path) -> None:
    """
    A large transfer in both directions arrives whole, and the client's half-close
    passes through the proxy.
    """
    data = pattern(LARGE)
    async with ours(proxy=TRUSTED) as serving, haproxy(tmp_path, serving.port, options) as proxy:
        party = await to(proxy.port, allowHalfOpen=True).connectProtocol(Party())
        party.transport.write(data)
        party.transport.loseWriteConnection()
        await party.whenEnded()
        assert party.received == data
        report = await serving.report()
        assert (report.bytesRead, report.bytesWritten, report.bytesPending) == (LARGE, LARGE, 0)
        assert report.closeReason is CloseReason.PEER_CLOSED
        await leave(party)


class Waiting(Echo):
    """
    Answers the client's FIN, and closes.
    """

    def readConnectionLost(self) -> None:
        """
        Answer.
        """
        super().readConnectionLost()
        self.transport.write(b"goodbye")
        self.transport.loseConnection()


async def test_halfClose(tmp_path: Path) -> None:
    """
    A server that allows half-open connections answers after the client's FIN.
    """
    half = {"allowHalfOpen": True}
    async with (
        ours(Waiting, proxy=TRUSTED, factory=half) as serving,
        haproxy(tmp_path, serving.port, "send-proxy-v2") as proxy,
    ):
        party = await to(proxy.port, allowHalfOpen=True).connectProtocol(Party())
        party.transport.write(b"hello ")
        party.transport.loseWriteConnection()
        await party.whenEnded()
        assert party.received == b"hello goodbye"
        await leave(party)


async def test_serverFirst(tmp_path: Path) -> None:
    """
    A server that speaks first and closes is heard.
    """
    async with (
        ours(Saying, proxy=TRUSTED) as serving,
        haproxy(tmp_path, serving.port, "send-proxy") as proxy,
    ):
        party = await to(proxy.port).connectProtocol(Party())
        await party.whenLost()
        assert party.received == Saying.text


@everyContext
@everyFamily
async def test_tls(contexts: Any, host: str, tmp_path: Path) -> None:
    """
    TLS that ends at our server begins behind the header.
    """
    async with (
        ours(proxy=TRUSTED, tls=contexts.server()) as serving,
        haproxy(tmp_path, serving.port, "send-proxy-v2") as proxy,
    ):
        tls = TwistedContexts.client()
        party = await to(proxy.port, host, tls=tls).connectProtocol(Party())
        party.transport.write(b"hello")
        await party.whenReceived(5)
        protocol = await serving.protocol()
        assert (protocol.remoteAddress, protocol.remotePort) == (host, party.localPort)
        await leave(party)
        report = await serving.report()
        assert (report.bytesRead, report.bytesWritten) == (5, 5)


# Health checks.


CHECKS = {
    "connect": "send-proxy-v2 check port {server} inter 20ms",
    "1": "send-proxy check check-send-proxy inter 20ms",
    "2": "send-proxy-v2 check check-send-proxy inter 20ms",
}


@pytest.mark.parametrize("options", CHECKS.values(), ids=CHECKS)
async def test_checks(options: str, tmp_path: Path) -> None:
    """
    Health checks, without a header or with one that tells of no client, are no
    refusals, leave nothing behind, and keep the server up.
    """
    async with ours(proxy=TRUSTED) as serving, haproxy(tmp_path, serving.port, options) as proxy:
        for _ in range(5):
            party = await to(proxy.port).connectProtocol(Party())
            party.transport.write(b"hello")
            await party.whenReceived(5)
            own = party.localPort
            assert own in {p.remotePort for p in serving.factory.connections}
            await leave(party)
            await until(
                lambda own=own: any(
                    report.peer.port == own for report in serving.events.of("connectionClosed")
                )
            )
        assert serving.events.of("connectionRefused") == []


async def test_checkIsAConnection(tmp_path: Path) -> None:
    """
    A health check with a header that tells of no client is a connection of the proxy's
    own.
    """
    async with ours(proxy=TRUSTED) as serving, haproxy(tmp_path, serving.port, CHECKS["2"]):
        await until(lambda: serving.factory.closedCount >= 2)
        assert serving.factory.refusedCount == 0
        opened = serving.events.of("connectionOpened")
        assert {report.remote.address for report in opened} == {"127.0.0.1"}


@pytest.mark.parametrize("options", CHECKS.values(), ids=CHECKS)
async def test_checksInLog(options: str, tmp_path: Path) -> None:
    """
    Health checks leave no line of an error in the log.
    """
    command = twistd(
        *("--port", "0", "--interface", "127.0.0.1", "--protocol", "echo"),
        *("--proxy-protocol", "--proxy-from", "127.0.0.0/8"),
    )
    async with running(command) as child:
        async with haproxy(tmp_path, await portOf(child), options) as proxy:
            for _ in range(5):
                party = await to(proxy.port).connectProtocol(Party())
                party.transport.write(b"hello")
                await party.whenReceived(5)
                await leave(party)
        lines = (child.out + child.err).splitlines()
        assert not [line for line in lines if "refused" in line or "rror" in line], lines
        assert "Traceback" not in child.out + child.err
