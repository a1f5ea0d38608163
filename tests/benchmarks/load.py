"""
The load generator: C{python -m tests.benchmarks.load CASE} with a server's
port and process.  Writes one JSON object.

It comes as close to not being waited for as Python can.  Where there is a
compiler, C{load.c} makes the echoes, and this only looks on.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"


def cpuTime(process: int) -> float:
    """
    Seconds of CPU time that a process has used so far, all threads together.
    """
    total = 0
    for task in Path(f"/proc/{process}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def memory(process: int) -> int:
    """
    Bytes that a process holds in memory for itself.
    """
    fields = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(f.split()[1]) * 1024 for f in fields if f.startswith("Private_"))


class Meter:
    """
    Counts round trips and the server's CPU time, after a warm-up.
    """

    def __init__(self, process: int, seconds: float) -> None:
        self.done = 0
        self._doneBefore = 0
        self._process = process
        self._seconds = seconds
        self._begin = time.monotonic() + min(1.0, seconds / 3)
        self._end = 0.0
        self._cpu = 0.0

    def going(self) -> bool:
        """
        Whether there is time left; called now and then.
        """
        now = time.monotonic()
        if not self._end and now >= self._begin:
            self._doneBefore = self.done
            self._cpu = cpuTime(self._process)
            self._begin = now
            self._end = now + self._seconds
        return not self._end or now < self._end

    def result(self) -> dict[str, float]:
        """
        What has been measured.
        """
        used = cpuTime(self._process) - self._cpu
        elapsed = time.monotonic() - self._begin
        trips = self.done - self._doneBefore
        return {
            "microseconds": used / max(1, trips) * 1e6,
            "perSecond": trips / elapsed,
            "busy": used / elapsed,
        }


def echo(port: int, process: int, seconds: float, connections: int, size: int) -> Any:
    """
    Each connection sends a message, and the next one when it has come back.
    """
    message, buffer = memoryview(bytes(size)), bytearray(min(size, 1 << 18))
    epoll = select.epoll()
    peers: dict[int, socket.socket] = {}
    left: dict[int, int] = {}
    unsent: dict[int, int] = {}
    for _ in range(connections):
        peer = socket.create_connection((HOST, port))
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.setblocking(False)
        peers[peer.fileno()] = peer
        left[peer.fileno()] = size
        epoll.register(peer, select.EPOLLIN)

    def push(descriptor: int, offset: int) -> None:
        try:
            while offset < size:
                offset += peers[descriptor].send(message[offset:])
        except BlockingIOError:
            if descriptor not in unsent:
                epoll.modify(descriptor, select.EPOLLIN | select.EPOLLOUT)
            unsent[descriptor] = offset
        else:
            if unsent.pop(descriptor, None) is not None:
                epoll.modify(descriptor, select.EPOLLIN)

    meter = Meter(process, seconds)
    for descriptor in peers:
        push(descriptor, 0)
    while meter.going():
        for descriptor, event in epoll.poll(1, 512):
            if event & select.EPOLLOUT:
                push(descriptor, unsent[descriptor])
            if event & ~select.EPOLLOUT:
                try:
                    got = peers[descriptor].recv_into(buffer)
                except BlockingIOError:
                    continue
                if not got:
                    raise SystemExit("the server has closed a connection")
                left[descriptor] -= got
                if not left[descriptor]:
                    left[descriptor] = size
                    meter.done += 1
                    push(descriptor, 0)
    return meter.result()


def compiledEcho(program: str, port: int, process: int, seconds: float, *load: int) -> Any:
    """
    The same by C{load.c}, which runs on this process's core.

    @param load: the number of connections, and the size of a message.
    """
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(8)
        command = [program, str(port), *map(str, load), file.name]
        with subprocess.Popen(command) as generator:
            try:
                counter = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
                meter = Meter(process, seconds)
                while meter.going():
                    time.sleep(0.001)
                    meter.done = int.from_bytes(counter[:], sys.byteorder)
                    if generator.poll() is not None:
                        raise SystemExit("the load generator has ended")
                return meter.result()
            finally:
                generator.kill()


def connect(port: int, process: int, seconds: float, connections: int, size: int) -> Any:
    """
    So many clients at a time: connect, one message, close.
    """
    message = bytes(size)
    epoll = select.epoll()
    peers: dict[int, socket.socket] = {}
    # Closed connections keep their port for a minute; there are more addresses.
    sources = (f"127.{1 + n // 200 % 100}.{n % 200}.1" for n in count())

    def start() -> None:
        peer = socket.socket()
        peer.setblocking(False)
        peer.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
        peer.bind((next(sources), 0))
        peer.connect_ex((HOST, port))
        peers[peer.fileno()] = peer
        epoll.register(peer, select.EPOLLOUT)

    meter = Meter(process, seconds)
    for _ in range(connections):
        start()
    while meter.going():
        for descriptor, event in epoll.poll(1, 512):
            peer = peers[descriptor]
            if event & select.EPOLLOUT:
                peer.send(message)
                epoll.modify(descriptor, select.EPOLLIN)
            else:
                peer.recv(65536)
                del peers[descriptor]
                peer.close()
                meter.done += 1
                start()
    return meter.result()


def idle(port: int, process: int, seconds: float, connections: int, size: int) -> Any:
    """
    Connections that do nothing, after one message each.
    """

    def talk(peer: socket.socket) -> None:
        peer.sendall(bytes(size))
        while peer.recv(65536) == b"":
            raise SystemExit("the server has closed a connection")

    # What a program has freed since its start is used up first.
    first = [socket.create_connection((HOST, port)) for _ in range(connections // 2)]
    for peer in first:
        talk(peer)
    before = memory(process)
    peers = [socket.create_connection((HOST, port)) for _ in range(connections)]
    for peer in peers:
        talk(peer)
    time.sleep(min(1.0, seconds))
    return {"bytes": (memory(process) - before) / connections}


CASES: dict[str, Callable[..., Any]] = {"echo": echo, "connect": connect, "idle": idle}


def main() -> None:
    """
    Run one case.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=list(CASES))
    for option in ("port", "process", "connections", "size", "core"):
        parser.add_argument(f"--{option}", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--compiled", help="load.c as a program, for echoes")
    arguments = parser.parse_args()
    if arguments.core >= 0:
        os.sched_setaffinity(0, {arguments.core})
    case = CASES[arguments.case]
    if arguments.compiled and case is echo:
        case = partial(compiledEcho, arguments.compiled)
    result = case(
        arguments.port,
        arguments.process,
        arguments.seconds,
        arguments.connections,
        arguments.size,
    )
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
