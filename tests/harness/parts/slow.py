"""
Clients that are slow, or never do what is waited for.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

from tests.harness.clients import Crowd, crowd, good
from tests.harness.findings import Facts
from tests.harness.ground import Ground
from tests.harness.parts.part import Part
from tests.harness.peers.program import FLOOD

SLOWEST: Final = 2.0
"""Seconds that an answer to a good client may take meanwhile: nearly all of it is the
time in which 8 MB are written to each of the others."""

LATE: Final = 2.0
"""Seconds by which an end may come late."""


class Kind(NamedTuple):
    """
    A kind of bad client.

    @ivar within: seconds in which the server has to be rid of it.
    @ivar say: what it says first.
    @ivar meanwhile: what it does after that.
    @ivar reads: whether it reads.
    @ivar needs: what the server has to have for it.
    """

    within: float
    say: bytes = b""
    meanwhile: Callable[[Crowd], object] = lambda people: None
    reads: bool = True
    needs: str = ""


class _Drip:
    """
    Says a byte now and then.
    """

    def __init__(self, each: float) -> None:
        self._each = each
        self._next = 0.0

    def __call__(self, people: Crowd) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._each
            for client in people.clients:
                with suppress(OSError):
                    client.socket.send(b".")


def _halfClose(people: Crowd) -> None:
    for client in people.clients:
        with suppress(OSError):
            client.socket.shutdown(socket.SHUT_WR)


BUDGETS: Final = {"firstByte": 2.0, "stall": 2.0, "close": 2.0, "lifetime": 5.0}
IDLE: Final = 2.0
LONG: Final = 20.0
"""An idle budget that leaves the end to another one."""


def kinds() -> dict[str, Kind]:
    """
    The kinds by name.
    """
    return {
        "silent": Kind(2.0),
        "slowloris": Kind(5.0, b".", _Drip(0.5), needs="lifetime"),
        "never reads": Kind(2.0, FLOOD, reads=False),
        "drip, never reads": Kind(5.0, FLOOD, _Drip(0.5), reads=False),
        "half-open, never reads": Kind(4.0, FLOOD, _halfClose, reads=False),
    }


def slow(name: str, ground: Ground) -> Facts:
    """
    Let a crowd of bad clients come, and see how long they can stay.
    """
    kind = kinds()[name]
    if kind.needs:
        ground.needs(kind.needs)
    number = ground.count(500 if kind.reads else 100, 20)
    with (
        ground.serving(**BUDGETS, idle=IDLE if kind.reads else LONG) as server,
        crowd(server.port, kind.reads, 0 if kind.reads else 4096) as people,
    ):
        idle, before = server.descriptors(), server.memory()
        began = time.monotonic()
        people.connect(number, kind.say)
        worst, peak, left = 0.0, before, number
        people.until(lambda: server.descriptors() >= idle + number, 1)
        while time.monotonic() - began < kind.within + LATE + 5:
            kind.meanwhile(people)
            people.look(0.05)
            peak = max(peak, server.memory())
            # The server's descriptors tell, not the clients' ends: what the kernel has
            # not delivered can keep a client from seeing that the server is rid of it.
            left = server.descriptors() - idle
            if left <= 0:
                break
            with good(server.port) as client:
                client.ask()
            worst = max(worst, client.worst)
        took = time.monotonic() - began
    ground.expect(left <= 0, f"{left} descriptors were still held after {took:.0f} s")
    ground.expect(left > 0 or took <= kind.within + LATE, f"the last was there for {took:.1f} s")
    ground.expect(worst < SLOWEST, f"a good client waited {worst:.1f} s")
    return {"clients": number, "seconds": round(took, 1), "budget": kind.within,
            "slowest answer": round(worst, 3), "kB each": (peak - before) // number}  # fmt: skip


PART = Part(
    "slow",
    "Each client that stalls is ended when its budget is used up, and the others are served.",
    {name: partial(slow, name) for name in kinds()},
    frozenset({"never reads"}),
)
