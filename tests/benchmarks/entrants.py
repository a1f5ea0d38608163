"""
A server under load, measured in turns with others.

A shared machine has slow and quick times of its own, of seconds each, so servers
measured one after the other would each meet another machine.  Here all of them run,
each with its load, and all loads but one are stopped.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tests.benchmarks.load import HOST

DEADLINE: Final = 60.0
"""Seconds after which a server or its load must have begun."""


class Case(NamedTuple):
    """
    A case to measure.

    @ivar load: the name of the load; C{"idle"} for memory.
    """

    title: str
    load: str
    connections: int
    size: int


class Cores(NamedTuple):
    """
    The cores of servers and of loads; L{None} on a machine with one core.
    """

    server: int | None
    load: int | None


def cpuTime(process: int) -> float:
    """
    Seconds of CPU time that a process has used so far, all threads together.
    """
    total = 0
    for task in Path(f"/proc/{process}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def settledCPUTime(process: int, interval: float = 0.002) -> float:
    """
    The CPU time that a process has used, once it has finished its work: only then
    is the figure exact.

    @param interval: seconds in which it must have done nothing.
    """
    used = cpuTime(process)
    for _ in range(50):
        time.sleep(interval)
        before, used = used, cpuTime(process)
        if used == before:
            break
    return used


def memory(process: int) -> int:
    """
    Bytes that a process holds in memory for itself.
    """
    fields = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(f.split()[1]) * 1024 for f in fields if f.startswith("Private_"))


@contextmanager
def running(command: list[str], core: int | None) -> Generator[subprocess.Popen[str]]:
    """
    Run a process as long as the block lasts.
    """
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        yield process
    finally:
        process.kill()
        process.communicate()


def portOf(server: subprocess.Popen[str]) -> int:
    """
    The port of a server, from its first line.
    """
    assert server.stdout is not None
    line = server.stdout.readline()
    if not line:
        raise SystemExit("a server has not started")
    return int(line)


class Entrant:
    """
    A server and its load, which is stopped outside its turn.
    """

    def __init__(
        self, server: subprocess.Popen[str], load: subprocess.Popen[str], counter: mmap.mmap
    ) -> None:
        self._server = server
        self._load = load
        self._counter = counter
        end = time.monotonic() + DEADLINE
        while not self._done():
            if load.poll() is not None or time.monotonic() > end:
                raise SystemExit("the load generator does not get through")
            time.sleep(0.01)
        load.send_signal(signal.SIGSTOP)

    def _done(self) -> int:
        return int.from_bytes(self._counter[:], sys.byteorder)

    def turn(self, seconds: float) -> float:
        """
        Let the load run for a while.

        @return: microseconds of the server's CPU time for each piece of work.
        """
        used, done = settledCPUTime(self._server.pid), self._done()
        self._load.send_signal(signal.SIGCONT)
        time.sleep(seconds)
        if self._load.poll() is not None:
            raise SystemExit("the load generator has ended")
        self._load.send_signal(signal.SIGSTOP)
        used = settledCPUTime(self._server.pid) - used
        return used / max(1, self._done() - done) * 1e6


@contextmanager
def entered(
    case: Case, server: list[str], generator: list[str], cores: Cores
) -> Generator[Entrant]:
    """
    A server under the load of a case.

    @param generator: the command of the load generator, without arguments.
    """
    with running(server, cores.server) as process, tempfile.NamedTemporaryFile() as file:
        file.truncate(8)
        load = [case.load, portOf(process), case.connections, case.size, file.name]
        with (
            running([*generator, *map(str, load)], cores.load) as loading,
            mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ) as counter,
        ):
            yield Entrant(process, loading, counter)


def idleMemory(case: Case, server: list[str]) -> float:
    """
    Bytes of a server's memory for each idle connection, after one message each.
    """

    def crowd(port: int, size: int) -> list[socket.socket]:
        peers = [socket.create_connection((HOST, port)) for _ in range(size)]
        for peer in peers:
            peer.sendall(bytes(case.size))
            if not peer.recv(65536):
                raise SystemExit("the server has closed a connection")
        return peers

    with running(server, None) as process:
        port = portOf(process)
        # Memory that a program has freed since its start is used up first.
        peers = crowd(port, case.connections // 2)
        before = memory(process.pid)
        peers += crowd(port, case.connections)
        time.sleep(0.5)  # some servers free a little more when they are idle
        used = memory(process.pid) - before
        for peer in peers:
            peer.close()
    return used / case.connections
