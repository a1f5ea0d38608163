"""
Control: what it shows, what it changes, whom it lets in, what it refuses.
"""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from tests.support.control import Control, controlled, gone
from tests.support.peers import Server
from tests.support.waiting import turn, until
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.control.access import (
    AccessError,
    Asker,
    askerOf,
    tokenFrom,
)
from twisted_tcpdemo.control.requests import BadRequestError, limits, parsed
from twisted_tcpdemo.control.routes import MAX_BODY
from twisted_tcpdemo.service.companion import Accompanied
from twisted_tcpdemo.service.startup import StartError
from twisted_tcpdemo.twistd.programs import Echo
from twisted_tcpdemo.twistd.tap import Options, makeService


@pytest.fixture
def events() -> Generator[list[LogEvent]]:
    """
    What is logged during the test.
    """
    seen: list[LogEvent] = []
    globalLogPublisher.addObserver(seen.append)
    yield seen
    globalLogPublisher.removeObserver(seen.append)


def said(events: list[LogEvent]) -> list[str]:
    """
    The lines that control has logged.
    """
    lines = [formatEvent(event) for event in events]
    return [line for line in lines if line.startswith("control: ")]


# What it shows.


async def test_status(tmp_path: Path) -> None:
    """
    The status has the counters of the server, and says where it listens.
    """
    factory = TCPDemoFactory(Echo, maxConnections=1)
    async with controlled(tmp_path, factory) as control:
        peer = await control.server.connect()
        peer.transport.write(b"hello")
        await peer.whenReceived(5)
        refused = await control.server.connect()
        await refused.whenEnded()
        reply = await control.ask("GET", "/status")
    status = reply.value
    assert reply.status == 200
    assert "application/json" in reply.head
    assert (status["version"], status["pid"], status["state"]) == (1, os.getpid(), "accepting")
    assert 0 <= status["uptime"] < 60
    assert status["time"] > 1_600_000_000
    where = {"address": "127.0.0.1", "port": control.server.port, "family": "IPv4"}
    assert status["listeners"] == [where]
    counts = ("connectionCount", "effectiveLimit", "acceptedCount", "refusedCount", "closedCount")
    assert [status[name] for name in counts] == [1, 1, 1, 1, 0]
    assert (status["bytesRead"], status["bytesWritten"]) == (5, 5)
    assert (status["overflow"], status["refusedBy"]) == ("refuse", {"maxConnections": 1})
    assert status["closedBy"] == {}


async def test_connections(tmp_path: Path) -> None:
    """
    Each connection is listed with both ends, its times and its bytes.
    """
    async with controlled(tmp_path) as control:
        peer = await control.server.connect()
        peer.transport.write(b"hello")
        await peer.whenReceived(5)
        reply = await control.ask("GET", "/connections")
        protocol = await control.server.protocol()
    [shown] = reply.value
    assert shown.pop("age") >= shown.pop("idle") >= 0
    assert shown == {
        "id": protocol.connectionID,
        "peer": f"127.0.0.1:{protocol.remotePort}",
        "host": f"127.0.0.1:{control.server.port}",
        "bytesRead": 5,
        "bytesWritten": 5,
        "bytesPending": 0,
    }


async def test_stateAfterADrain(tmp_path: Path) -> None:
    """
    A server that has drained is stopped, and closes are counted by reason.
    """
    async with controlled(tmp_path) as control:
        await control.server.connect()
        await control.server.protocol()
        await control.factory.drain(0)
        status = (await control.ask("GET", "/status")).value
    assert (status["state"], status["listeners"]) == ("stopped", [])
    assert status["closedBy"] == {"drain deadline": 1}


