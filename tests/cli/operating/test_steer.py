"""
C{tcpdemo control}.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import answering, command, response
from tests.support.control import controlled
from tests.support.waiting import until
from twisted_tcpdemo.cli import main
from twisted_tcpdemo.cli.outcome import Outcome


async def test_control(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Every verb does its work, and prints the result.
    """
    async with controlled(tmp_path) as control:
        path, factory = tmp_path / "control", control.factory
        peers = [await control.server.connect() for _ in range(2)]
        await until(lambda: factory.connectionCount == 2)
        first, second = (p.connectionID for p in factory.connections)

        async def told(*arguments: object) -> str:
            assert await command("control", path, *arguments) == Outcome.DONE
            return capsys.readouterr().out.strip()

        assert await told("limit", 100) == "limit 100, refuse beyond"
        assert factory.maxConnections == 100
        assert await told("limit") == "limit 100, refuse beyond"
        factory.descriptorLimit = 5000
        assert await told("limit", "none") == "limit 5,000 (descriptors), refuse beyond"
        assert factory.maxConnections is None
        assert await told("overflow", "wait") == "limit 5,000 (descriptors), wait beyond"
        assert await told("suspend") == "suspended, 2 connected"
        assert await told("resume") == "accepting, 2 connected"
        table = (await told("connections")).splitlines()
        assert [line.split()[0] for line in table] == ["id", str(second), str(first)]
        assert await told("close", first) == f"connection {first}: closing"
        await peers[0].whenEnded()
        assert await told("abort", second) == f"connection {second}: aborted"
        await peers[1].whenLost()
        await control.server.connect()
        await until(lambda: factory.connectionCount == 1)
        assert (await told("drain", 30, "--spread", 1)).startswith("draining, ")
        assert await command("control", path, "resume") == Outcome.FAILED
        assert "does not listen any more" in capsys.readouterr().err
        assert await told("drain", 0)


async def test_controlForPrograms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    With --json every verb prints what the server has said.
    """
    async with controlled(tmp_path) as control:
        await control.server.connect()
        number = (await control.server.protocol()).connectionID

        async def told(*arguments: object) -> Any:
            assert await command("control", tmp_path / "control", *arguments, "--json") == 0
            return json.loads(capsys.readouterr().out)

        assert (await told("limit", 9))["maxConnections"] == 9
        assert (await told("overflow", "wait"))["overflow"] == "wait"
        assert (await told("suspend"))["state"] == "suspended"
        assert (await told("resume"))["state"] == "accepting"
        assert [row["id"] for row in await told("connections")] == [number]
        assert await told("abort", number) == {"id": number, "state": "aborted"}
        assert (await told("drain", 0))["state"] in {"draining", "stopped"}


async def test_controlWithToken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Over TCP the token is sent; without it, the server's refusal is printed.
    """
    (tmp_path / "token").write_text("s3cret\n")
    text = "tcp:0:interface=127.0.0.1"
    async with controlled(tmp_path, token=b"s3cret", text=text) as control:
        url = control._client.replace("tcp:", "http://")
        assert await command("control", url, "suspend") == Outcome.FAILED
        assert capsys.readouterr().err == "tcpdemo: the server says: a token is needed\n"
        tokenFile = ("--token-file", tmp_path / "token")
        assert await command("control", url, *tokenFile, "suspend") == Outcome.DONE


def test_noControl(capsys: pytest.CaptureFixture[str]) -> None:
    """
    A server that does not answer as control does gets one line.
    """
    with answering(response("yes")) as url:
        assert main(["control", url, "suspend"]) == Outcome.FAILED
    assert "not in the language of control" in capsys.readouterr().err
