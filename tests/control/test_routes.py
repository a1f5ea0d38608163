"""
Control: what it shows and changes, and when it starts.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import LogEvent, formatEvent

from tests.support.control import Control, controlled, gone, said
from tests.support.peers import Server
from tests.support.waiting import turn, until
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.service.companion import Accompanied
from twisted_tcpdemo.service.startup import StartError
from twisted_tcpdemo.twistd.programs import Echo
from twisted_tcpdemo.twistd.tap import Options, makeService

# The status.


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
    [listener] = status["listeners"]
    assert {name: listener[name] for name in where} == where
    assert (listener["queue"], listener["tls"], listener["proxy"]) == (0, False, False)
    assert (status["drain"], status["peakCount"]) == (None, 1)
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
    assert 0 < shown.pop("roundTripTime") < 10
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


# Changes.


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
    A close ends one connection in order, and the others stay.
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
    An abort ends one connection, with the reason of an abort.
    """
    async with controlled(tmp_path) as control:
        peer = await control.server.connect()
        number = (await control.server.protocol()).connectionID
        reply = await control.ask("POST", f"/connections/{number}/abort")
        assert (reply.status, reply.value) == (202, {"id": number, "state": "aborted"})
        await peer.whenLost()
        assert (await control.ask("GET", "/status")).value["closedBy"] == {"aborted": 1}


# Refused requests.


async def test_endlessBody(tmp_path: Path) -> None:
    """
    A request with an endless body is broken off.
    """
    async with controlled(tmp_path) as control:
        peer = await control.connect()
        peer.transport.write(
            b"PATCH /limits HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: x\r\n\r\n"
        )
        while peer.reason is None:
            peer.transport.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            await turn()


# The token.


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
    Over TCP, a request without the token is refused.
    """
    text = "tcp:0:interface=127.0.0.1"
    async with controlled(tmp_path, token=b"s3cret", given=given, text=text) as control:
        reply = await control.ask("GET", "/status")
        assert reply.status == status
        if status == 401:
            assert reply.value == {"error": "a token is needed"}
            assert "WWW-Authenticate: Bearer" in reply.head


# The command line of the server.


def started(*arguments: str) -> Any:
    """
    The service of a command line, not yet started.
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
    Control that would be open to everyone, or cannot listen, ends the start with
    one line.
    """
    with pytest.raises(StartError, match=why):
        started(*arguments)
    assert capfd.readouterr().err.count("\n") == 1


def test_onlyWhenAskedFor() -> None:
    """
    Without C{--control} the service is that of the server alone.
    """
    assert not isinstance(started(), Accompanied)


async def test_theWholeService(tmp_path: Path) -> None:
    """
    A service with control answers while it drains, and can be hurried.
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