@pytest.mark.parametrize(("path", "status"), [("/limits", 200), ("/drain", 405), ("/nowhere", 404)])
async def test_head(path: str, status: int, tmp_path: Path, events: list[LogEvent]) -> None:
    """
    HEAD is answered as GET would be, without the body, and changes nothing.
    """
    async with controlled(tmp_path) as control:
        peer = await control.connect()
        peer.transport.write(f"HEAD {path} HTTP/1.0\r\n\r\n".encode())
        await gone(peer)
        asked = await control.ask("GET", path)
        assert not control.factory.draining
    head, _, body = bytes(peer.received).decode().partition("\r\n\r\n")
    assert (int(head.split(" ", 2)[1]), asked.status, body) == (status, status, "")
    length = len(json.dumps(asked.value)) + 1
    assert f"content-length: {length}\r\n" in head.lower() + "\r\n"
    assert not any("HEAD" in (formatEvent(event) or "") for event in events)


# What it changes.


async def test_limits(tmp_path: Path, events: list[LogEvent]) -> None:
    """
    Limits are changed together, shown, and logged with the process that asked.
    """
    async with controlled(tmp_path) as control:
        changed = await control.ask("PATCH", "/limits", {"maxConnections": 100, "overflow": "wait"})
        assert (control.factory.maxConnections, control.factory.overflow) == (100, "wait")
        shown = await control.ask("GET", "/limits")
        expected = {"maxConnections": 100, "effectiveLimit": 100, "overflow": "wait"}
        assert shown.value == changed.value == expected
        lifted = await control.ask("PATCH", "/limits", {"maxConnections": None})
        holds = control.factory.descriptorLimit
        assert lifted.value == {**expected, "maxConnections": None, "effectiveLimit": holds}
    who = f"by uid {os.getuid()}, pid {os.getpid()}"
    assert said(events) == [
        f"control: maxConnections from none to 100, {who}",
        f"control: overflow from refuse to wait, {who}",
        f"control: maxConnections from 100 to none, {who}",
    ]


async def test_suspendAndResume(tmp_path: Path, events: list[LogEvent]) -> None:
    """
    A suspended server leaves clients in the queue until it is resumed.
    """
    async with controlled(tmp_path) as control:
        suspended = await control.ask("POST", "/suspend")
        assert suspended.value == {"state": "suspended", "connectionCount": 0}
        peer = await control.server.connect()
        assert (await control.ask("GET", "/status")).value["connectionCount"] == 0
        resumed = await control.ask("POST", "/resume", {})
        assert resumed.value["state"] == "accepting"
        peer.transport.write(b"x")
        await peer.whenReceived(1)
    assert [line.split(",")[0] for line in said(events)] == [
        "control: suspended",
        "control: resumed",
    ]


async def test_drain(tmp_path: Path, events: list[LogEvent]) -> None:
    """
    A drain is answered at once and goes on until the deadline.
    """
    async with controlled(tmp_path) as control:
        peer = await control.server.connect()
        await control.server.protocol()
        reply = await control.ask("POST", "/drain", {"deadline": 30, "spread": 5})
        assert (reply.status, reply.value) == (202, {"state": "draining", "connectionCount": 1})
        for path in ("/suspend", "/resume"):
            refused = await control.ask("POST", path)
            assert refused.status == 409
            assert "draining" in refused.value["error"]
        sooner = await control.ask("POST", "/drain", {"deadline": 0})
        assert sooner.status == 202
        await peer.whenLost()
        await until(lambda: not control.factory.draining)
    lines = said(events)
    assert lines[0].startswith("control: drains within 30 s, by uid ")
    drained = [line for line in lines if line.startswith("control: drained: ")]
    assert [line.partition(" with ")[0] for line in drained] == [
        "control: drained: 0 finished, 1 aborted"
    ]
    [event] = [event for event in events if "aborted" in event]
    assert (event["finished"], event["aborted"], event["bytesUnsent"]) == (0, 1, 0)


