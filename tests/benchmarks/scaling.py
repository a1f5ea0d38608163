"""
One process against workers: what a connection, a message, and a message with work cost, over
all processes of the server.

All servers run the whole time and take turns, so that whatever else the machine does hits all
of them.  Run it from the top of the project, where there is a C compiler::

    python -m tests.benchmarks.scaling [--seconds N] [--turns N]

The rate of all processors is told in two ways.  C{rate} is what was measured beside the load
generator, which needs a processor, too.  C{room} is what the processors could do if the server
had them all: a message costs a worker so much of its processor.
"""

from __future__ import annotations

import argparse
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from struct import unpack
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from tests.benchmarks.entrants import cpuTime, settledCPUTime
from tests.benchmarks.logging_flood import FAST, TWISTD, running
from tests.benchmarks.programs import compiled
from tests.support.clients import freePort
from tests.system.peers.support import listens, program
from twisted_tcpdemo import TCPDemoProtocol

SETTLING: Final = 0.15
"""Seconds in which the connections of a turn are opened."""

WORK: Final = 100e-6
"""Seconds of CPU for a message of L{Working}."""

NAMES: Final = {"one process": 0, "1 worker": 1, "2 workers": 2, "reusePort": 0, "HAProxy": 0}
"""What is compared, and its workers.  One worker shows what a hand-over costs, beside nothing
else; C{reusePort} are two processes on one port; C{HAProxy} is one process behind it."""

BALANCER: Final = """
global
    nbthread 1
    maxconn 1000
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen here
    bind 127.0.0.1:{port}
    server one 127.0.0.1:{server} send-proxy-v2
"""

EACH: Final = 50
"""Connections for each process that serves: it works the more cheaply the more of them ask at
once."""

REUSE: Final = "fasttcp:{port}:interface=127.0.0.1:reusePort=yes"

CASES: Final = {"a message": "echo", "a message with work": "echo", "a connection": "connect"}
"""What is measured, and what the load does for it."""


class Working(TCPDemoProtocol):
    """
    Works for each message, and sends it back.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Work for a time of the processor's, however busy it is otherwise.
        """
        end = time.thread_time() + WORK
        while time.thread_time() < end:
            pass
        self.transport.write(data)


class Turn(NamedTuple):
    """
    The figures of one turn.

    @ivar cost: seconds of CPU for an operation, of all processes.
    @ivar parentCost: that of the parent.
    @ivar rate: operations a second.
    """

    cost: float
    parentCost: float
    rate: float


class Server(NamedTuple):
    """
    A server that runs.

    @ivar processes: its processes, the parent first.
    @ivar connections: how many it has, as many for each process that serves.
    """

    port: int
    processes: list[int]
    connections: int


@contextmanager
def serving(folder: Path, name: str, case: str) -> Generator[Server]:
    """
    Serve as long as the block lasts.

    @param name: one of L{NAMES}.
    """
    protocol = "tests.benchmarks.scaling.Working" if "work" in case.split() else "echo"
    base = [sys.executable, "-c", TWISTD, "-n", "--pidfile="]
    options = ["--protocol", protocol, "--log-rate", "10"]
    logs = [folder / f"{name} {case} {number}.log" for number in range(2)]
    with ExitStack() as stack:

        def start(log: Path, *more: str) -> tuple[subprocess.Popen[bytes], int]:
            command = [*base, f"--logfile={log}", "tcpdemo", *options, *more]
            return stack.enter_context(running(command, log))

        if name == "reusePort":
            first, port = start(logs[0], "--listen", REUSE.format(port=0))
            second, _ = start(logs[1], "--listen", REUSE.format(port=port))
            yield Server(port, [first.pid, second.pid], 2 * EACH)
            return
        if name == "HAProxy":
            only = "--proxy-protocol", "--proxy-from", "127.0.0.1", "--interface", "127.0.0.1"
            child, port = start(logs[0], "--port", "0", *only)
            yield stack.enter_context(balanced(folder, port, child.pid))
            return
        workers = NAMES[name]
        parent, port = start(logs[0], "--listen", FAST, "--workers", str(workers))
        while logs[0].read_text().count(" is process ") < workers:
            time.sleep(0.01)
        yield Server(port, [parent.pid, *childrenOf(parent.pid)], max(1, workers) * EACH)


