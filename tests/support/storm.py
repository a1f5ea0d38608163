"""
Crowds of clients, in a process of their own: C{python -m tests.support.storm}.

Each kind of crowd is bounded in number, prints one line when it is ready or
done, and ends when its standard input is closed.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

RESET = struct.pack("ii", 1, 0)


@contextmanager
def storm(kind: str, port: int, count: int) -> Generator[subprocess.Popen[bytes]]:
    """
    Let a crowd loose on a loopback port as long as the block lasts.
    """
    crowd = subprocess.Popen(
        [sys.executable, "-m", "tests.support.storm", kind, str(port), str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent.parent.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        yield crowd
    finally:
        crowd.kill()
        crowd.communicate()


def said(crowd: subprocess.Popen[bytes]) -> bytes:
    """
    The line that the crowd has printed, without waiting for it; empty if there is
    none.
    """
    assert crowd.stdout is not None
    ready, _, _ = select.select([crowd.stdout], [], [], 0)
    line = crowd.stdout.readline() if ready else b""
    assert line or not ready, f"the crowd has gone with status {crowd.wait()}"
    return line


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def resets(port: int, count: int) -> None:
    """
    Connect without waiting, and reset at once: in the middle of accepting.
    """
    for _ in range(count):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", port))
        client.close()


def churn(port: int, count: int) -> None:
    """
    Connect, wait for a byte, and close, a hundred at a time.
    """
    for _ in range(count // 100):
        clients = [_connect(port) for _ in range(100)]
        for client in clients:
            client.recv(1)
            client.close()


def calls(port: int, count: int) -> None:
    """
    Call one after another, some hundred a second, and count the answers.
    """
    answered = 0
    for _ in range(count):
        try:
            with _connect(port) as client:
                client.sendall(b"hello")
                answered += client.recv(10) == b"hello"
        except OSError as error:
            print(error, file=sys.stderr)
        time.sleep(0.004)
    print(answered, "answered", flush=True)


def talks(port: int, count: int) -> None:
    """
    Call C{count} times by 50 clients at a time, and count the answers.
    """
    answered = []

    def talk() -> None:
        for number in range(count // 50):
            try:
                with _connect(port) as client:
                    message = b"%d" % number
                    client.sendall(message)
                    if client.recv(10) == message:
                        answered.append(number)
            except OSError as error:
                print(error, file=sys.stderr)

    threads = [Thread(target=talk) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(len(answered), "answered", flush=True)


def hold(port: int, count: int) -> None:
    """
    Connect, and stay.
    """
    clients = [_connect(port) for _ in range(count)]
    _ready()
    del clients


def slow(port: int, count: int) -> None:
    """
    Half of the clients send a byte now and then, which asks for more than they will
    read; the other half sends nothing.
    """
    clients = [_connect(port) for _ in range(count)]
    senders = clients[: count // 2]
    for client in senders:
        client.sendall(b"x")
    _ready()
    clients.clear()


def _ready() -> None:
    print("ready", flush=True)
    sys.stdin.read()


KINDS: dict[str, Callable[[int, int], None]] = {
    "resets": resets,
    "calls": calls,
    "churn": churn,
    "talks": talks,
    "hold": hold,
    "slow": slow,
}

if __name__ == "__main__":
    KINDS[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]))
    print("done", flush=True)