async def test_closeOne(tmp_path: Path, events: list[LogEvent]) -> None:
    """
    One connection is closed in order, and the others stay.
    """
    async with controlled(tmp_path) as control:
        first, second = await control.server.connect(), await control.server.connect()
        await until(lambda: control.factory.connectionCount == 2)
        number = control.factory.connections[0].connectionID
        reply = await control.ask("POST", f"/connections/{number}/close")
        assert (reply.status, reply.value) == (202, {"id": number, "state": "closing"})
        await first.whenEnded()
        assert (second.ended, second.reason) == (False, None)
    assert said(events)[0].startswith(f"control: close connection {number} of 127.0.0.1:")


async def test_abortOne(tmp_path: Path) -> None:
    """
    One connection is broken off, and its end has that reason.
    """
    async with controlled(tmp_path) as control:
        peer = await control.server.connect()
        number = (await control.server.protocol()).connectionID
        reply = await control.ask("POST", f"/connections/{number}/abort")
        assert (reply.status, reply.value) == (202, {"id": number, "state": "aborted"})
        await peer.whenLost()
        assert (await control.ask("GET", "/status")).value["closedBy"] == {"aborted": 1}


# What it refuses.


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("GET", "/", None, 404, 'there is no "/"'),
        ("GET", "/status/", None, 404, "there is no"),
        ("GET", "/x%00%1b", None, 404, "there is no"),
        ("POST", "/connections/4711/close", None, 404, 'no connection "4711"'),
        ("POST", "/connections/-1/abort", None, 404, 'no connection "-1"'),
        ("POST", "/connections/1/kill", None, 404, "there is no"),
        ("DELETE", "/limits", None, 405, "/limits takes GET, PATCH"),
        ("GET", "/drain", None, 405, "/drain takes POST"),
        ("GET", "/connections/1/close", None, 405, "takes POST"),
        ("PATCH", "/limits", None, 400, "nothing to change"),
        ("PATCH", "/limits", b"{", 400, "the body is no JSON"),
        ("PATCH", "/limits", b"\xff", 400, "the body is no JSON"),
        ("PATCH", "/limits", b"[" * MAX_BODY, 400, "the body is no JSON"),
        ("PATCH", "/limits", b"[]", 400, "must be a JSON object"),
        ("PATCH", "/limits", {"maxConnections": -1}, 400, "not -1"),
        ("PATCH", "/limits", {"maxConnections": True}, 400, "not true"),
        ("PATCH", "/limits", {"maxConnections": 1.5}, 400, "not 1.5"),
        ("PATCH", "/limits", {"maxConnections": "5"}, 400, 'not "5"'),
        ("PATCH", "/limits", {"maxConnections": 2**31}, 400, "maxConnections must be"),
        ("PATCH", "/limits", {"maxConnections": 5, "overflow": "x"}, 400, 'not "x"'),
        ("PATCH", "/limits", {"maxConnections": 5, "overflow": ["wait"]}, 400, "overflow must be"),
        ("PATCH", "/limits", {"maxConnections": 5, "limit": 3}, 400, 'unknown field "limit"'),
        ("PATCH", "/limits", b'{"maxConnections": 5, "maxConnections": 6}', 400, "there twice"),
        ("PATCH", "/limits", b'{"maxConnections": 5, "a": NaN}', 400, "NaN is no number"),
        ("PATCH", "/limits", b" " * (MAX_BODY + 1), 413, "no more than 4096 bytes"),
        ("POST", "/drain", {"deadline": -1}, 400, "deadline must be"),
        ("POST", "/drain", {"deadline": "30"}, 400, "deadline must be"),
        ("POST", "/drain", b'{"deadline": 1e999}', 400, "deadline must be"),
        ("POST", "/drain", {"deadline": 30, "spread": None}, 400, "spread must be"),
        ("POST", "/drain", {"spread": 3}, 400, "spread goes with a deadline"),
        ("POST", "/suspend", {"deadline": 3}, 400, "nothing is expected"),
        ("GET", "/status", {"x": 1}, 400, "nothing is expected"),
    ],
)
async def test_badInput(
    tmp_path: Path,
    events: list[LogEvent],
    *,
    method: str,
    path: str,
    body: object,
    status: int,
    error: str,
) -> None:
    """
    What makes no sense is answered with its reason, and changes nothing.
    """
    async with controlled(tmp_path, TCPDemoFactory(Echo, maxConnections=3)) as control:
        reply = await control.ask(method, path, body)
        assert (reply.status, list(reply.value)) == (status, ["error"])
        assert error in reply.value["error"]
        factory = control.factory
        assert (factory.maxConnections, factory.overflow) == (3, "refuse")
        assert not (factory.suspended or factory.draining)
    assert said(events) == []


