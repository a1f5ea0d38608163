"""
Floods of the log, of every kind that is known.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from tests.harness.clients import crowd, good
from tests.harness.findings import Facts
from tests.harness.ground import Ground
from tests.harness.parts.part import Part
from tests.harness.peers.program import RAISE
from tests.harness.peers.running import Running

MOST: Final = 60_000
"""Bytes of log for each second of a flood: three times a hundred lines."""

NASTY: Final = b"\x1b[2J\x1b]0;owned\x07\r\nforged line\x9b31m"
"""What a terminal or a reader of the log would take for something else."""

CONTROL: Final = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|^forged", re.MULTILINE)
LOOPBACK: Final = ":0:interface=127.0.0.1"


def connects(server: Running, number: int) -> None:
    """
    Connect, say something nasty, and leave.
    """
    for _ in range(number // 50):
        with crowd(server.port) as people:
            people.connect(50, NASTY)
            people.until(lambda people=people: people.served == 50 or not people.left, 2)  # type: ignore[misc]


def refusals(server: Running, number: int) -> None:
    """
    Be one too many.
    """
    with good(server.port) as client:
        client.ask()
        for _ in range(number // 50):
            with crowd(server.port) as people:
                people.connect(50)
                people.until(lambda people=people: not people.left, 2)  # type: ignore[misc]


def raises(server: Running, number: int) -> None:
    """
    Let the program raise with what the client has sent.
    """
    for _ in range(number // 200):
        with crowd(server.port) as people:
            people.connect(50, RAISE + NASTY)
            people.until(lambda people=people: not people.left, 2)  # type: ignore[misc]


def headers(server: Running, number: int) -> None:
    """
    Ask for the metrics with a header that cannot be parsed, on one connection.
    """
    request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain;version=x\r\n\r\n"
    _pour(server.where("status page"), request * number)


def control(server: Running, number: int) -> None:
    """
    Ask control for nonsense.
    """
    request = (
        b"PATCH /limits?\xc2\x9b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xc2\x9bx\r\n"
        b"Content-Length: 2\r\n\r\n[]"
    )
    _pour(server.where("control"), request * number)


def _pour(port: int, data: bytes) -> None:
    with crowd(port) as people:
        people.connect(1, data)
        people.until(lambda: not people.left or not people.clients[0].unsent, 3)
        people.until(lambda: not people.left, 1)


def proxies(server: Running, number: int) -> None:
    """
    Send wrong PROXY headers.
    """
    for _ in range(number // 50):
        with crowd(server.port) as people:
            people.connect(50, b"PROXY TCP4 " + NASTY + b"\r\n")
            people.until(lambda people=people: not people.left, 2)  # type: ignore[misc]


def paths(server: Running, number: int) -> None:
    """
    Come from a UNIX socket whose path is nasty.
    """
    folder = server.folder
    for index in range(number // 20):
        name = f"{folder}/{index}".encode() + NASTY.replace(b"/", b"")
        with socket.socket(socket.AF_UNIX) as client:
            client.bind(name)
            client.settimeout(5)
            client.connect(str(folder / "door"))
            client.sendall((RAISE if index % 2 else b"") + NASTY)
            client.recv(100)


KINDS: Final[dict[str, tuple[Callable[[Running, int], None], Mapping[str, Any], str]]] = {
    "connects": (connects, {}, "log"),
    "refusals": (refusals, {"limit": 1}, "log"),
    "exceptions": (raises, {}, "log"),
    "headers of the page": (headers, {"extra": ("--status", "tcp" + LOOPBACK)}, "doors"),
    "nonsense for control": (control, {"extra": ("--control", "tcp" + LOOPBACK)}, "doors"),
    "PROXY headers": (
        proxies,
        {"extra": ("--proxy-protocol", "--proxy-from", "127.0.0.0/8")},
        "doors",
    ),
    "paths of peers": (paths, {"extra": ("--listen", "unix:{folder}/door")}, "doors"),
}


def flood(name: str, ground: Ground) -> Facts:
    """
    Cause log lines without end.
    """
    attack, wishes, ability = KINDS[name]
    ground.needs(ability)
    number = ground.count(5000, 400)
    with _serving(ground, wishes) as server:
        logged, began = server.logged(), time.monotonic()
        attack(server, number)
        took = time.monotonic() - began
        # A summary comes a second later.
        time.sleep(1.2)
        log = server.log()[logged:]
    bad = CONTROL.findall(log)
    most = MOST * (took + 1)
    ground.expect(len(log) <= most, f"{len(log)} bytes of log in {took:.1f} s")
    ground.expect(not bad, f"{len(bad)} control characters or forged lines in the log")
    return {"events": number, "seconds": round(took, 1), "bytes of log": len(log)}


@contextmanager
def _serving(ground: Ground, wishes: Mapping[str, Any]) -> Generator[Running]:
    extra = [text.format(folder=ground.folder) for text in wishes.get("extra", ())]
    if "--control" in extra:
        token = ground.folder / "token"
        token.write_text("secret")
        token.chmod(0o600)
        extra += ["--control-token-file", str(token)]
    with ground.serving(**{**wishes, "extra": tuple(extra)}) as server:
        yield server


PART = Part(
    "logs",
    "No peer can flood the log, or write anything into it that is not escaped.",
    {name: partial(flood, name) for name in KINDS},
    frozenset({"connects", "exceptions", "headers of the page"}),
)
