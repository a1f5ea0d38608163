"""
Side doors, from end to end: slow and greedy visitors, and the one with the token.
"""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.endpoints import (
    clientFromString,
    connectProtocol,
    serverFromString,
    wrapClientTLS,
)

from tests.support.certificates import pemFile
from tests.support.clients import installedReactor
from tests.support.contexts import TwistedContexts
from tests.support.control import Control, controlled
from tests.support.peers import Peer
from tests.support.status import ask, connected
from tests.support.waiting import turn, until
from twisted_tcpdemo import CloseReason, TCPDemoFactory
from twisted_tcpdemo.control.routes import ControlSite
from twisted_tcpdemo.service.companion import MAX_VISITORS, Companion
from twisted_tcpdemo.status import StatusService
from twisted_tcpdemo.twistd.programs import Echo

TCP = "tcp:0:interface=127.0.0.1"


async def crowd(control: Control, first: bytes) -> list[Peer]:
    """
    Visitors that take all places, and send a beginning.
    """
    peers = []
    for _ in range(MAX_VISITORS + 20):
        peer = await control.connect()
        peer.transport.write(first)
        peers.append(peer)
    return peers


async def leave(peers: list[Peer]) -> None:
    """
    End all connections.
    """
    for peer in peers:
        if peer.reason is None:
            peer.transport.abortConnection()
        await peer.whenLost()


@pytest.mark.parametrize("text", [TCP, "{folder}/control", "fasttcp:0:interface=127.0.0.1"])
@pytest.mark.parametrize(
    "first",
    [b"", b"GET /status HTTP/1.1\r\nX:", b"POST /drain HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"],
)
async def test_slowStrangers(tmp_path: Path, text: str, first: bytes) -> None:
    """
    While slow strangers hold every place, the operator is answered.
    """
    where = text.format(folder=tmp_path)
    isTCP = "tcp" in text
    async with controlled(
        tmp_path,
        token=b"s3cret" if isTCP else None,
        given="Bearer s3cret" if isTCP else None,
        text=where if "fast" not in where else TCP,
    ) as control:
        peers = await crowd(control, first)
        for _ in range(3):
            assert (await control.ask("GET", "/limits")).status == 200
        await leave(peers)


async def test_knownStays(tmp_path: Path) -> None:
    """
    A visitor that has shown the token keeps its place, however many strangers come.
    """
    async with controlled(tmp_path, token=b"s3cret", text=TCP) as control:
        known = await control.connect()
        request = b"GET /limits HTTP/1.1\r\nAuthorization: Bearer s3cret\r\n\r\n"
        known.transport.write(request)
        await known.when(lambda: known.received.endswith(b"}\n"))
        peers = await crowd(control, b"GET ")
        await until(lambda: sum(peer.reason is not None for peer in peers) >= 20)
        before = len(known.received)
        known.transport.write(request)
        await known.when(lambda: known.received[before:].endswith(b"}\n"))
        await leave([*peers, known])


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("Bearer s3cret", 200),
        ("Basic " + b64encode(b"anybody:s3cret").decode(), 200),
        ("Basic " + b64encode(b"s3cret").decode(), 401),
        ("Basic s3cret", 401),
        ("Basic", 401),
        ("Bearer wrong", 401),
        (None, 401),
    ],
)
async def test_tokenOfThePage(given: str | None, status: int) -> None:
    """
    A page with a token is for those who send it; a browser sends it as a password.
    """
    reactor = installedReactor()
    endpoint = serverFromString(reactor, TCP)
    factory = TCPDemoFactory(Echo)
    service = StatusService(factory, TCP, endpoint, reactor, token=b"s3cret")
    service.startService()
    port: int = service.address.port  # type: ignore[union-attr]
    headers = "" if given is None else f"Authorization: {given}\r\n"
    answers = [await ask(port, path, headers=headers) for path in ("/", "/status.json", "/x")]
    await service.stopService()
    assert answers[0].code == answers[1].code == status
    if status == 401:
        assert answers[2].code == 401
        assert answers[0].headers["www-authenticate"] == 'bearer, basic realm="tcpdemo"'
        assert answers[0].headers["x-content-type-options"] == "nosniff"


