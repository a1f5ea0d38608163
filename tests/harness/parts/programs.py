"""
A program that raises, exits, blocks, and hangs.
"""

from __future__ import annotations

from functools import partial

from tests.harness.clients import crowd, good, isServed
from tests.harness.findings import Facts, NotApplicable
from tests.harness.ground import Ground
from tests.harness.parts.part import Part
from tests.harness.peers.program import EXIT, HANG, RAISE, STOP
from tests.harness.peers.running import Running


def violations(server: Running) -> list[str]:
    """
    What does not add up, in a peer that keeps accounts.
    """
    try:
        found: list[str] = server.ask().get("violations", [])
    except NotApplicable:
        return []
    return found


def raising(order: bytes, ground: Ground) -> Facts:
    """
    Let the program raise on many connections, up to the limit, twice.
    """
    ground.needs("program")
    if order == EXIT:
        ground.needs("exit")
    limit = 20
    with ground.serving(limit=limit + 1) as server, good(server.port) as client:
        client.ask()
        before = server.descriptors()
        left = 0
        for _ in range(ground.count(10, 2)):
            with crowd(server.port) as people:
                people.connect(limit, order)
                people.until(lambda people=people: not people.left, 3)  # type: ignore[misc]
                left += people.left
            ground.expect(
                server.soon(lambda: server.descriptors() <= before, 3) is not None,
                "descriptors are left",
            )
            client.ask()
        served = isServed(server.port)
        wrong = violations(server)
    ground.expect(not left, f"{left} connections were not ended")
    ground.expect(served, "nobody is served afterwards")
    ground.expect(not wrong, f"accounts: {wrong}")
    return {"connections left": left, "slowest answer": round(client.worst, 3)}


def blocking(ground: Ground) -> Facts:
    """
    Block for a second, while clients come and go.
    """
    ground.needs("program")
    with ground.serving(limit=100, idle=5) as server, good(server.port) as client:
        client.ask()
        with crowd(server.port) as people:
            people.connect(1, HANG)
            people.until(lambda: False, 0.1)
            people.connect(50, b"hello")
            took = client.ask()
            people.until(lambda: people.served == 51, 5)
            served = people.served
        wrong = violations(server)
    ground.expect(served == 51, f"{51 - served} clients were not served when it was over")
    ground.expect(not wrong, f"accounts: {wrong}")
    return {"served": served, "answer meanwhile": round(took, 2)}


def hanging(ground: Ground) -> Facts:
    """
    Block for ever, and tell the server to stop.
    """
    ground.needs("program")
    drain, grace = 1.0, 5.0
    with ground.serving(drain=drain) as server, crowd(server.port) as people:
        people.connect(1, STOP)
        people.until(lambda: False, 0.3)
        server.stop()
        took = server.whenEnded(drain + grace + 2)
    ground.expect(took is not None, f"it runs {drain + grace + 2:.0f} s after the signal")
    return {"seconds": "never" if took is None else round(took, 2)}


PART = Part(
    "programs",
    "A program that raises ends its own connection and no other, the accounts stay right, and "
    "one that hangs does not keep the server from ending.",
    {
        "raises": partial(raising, RAISE),
        "exits": partial(raising, EXIT),
        "blocks": blocking,
        "hangs for ever": hanging,
    },
    frozenset({"raises", "exits", "blocks"}),
)
