"""
No descriptors left: because of clients, and because of others.
"""

from __future__ import annotations

import time

from tests.harness.clients import Crowd, crowd, good, isServed
from tests.harness.findings import Facts
from tests.harness.ground import Ground
from tests.harness.parts.part import Part
from tests.harness.peers.program import EAT, SPIT

LIMIT = 200
"""The process's RLIMIT_NOFILE."""
CROWD = 500
MOST_CPU = 0.5
"""Share of a processor that may be used while nothing can be done."""


def _known(people: Crowd) -> int:
    """
    How many know whether they are served.
    """
    return sum(c.received > 0 or bool(c.ended) for c in people.clients)


def _turnsOf(people: Crowd) -> int:
    """
    Let those who know leave, until all do: where clients wait, it is their turn then.

    @return: how many never knew.
    """
    while people.clients and people.until(lambda: _known(people), 2):
        people.drop([c for c in people.clients if c.received or c.ended])
    return len(people.clients)


def byClients(ground: Ground) -> Facts:
    """
    Connect more clients than there are descriptors.
    """
    with ground.serving(descriptors=LIMIT) as server, good(server.port) as client:
        client.ask()
        before, logged = server.descriptors(), server.logged()
        with crowd(server.port) as people:
            people.connect(CROWD, b"hello")
            people.until(lambda: _known(people) == CROWD, 3)
            client.ask()
            used = server.cpuTime()
            people.until(lambda: False, 1)
            used = server.cpuTime() - used
            client.ask()
            served, away = people.served, CROWD - people.left
            lost = _turnsOf(people)
        again = server.soon(lambda: isServed(server.port, 1), 5)
        server.soon(lambda: server.descriptors() <= before, 5)
        log, left = server.logged() - logged, server.descriptors() - before
    ground.expect(not lost, f"{lost} were neither served nor refused")
    ground.expect(used < MOST_CPU, f"{used:.0%} of a processor while nothing could be done")
    ground.expect(again is not None, "nobody was served when they had left")
    ground.expect(left <= 0, f"{left} descriptors are left")
    ground.expect(log < 100 * CROWD, f"{log} bytes of log")
    return {"clients": CROWD, "served": served, "refused": away, "CPU": round(used, 2),
            "bytes of log": log}  # fmt: skip


def byOthers(ground: Ground) -> Facts:
    """
    Let the program open files until none is left, and then connect.
    """
    ground.needs("program")
    with ground.serving(descriptors=LIMIT) as server, good(server.port) as client:
        client.ask(EAT)
        logged = server.logged()
        with crowd(server.port) as people:
            people.connect(20, b"hello")
            used = server.cpuTime()
            people.until(lambda: False, 1)
            used = server.cpuTime() - used
            client.ask()
            client.ask(SPIT)
            began = time.monotonic()
            people.until(lambda: all(c.received or c.ended for c in people.clients), 5)
            lost = sum(not c.received and not c.ended for c in people.clients)
        again = server.soon(lambda: isServed(server.port, 1), 5)
        log = server.logged() - logged
    ground.expect(not lost, f"{lost} saw nothing, though there were descriptors again")
    ground.expect(again is not None, "nobody was served when there were descriptors again")
    ground.expect(used < MOST_CPU, f"{used:.0%} of a processor while nothing could be done")
    ground.expect(log < 20_000, f"{log} bytes of log")
    return {"CPU": round(used, 2), "bytes of log": log,
            "seconds": round(time.monotonic() - began, 2)}  # fmt: skip


PART = Part(
    "descriptors",
    "Without a descriptor left the server neither spins nor floods its log, serves those it has, "
    "and serves again when there are some.",
    {"by clients": byClients, "by others": byOthers},
    frozenset({"by clients", "by others"}),
)
