"""
The main job under a flood: the greeting server with its log in a file, against
the same program on Node with C{console.log}.

Clients connect, read the greeting and close, 64 at a time.  The programs take
turns, round by round, so that whatever else the machine does hits all of them;
the processor time is the figure that suffers least from it.  Run it from the top of the project::

    python -m tests.benchmarks.logging_flood [--connections N] [--rounds N]
"""

from __future__ import annotations

import argparse
import os
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tests.benchmarks.entrants import settledCPUTime

ROOT = Path(__file__).parent.parent.parent
NODE_PROGRAM = Path(__file__).with_suffix(".js")
TWISTD = "from twisted.scripts.twistd import run; run()"
CONCURRENT = 64


class Round(NamedTuple):
    """
    The figures of one round.
    """

    rate: float
    microseconds: float
    lines: int
    bytesLogged: int


def ours(log: Path, endpoint: str, *options: str) -> list[str]:
    """
    The command of our server.
    """
    python = [sys.executable, "-c", TWISTD, "-n", "--pidfile=", f"--logfile={log}"]
    return [*python, "tcpdemo", "--listen", endpoint, *options]


FAST, TWISTED = "fasttcp:0:interface=127.0.0.1", "tcp:0:interface=127.0.0.1"

PROGRAMS = {
    "node, console.log": lambda log: ["node", str(NODE_PROGRAM)],
    "fasttcp:": lambda log: ours(log, FAST),
    "fasttcp:, --log-rate 0": lambda log: ours(log, FAST, "--log-rate=0"),
    "tcp:": lambda log: ours(log, TWISTED, "--transport=twisted"),
}


@contextmanager
def running(command: list[str], log: Path) -> Generator[tuple[subprocess.Popen[bytes], int]]:
    """
    A server as a process, and its port.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, "PYTHONPATH": path}
        )
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"listening on 127\.0\.0\.1:(\d+)", log.read_text())):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command} ({process.poll()}): {log.read_text()}")
            time.sleep(0.01)
        yield process, int(found[1])
    finally:
        process.terminate()
        process.wait()


def flood(port: int, connections: int) -> float:
    """
    Let all clients connect, read the greeting and close.

    @return: the seconds this took.
    """
    poller = select.epoll()
    open_: dict[int, socket.socket] = {}
    started = finished = 0
    began = time.perf_counter()
    while finished < connections:
        while len(open_) < CONCURRENT and started < connections:
            client = socket.socket()
            client.setblocking(False)
            # The clients take addresses in turn: one address has some ten thousand
            # ports a minute.
            client.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
            client.bind((f"127.0.0.{2 + started % 200}", 0))
            client.connect_ex(("127.0.0.1", port))
            poller.register(client, select.EPOLLIN)
            open_[client.fileno()] = client
            started += 1
        for descriptor, _ in poller.poll():
            client = open_.pop(descriptor)
            greeting = client.recv(1000)
            assert greeting.startswith(b"client, the server address is"), greeting
            client.close()
            finished += 1
    poller.close()
    return time.perf_counter() - began


def logged(log: Path) -> tuple[int, int]:
    """
    Lines and bytes in a log, rotated files included.
    """
    texts = [file.read_bytes() for file in log.parent.glob(f"{log.name}*")]
    return sum(text.count(b"\n") for text in texts), sum(map(len, texts))


def measure(process: subprocess.Popen[bytes], port: int, log: Path, connections: int) -> Round:
    """
    Run one round.
    """
    cpu, (lines, size) = settledCPUTime(process.pid, 0.2), logged(log)
    seconds = flood(port, connections)
    used = settledCPUTime(process.pid, 0.2) - cpu
    linesNow, sizeNow = logged(log)
    return Round(connections / seconds, used / connections * 1e6, linesNow - lines, sizeNow - size)


def main() -> None:
    """
    Measure all programs, and print a table.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="programs whose names have this in them")
    arguments = parser.parse_args()
    results: dict[str, list[Round]] = {name: [] for name in PROGRAMS if arguments.only in name}
    with TemporaryDirectory() as folder:
        for number in range(arguments.rounds):
            for name, rounds in results.items():
                log = Path(folder, f"{number}-{re.sub('[^a-z0-9]+', '-', name)}.log")
                with running(PROGRAMS[name](log), log) as (process, port):
                    flood(port, 1000)
                    rounds.append(measure(process, port, log, arguments.connections))
    print(f"{'medians':24}{'connections/s':>14}{'best':>9}{'CPU us each':>13}{'best':>9}", end="")
    print(f"{'lines':>9}{'log kB':>9}")
    for name, rounds in results.items():
        rate, cpu, lines, size = (median(column) for column in zip(*rounds, strict=True))
        best = max(r.rate for r in rounds), min(r.microseconds for r in rounds)
        print(f"{name:24}{rate:14,.0f}{best[0]:9,.0f}{cpu:13.1f}{best[1]:9.1f}", end="")
        print(f"{lines:9,.0f}{size / 1000:9,.1f}")


if __name__ == "__main__":
    main()
