"""
C{tcpdemo load}, as its user sees it.
"""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.certificates import pemFile
from tests.support.cli import client, ended, rawServer, terminal
from tests.support.peers import serving
from tests.support.proxied import behind
from tests.support.secure import serverOf
from tests.support.waiting import until
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.cli.outcome import Outcome
from twisted_tcpdemo.twistd.programs import Echo


@pytest.mark.deadline(30)
async def test_table() -> None:
    """
    The figures are a table with both times of each percentile, and bars.
    """
    async with serving(TCPDemoFactory(Echo)) as server:
        command = ("load", "-n", 200, "-c", 5, "127.0.0.1", server.port)
        async with client(*command) as child:
            status, out, err = await ended(child)
        assert (server.factory.acceptedCount, server.factory.bytesRead) == (5, 200 * 64)
    assert (status, err) == (Outcome.DONE, "")
    assert re.match(r"200 answers in 0\.\d\d s on 5 connections: [\d,]+/s, .* received\n", out)
    assert re.search(r"\nlatency +measured +corrected\n50 % +[\d.]+ ms +[\d.]+ ms\n", out)
    assert re.search(r"\nup to +[\d.]+ ms +[\d.]+ % +#+\n", out)


@pytest.mark.deadline(30)
async def test_json(tmp_path: Path) -> None:
    """
    With --json the same is for programs, and --plot draws it.
    """
    async with serving(TCPDemoFactory(Echo)) as server:
        options = ("--rate", 200, "--duration", 0.5, "--plot", tmp_path / "plot.svg")
        async with client("load", "--json", *options, "127.0.0.1", server.port) as child:
            status, out, err = await ended(child)
    told = json.loads(out)
    assert (status, err) == (Outcome.DONE, "")
    assert (told["sent"], told["answered"], told["errors"]) == (100, 100, {})
    assert told["bytesRead"] == 100 * 64
    for kind in ("measured", "corrected"):
        latency = told["latency"][kind]
        times = [*latency["percentiles"].values(), latency["most"]]
        assert times == sorted(times) and latency["count"] == 100
        assert latency["histogram"][-1] == [latency["most"], 100]
    ElementTree.parse(tmp_path / "plot.svg")


@pytest.mark.deadline(30)
@pytest.mark.parametrize("options", [(), ("--json",)])
async def test_plotWithoutOutput(options: tuple[str, ...], tmp_path: Path) -> None:
    """
    The plot is there, even when the reader of standard output has left.
    """
    plot = tmp_path / "plot.svg"
    async with serving(TCPDemoFactory(Echo)) as server:
        command = ("load", *options, "-n", 50, "--plot", plot, "127.0.0.1", server.port)
        async with client(*command, via='{ "$@"; echo $? >&2; } | true') as child:
            _, _, err = await ended(child)
    assert err == f"{Outcome.CLOSED_OUTPUT.value}\n"
    ElementTree.parse(plot)


@pytest.mark.deadline(30)
async def test_plotThatFails() -> None:
    """
    The figures are there, even when the plot cannot be written.
    """
    async with serving(TCPDemoFactory(Echo)) as server:
        command = ("load", "-n", 50, "--plot", "/dev/full", "127.0.0.1", server.port)
        async with client(*command) as child:
            status, out, err = await ended(child)
    assert (status, err) == (
        Outcome.FAILED,
        "tcpdemo: --plot '/dev/full': No space left on device\n",
    )
    assert " answers in " in out


@pytest.mark.deadline(30)
@pytest.mark.parametrize("how", ["tls", "proxy"])
async def test_places(how: str) -> None:
    """
    A load goes where connect goes: under TLS, and behind a proxy.
    """
    tls = serverOf("standard")
    endpoint = behind() if how == "proxy" else "tcp:0:interface=127.0.0.1"
    if how == "tls":
        endpoint = behind(tls=tls)
    options = ["--proxy-protocol", "--proxy-client", "192.0.2.7"]
    options += ["--cafile", str(pemFile())] if how == "tls" else []
    async with serving(TCPDemoFactory(Echo), endpoint) as server:
        command = ("load", "-4", *options, "-n", 50, "-c", 3, "localhost", server.port)
        async with client(*command) as child:
            status, _, err = await ended(child)
        assert server.factory.bytesRead == 50 * 64
    assert (status, err) == (Outcome.DONE, "")


@pytest.mark.deadline(30)
async def test_refused() -> None:
    """
    Without a server the status is that of connect.
    """
    with rawServer() as (_, port):
        pass
    async with client("load", "127.0.0.1", port) as child:
        status, out, err = await ended(child)
    expected = f"tcpdemo: cannot connect to 127.0.0.1:{port}: connection refused\n"
    assert (status, out, err) == (Outcome.REFUSED, "", expected)


@pytest.mark.deadline(30)
async def test_interrupted() -> None:
    """
    Ctrl-C ends a load, and the figures so far are printed.
    """
    factory = TCPDemoFactory(Echo)
    async with (
        serving(factory) as server,
        client("load", "-d", 100, "127.0.0.1", server.port) as child,
    ):
        await until(lambda: factory.bytesRead)
        child.signal(signal.SIGINT)
        status, out, err = await ended(child)
    assert (status, err) == (Outcome.INTERRUPTED, "")
    assert " answers in " in out


@pytest.mark.deadline(30)
async def test_failed() -> None:
    """
    A load in which something went wrong says what, with status 1.
    """
    async with serving(TCPDemoFactory(Echo, maxConnections=2)) as server:
        command = ("load", "-c", 4, "-d", 0.3, "127.0.0.1", server.port)
        async with client(*command) as child:
            status, out, _ = await ended(child)
    assert status == Outcome.FAILED
    assert re.search(r"\n\d+ times: connections closed by the server\n", out)


@pytest.mark.deadline(30)
async def test_liveLine() -> None:
    """
    On a terminal one line shows the figures while the load goes on.
    """
    with terminal() as (screen, path):
        async with serving(TCPDemoFactory(Echo)) as server:
            command = ("load", "-d", 1.2, "-r", 500, "127.0.0.1", server.port)
            async with client(*command, via=f'"$@" 2> {path}') as child:
                status, _, _ = await ended(child)
        shown = os.read(screen, 65536).decode()
    assert status == Outcome.DONE
    assert re.search(r"\d\.\ds: \d+ answers/s, 50 % in [\d.]+ ms, 99 % in [\d.]+ ms", shown)
    assert "\x1b[2K" in shown and shown.count("\n") < 3
