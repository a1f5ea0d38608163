"""
Tests against OpenSSL's command line: C{s_client} with our server, and our client with
C{s_server}.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from fcntl import ioctl
from pathlib import Path
from termios import FIONREAD
from typing import Any

import pytest

from tests.support.certificates import pemFile
from tests.support.clients import to
from tests.support.contexts import TwistedContexts, everyContext
from tests.support.processes import Child, running
from tests.support.waiting import failureOf, turn, until
from tests.system.peers.support import (
    BROKEN,
    LARGE,
    OTHER,
    Party,
    Saying,
    needs,
    ours,
    pattern,
    printed,
    program,
)
from twisted_tcpdemo import CloseReason

pytestmark = [needs("openssl"), pytest.mark.deadline(20)]

everyVersion = pytest.mark.parametrize("version", ["1.2", "1.3"])


@asynccontextmanager
async def client(port: int, *options: object) -> AsyncGenerator[Child]:
    """
    C{s_client}, as long as the block lasts.  At the end of its input it sends its
    C{close_notify}.
    """
    command = [program("openssl"), "s_client", "-connect", f"127.0.0.1:{port}"]
    command += ["-CAfile", str(pemFile()), "-verify_return_error"]
    async with running([*command, *map(str, options)]) as child:
        yield child


@asynccontextmanager
async def server(*options: object) -> AsyncGenerator[tuple[Child, int]]:
    """
    C{s_server} for one client, as long as the block lasts, and its port.
    """
    command = [program("openssl"), "s_server", "-accept", "127.0.0.1:0", "-naccept", "1"]
    command += ["-cert", str(pemFile()), "-key", str(pemFile())]
    async with running([*command, *map(str, options)]) as child:
        found = await child.whenPrinted(r"ACCEPT 127\.0\.0\.1:(\d+)")
        yield child, int(found[1])


async def ended(child: Child) -> int:
    """
    End the input of a program, and wait for its end.

    @return: its exit status.
    """
    child.transport.closeStdin()
    return await child.whenEnded()


async def read(child: Child) -> None:
    """
    Wait until a program has read its input.  A command must be all that it reads at a
    time.
    """
    for _ in range(2):
        await turn()  # the reactor writes it
    pipe = child.transport.pipes[0].fileno()
    await until(lambda: not any(ioctl(pipe, FIONREAD, bytes(4))))


def flag(version: str) -> str:
    """
    The option for one version of TLS alone.
    """
    return "-tls" + version.replace(".", "_")


# s_client and our server.


@everyContext
@everyVersion
async def test_echo(contexts: Any, version: str) -> None:
    """
    Both sides agree on the version and on the server's first choice of the client's
    protocols, and the client gets back what it says.
    """
    async with ours(tls=contexts.server(version=version, alpn=["second", "first"])) as serving:
        async with client(serving.port, flag(version), "-alpn", "first,second") as child:
            await child.whenPrinted("ALPN protocol: second")
            await child.whenPrinted("Verify return code: 0 ")
            child.transport.write(b"hello\n")
            await child.whenPrinted("hello\n")
            assert await ended(child) == 0
            assert re.search(rf"(?m)^New, TLSv{version}, ", child.out)
        report = await serving.report()
        assert (report.bytesRead, report.bytesWritten, report.bytesPending) == (6, 6, 0)
        assert report.closeReason is CloseReason.PEER_CLOSED
        protocol = await serving.protocol()
        assert (protocol.handshakes, protocol.agreed) == (1, b"second")


@everyContext
async def test_otherVersion(contexts: Any) -> None:
    """
    A client that speaks no version of the server's is told so, and its end is one
    event.
    """
    async with ours(tls=contexts.server(version="1.3")) as serving:
        async with client(serving.port, "-tls1_2") as child:
            assert await child.whenEnded() == 1
            assert "alert protocol version" in child.err
        report = await serving.report()
        assert report.closeReason is CloseReason.TLS_FAILED
        assert (report.bytesRead, report.bytesWritten) == (0, 0)


@everyContext
async def test_serverName(contexts: Any) -> None:
    """
    The name that the client asks for (SNI) chooses the certificate.
    """
    chosen = {OTHER: contexts.server(pem=pemFile(OTHER))}
    async with ours(tls=contexts.named(chosen)) as serving:
        for name in (OTHER, "localhost"):
            options = ["-servername", name, "-verify_hostname", name, "-CAfile", pemFile(name)]
            async with client(serving.port, *options) as child:
                await child.whenPrinted("Verify return code: 0 ")
                assert f"subject=CN = {name}" in child.out
                await ended(child)


@everyContext
@everyVersion
async def test_clientCertificate(contexts: Any, version: str) -> None:
    """
    The server sees the client's certificate.
    """
    own = ["-cert", pemFile(), "-key", pemFile()]
    async with ours(tls=contexts.server(asks=True, version=version)) as serving:
        async with client(serving.port, *own) as child:
            child.transport.write(b"hello\n")
            await child.whenPrinted("hello\n")
            await ended(child)
        assert (await serving.protocol()).certificate


@everyContext
@everyVersion
@pytest.mark.parametrize("shown", [None, OTHER])
async def test_noClientCertificate(contexts: Any, version: str, shown: str | None) -> None:
    """
    A client without a certificate, or with one that nobody trusts, is sent away with
    an alert, and hears and says nothing.
    """
    own = ["-cert", pemFile(shown), "-key", pemFile(shown)] if shown else []
    async with ours(tls=contexts.server(asks=True, version=version)) as serving:
        async with client(serving.port, *own) as child:
            child.transport.write(b"hello\n")
            assert await child.whenEnded() == 1
            assert "alert" in child.err
        report = await serving.report()
        assert report.closeReason is CloseReason.TLS_FAILED
        assert (report.bytesRead, report.bytesWritten) == (0, 0)


@everyContext
@everyVersion
async def test_large(contexts: Any, version: str) -> None:
    """
    All bytes of a large transfer come back, in order.
    """
    data = pattern(LARGE)
    async with ours(tls=contexts.server(version=version)) as serving:
        async with client(serving.port, "-brief") as child:
            child.transport.write(data)
            assert await child.whenOut(LARGE) == data
            assert await ended(child) == 0
        report = await serving.report()
        assert (report.bytesRead, report.bytesWritten, report.bytesPending) == (LARGE, LARGE, 0)


@everyContext
@everyVersion
async def test_serverCloses(contexts: Any, version: str) -> None:
    """
    What the server says last arrives before its close_notify.
    """
    async with ours(Saying, tls=contexts.server(version=version)) as serving:
        async with client(serving.port, "-brief") as child:
            assert await child.whenEnded() == 0
            assert child.out == Saying.text.decode()
            assert "error" not in child.err
        report = await serving.report()
        assert report.closeReason is CloseReason.LOCAL_CLOSE
        assert (report.bytesWritten, report.bytesPending) == (len(Saying.text), 0)


@everyContext
@everyVersion
async def test_serverAborts(contexts: Any, version: str) -> None:
    """
    A connection that the server aborts is broken for the client.
    """
    async with ours(tls=contexts.server(version=version)) as serving:
        async with client(serving.port) as child:
            child.transport.write(b"hello\n")
            await child.whenPrinted("hello\n")
            (await serving.protocol()).transport.abortConnection()
            await child.whenEnded()
            assert "errno=104" in child.err + child.out
        assert (await serving.report()).closeReason is CloseReason.ABORTED


@everyContext
@everyVersion
async def test_cutShort(contexts: Any, version: str) -> None:
    """
    A client that is killed sends a FIN without a close_notify: the connection was cut
    short, and what came before is counted.
    """
    async with ours(tls=contexts.server(version=version)) as serving:
        async with client(serving.port) as child:
            child.transport.write(b"hello\n")
            await child.whenPrinted("hello\n")
            child.signal(9)
            await child.whenEnded()
        report = await serving.report()
        assert report.closeReason in BROKEN
        assert (report.bytesRead, report.bytesWritten) == (6, 6)


@everyContext
async def test_keyUpdates(contexts: Any) -> None:
    """
    New keys (TLS 1.3), asked of both sides, change nothing for the protocol.
    """
    async with ours(tls=contexts.server(version="1.3")) as serving:
        async with client(serving.port) as child:
            asked = 0
            for number in range(5):
                child.transport.write(b"hello %d\n" % number)
                await child.whenPrinted(f"hello {number}\n")
                for command in "Kk":
                    child.transport.write(command.encode() + b"\n")
                    asked += 1
                    await until(lambda wanted=asked: child.err.count("KEYUPDATE") == wanted)
            child.transport.write(b"goodbye\n")
            await child.whenPrinted("goodbye\n")
            assert await ended(child) == 0
        report = await serving.report()
        assert report.bytesRead == report.bytesWritten == 5 * 8 + 8
        assert report.closeReason is CloseReason.PEER_CLOSED


@everyContext
async def test_renegotiation(contexts: Any) -> None:
    """
    A client may not renegotiate (TLS 1.2): its connection ends, and no other.
    """
    async with ours(tls=contexts.server(version="1.2")) as serving:
        async with client(serving.port) as child:
            child.transport.write(b"hello\n")
            await child.whenPrinted("hello\n")
            child.transport.write(b"R\n")
            assert await child.whenEnded() == 1
            assert "no renegotiation" in child.err
        report = await serving.report()
        assert report.closeReason in BROKEN
        assert (report.bytesRead, report.bytesWritten) == (6, 6)


@everyContext
@everyVersion
async def test_sessions(contexts: Any, version: str, tmp_path: Path) -> None:
    """
    A client that comes back with its session is served, whether the server knows the
    session or not.
    """
    session = tmp_path / "session"
    found: list[str] = []
    async with ours(tls=contexts.server(version=version)) as serving:
        for number in range(1, 4):
            known = ["-sess_in", session] if session.exists() else []
            async with client(serving.port, *known, "-sess_out", session) as child:
                child.transport.write(b"hello\n")
                await child.whenPrinted("hello\n")
                assert await ended(child) == 0
                found.append(re.search("(?m)^(New|Reused), ", child.out)[1])
            assert (await serving.report(number)).closeReason is CloseReason.PEER_CLOSED
    # Twisted's contexts keep no sessions.
    known = "New" if contexts is TwistedContexts else "Reused"
    assert found == ["New", known, known]


@everyContext
async def test_noTLS(contexts: Any) -> None:
    """
    A client that waits for a greeting before TLS, and has sent nothing when it leaves, is
    one event.
    """
    async with ours(tls=contexts.server()) as serving:
        async with client(serving.port, "-starttls", "smtp") as child:
            child.transport.write(b"hello\n")
            await until(lambda: serving.made)
            child.signal(9)
            await child.whenEnded()
        assert (await serving.report()).closeReason in {*BROKEN, CloseReason.PROBE}


# Our client and s_server.


@everyContext
@everyVersion
async def test_echoOfServer(contexts: Any, version: str) -> None:
    """
    Both sides agree on the version and on a protocol, and the client's close is
    orderly.
    """
    async with server(flag(version), "-rev", "-alpn", "second,first") as (child, port):
        tls = contexts.client(alpn=["first", "second"])
        party = await to(port, "localhost", tls=tls).connectProtocol(Party())
        party.transport.write(b"stressed\n")
        await party.whenReceived(9)
        assert party.received == b"desserts\n"
        assert (party.agreed, party.handshakes) == (b"second", 1)
        assert party.certificate
        assert (party.bytesRead, party.bytesWritten, party.bytesPending) == (9, 9, 0)
        party.transport.loseConnection()
        await party.whenLost()
        assert party.closeReason is CloseReason.LOCAL_CLOSE
        await printed(child, "CONNECTION CLOSED")
        assert f"Protocol version: TLSv{version}" in child.err
        assert await ended(child) == 0


@everyContext
@everyVersion
async def test_largeOfServer(contexts: Any, version: str) -> None:
    """
    Large transfers in both directions at once arrive whole.
    """
    data = pattern(LARGE)
    async with server(flag(version)) as (child, port):
        party = await to(port, "localhost", tls=contexts.client()).connectProtocol(Party())
        party.transport.write(data)
        child.transport.write(data)
        await party.whenReceived(LARGE)
        assert party.received == data
        assert (party.bytesRead, party.bytesWritten, party.bytesPending) == (LARGE, LARGE, 0)
        party.transport.loseConnection()
        await party.whenLost()
        assert party.closeReason is CloseReason.LOCAL_CLOSE
        await child.whenEnded()
        assert data.decode() in child.out


@everyContext
@everyVersion
async def test_closedByServer(contexts: Any, version: str) -> None:
    """
    The server's close_notify is an orderly end.
    """
    async with server(flag(version), "-rev") as (_, port):
        party = await to(port, "localhost", tls=contexts.client()).connectProtocol(Party())
        party.transport.write(b"CLOSE\n")
        await party.whenLost()
        assert party.closeReason is CloseReason.PEER_CLOSED


@everyContext
async def test_untrusted(contexts: Any) -> None:
    """
    A server whose certificate the client does not trust is one clear error.
    """
    async with server() as (child, port):
        tls = contexts.client(trusts=pemFile(OTHER))
        error = await failureOf(to(port, "localhost", tls=tls).connectProtocol(Party()))
        assert "certificate verify failed" in str(error)
        await printed(child, "alert unknown ca")


@everyContext
async def test_wrongName(contexts: Any) -> None:
    """
    A trusted certificate for another name is one clear error.
    """
    other = pemFile(OTHER)
    async with server("-cert", other, "-key", other) as (_, port):
        tls = contexts.client(trusts=other)
        error = await failureOf(to(port, "localhost", tls=tls).connectProtocol(Party()))
        assert re.search("mismatch", str(error), re.IGNORECASE)


@everyContext
@everyVersion
async def test_certificateOfClient(contexts: Any, version: str) -> None:
    """
    A client shows its certificate to a server that demands one.
    """
    options = [flag(version), "-Verify", "1", "-verify_return_error", "-CAfile", pemFile()]
    async with server(*options) as (child, port):
        tls = contexts.client(shows=True)
        party = await to(port, "localhost", tls=tls).connectProtocol(Party())
        child.transport.write(b"hello\n")
        await party.whenReceived(6)
        party.transport.loseConnection()
        await party.whenLost()
        await child.whenPrinted("subject=CN = localhost")


@everyContext
async def test_certificateDemanded(contexts: Any) -> None:
    """
    A client without the certificate that a server demands (TLS 1.3) is connected
    until the server's alert comes, which ends it.
    """
    options = ["-tls1_3", "-Verify", "1", "-verify_return_error", "-CAfile", pemFile()]
    async with server(*options) as (_, port):
        party = Party()
        await to(port, "localhost", tls=contexts.client()).connectProtocol(party)
        await party.whenLost()
        assert party.closeReason is CloseReason.TLS_FAILED


@everyContext
async def test_keyUpdatesOfServer(contexts: Any) -> None:
    """
    New keys (TLS 1.3), asked for by the server, change nothing for the client.
    """
    async with server("-tls1_3") as (child, port):
        party = await to(port, "localhost", tls=contexts.client()).connectProtocol(Party())
        for number in range(1, 6):
            await party.write(f"thanks {number}\n")
            await child.whenPrinted(f"thanks {number}\n")
            child.transport.write(b"K\n" if number % 2 else b"k\n")
            await read(child)
            child.transport.write(b"hello\n")
            await party.whenReceived(6 * number)
        assert party.received == b"hello\n" * 5
        party.transport.loseConnection()
        await party.whenLost()


@everyContext
async def test_renegotiationOfServer(contexts: Any) -> None:
    """
    A server that renegotiates (TLS 1.2) is refused or obeyed; no byte of either side
    is lost or garbled.
    """
    async with server("-tls1_2") as (child, port):
        party = await to(port, "localhost", tls=contexts.client()).connectProtocol(Party())
        child.transport.write(b"hello\n")
        await party.whenReceived(6)
        child.transport.write(b"r\n")
        await read(child)
        child.transport.write(b"hello\n")
        await until(lambda: len(party.received) >= 12 or party.reason)
        assert party.received == b"hello\n" * (1 if party.reason else 2)
        party.transport.loseConnection()
        await party.whenLost()


@everyContext
async def test_serverKilled(contexts: Any) -> None:
    """
    A server that is killed cuts the connection short.
    """
    async with server() as (child, port):
        party = await to(port, "localhost", tls=contexts.client()).connectProtocol(Party())
        child.transport.write(b"hello\n")
        await party.whenReceived(6)
        child.signal(9)
        await party.whenLost()
        assert party.closeReason in BROKEN
