"""
A configuration file of a server in a process of its own, read at the start and again.
"""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.notices import notified, position
from tests.support.peers import connectTo
from tests.support.processes import Child, portOf, running, script, twist, twistd
from tests.support.waiting import until

pytestmark = pytest.mark.deadline(30)

everyWay = pytest.mark.parametrize("workers", [0, 1], ids=["alone", "workers"])

START = """
port = 0
interface = "127.0.0.1"
protocol = "echo"
max-connections = 1
idle-timeout = 1000
"""


async def readAgain(child: Child, file: Path, text: str) -> str:
    """
    Change the file of a server, and tell the server.

    @return: the line of its log.
    """
    file.write_text(text)
    before = len(child.out)
    child.signal(signal.SIGHUP)
    found = await until(
        lambda: re.search(rf".*SIGHUP: {re.escape(str(file))}: .*\n", child.out[before:])
    )
    return found[0]


def answered(client: socket.socket) -> bytes:
    """
    What a client gets back.
    """
    client.sendall(b"hello")
    return client.recv(5)


@everyWay
@pytest.mark.parametrize("command", [twistd, twist])
async def test_story(command: Callable[..., list[str]], workers: int, tmp_path: Path) -> None:
    """
    Limits and budgets of the file hold, and others after SIGHUP; a file that is wrong
    changes nothing; clients stay all the while.
    """
    file, start = tmp_path / "server.toml", f"{START}\nworkers = {workers}\n"
    file.write_text(start)
    async with running(command("--config", str(file))) as child:
        port = await portOf(child)
        with connectTo(port) as first:
            assert answered(first) == b"hello"
            with connectTo(port) as refused:
                assert refused.recv(1) == b""
            more = start.replace("max-connections = 1", "max-connections = 2")
            told = await readAgain(child, file, more + "port = 1\n")
            assert "it is no TOML" in told and "nothing is changed" in told
            told = await readAgain(child, file, more.replace("= 1000", "= 0.5"))
            assert "max-connections = 2; idle-timeout = 0.5" in told
            with connectTo(port) as second:
                assert answered(second) == b"hello"
                assert second.recv(1) == b""  # idle
            assert answered(first) == b"hello"  # its budget is that of its beginning
            told = await readAgain(child, file, more.replace("port = 0", "port = 1"))
            assert "idle-timeout = 1000" in told
            await child.whenPrinted("SIGHUP: a restart is needed for port")
        child.signal(signal.SIGTERM)
        assert await child.whenEnded() == -signal.SIGTERM
        assert child.out.count("idle timeout") == 1
        assert "Traceback" not in child.out + child.err


async def test_rules(tmp_path: Path) -> None:
    """
    A network that the file denies from now on is refused, and its open connections stay.
    """
    file = tmp_path / "server.toml"
    text = START.replace("max-connections = 1\n", "")
    file.write_text(text)
    async with running(twistd("--config", str(file))) as child:
        port = await portOf(child)
        with connectTo(port) as first:
            assert answered(first) == b"hello"
            await readAgain(child, file, text + 'deny = ["127.0.0.0/8"]')
            with connectTo(port) as refused:
                assert refused.recv(1) == b""
            await child.whenPrinted("refused: .* by deniedNetworks")
            assert answered(first) == b"hello"


async def test_logOfWorkers(tmp_path: Path) -> None:
    """
    Another rate for the log reaches the workers, and one that is started later.
    """
    file = tmp_path / "server.toml"
    text = START.replace("echo", "report").replace("max-connections = 1\n", "workers = 1\n")
    file.write_text(text + "log-rate = 0\npreview = 100\n")
    async with running(twistd("--config", str(file))) as child:
        port = await portOf(child)
        for preview in (2, 3):
            await readAgain(child, file, text + f"log-rate = 1000\npreview = {preview}\n")
            with connectTo(port) as client:
                client.sendall(b"hello")
                await child.whenPrinted(rf"data \d: {'hello'[:preview]}\S? ?\(?.*5 bytes")
        child.signal(signal.SIGUSR2)
        await until(lambda: len(re.findall(r"worker 1 is process", child.out)) == 2)
        with connectTo(port) as client:
            client.sendall(b"world")
            found = await child.whenPrinted(r"data \d: (wor\S*)")
        assert not found[1].startswith("world")


async def test_reloading(tmp_path: Path) -> None:
    """
    Systemd hears when the configuration is read again, and when that is done.
    """
    file = tmp_path / "server.toml"
    file.write_text("max-connections = 3")
    async with notified(tmp_path / "notify", "--port", "0", "--config", str(file)) as (child, said):
        await until(lambda: said)
        await readAgain(child, file, "max-connections = 4")
        await until(lambda: len(said) >= 3)
    number = position(said, "RELOADING=1\nMONOTONIC_USEC=")
    assert said[number + 1] == "READY=1\nSTATUS=accepting; 0 connected, limit 4"


async def test_show(tmp_path: Path) -> None:
    """
    C{--show-config} shows what would hold, and starts nothing.
    """
    file = tmp_path / "server.toml"
    file.write_text(START)
    options = ("tcpdemo", "--config", "server.toml", "--show-config", "--drain", "3")
    async with running([*script("twistd"), *options], tmp_path) as child:
        assert await child.whenEnded() == 0
    assert re.search(rf"^max-connections = 1 +# {file}$", child.out, re.MULTILINE)
    assert re.search(r"^drain = 3 +# command line$", child.out, re.MULTILINE)
    assert re.search(r'^# overflow = "refuse" +# default$', child.out, re.MULTILINE)
    assert child.err == "" and [*tmp_path.iterdir()] == [file]


async def test_showToNobody(tmp_path: Path) -> None:
    """
    A reader of C{--show-config} that has read enough gets no traceback.
    """
    command = [*script("twistd"), "tcpdemo", "--show-config"]
    shell = ["/bin/sh", "-c", '"$@" | true', "sh", *command]
    async with running(shell, tmp_path) as child:
        assert await child.whenEnded() == 0
    assert child.err == ""


async def test_daemon(tmp_path: Path) -> None:
    """
    A wrong file ends the start of a daemon in one line.
    """
    file = tmp_path / "server.toml"
    file.write_text("idle-timout = 3")
    command = [*script("twistd"), "--pidfile=", "tcpdemo", "--config", str(file)]
    async with running(command, tmp_path) as child:
        assert await child.whenEnded() == 1
    expected = f"tcpdemo: {file}: unknown key 'idle-timout'; the nearest is idle-timeout\n"
    assert child.err == expected