async def test_endlessBody(tmp_path: Path) -> None:
    """
    A body without an end is broken off.
    """
    async with controlled(tmp_path) as control:
        peer = await control.connect()
        peer.transport.write(
            b"PATCH /limits HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: x\r\n\r\n"
        )
        while peer.reason is None:
            peer.transport.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            await turn()


# Whom it lets in.


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("Bearer s3cret", 200),
        ("bearer  s3cret", 200),
        (None, 401),
        ("", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("Bearer s3cre", 401),
        ("Bearer s3cret2", 401),
        ("Bearer S3CRET", 401),
        ("Basic s3cret", 401),
        ("s3cret", 401),
        ("Bearer \u00fc", 401),
    ],
)
async def test_token(tmp_path: Path, given: str | None, status: int) -> None:
    """
    Over TCP, nothing is answered without the token.
    """
    text = "tcp:0:interface=127.0.0.1"
    async with controlled(tmp_path, token=b"s3cret", given=given, text=text) as control:
        reply = await control.ask("GET", "/status")
        assert reply.status == status
        if status == 401:
            assert reply.value == {"error": "a token is needed"}
            assert "WWW-Authenticate: Bearer" in reply.head


async def test_addressOfWhoAsked(tmp_path: Path, events: list[LogEvent]) -> None:
    """
    Over TCP, the log has the address of who changed something.
    """
    text = "tcp:0:interface=127.0.0.1"
    async with controlled(tmp_path, token=b"x", given="Bearer x", text=text) as control:
        await control.ask("POST", "/suspend")
    assert said(events)[0].startswith("control: suspended, by 127.0.0.1:")


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("{path}", 0o600),
        ("unix:{path}", 0o600),
        ("unix:{path}:mode=660", 0o660),
        ("unix:mode=640:address={path}", 0o640),
    ],
)
async def test_mode(tmp_path: Path, text: str, mode: int) -> None:
    """
    Only its owner can use the socket, unless the endpoint's string says more.
    """
    async with controlled(tmp_path, text=text.format(path=tmp_path / "control")) as control:
        assert stat.S_IMODE((tmp_path / "control").stat().st_mode) == mode
        assert (await control.ask("GET", "/limits")).status == 200


async def test_staleSocket(tmp_path: Path) -> None:
    """
    A socket that a killed process has left is replaced.
    """
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "control"))
    async with controlled(tmp_path) as control:
        assert (await control.ask("GET", "/limits")).status == 200


async def test_socketInUse(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """
    A socket on which somebody listens is left alone.
    """
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "control"))
        other.listen()
        with pytest.raises(StartError, match="for control: Address already in use"):
            async with controlled(tmp_path):
                pass
        assert (tmp_path / "control").is_socket()


async def test_fileInTheWay(tmp_path: Path) -> None:
    """
    A file that is no socket is left alone.
    """
    (tmp_path / "control").write_text("precious")
    with pytest.raises(StartError, match="for control: Address already in use"):
        async with controlled(tmp_path):
            pass
    assert (tmp_path / "control").read_text() == "precious"


# The command line of the server.


