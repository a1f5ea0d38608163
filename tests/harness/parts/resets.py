"""
Ten thousand resets in the middle of accepting.
"""

from __future__ import annotations

import socket

from tests.harness.clients import RESET, good, opened
from tests.harness.findings import Facts
from tests.harness.ground import Ground
from tests.harness.parts.part import Part

SLOWEST = 2.0
"""Seconds that an answer may take meanwhile."""


def resets(ground: Ground) -> Facts:
    """
    Reset while the server accepts, and go on asking as a good client.
    """
    number = ground.count(10_000, 500)
    with ground.serving(limit=100) as server:
        before = server.descriptors()
        with good(server.port) as client:
            for index in range(number):
                bad = opened(server.port)
                bad.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                bad.close()
                if index % 50 == 0:
                    client.ask()
            client.ask()
        back = server.soon(lambda: server.descriptors() <= before, 10)
        ground.expect(back is not None, f"{server.descriptors() - before} descriptors are left")
    ground.expect(client.worst < SLOWEST, f"an answer took {client.worst:.1f} s")
    return {"resets": number, "slowest answer": round(client.worst, 3)}


PART = Part(
    "resets",
    "Clients that reset in the middle of accepting keep no other from being served, and leave "
    "nothing.",
    {"while accepting": resets},
    frozenset({"while accepting"}),
)
