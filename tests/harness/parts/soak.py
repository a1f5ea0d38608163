"""
A mixed load for a long time, with a system that fails now and then.
"""

from __future__ import annotations

import random
import time
from functools import partial
from typing import Any, Final

from tests.harness.clients import Crowd, crowd, isServed, soon
from tests.harness.findings import Facts, NotApplicable
from tests.harness.ground import Ground
from tests.harness.parts.part import Part
from tests.harness.peers.kinds import SHIMS
from tests.harness.peers.program import FLOOD, RAISE
from tests.harness.peers.running import Running
from tests.harness.peers.shims import FAULTS

LIMIT: Final = 200
SHARE: Final = 0.01
"""The share of system calls that fail."""

ROUND: Final = 5.0
"""Seconds of load between two looks at a server without clients."""

REST: Final = 5.0
"""Seconds of its own time in which such a server has to have let go of everything: a
queue full of clients that have left costs it a third of a second of processor time."""


class Load:
    """
    Clients of all kinds, who come and go.
    """

    def __init__(self, server: Running, seed: int) -> None:
        self._server = server
        self._random = random.Random(seed)
        self.connected = 0

    def run(self, seconds: float) -> None:
        """
        Load the server for a while, and leave it.
        """
        end = time.monotonic() + seconds
        with (
            crowd(self._server.port) as readers,
            crowd(self._server.port, reading=False, buffer=4096) as others,
        ):
            while time.monotonic() < end:
                self._come(readers, others)
                for _ in range(5):
                    readers.look(0.002)
                    others.look(0.0)
                self._go(readers)
                self._go(others)
            for people in (readers, others):
                people.leave(reset=self._random.random() < 0.5)

    def _come(self, readers: Crowd, others: Crowd) -> None:
        kind, few = self._random.random(), self._random.randrange(1, 20)
        if kind < 0.7:
            readers.connect(few, b"hello")
        elif kind < 0.8:
            readers.connect(few, RAISE)
        elif kind < 0.9:
            readers.connect(1, FLOOD)
        else:
            others.connect(1, FLOOD)
        self.connected += few if kind < 0.8 else 1
        if self._random.random() < 0.2:
            readers.say(b"again")

    def _go(self, people: Crowd) -> None:
        """
        Let some leave, with FIN, with RST, or in the middle of something.
        """
        share = 0.1 if len(people.clients) < LIMIT else 0.6
        leaving = [c for c in people.clients if c.ended or self._random.random() < share]
        people.drop(leaving, reset=self._random.random() < 0.3)


def inOrder(ground: Ground, server: Running, base: int) -> float:
    """
    Look at a server that everybody has left.

    @return: the seconds until it had let go of all.
    """
    back = server.soon(lambda: server.descriptors() <= base, REST)
    ground.expect(back is not None, f"{server.descriptors() - base} descriptors are left")
    try:
        told = server.ask()
    except NotApplicable:
        told = {}
    ground.expect(not told.get("open"), f"{told.get('open')} connections are open, of nobody")
    accounts(ground, told)
    # Clients that left while they were in the queue still take slots, each for a moment.
    served = server.soon(lambda: isServed(server.port, 1), REST)
    ground.expect(served is not None, "a new client is not served")
    return REST if back is None else back


def accounts(ground: Ground, told: dict[str, Any]) -> None:
    """
    Check what a server says of itself, at any moment.
    """
    if "accepted" not in told:
        return
    ground.expect(told["accepted"] == told["open"] + told["closed"], f"accounts: {told}")
    ground.expect(told["open"] <= LIMIT, f"{told['open']} connections, past {LIMIT}")
    ground.expect(not told["violations"], f"accounts: {told['violations']}")


def grown(sizes: list[int]) -> tuple[int, int]:
    """
    How much memory grows in the second half of all rounds: in the first, the heap gets the
    size that it will keep, which is that of the largest crowd.

    @param sizes: kB after each round.
    @return: kB, and the most that is no leak.
    """
    later = sizes[(len(sizes) - 1) // 2 :]
    return (later[-1] - later[0] if later else 0), 10_000 + 100 * len(later)


def soak(calls: tuple[str, ...], ground: Ground) -> Facts:
    """
    Load it, rest, and look, until the time is over or something does not hold.
    """
    if calls:
        ground.needs(SHIMS)
    share = 1.0 / len(PART.cases)
    seconds, sizes = ground.bounds.seconds * share, list[int]()
    with ground.serving(shims=bool(calls), limit=LIMIT, idle=600, firstByte=600) as server:
        isServed(server.port)
        soon(lambda: False, 0.3)
        base = server.descriptors()
        load, end = Load(server, 14), time.monotonic() + seconds
        slowest, starved = 0.0, time.monotonic() - server.ownTime()
        while time.monotonic() < end and not ground.wrong and server.isRunning:
            _set(server, SHARE, calls)
            load.run(min(ROUND, max(1.0, end - time.monotonic())))
            _set(server, 0.0, calls)
            slowest = max(slowest, inOrder(ground, server, base))
            sizes.append(server.memory() if server.isRunning else 0)
        starved = time.monotonic() - server.ownTime() - starved if server.isRunning else 0.0
        injected = server.ask().get("injected", {}) if calls and server.isRunning else {}
    more, most = grown(sizes)
    ground.expect(more < most, f"{more} kB more memory")
    return {"seconds": round(seconds), "rounds": len(sizes), "connections": load.connected,
            "faults": sum(injected.values()), "kB": more, "slowest rest": round(slowest, 2),
            "starved": round(starved, 1)}  # fmt: skip


def _set(server: Running, share: float, calls: tuple[str, ...]) -> None:
    if calls:
        server.ask(share=share, calls=calls)


PART = Part(
    "soak",
    "Under a mixed load, with system calls that fail, no connection, slot or descriptor is lost.",
    {
        "no faults": partial(soak, ()),
        **{f"faults of {call}": partial(soak, (call,)) for call in FAULTS},
        "all faults": partial(soak, tuple(FAULTS)),
    },
    frozenset({"no faults", "all faults"}),
)