@contextmanager
def balanced(folder: Path, port: int, process: int) -> Generator[Server]:
    """
    Put HAProxy before a server, as long as the block lasts.
    """
    own = freePort()
    file = folder / "haproxy.cfg"
    file.write_text(BALANCER.format(port=own, server=port))
    with subprocess.Popen([program("haproxy"), "-db", "-f", str(file)]) as balancer:
        try:
            while not listens(own):
                time.sleep(0.01)
            yield Server(own, [balancer.pid, process], EACH)
        finally:
            balancer.terminate()


def childrenOf(process: int) -> list[int]:
    """
    The processes that a process has started.
    """
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(word) for word in text.split()]


def turn(server: Server, load: list[str], folder: Path, seconds: float) -> Turn:
    """
    Measure one turn, once its connections are open.
    """
    counter = folder / "counter"
    counter.write_bytes(bytes(8))
    command = [*load, "tcp", str(server.port), str(server.connections), "64", str(counter)]
    with counter.open("r+b") as file, mmap.mmap(file.fileno(), 8) as done:

        def look() -> tuple[int, list[float]]:
            return unpack("Q", done[:8])[0], [cpuTime(pid) for pid in server.processes]

        with subprocess.Popen(command) as process:
            time.sleep(SETTLING)
            (count, cpu), began = look(), time.perf_counter()
            time.sleep(seconds)
            (countNow, cpuNow), took = look(), time.perf_counter() - began
            process.kill()
    for pid in server.processes:
        settledCPUTime(pid, 0.02)
    used = [now - before for now, before in zip(cpuNow, cpu, strict=True)]
    count = countNow - count
    return Turn(sum(used) / count, used[0] / count, count / took)


def main() -> None:
    """
    Measure, and print a table for each case.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--turns", type=int, default=7)
    arguments = parser.parse_args()
    names = [name for name in NAMES if name != "HAProxy" or program("haproxy")]
    print(f"{os.cpu_count()} processors, medians of {arguments.turns} turns")
    for case, kind in CASES.items():
        with TemporaryDirectory() as temporary, ExitStack() as stack:
            folder = Path(temporary)
            load = [compiled("load", folder), kind]
            servers = {name: stack.enter_context(serving(folder, name, case)) for name in names}
            turns: dict[str, list[Turn]] = {name: [] for name in names}
            for _ in range(arguments.turns):
                for name, server in servers.items():
                    turns[name].append(turn(server, load, folder, arguments.seconds))
        show(case, turns)


def show(case: str, turns: dict[str, list[Turn]]) -> None:
    """
    Print the table of a case.
    """
    first = turns["one process"]
    print(
        f"\n{case}: us of CPU, of which the parent's or HAProxy's; against one process; rate; room"
    )
    for name, mine in turns.items():
        pairs = list(zip(mine, first, strict=True))
        cost, parent, rate = (median(getattr(t, field) for t in mine) for field in Turn._fields)
        dearer = median(t.cost / one.cost for t, one in pairs)
        # The parent has its share of the processors, and serves nobody.
        serving = {"2 workers": 2, "reusePort": 2}.get(name, 1)
        hasParent = NAMES[name] > 0 or name == "HAProxy"
        hands = [t.parentCost if hasParent else 0.0 for t in mine]
        alone = [t.cost - hand for t, hand in zip(mine, hands, strict=True)]
        room = median(serving * one.cost / a for one, a in zip(first, alone, strict=True))
        told = f"{parent * 1e6:8.1f}" if hasParent else " " * 8
        print(f"{name:12} {cost * 1e6:8.1f} {told} {dearer:6.3f} {rate:8.0f} {room:6.2f}")


if __name__ == "__main__":
    main()
