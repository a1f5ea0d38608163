"""
Tests against Node's C{tls}: its client with our server, and our client with its
server.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import pemFile
from tests.support.clients import to
from tests.support.contexts import everyContext
from tests.support.processes import Child, running
from tests.support.waiting import failureOf
from tests.system.peers.support import (
    BROKEN,
    LARGE,
    OTHER,
    Echo,
    Party,
    Saying,
    needs,
    ours,
    program,
)
from twisted_tcpdemo import CloseReason

SCRIPT = Path(__file__).parent / "tls.js"

pytestmark = [needs("node"), pytest.mark.deadline(20)]


async def event(child: Child, name: str) -> dict[str, Any]:
    """
    The facts of an event that the script tells.
    """
    found = await child.whenPrinted(rf'(?m)^{{"event":"{name}".*}}$')
    facts: dict[str, Any] = json.loads(found[0])
    return facts


@asynccontextmanager
async def client(
    port: int, *mode: object, pem: Path | None = None, alpn: str = ""
) -> AsyncGenerator[Child]:
    """
    Node's client, as long as the block lasts.
    """
    parts = [SCRIPT, "client", port, pem or pemFile(), *mode]
    async with running([program("node"), *map(str, parts)], ALPN=alpn) as child:
        yield child


@asynccontextmanager
async def server(*mode: object, alpn: str = "") -> AsyncGenerator[tuple[Child, int]]:
    """
    Node's server, as long as the block lasts, and its port.
    """
    parts = [SCRIPT, "server", pemFile(), *mode]
    async with running([program("node"), *map(str, parts)], ALPN=alpn) as child:
        yield child, (await event(child, "listening"))["port"]


# Node's client and our server.


@everyContext
@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_echo(contexts: Any, version: str) -> None:
    """
    Both sides agree on a protocol and on what was said, and the client's end() is an
    orderly end for both.
    """
    tls = contexts.server(version=version, alpn=["second", "first"])
    async with (
        ours(tls=tls) as serving,
        client(serving.port, "ask", "hello", alpn="first,second") as child,
    ):
        found = await event(child, "secure")
        assert (found["version"], found["alpnProtocol"]) == (f"TLSv{version}", "second")
        assert (await event(child, "answer"))["received"] == "hello"
        await event(child, "end")
        assert (await event(child, "close"))["hadError"] is False
        assert await child.whenEnded() == 0
        report = await serving.report()
        assert report.peer.port == found["localPort"]
        assert (report.bytesRead, report.bytesWritten, report.bytesPending) == (5, 5, 0)
        assert report.closeReason is CloseReason.PEER_CLOSED
        assert (await serving.protocol()).agreed == b"second"


@everyContext
@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_large(contexts: Any, version: str) -> None:
    """
    A large transfer comes back whole.
    """
    async with ours(tls=contexts.server(version=version)) as serving:
        async with client(serving.port, "size", LARGE) as child:
            assert (await event(child, "answer"))["count"] == LARGE
            assert (await event(child, "close"))["hadError"] is False
        report = await serving.report()
        assert (report.bytesRead, report.bytesWritten, report.bytesPending) == (LARGE, LARGE, 0)
        assert bytes((await serving.protocol()).received) == b"node " * (LARGE // 5)


@everyContext
async def test_clientEnds(contexts: Any) -> None:
    """
    A client that ends its side with its first message is heard, and its end is
    orderly.
    """
    async with ours(Party, tls=contexts.server()) as serving:
        async with client(serving.port, "end", "hello") as child:
            assert (await event(child, "close"))["hadError"] is False
        report = await serving.report()
        assert (report.bytesRead, report.closeReason) == (5, CloseReason.PEER_CLOSED)


@everyContext
async def test_serverEnds(contexts: Any) -> None:
    """
    A client gets what the server says last, and then an orderly end.
    """
    async with ours(Saying, tls=contexts.server()) as serving:
        async with client(serving.port, "wait") as child:
            assert (await event(child, "end"))["received"] == Saying.text.decode()
            assert (await event(child, "close"))["hadError"] is False
        assert (await serving.report()).closeReason is CloseReason.LOCAL_CLOSE


@everyContext
async def test_untrusted(contexts: Any) -> None:
    """
    A client that does not trust our certificate has one clear error, and the server
    one event.
    """
    async with ours(tls=contexts.server()) as serving:
        async with client(serving.port, "ask", "hello", pem=pemFile(OTHER)) as child:
            assert (await event(child, "error"))["code"] in {
                "DEPTH_ZERO_SELF_SIGNED_CERT",
                "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
            }
        report = await serving.report()
        assert (report.bytesRead, report.bytesWritten) == (0, 0)


# Our client and Node's server.


@everyContext
async def test_echoOfServer(contexts: Any) -> None:
    """
    Both sides agree on a protocol, a name and a port, and the client's close is
    orderly for both.
    """
    async with server("echo", alpn="second,first") as (child, port):
        tls = contexts.client(alpn=["first", "second"])
        party = await to(port, "localhost", tls=tls).connectProtocol(Party())
        found = await event(child, "secure")
        assert (found["alpnProtocol"], found["servername"]) == ("second", "localhost")
        assert found["remotePort"] == party.localPort
        party.transport.write(b"hello")
        await party.whenReceived(5)
        assert (party.received, party.agreed) == (b"hello", b"second")
        party.transport.loseConnection()
        await party.whenLost()
        assert party.closeReason is CloseReason.LOCAL_CLOSE
        await event(child, "end")
        assert (await event(child, "close"))["hadError"] is False


@everyContext
async def test_largeOfServer(contexts: Any) -> None:
    """
    A large transfer comes back to the server whole, and the server's end is orderly.
    """
    async with server("size", LARGE) as (child, port):
        party = await to(port, "localhost", tls=contexts.client()).connectProtocol(Echo())
        assert (await event(child, "answer"))["count"] == LARGE
        await party.whenLost()
        assert party.closeReason is CloseReason.PEER_CLOSED
        assert (party.bytesRead, party.bytesWritten, party.bytesPending) == (LARGE, LARGE, 0)
        assert (await event(child, "close"))["hadError"] is False


@everyContext
async def test_serverEndsFirst(contexts: Any) -> None:
    """
    The server's end() at the client's answer is an orderly end for both.
    """
    async with server("ask", "hello") as (child, port):
        party = await to(port, "localhost", tls=contexts.client()).connectProtocol(Echo())
        await party.whenLost()
        assert (party.received, party.closeReason) == (b"hello", CloseReason.PEER_CLOSED)
        assert (await event(child, "answer"))["received"] == "hello"
        assert (await event(child, "close"))["hadError"] is False


@everyContext
async def test_serverEndsAtOnce(contexts: Any) -> None:
    """
    What the server says in the turn of its handshake arrives, though Node then ends
    without a close_notify.
    """
    async with server("end", "goodbye") as (_, port):
        party = await to(port, "localhost", tls=contexts.client()).connectProtocol(Party())
        await party.whenLost()
        assert party.received == b"goodbye"


@everyContext
async def test_untrustedServer(contexts: Any) -> None:
    """
    A server that the client does not trust is one clear error, of both.
    """
    async with server("echo") as (child, port):
        tls = contexts.client(trusts=pemFile(OTHER))
        error = await failureOf(to(port, "localhost", tls=tls).connectProtocol(Party()))
        assert "certificate verify failed" in str(error)
        assert "ALERT" in (await event(child, "error"))["code"]


@everyContext
async def test_serverKilled(contexts: Any) -> None:
    """
    A server that is killed has broken the connection off.
    """
    async with server("echo") as (child, port):
        party = await to(port, "localhost", tls=contexts.client()).connectProtocol(Party())
        party.transport.write(b"hello")
        await party.whenReceived(5)
        child.signal(9)
        await party.whenLost()
        assert party.closeReason in BROKEN
