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
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final, NamedTuple

from tests.benchmarks.cases import DOORS, Case
from tests.benchmarks.load import HOST
from tests.benchmarks.programs import (
    Unavailable,
    clientCommand,
    compiled,
    loadCommand,
    serverCommand,
)

DEADLINE: Final = 60.0
"""Seconds after which a server or its load must have begun."""

ALLOCATOR: Final = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 26),
}
"""What all programs have in their environment.  With glibc's own settings a large read
buffer is mapped and unmapped at each read, or is not, by the accident of the heap's
layout: the same server takes four times as long in one run as in another."""


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


def starvedTime(process: int) -> float:
    """
    Seconds that a process was ready to run so far while the machine did other work: those
    of the thread that has waited the longest for a processor.
    """
    tasks = Path(f"/proc/{process}/task").iterdir()
    return max(int((task / "schedstat").read_text().split()[1]) for task in tasks) / 1e9


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


class Program(NamedTuple):
    """
    A process that runs, and where its first errors go.
    """

    process: subprocess.Popen[str]
    errors: IO[str]

    def why(self) -> Unavailable:
        """
        The last line of its errors.
        """
        self.process.kill()
        self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().split("\n")
        return Unavailable(next((line for line in reversed(lines) if line), "it has ended"))

    def firstLine(self) -> tuple[str, str]:
        """
        Where a server listens, and its remark.

        @raise Unavailable: if it has not started.
        """
        assert self.process.stdout is not None
        where, _, remark = self.process.stdout.readline().strip().partition(" ")
        if not where:
            raise self.why()
        return where, remark


class Setting(NamedTuple):
    """
    What all cases of a run share.

    @ivar folder: for builds, sockets and the certificate.
    @ivar environment: of all programs.
    """

    folder: Path
    cores: Cores
    environment: dict[str, str]

    @contextmanager
    def running(self, command: list[str], core: int | None) -> Generator[Program]:
        """
        Run a program as long as the block lasts.
        """
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **self.environment},
            )
            try:
                if core is not None:
                    os.sched_setaffinity(process.pid, {core})
                yield Program(process, errors)
            finally:
                process.kill()
                process.communicate()


class Entrant:
    """
    A server and its load, or a client and its server.  That other side is stopped
    outside the entrant's turn.
    """

    def __init__(self, subject: Program, other: Program, counter: mmap.mmap) -> None:
        self._subject = subject.process
        self._other = other.process
        self._counter = counter
        end = time.monotonic() + DEADLINE
        while not self._done():
            for program in (subject, other):
                if program.process.poll() is not None or time.monotonic() > end:
                    raise program.why()
            time.sleep(0.01)
        self._other.send_signal(signal.SIGSTOP)

    def _done(self) -> int:
        return int.from_bytes(self._counter[:], sys.byteorder)

    def turn(self, seconds: float) -> float:
        """
        Let the other side run for a while.

        @return: microseconds of the subject's CPU time for each piece of work.
        """
        used, done = settledCPUTime(self._subject.pid), self._done()
        self._other.send_signal(signal.SIGCONT)
        time.sleep(seconds)
        if self._other.poll() is not None:
            raise SystemExit("the other side of an entrant has ended")
        self._other.send_signal(signal.SIGSTOP)
        used = settledCPUTime(self._subject.pid) - used
        return used / max(1, self._done() - done) * 1e6


@contextmanager
def entered(case: Case, name: str, setting: Setting) -> Generator[Entrant]:
    """
    An entrant of a case, at work.

    @raise Unavailable: if it cannot take part.
    """
    door = DOORS.get(name, case.door)
    cores, folder = setting.cores, setting.folder
    sizes = [str(case.connections), str(case.size)]
    with ExitStack() as stack:
        file = stack.enter_context(tempfile.NamedTemporaryFile())
        file.truncate(8)
        counter = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
        if case.kind == "client":
            server = [compiled("echo", folder), "", file.name, sizes[1]]
            other = stack.enter_context(setting.running(server, cores.load))
            command = clientCommand(name, folder, [other.firstLine()[0], *sizes])
            subject = stack.enter_context(setting.running(command, cores.server))
        else:
            load = loadCommand(case.load, door, folder)
            command = serverCommand(name, door, folder)
            subject = stack.enter_context(setting.running(command, cores.server))
            where, remark = subject.firstLine()
            if remark:
                print(f"{name}: {remark}")
            load += [where, *sizes, file.name]
            other = stack.enter_context(setting.running(load, cores.load))
        yield Entrant(subject, other, counter)


def idleMemory(case: Case, name: str, setting: Setting) -> float:
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

    command = serverCommand(name, case.door, setting.folder)
    with setting.running(command, None) as server:
        port = int(server.firstLine()[0])
        # Memory that a program has freed since its start is used up first.
        peers = crowd(port, case.connections // 2)
        before = memory(server.process.pid)
        peers += crowd(port, case.connections)
        time.sleep(0.5)  # some servers free a little more when they are idle
        used = memory(server.process.pid) - before
        for peer in peers:
            peer.close()
    return used / case.connections
