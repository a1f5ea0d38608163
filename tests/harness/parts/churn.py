"""
A hundred thousand connects and closes.
"""

from __future__ import annotations

import time

from tests.harness.clients import crowd
from tests.harness.findings import Facts, NotApplicable
from tests.harness.ground import Ground
from tests.harness.parts.part import Part
from tests.harness.peers.running import Running

AT_ONCE = 100
MOST_GROWTH = 4096
"""kB of memory that allocators may keep."""
MOST_EACH = 256
"""Bytes that a client may leave: a heap that is collected now and then has some, and
one forgotten object for each client would be more."""
MOST_OBJECTS = 500


def come(server: Running, number: int) -> int:
    """
    Connect, ask, and close, over and over.

    @return: how many were not answered.
    """
    lost = 0
    for _ in range(number // AT_ONCE):
        with crowd(server.port) as people:
            people.connect(AT_ONCE, b"hello")
            people.until(lambda people=people: people.served == AT_ONCE, 20)  # type: ignore[misc]
            lost += AT_ONCE - people.served
    return lost


def inside(server: Running) -> dict[str, int]:
    """
    Objects and timers, of a peer that can tell.
    """
    try:
        told = server.ask(objects=True)
    except NotApplicable:
        return {}
    return {name: told[name] for name in ("objects", "calls")}


def churn(ground: Ground) -> Facts:
    """
    Compare what the server holds after some thousand clients, and after all.
    """
    number = ground.count(100_000, 1000)
    with ground.serving(limit=1000) as server:
        first = server.descriptors()
        # Before: half of them, so that heaps have the size that they will keep.
        lost = come(server, max(AT_ONCE, number // 2))
        server.soon(lambda: server.descriptors() <= first, 10)
        before, memory, held = server.descriptors(), server.memory(), inside(server)
        began = time.monotonic()
        lost += come(server, number)
        rate = number / (time.monotonic() - began)
        ground.expect(
            server.soon(lambda: server.descriptors() <= before, 10) is not None,
            "descriptors are left",
        )
        growth, after = server.memory() - memory, inside(server)
        more = {name: after[name] - held[name] for name in after}
        left = server.descriptors() - before
    ground.expect(not lost, f"{lost} were not answered")
    ground.expect(growth <= MOST_GROWTH + number * MOST_EACH // 1024, f"{growth} kB more memory")
    ground.expect(more.get("objects", 0) <= MOST_OBJECTS, f"{more.get('objects')} more objects")
    ground.expect(more.get("calls", 0) <= 0, f"{more.get('calls')} more timers")
    return {"connections": number, "a second": round(rate), "descriptors": left,
            "kB": growth, **more}  # fmt: skip


PART = Part(
    "churn",
    "After a hundred thousand clients, descriptors, objects, timers and memory are back.",
    {"connects": churn},
    frozenset({"connects"}),
)
