"""
Waves of twice the limit, under each policy for those who are too many.
"""

from __future__ import annotations

import socket
from collections import Counter
from functools import partial
from typing import Final

from tests.harness.clients import Crowd, crowd
from tests.harness.findings import Facts
from tests.harness.ground import Ground
from tests.harness.parts.part import Part

LIMIT: Final = 25
PATIENCE: Final = 10.0


def wave(overflow: str, ground: Ground) -> Facts:
    """
    Let waves come, and count who is served, and what the others see.
    """
    ground.needs(overflow)
    waves = ground.count(10, 2)
    most, seen = 0, Counter[str]()
    with ground.serving(limit=LIMIT, overflow=overflow) as server:
        before = server.descriptors()
        for _ in range(waves):
            with crowd(server.port) as people:
                people.connect(2 * LIMIT, b"hello")
                most = max(most, _comeIn(people, overflow))
                seen.update(
                    "served" if client.received else client.ended or "lost"
                    for client in people.clients
                )
            freed = server.soon(lambda: server.descriptors() <= before, PATIENCE)
            ground.expect(freed is not None, "descriptors were not given back after a wave")
    everyone = waves * 2 * LIMIT
    served = everyone if overflow == "wait" else everyone // 2
    ground.expect(most <= LIMIT, f"{most} were served at once, past a limit of {LIMIT}")
    ground.expect(seen["served"] == served, f"{seen['served']} of {served} were served")
    ground.expect(not seen["lost"], f"{seen['lost']} saw nothing")
    if overflow == "refuse":
        ground.expect(not seen["reset"], f"{seen['reset']} saw a reset in place of an end")
    elif overflow == "reset":
        ground.expect(not seen["fin"], f"{seen['fin']} saw an end in place of a reset")
    return {"clients": everyone, **seen, "most at once": most}


def _comeIn(people: Crowd, overflow: str) -> int:
    """
    Wait until everybody knows; where clients wait, let those go who were served.

    @return: the most who were served at once.
    """
    inside = 0

    def known() -> bool:
        nonlocal inside
        served = [c for c in people.clients if c.received and not c.ended]
        inside = max(inside, len(served))
        return all(c.received or c.ended for c in people.clients)

    if overflow != "wait":
        people.until(known, PATIENCE)
        return inside
    # Whoever waits sees nothing: that is the policy.
    people.until(known, 0.3)

    def everybodyServed() -> bool:
        for client in people.clients:
            if client.received and not client.ended:
                client.ended = "left"
                client.socket.shutdown(socket.SHUT_RDWR)
        return known()

    people.until(everybodyServed, PATIENCE)
    return inside


PART = Part(
    "waves",
    "The limit is never exceeded, each client over it sees what the policy says, and each slot "
    "is given again.",
    {policy: partial(wave, policy) for policy in ("refuse", "reset", "wait")},
    frozenset({"refuse", "reset", "wait"}),
)
