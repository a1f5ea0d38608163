"""
The end of a server whose clients are in the middle of something.
"""

from __future__ import annotations

import os
import signal
import time

from tests.harness.clients import Crowd, crowd, good
from tests.harness.findings import Facts
from tests.harness.ground import Ground
from tests.harness.parts.part import Part
from tests.harness.peers.program import FLOOD, MUCH

DRAIN = 2.0
ACCURACY = 0.5
"""Seconds by which the end may come after the deadline."""


class _Reader:
    """
    Lets a crowd read at a rate with which it is done a second after the signal.
    """

    def __init__(self, people: Crowd, seconds: float) -> None:
        self._people = people
        self._rate = len(MUCH) / seconds
        self._began = time.monotonic()

    def __call__(self) -> None:
        allowed = (time.monotonic() - self._began) * self._rate
        for client in self._people.clients:
            if not client.ended and client.received < allowed:
                client.read()
        time.sleep(0.002)


def transfers(ground: Ground) -> Facts:
    """
    Some read their eight megabytes, some never do.
    """
    number = ground.count(20, 5)
    with (
        ground.serving(drain=DRAIN) as server,
        crowd(server.port, reading=False, buffer=65536) as readers,
        crowd(server.port, reading=False, buffer=4096) as others,
    ):
        for people in (readers, others):
            people.connect(number, FLOOD)
            people.until(lambda people=people: not any(c.unsent for c in people.clients), 5)  # type: ignore[misc]
        read = _Reader(readers, 1.5)
        _spend(0.5, read)
        server.stop()
        began = time.monotonic()
        while server.isRunning and time.monotonic() - began < DRAIN + 5:
            read()
        took = time.monotonic() - began if not server.isRunning else None
        _spend(0.3, read)
        whole = sum(c.received >= len(MUCH) for c in readers.clients)
    ground.expect(whole == number, f"{number - whole} of {number} transfers were cut off")
    ground.expect(took is not None, "it has not ended")
    late = (took or 0.0) - DRAIN
    ground.expect(late <= ACCURACY, f"it ended {late:.2f} s after the deadline")
    return {"transfers": number, "whole": whole, "deadline": DRAIN,
            "seconds": "never" if took is None else round(took, 2)}  # fmt: skip


def _spend(seconds: float, doing: _Reader) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        doing()


def idle(ground: Ground) -> Facts:
    """
    Nobody is doing anything: each client gets its FIN, and the end comes early.
    """
    number = ground.count(200, 20)
    with ground.serving(drain=10.0) as server, crowd(server.port) as people:
        people.connect(number, b"hello")
        people.until(lambda: people.served == number, 5)
        people.until(lambda: False, 1.2)  # a byte has just moved: not idle yet
        server.stop()
        began = time.monotonic()
        people.until(lambda: not people.left, 8)
        ends = people.ends
        people.leave()
        server.whenEnded(8)
        took = time.monotonic() - began
        ended = not server.isRunning
    ground.expect(ends["fin"] == number, f"{number - ends['fin']} of {number} got no FIN")
    ground.expect(ended and took < 5, f"it took {took:.1f} s")
    return {"clients": number, "seconds": round(took, 2)}


def queued(ground: Ground) -> Facts:
    """
    Clients are in the kernel's queue at the signal: they have connected, and are to be
    answered.
    """
    number = 50
    with ground.serving(drain=5.0) as server, crowd(server.port) as people:
        with good(server.port) as client:
            client.ask()
        os.kill(server.pid, signal.SIGSTOP)
        people.connect(number, b"hello")
        people.until(lambda: not any(c.unsent for c in people.clients), 2)
        server.stop()
        os.kill(server.pid, signal.SIGCONT)
        people.until(lambda: not people.left, 4)
        served, reset = people.served, people.ends["reset"]
    ground.expect(served == number, f"{number - served} of {number} were not answered")
    return {"clients": number, "answered": served, "reset": reset}


PART = Part(
    "drains",
    "A server that is told to stop lets transfers finish, and ends at its deadline.",
    {"transfers": transfers, "idle clients": idle, "clients in the queue": queued},
    frozenset({"transfers", "clients in the queue"}),
)
