"""
The notices that systemd gets, over a real socket.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Generator
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from twisted_tcpdemo.service.systemd import Systemd


@pytest.fixture
def notices(tmp_path: Path) -> Generator[socket.socket]:
    """
    The socket to which they are sent.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as waiting:
        waiting.setblocking(False)
        waiting.bind(str(tmp_path / "notify"))
        yield waiting


def heard(notices: socket.socket) -> list[list[str]]:
    """
    All notices until now, in lines.
    """
    found = []
    while True:
        try:
            found.append(notices.recv(4096).decode().split("\n"))
        except BlockingIOError:
            return found


def systemdOf(notices: socket.socket, status: list[str], **variables: str) -> Systemd:
    """
    Systemd as a server is told of it.
    """
    environment = {"NOTIFY_SOCKET": notices.getsockname(), "PATH": "/bin", **variables}
    systemd = Systemd.fromEnvironment(lambda: status[0], environment)
    assert systemd is not None and environment == {"PATH": "/bin"}
    return systemd


def test_story(notices: socket.socket) -> None:
    """
    Systemd hears of the start, of every change of the status, of a reload and of the stop.
    """
    clock, status = Clock(), ["none connected"]
    systemd = systemdOf(notices, status)
    systemd.ready(clock)
    systemd.ready(clock)
    assert heard(notices) == [["READY=1", "STATUS=none connected"]]
    clock.advance(5)
    assert heard(notices) == []
    status[0] = "1 connected"
    clock.advance(5)
    assert heard(notices) == [["STATUS=1 connected"]]
    systemd.reloading()
    systemd.reloaded()
    [first, second] = heard(notices)
    assert first[0] == "RELOADING=1" and first[1].removeprefix("MONOTONIC_USEC=").isdigit()
    assert second == ["READY=1", "STATUS=1 connected"]
    systemd.stopping()
    assert heard(notices) == [["STOPPING=1", "STATUS=1 connected"]]
    systemd.ended()
    systemd.ended()
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize("pid", ["", str(os.getpid())])
def test_watchdog(notices: socket.socket, pid: str) -> None:
    """
    The watchdog hears of the server twice in its time, as long as the reactor turns.
    """
    clock = Clock()
    systemd = systemdOf(notices, [""], WATCHDOG_USEC="3000000", WATCHDOG_PID=pid)
    systemd.ready(clock)
    heard(notices)
    for _ in range(4):
        clock.advance(1.5)
        assert heard(notices) == [["WATCHDOG=1"]]
    systemd.ended()


@pytest.mark.parametrize(
    ("microseconds", "pid"), [("3000000", "1"), ("", ""), ("x", ""), ("0", ""), ("-5", "")]
)
def test_noWatchdog(notices: socket.socket, microseconds: str, pid: str) -> None:
    """
    A watchdog that is meant for another process, or has no time, hears nothing.
    """
    clock = Clock()
    systemd = systemdOf(notices, [""], WATCHDOG_USEC=microseconds, WATCHDOG_PID=pid)
    systemd.ready(clock)
    heard(notices)
    clock.advance(100)
    assert heard(notices) == []
    systemd.ended()


@pytest.mark.parametrize("path", ["", "relative", "vsock:2:1234"])
def test_nobody(path: str) -> None:
    """
    Without a socket of its own kind nobody is told.
    """
    assert Systemd.fromEnvironment(str, {"NOTIFY_SOCKET": path}) is None


def test_abstract() -> None:
    """
    The socket may have no path; a server that was never ready neither stops nor reloads,
    for the notice after a reload would say that it is.
    """
    name = f"tcpdemo-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as waiting:
        waiting.bind(f"\0{name}")
        waiting.setblocking(False)
        systemd = Systemd(f"@{name}", lambda: "fine")
        systemd.stopping()
        systemd.reloading()
        systemd.reloaded()
        assert heard(waiting) == []
        systemd.ready(Clock())
        assert heard(waiting) == [["READY=1", "STATUS=fine"]]
        systemd.ended()


def test_gone(tmp_path: Path) -> None:
    """
    A socket that is not there, or does not take more, harms nothing.
    """
    Systemd(str(tmp_path / "none"), lambda: "bye").ready(Clock())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as full:
        full.bind(str(tmp_path / "full"))
        systemd = Systemd(str(tmp_path / "full"), lambda: "x" * 10_000)
        systemd.ready(Clock())
        for _ in range(1000):
            systemd.reloaded()
