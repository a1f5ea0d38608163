"""
How long a round trip takes, at a rate that every server can keep.

The load sends at fixed times, whether or not earlier messages have come back, and a
time counts from the moment at which its message was due.  So a server that stands
still for a while shows it in every message of that while, not in one.
"""

from __future__ import annotations

import tempfile
from array import array
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

from tests.benchmarks.cases import CASES, ENTRANTS, Case
from tests.benchmarks.entrants import DEADLINE, Setting, entered
from tests.benchmarks.programs import Unavailable, leavingOut, loadCommand, serverCommand

SHARES: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}

TURN: Final = 0.5
"""Seconds of a turn: of forty thousand messages, forty are above p99.9."""

_JUDGES: Final = ("fast", "uvloop", "node")
"""The servers of which the slowest decides the rate."""


def sustainable(setting: Setting) -> float:
    """
    Two thirds of the messages a second that the slowest of some servers can echo, by
    its CPU time for one.
    """
    costs = []
    for name in _JUDGES:
        try:
            with entered(CASES["small"], name, setting) as entrant:
                costs.append(median(entrant.turn(TURN / 5) for _ in range(5)))
        except Unavailable:
            continue
    if not costs:
        raise Unavailable("no server that decides the rate")
    return round(2e6 / 3 / max(costs), -3)


def latencies(
    case: Case, names: list[str], setting: Setting, seconds: float, rate: float
) -> dict[str, dict[str, list[float]]]:
    """
    Start all servers, and load them in turns.

    @param seconds: the time of load for each server.
    @param rate: messages a second.
    @return: for each share, the figures of each server's turns.
    """
    figures: dict[str, dict[str, list[float]]] = {share: {} for share in SHARES}
    with ExitStack() as stack:
        places = {}
        for name in names:
            with leavingOut(f"{case.title}: {ENTRANTS[name]}"):
                command = serverCommand(name, case.door, setting.folder)
                server = stack.enter_context(setting.running(command, setting.cores.server))
                places[name] = server.firstLine()[0]
        for turn in range(1 + max(1, round(seconds / TURN))):
            for name, where in places.items():
                times = _turn(case, where, setting, rate)
                for share, part in SHARES.items():
                    if turn:  # the first is to get warm
                        value = times[int(len(times) * part)] / 10
                        figures[share].setdefault(name, []).append(value)
    return figures


def _turn(case: Case, where: str, setting: Setting, rate: float) -> list[int]:
    """
    One turn of a server.

    @return: the times of its messages in tenths of a microsecond, the shortest first.
    """
    command = loadCommand(case.load, case.door, setting.folder)
    number = int(rate * TURN)
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(4 * number)
        sizes = [str(case.connections), str(case.size)]
        command += [where, *sizes, file.name, str(rate)]
        with setting.running(command, setting.cores.load) as load:
            if load.process.wait(DEADLINE):
                raise load.why()
        times = array("I", Path(file.name).read_bytes()).tolist()
    return sorted(times[number // 10 :])  # the first come from a cold start
