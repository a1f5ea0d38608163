"""
C{tcpdemo status}.
"""

from __future__ import annotations

import json
import os
import re
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from twisted.internet.threads import deferToThread

from tests.support.cli import HOSTILE, answering, client, command, ended, response, terminal
from tests.support.control import controlled
from tests.support.status import connected, showing
from tests.support.waiting import until
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.admission.policy import Admission
from twisted_tcpdemo.admission.rules import PerPeerLimit
from twisted_tcpdemo.cli import main
from twisted_tcpdemo.cli.operating.show import statusFrom
from twisted_tcpdemo.cli.operating.web import Client
from twisted_tcpdemo.cli.outcome import Outcome
from twisted_tcpdemo.twistd.programs import Echo


def withoutStyle(text: str) -> str:
    """
    Text without the sequences for colours and the cursor.
    """
    return re.sub(r"\x1b\[[?0-9;]*[mhl]", "", text)


async def test_statusOfADryRun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Clients that a dry run has let in are counted by rule.
    """
    factory = TCPDemoFactory(Echo, admission=Admission(PerPeerLimit(1), dryRun=True))
    async with controlled(tmp_path, factory) as control:
        assert await command("status", tmp_path / "control") == Outcome.DONE
        assert "\nwould refuse 0 (perPeerLimit: 0)\n" in capsys.readouterr().out
        for _ in range(3):
            await control.server.connect()
        await until(lambda: factory.connectionCount == 3)
        assert await command("status", tmp_path / "control") == Outcome.DONE
    assert "\nwould refuse 2 (perPeerLimit: 2)\n" in capsys.readouterr().out


async def test_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The status is a table with the counters and the connections.
    """
    async with controlled(tmp_path, TCPDemoFactory(Echo, maxConnections=1)) as control:
        peer = await control.server.connect()
        peer.transport.write(bytes(2000))
        await peer.whenReceived(2000)
        refused = await control.server.connect()
        await refused.whenEnded()
        assert await command("status", f"unix:{tmp_path / 'control'}") == Outcome.DONE
        shown = capsys.readouterr().out
        assert await command("status", tmp_path / "control", "--json") == Outcome.DONE
        assert json.loads(capsys.readouterr().out)["connections"][0]["bytesRead"] == 2000
    assert f"accepting, listening on 127.0.0.1:{control.server.port}\n" in shown
    assert "connections  1 of 1, refuse beyond\n" in shown
    assert "refused      1 (maxConnections: 1)\nclosed" in shown
    assert shown.splitlines()[-2].split() == [
        *("id", "peer", "host", "age", "idle", "read", "written", "pending", "rtt")
    ]
    assert "2.0 kB   2.0 kB      0 B" in shown