async def test_neverReads(tmp_path: Path) -> None:
    """
    Visitors that ask for more than they read cost a bounded amount of memory.
    """
    factory = TCPDemoFactory(Echo)
    async with controlled(tmp_path, factory) as control:
        for _ in range(200):
            await control.server.connect()
        await until(lambda: factory.connectionCount == 200)
        with ExitStack() as stack:
            for _ in range(5):
                deaf = stack.enter_context(socket.socket(socket.AF_UNIX))
                deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                deaf.connect(str(tmp_path / "control"))
                deaf.setblocking(False)
                deaf.send(b"GET /connections HTTP/1.1\r\n\r\n" * 100)
            for _ in range(20):
                assert (await control.ask("GET", "/limits")).status == 200


WHERES = {
    "tcp": TCP,
    "tls": f"ssl:0:interface=127.0.0.1:privateKey={pemFile()}",
    "unix": "unix:{folder}/page",
    "fast": "fasttcp:0:interface=127.0.0.1",
}


@asynccontextmanager
async def listed(where: str, folder: Path) -> AsyncGenerator[tuple[Companion, Peer]]:
    """
    A control of many connections, and a visitor, over one kind of transport.
    """
    reactor = installedReactor()
    text = WHERES[where].format(folder=folder)
    factory = TCPDemoFactory(Echo)
    connected(factory, 3000)
    site = ControlSite(factory, reactor)
    companion = Companion("it", text, serverFromString(reactor, text), site, reactor)
    companion.startService()
    host: Any = companion.port.getHost()  # type: ignore[union-attr]
    client = f"unix:{folder}/page" if where == "unix" else f"tcp:127.0.0.1:{host.port}"
    endpoint: Any = clientFromString(reactor, client)
    if where == "tls":
        endpoint = wrapClientTLS(TwistedContexts.client(), endpoint)
    peer = Peer()
    await connectProtocol(endpoint, peer)
    try:
        yield companion, peer
    finally:
        await leave([peer])
        await companion.stopService()
    assert companion.visitors.conservation() == []


@pytest.mark.parametrize("where", WHERES)
async def test_allOfTheAnswer(where: str, tmp_path: Path) -> None:
    """
    A visitor that ends its side after its request gets all of a long answer.
    """
    async with listed(where, tmp_path) as (_, peer):
        peer.transport.write(b"GET /connections HTTP/1.1\r\n\r\n")
        if where != "tls":  # TLS ends as a whole
            peer.transport.loseWriteConnection()
            await peer.whenEnded()
        await peer.when(lambda: peer.received.endswith(b"\r\n0\r\n\r\n"))
        assert peer.received.count(b'"id"') == 3000


@pytest.mark.parametrize("where", WHERES)
async def test_stopInAnAnswer(where: str, tmp_path: Path) -> None:
    """
    A stop waits for a long answer that is under way.
    """
    async with listed(where, tmp_path) as (companion, peer):
        peer.transport.write(b"GET /connections HTTP/1.1\r\n\r\n")
        await peer.whenReceived(1)
        assert not peer.received.endswith(b"\r\n0\r\n\r\n")
        await companion.stopService()
        await peer.whenEnded()
        assert peer.received.count(b'"id"') == 3000
        assert companion.visitors.report().closedBy.keys() <= {
            CloseReason.LOCAL_CLOSE,
            CloseReason.PEER_CLOSED,
        }


@pytest.mark.parametrize("where", WHERES)
async def test_oneTurnIsShort(where: str, tmp_path: Path) -> None:
    """
    While a visitor asks for a long list again and again, the reactor has its turns.
    """
    async with listed(where, tmp_path) as (companion, peer):
        peer.transport.write(b"GET /connections HTTP/1.1\r\n\r\n" * 50)
        await peer.whenReceived(1)
        for _ in range(50):
            await turn()
        assert peer.received.count(b"HTTP/1.1 200") < 40
        await until(lambda: companion.visitors.connectionCount == 1)
