"""
How a server is started, watched and replaced: the delay before its drain, and what systemd
hears, in processes of their own.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic

import pytest

from tests.support.notices import notified, position
from tests.support.peers import connectTo
from tests.support.processes import Child, portOf, running, twist, twistd
from tests.support.status import ask
from tests.support.waiting import until

pytestmark = pytest.mark.deadline(30)

LOCAL = ("--port", "0", "--interface", "127.0.0.1", "--protocol", "echo")
WORKERS = [(), ("--workers", "1")]
everyWay = pytest.mark.parametrize("workers", WORKERS, ids=["alone", "workers"])


def says(port: int) -> bytes:
    """
    What a new client gets back.
    """
    with connectTo(port) as client:
        client.sendall(b"hello")
        return client.recv(5)


async def health(page: Path) -> tuple[int, str]:
    """
    What a load balancer hears.
    """
    answer = await ask(0, "/healthz", client=f"unix:{page}")
    return answer.code, answer.body.decode().strip()


@asynccontextmanager
async def delayed(page: Path, *options: str) -> AsyncGenerator[tuple[Child, int]]:
    """
    A server with a status page, and its port.
    """
    async with running(twistd(*LOCAL, "--status", f"unix:{page}", *options)) as child:
        port = await portOf(child)
        await child.whenPrinted("the status page on")
        if "--workers" in options:
            await child.whenPrinted(r"worker 1 is process \d+")
        yield child, port


@everyWay
async def test_delay(workers: tuple[str, ...], tmp_path: Path) -> None:
    """
    After SIGTERM health checks fail at once, and clients are served for the delay; then the
    drain begins, and lasts as long as it may.
    """
    page = tmp_path / "page"
    options = ("--drain-delay", "1.5", "--drain", "1", *workers)
    async with delayed(page, *options) as (child, port):
        assert await health(page) == (200, "accepting")
        with connectTo(port) as busy:
            child.signal(signal.SIGTERM)
            began = monotonic()
            await child.whenPrinted(r"leaving: clients are accepted for 1\.5 s more")
            assert await health(page) == (503, "leaving")
            assert says(port) == b"hello"
            await child.whenPrinted("no longer listening")
            assert monotonic() - began > 1.4
            assert await child.whenEnded() == -signal.SIGTERM
            assert busy.recv(1) == b""
        assert "hard stop" not in child.out + child.err


@everyWay
async def test_secondSignal(workers: tuple[str, ...], tmp_path: Path) -> None:
    """
    A second signal ends the delay, and the server with it.
    """
    options = ("--drain-delay", "1000", "--drain", "1000", *workers)
    async with delayed(tmp_path / "page", *options) as (child, port):
        with connectTo(port):
            await child.whenPrinted("connection 1")
            child.signal(signal.SIGTERM)
            await child.whenPrinted("leaving")
            child.signal(signal.SIGTERM)
            await child.whenPrinted("drained: 0 finished, 1 aborted")
            assert await child.whenEnded() == -signal.SIGTERM


async def test_twist(tmp_path: Path) -> None:
    """
    The delay holds under C{twist}, too.
    """
    async with running(twist(*LOCAL, "--drain-delay", "1")) as child:
        port = await portOf(child)
        child.signal(signal.SIGINT)
        await child.whenPrinted("leaving")
        assert says(port) == b"hello"
        await child.whenEnded()
        assert "no longer listening" in child.out


STUCK = """
import time
from twisted_tcpdemo import TCPDemoProtocol

class Stuck(TCPDemoProtocol):
    def dataReceived(self, data):
        print("stuck", flush=True)
        time.sleep(1000)
