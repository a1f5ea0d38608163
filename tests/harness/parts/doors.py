"""
The status page and control, under slow visitors and under greedy ones.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final

from tests.harness.clients import crowd, good
from tests.harness.findings import Facts
from tests.harness.ground import Ground
from tests.harness.parts.part import Part
from tests.harness.peers.running import Running

PLACES: Final = 64
"""How many visitors a door has room for."""

PATIENCE: Final = 40.0
"""Seconds after which a visitor has to be let in."""

SLOWEST: Final = 0.5
"""Seconds that an answer to a client may take meanwhile."""

MOST_MEMORY: Final = 100_000
"""kB that answers to one visitor may take."""

LOOPBACK: Final = "tcp:0:interface=127.0.0.1"
TOKEN: Final = "secret"


@contextmanager
def serving(ground: Ground, descriptors: int = 0) -> Generator[Running]:
    """
    Serve with a page, and with control on TCP.
    """
    ground.needs("doors")
    token = ground.folder / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    doors = ("--status", LOOPBACK, "--control", LOOPBACK, "--control-token-file", str(token))
    with ground.serving(extra=doors, descriptors=descriptors) as server:
        yield server


def isAnswered(port: int, path: str, seconds: float = 3.0) -> bool:
    """
    Whether an orderly visitor, who has the token, is answered.
    """
    request = (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Connection: close\r\n\r\n"
    )
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), seconds) as visitor:
        visitor.settimeout(seconds)
        visitor.sendall(request.encode())
        return visitor.recv(100).startswith(b"HTTP/1.1 200")
    return False


def slow(door: str, path: str, ground: Ground) -> Facts:
    """
    Take all places with requests that never end, and knock as an operator.
    """
    with serving(ground) as server, crowd(server.where(door)) as visitors, good(server.port) as it:
        port, began, line = server.where(door), time.monotonic(), 0.0
        answered = False
        while not answered and time.monotonic() - began < PATIENCE:
            visitors.connect(PLACES - visitors.left, b"GET / HTTP/1.1\r\nHost: localhost\r\n")
            if time.monotonic() - line > 3:
                line = time.monotonic()
                visitors.say(b"X-Drip: 1\r\n")
            visitors.look(0.2)
            it.ask()
            # At first the visitors are still on their way.
            answered = time.monotonic() - began > 2 and isAnswered(port, path)
        took = time.monotonic() - began
    ground.expect(answered, f"nobody else was answered in {PATIENCE:.0f} s")
    ground.expect(it.worst < SLOWEST, f"a client waited {it.worst:.1f} s")
    return {"visitors": PLACES, "seconds": round(took, 1), "slowest answer": round(it.worst, 3)}


def pipelined(door: str, path: str, ground: Ground) -> Facts:
    """
    Ask a thousand times in one segment, with many connections to tell of.
    """
    requests, clients = ground.count(1100, 100), ground.count(500, 100)
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    with (
        serving(ground) as server,
        crowd(server.port) as people,
        good(server.port) as client,
        crowd(server.where(door), reading=True) as visitors,
    ):
        people.connect(clients, b"hello")
        people.until(lambda: people.served == clients, 10)
        client.worst = 0.0
        before = peak = server.memory()
        visitors.connect(1, head.encode() * requests)
        end = time.monotonic() + 10
        while visitors.left and time.monotonic() < end:
            client.ask()
            visitors.look(0.005)
            peak = max(peak, server.memory())
        got = visitors.clients[0].received
    ground.expect(client.worst < SLOWEST, f"a client waited {client.worst:.1f} s")
    ground.expect(peak - before < MOST_MEMORY, f"{(peak - before) // 1000} MB of memory")
    return {"requests": requests, "connections": clients, "bytes read": got,
            "slowest answer": round(client.worst, 3), "kB": peak - before}  # fmt: skip


def _counted(server: Running) -> int:
    """
    How many clients a server knows of.
    """
    told = server.ask()
    return int(told["accepted"] + told["refused"])


def crowded(ground: Ground) -> Facts:
    """
    Fill both doors, and then the server, with few descriptors.
    """
    number = 400
    with (
        serving(ground, descriptors=200) as server,
        crowd(server.where("status page")) as page,
        crowd(server.where("control")) as control,
        crowd(server.port) as people,
    ):
        logged, before = server.logged(), _counted(server)
        page.connect(PLACES, b"GET / HTTP/1.1\r\n")
        control.connect(PLACES, b"GET / HTTP/1.1\r\n")
        page.until(lambda: False, 0.3)
        people.connect(number, b"hello")
        people.until(lambda: people.served + number - people.left >= number, 5)
        log, told = server.logged() - logged, server.ask()
        counted = _counted(server) - before
        unseen = sum(not c.received and not c.ended for c in people.clients)
    ground.expect(counted == number, f"{number - counted} of {number} clients are counted nowhere")
    ground.expect(not unseen, f"{unseen} clients saw nothing")
    ground.expect(log < 60_000, f"{log} bytes of log")
    return {"clients": number, "accepted": told["accepted"], "refused": told["refused"],
            "bytes of log": log}  # fmt: skip


PART = Part(
    "doors",
    "Visitors of the status page and of control, however slow or greedy, cost the clients nothing "
    "that they notice, and keep no operator out.",
    {
        "slow visitors of the page": partial(slow, "status page", "/healthz"),
        "slow visitors of control": partial(slow, "control", "/status"),
        "pipelined requests for the page": partial(
            pipelined, "status page", "/status.json?limit=1000"
        ),
        "pipelined requests for control": partial(pipelined, "control", "/connections"),
        "doors and server full": crowded,
    },
    frozenset({"doors and server full"}),
)
