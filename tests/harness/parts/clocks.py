"""
A wall clock that is set while the server runs.
"""

from __future__ import annotations

import time
from functools import partial

from tests.harness.clients import crowd, good
from tests.harness.findings import Facts
from tests.harness.ground import Ground
from tests.harness.parts.part import Part
from tests.harness.peers.kinds import SHIMS
from tests.harness.peers.program import FLOOD

DAY = 86400.0
BUDGET = 2.0
LATE = 1.0


def moved(shift: float, ground: Ground) -> Facts:
    """
    Set the clock; nobody may be ended by it, and budgets and deadline have to be as
    long as before.
    """
    ground.needs(SHIMS)
    with (
        ground.serving(
            shims=True, idle=4 * BUDGET, firstByte=BUDGET, lifetime=DAY / 2, drain=BUDGET
        ) as server,
        good(server.port) as client,
        crowd(server.port) as silent,
    ):
        client.ask()
        silent.connect(10)
        silent.until(lambda: False, 0.3)
        server.ask(shift=shift)
        began = time.monotonic()
        silent.until(lambda: not silent.left, 3 * BUDGET + LATE, client.ask)
        took = time.monotonic() - began
        left = silent.left
        client.ask()
        with crowd(server.port, reading=False, buffer=4096) as stuck:
            stuck.connect(1, FLOOD)
            stuck.until(lambda: not stuck.clients[0].unsent, 2)
            stuck.until(lambda: False, 0.2)
            server.ask(shift=0.0)
            server.stop()
            server.ask(shift=shift)
            ended = server.whenEnded(3 * BUDGET + LATE)
    ground.expect(not left, f"{left} silent clients were not ended")
    early, late = took < BUDGET - LATE, took > BUDGET + LATE
    ground.expect(left or not (early or late), f"a budget of {BUDGET:.0f} s took {took:.1f} s")
    ground.expect(
        ended is not None and abs(ended - BUDGET) < LATE,
        f"a drain of {BUDGET:.0f} s took {'for ever' if ended is None else f'{ended:.1f} s'}",
    )
    return {"budget": round(took, 2), "drain": "never" if ended is None else round(ended, 2)}


PART = Part(
    "clocks",
    "A clock that is set, forward or back, ends nobody, and changes no budget and no deadline.",
    {"forward a day": partial(moved, DAY), "back a day": partial(moved, -DAY)},
    frozenset({"forward a day", "back a day"}),
)