@pytest.mark.parametrize("option", ["--all", "--json", "--timeout=9"])
async def test_manyOnAStatusPage(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Off a terminal, the client asks a status page for more connections than a
    browser shows.
    """
    factory = TCPDemoFactory(Echo)
    connected(factory, 250)
    async with showing(factory) as port:
        assert await command("status", f"http://127.0.0.1:{port}", option) == Outcome.DONE
    shown = capsys.readouterr().out
    if option == "--json":
        assert len(json.loads(shown)["connections"]) == 250
    else:
        assert len(shown.partition("\n\n")[2].splitlines()) == 251


async def test_tooManyForAStatusPage(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Connections that a status page leaves out are counted.
    """
    factory = TCPDemoFactory(Echo)
    connected(factory, 1003)
    async with showing(factory) as port:
        assert await command("status", f"http://127.0.0.1:{port}", "--all") == Outcome.DONE
    assert capsys.readouterr().out.endswith("\n... and 3 more (control lists all)\n")


@pytest.mark.deadline(30)
async def test_statusOnATerminal() -> None:
    """
    On a terminal the table fits, and the remaining connections are counted.
    """
    factory = TCPDemoFactory(Echo)
    connected(factory, 339)
    with terminal() as (screen, path):
        async with showing(factory) as port:
            via = f'LINES=24 "$@" > {path}'
            async with client("status", f"http://127.0.0.1:{port}", via=via) as child:
                status, _, err = await ended(child)
        lines = withoutStyle(os.read(screen, 65536).decode()).splitlines()
    assert (status, err, len(lines)) == (Outcome.DONE, "", 23)
    told = sum(line.strip()[:1].isdecimal() for line in lines)
    assert lines[-1] == f"... and {339 - told} more (--all)"


@pytest.mark.deadline(30)
async def test_watch(tmp_path: Path) -> None:
    """
    --watch goes on, with rates, until Ctrl-C.
    """
    async with controlled(tmp_path):
        watching = ("status", tmp_path / "control", "--watch", "--interval", "0.05")
        async with client(*watching) as child:
            await child.whenPrinted(r"accepted +0 \(0\.0/s\)")
            child.signal(signal.SIGINT)
            status, _, err = await ended(child)
    assert (status, err) == (Outcome.INTERRUPTED, "")


@pytest.mark.deadline(30)
async def test_watchOnATerminal(tmp_path: Path) -> None:
    """
    On a terminal each look replaces the one before.
    """
    with terminal() as (screen, path):
        async with controlled(tmp_path):
            via = f'exec "$@" > {path}'
            watching = ("status", tmp_path / "control", "--watch", "--interval", "0.05")
            async with client(*watching, via=via) as child:
                shown = b""
                while shown.count(b"\x1b[1A") < 3 * 10:  # up, over the lines before
                    shown += await deferToThread(os.read, screen, 65536)
                child.signal(signal.SIGINT)
                status, _, err = await ended(child)
            os.set_blocking(screen, False)
            with suppress(BlockingIOError):
                shown += os.read(screen, 65536)
    assert (status, err) == (Outcome.INTERRUPTED, "")
    assert "state        accepting" in withoutStyle(shown.decode())
    assert b"\x1b[2K" in shown
    assert withoutStyle(shown.decode()).endswith("\n")


def test_hostileServer(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Escape sequences from a server never reach the terminal.
    """
    status = {
        "connectionCount": HOSTILE,
        "state": HOSTILE,
        "pid": [HOSTILE],
        "uptime": HOSTILE,
        "overflow": HOSTILE,
        "maxConnections": {HOSTILE: HOSTILE},
        "bytesRead": 1e300,
        "bytesPending": True,
        "listeners": [HOSTILE, {"address": HOSTILE, "port": HOSTILE}, {"address": "::", "port": 1}],
        "refusedBy": {HOSTILE: HOSTILE},
        "wouldRefuseBy": HOSTILE,
        "closedBy": [],
        "connections": [HOSTILE, {"id": HOSTILE, "peer": HOSTILE, "age": -1, "roundTripTime": 0.1}],
    }
    with answering(response(status)) as url:
        assert main(["status", url]) == Outcome.DONE
    shown = capsys.readouterr().out
    assert all(line.isprintable() for line in shown.split("\n"))
    assert r"\x1b]0;owned" in shown
    assert "100.0 ms" in shown


def test_statusPage() -> None:
    """
    The address of a status page may be that of the page or of its data.
    """
    for path in ("", "/", "/status.json", "/below/status.json"):
        with answering(response({"connectionCount": 3})) as url:
            assert statusFrom(Client(url + path, 5, None)) == {"connectionCount": 3}


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ((), [5, 4, 3, 2, 1]),
        (("--reverse",), [1, 2, 3, 4, 5]),
        (("--sort", "read"), [3, 5, 1, 4, 2]),
        (("--sort", "read", "-r"), [2, 4, 1, 5, 3]),
        (("--sort", "age"), [1, 2, 3, 4, 5]),
        (("--filter", "127.0.0."), [5, 4, 3, 2, 1]),
        (("--filter", "peer:127.0.0.1"), [5, 4, 3, 2, 1]),
        (("--filter", "peer:127.0.0."), []),
        (("--filter", "192.0.2."), []),
    ],
)
async def test_sameOrder(
    options: tuple[str, ...],
    shown: list[int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    Order, filter, columns and rows are the same from the status page and from control.
    """
    factory = TCPDemoFactory(Echo)
    async with controlled(tmp_path, factory) as control, showing(factory) as port:
        numbers = []
        for size in (300, 100, 500, 200, 400):
            peer = await control.server.connect()
            peer.transport.write(bytes(size))
            await peer.whenReceived(size)
            numbers.append(factory.connections[-1].connectionID)
        pages = []
        for server in (f"http://127.0.0.1:{port}", tmp_path / "control"):
            assert await command("status", server, "--json", *options) == Outcome.DONE
            rows = json.loads(capsys.readouterr().out)["connections"]
            assert [row["id"] for row in rows] == [numbers[n - 1] for n in shown]
            assert await command("status", server, *options) == Outcome.DONE
            lines = capsys.readouterr().out.splitlines()
            pages.append([line.split()[:3] for line in lines if "process" not in line])
        assert await command("control", tmp_path / "control", "connections", *options) == 0
        table = [line.split()[:3] for line in capsys.readouterr().out.splitlines()]
    assert pages[0] == pages[1]
    assert pages[0][-len(table) :] == table


@pytest.mark.parametrize("columns", [40, 60, 200])
async def test_narrowTerminal(columns: int) -> None:
    """
    On a narrow terminal no line of the table is wider than that, and colours are only for
    a terminal that wants them.
    """
    factory = TCPDemoFactory(Echo)
    connected(factory, 3)
    for colour in ("", "NO_COLOR=1"):
        with terminal() as (screen, path):
            async with showing(factory) as port:
                via = f'{colour} TERM=xterm COLUMNS={columns} LINES=30 "$@" > {path}'
                async with client("status", f"http://127.0.0.1:{port}", via=via) as child:
                    status, _, _ = await ended(child)
            shown = os.read(screen, 65536).decode()
        assert status == Outcome.DONE
        assert all(len(line) <= columns for line in withoutStyle(shown).splitlines())
        assert bool(re.search(r"\x1b\[3\dm", shown)) is (not colour)