"""


@pytest.mark.parametrize(("delay", "isHurried"), [("2", False), ("1000", True)])
async def test_hardStop(delay: str, isHurried: bool, tmp_path: Path) -> None:
    """
    The hard stop counts from the end of the delay, or from the second signal, though the
    reactor is stuck.
    """
    (tmp_path / "stuckprogram.py").write_text(STUCK)
    options = (*LOCAL[:-1], "stuckprogram.Stuck", "--drain-delay", delay, "--hard-stop", "1")
    async with running(twistd(*options), PYTHONPATH=str(tmp_path)) as child:
        with connectTo(await portOf(child)) as client:
            await child.whenPrinted("connection 1")
            child.signal(signal.SIGTERM)
            began = monotonic()
            await child.whenPrinted("leaving")
            client.sendall(b"x")
            await child.whenPrinted("stuck")
            if isHurried:
                child.signal(signal.SIGTERM)
            assert await child.whenEnded() == 1
            assert (0.9 if isHurried else 2.9) < monotonic() - began < 12
    assert "hard stop after 1 s: open: 1 " in child.out


async def test_hopeless(tmp_path: Path) -> None:
    """
    A server that no worker serves any more does not wait for the delay.
    """
    (tmp_path / "fails.py").write_text(
        "import os\nfrom twisted_tcpdemo import TCPDemoProtocol\n"
        "if '-c' in __import__('sys').argv[0]: raise SystemExit(3)\n"
        "class P(TCPDemoProtocol):\n    pass\n"
    )
    options = (*LOCAL[:-1], "fails.P", "--workers", "1", "--drain-delay", "1000")
    async with running(twistd(*options), PYTHONPATH=str(tmp_path)) as child:
        await child.whenEnded()
        assert "is not started again" in child.out and "leaving" not in child.out


# systemd.


@everyWay
async def test_notified(workers: tuple[str, ...], tmp_path: Path) -> None:
    """
    Systemd hears that the server serves, how many are connected, and that it stops.
    """
    options = ("--max-connections", "9", "--drain-delay", "1", *workers)
    more = {"WATCHDOG_USEC": "200000"}
    async with notified(tmp_path / "notify", *LOCAL, *options, **more) as (child, said):
        await until(lambda: said)
        assert said[0] == "READY=1\nSTATUS=accepting; 0 connected, limit 9"
        port = await portOf(child)
        with connectTo(port) as client:
            client.sendall(b"hello")
            assert client.recv(5) == b"hello"
            await until(lambda: "WATCHDOG=1\nSTATUS=accepting; 1 connected, limit 9" in said)
        await child.whenPrinted("close 1")
        child.signal(signal.SIGTERM)
        await until(lambda: position(said, "STOPPING=1") > 0)
        assert said[position(said, "STOPPING=1")].endswith("STATUS=leaving; 0 connected, limit 9")
        assert await child.whenEnded() == -signal.SIGTERM
    assert child.err == ""


async def test_watchdog(tmp_path: Path) -> None:
    """
    A reactor that hangs is heard of no more; the workers have nothing to say.
    """
    options = ("--protocol", "hangs.P", "--workers", "0")
    (tmp_path / "hangs.py").write_text(STUCK.replace("Stuck", "P"))
    more = {"WATCHDOG_USEC": "200000", "PYTHONPATH": str(tmp_path)}
    async with notified(tmp_path / "notify", *LOCAL, *options, **more) as (child, said):
        await until(lambda: said.count("WATCHDOG=1") > 2)
        with connectTo(await portOf(child)) as client:
            client.sendall(b"x")
            await child.whenPrinted("stuck")
            count = len(said)
            end = monotonic() + 1
            await until(lambda: monotonic() > end)
            assert len(said) <= count + 1


async def test_notReady(tmp_path: Path) -> None:
    """
    A server that cannot start is never ready.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        async with notified(tmp_path / "notify", *LOCAL, "--port", port) as (child, said):
            assert await child.whenEnded() == 1
        assert said == []


# Another user.


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("option", [(), ("--euid",)], ids=["uid", "euid"])
async def test_workersOfAnotherUser(option: tuple[str, ...], tmp_path: Path) -> None:
    """
    Workers of a server that has given up its privileges have none either; one that is killed
    is replaced, and so are all at a restart.
    """
    low = lowPort()
    before = ("--uid", "65534", "--gid", "65534", *option)
    _, *command = twistd("--port", str(low), *LOCAL[2:], "--workers", "2")
    command[command.index("tcpdemo") : command.index("tcpdemo")] = before
    path = os.pathsep.join(p for p in sys.path if p and not p.startswith(sys.base_prefix))
    async with running([pythonForAll(), *command], PYTHONPATH=path) as child:
        await portOf(child)
        first = await workersOf(child, 2)
        assert {owner(pid) for pid in first} == {owner(child.transport.pid)}
        assert "65534" in owner(child.transport.pid)[0].split()
        assert says(low) == b"hello"
        os.kill(first[0], signal.SIGKILL)
        second = await workersOf(child, 3)
        child.signal(signal.SIGUSR2)
        third = await workersOf(child, 5)
        for pid in (second[2], *third[3:]):
            with suppress(FileNotFoundError):  # it has been replaced
                assert owner(pid) == owner(child.transport.pid)
        assert says(low) == b"hello"
        child.signal(signal.SIGTERM)
        assert await child.whenEnded() == -signal.SIGTERM
    assert "Traceback" not in child.out + child.err
    assert not any(Path(f"/proc/{pid}").exists() for pid in third)


def pythonForAll() -> str:
    """
    A Python of this version that any user can run.
    """
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        folders = Path(python).resolve().parents
        if Path(python).exists() and all(folder.stat().st_mode & 0o1 for folder in folders):
            return python
    pytest.skip("other users cannot run Python here")


def lowPort() -> int:
    """
    A free port that only root may listen on.
    """
    for port in range(1023, 600, -1):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no low port is free")


def owner(pid: int) -> tuple[str, ...]:
    """
    Users and groups of a process, real and in effect.
    """
    words = [line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return tuple(" ".join(w[:3]) for w in words if w[0] in {"Uid:", "Gid:", "Groups:"})


async def workersOf(child: Child, count: int) -> list[int]:
    """
    The process numbers of all workers until now.
    """
    await until(lambda: len(re.findall(r"worker \d+ is process \d+", child.out)) >= count)
    return [int(pid) for pid in re.findall(r"worker \d+ is process (\d+)", child.out)]