def tokenFile(folder: Path, content: bytes, mode: int = 0o600) -> str:
    """
    A file with a token.
    """
    path = folder / "token"
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def test_tokenFile(tmp_path: Path) -> None:
    """
    The token is what is in the file, without the white space around it.
    """
    assert tokenFrom(tokenFile(tmp_path, b" s3cret\n")) == b"s3cret"
    assert tokenFrom(tokenFile(tmp_path, b"x", 0o640)) == b"x"


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        (b"s3cret", 0o604, "everybody can read it"),
        (b"", 0o600, "there is no token"),
        (b" \n", 0o600, "there is no token"),
        (b"two words", 0o600, "one word"),
        (b"\xff", 0o600, "one word"),
        (b"x" * 5000, 0o600, "one word"),
        (b"x" + b" " * 5000, 0o600, "one word"),
    ],
)
def test_badTokenFile(tmp_path: Path, content: bytes, mode: int, why: str) -> None:
    """
    A token that others can read, or that is none, is refused.
    """
    with pytest.raises(AccessError, match=why):
        tokenFrom(tokenFile(tmp_path, content, mode))


def test_noTokenFile(tmp_path: Path) -> None:
    """
    What is no regular file is refused, without waiting for it.
    """
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(AccessError, match="no regular file"):
        tokenFrom(str(tmp_path / "fifo"))
    with pytest.raises(AccessError, match="No such file"):
        tokenFrom(str(tmp_path / "none"))


def started(*arguments: str) -> Any:
    """
    The service for a command line, which is not started.
    """
    options = Options()
    options.parseOptions(["--port", "0", "--interface", "127.0.0.1", *arguments])
    return makeService(options)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--control", "tcp:0"], "is no UNIX socket, and so needs --control-token-file"),
        (["--control", "tcp:0", "--control-token-file", "/nowhere"], "No such file"),
        (["--control", "nonsense"], "--control 'nonsense': it is no endpoint"),
        (["--control", "unix:/x:mode=abc"], "it is no endpoint"),
        (["--control", "systemd:index=0:domain=INET"], "systemd has handed over no such socket"),
        (["--control-token-file", "/x"], "goes with --control"),
    ],
)
def test_refusesToStart(arguments: list[str], why: str, capfd: pytest.CaptureFixture[str]) -> None:
    """
    Control that would be open to everybody, or cannot be had, ends the start
    with one line.
    """
    with pytest.raises(StartError, match=why):
        started(*arguments)
    assert capfd.readouterr().err.count("\n") == 1


def test_onlyWhenAskedFor() -> None:
    """
    Without C{--control} there is nothing beside the server.
    """
    assert not isinstance(started(), Accompanied)


async def test_theWholeService(tmp_path: Path) -> None:
    """
    A service with control can be asked, and hurried, while it drains.
    """
    path = tmp_path / "control"
    service: Accompanied = started("--protocol", "echo", "--drain", "60", "--control", str(path))
    service.privilegedStartService()
    service.startService()
    factory = service.server._factory  # type: ignore[attr-defined]
    server = Server(factory, f"tcp:127.0.0.1:{factory.address().port}", False)
    peer = await server.connect()
    await server.protocol()
    stopped = service.stopService()
    control = Control(server, f"unix:{path}", None)
    assert (await control.ask("GET", "/status")).value["state"] == "draining"
    await control.ask("POST", "/drain", {"deadline": 0})
    await peer.whenLost()
    await stopped
    assert not path.exists()


# Its parts.


def test_askerWithoutAnAddress() -> None:
    """
    Who has asked can always be said.
    """
    assert str(Asker(None, None, None)) == "somebody"
    assert str(Asker(3, 4, None)) == "uid 3, pid 4"


def test_askerOnUnix() -> None:
    """
    On a UNIX socket the kernel tells who has connected.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:

        class Transport:
            socket = ours

            def getPeer(self) -> None:
                return None

        expected = Asker(os.getuid(), os.getpid(), None)
        assert askerOf(Transport()) == expected


def test_parsed() -> None:
    """
    An empty body is an empty object.
    """
    assert parsed(b"") == parsed(b" \n") == parsed(b"{}") == {}
    with pytest.raises(BadRequestError, match='not "x'):
        limits({"overflow": "x" * 1000})
