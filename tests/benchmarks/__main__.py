"""
Measure servers and clients side by side, and write tables and a plot.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

from tests.benchmarks.cases import CASES, ENTRANTS, Case
from tests.benchmarks.entrants import ALLOCATOR, Cores, Setting, entered, idleMemory
from tests.benchmarks.latency import latencies, sustainable
from tests.benchmarks.plot import plot
from tests.benchmarks.programs import Unavailable, leavingOut
from tests.benchmarks.servers import CERTIFICATE
from tests.benchmarks.tables import Results, tables

TURN: Final = 0.1
"""Seconds of a turn: much longer than an entrant takes to get warm, and much shorter
than the slow and quick times of a shared machine."""

WARMING: Final = 0.4
"""Seconds before the first turn, for compilers that work while the program runs."""


def inTurns(
    case: Case, names: list[str], setting: Setting, seconds: float
) -> dict[str, list[float]]:
    """
    Start all entrants, and let them work in turns.

    @param seconds: the time for each entrant.
    @return: the figures of each entrant's turns.
    """
    figures: dict[str, list[float]] = {}
    with ExitStack() as stack:
        entrants = {}
        for name in names:
            with leavingOut(f"{case.title}: {ENTRANTS[name]}"):
                entrants[name] = stack.enter_context(entered(case, name, setting))
        for entrant in entrants.values():
            entrant.turn(WARMING)
        for _ in range(max(1, round(seconds / TURN))):
            for name, entrant in entrants.items():
                figures.setdefault(name, []).append(round(entrant.turn(TURN), 2))
    return figures


def idle(case: Case, names: list[str], setting: Setting) -> dict[str, list[float]]:
    """
    The memory of each server for an idle connection.
    """
    figures = {}
    for name in names:
        with leavingOut(f"{case.title}: {ENTRANTS[name]}"):
            figures[name] = [round(idleMemory(case, name, setting), 2)]
    return figures


def measured(
    key: str, names: list[str], setting: Setting, seconds: float, starts: int
) -> Iterator[tuple[str, dict[str, list[float]]]]:
    """
    Measure a case, several times with new processes.

    @return: titles, and the figures of entrants.
    """
    case = CASES[key]
    if case.kind != "latency":
        for _ in range(starts):
            if case.kind == "memory":
                yield case.title, idle(case, names, setting)
            else:
                yield case.title, inTurns(case, names, setting, seconds)
        return
    rate = sustainable(setting)
    print(f"latency at {rate:.0f} messages a second", flush=True)
    for _ in range(starts):
        for share, figures in latencies(case, names, setting, seconds, rate).items():
            yield f"{case.title}, {share}", figures


def parsed() -> argparse.Namespace:
    """
    The command line.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="of work for each entrant and start [default: 2]"
    )
    parser.add_argument("--starts", type=int, default=3, help="of all entrants [default: 3]")
    parser.add_argument("--case", action="append", choices=list(CASES), help="[default: all]")
    parser.add_argument("--server", action="append", choices=list(ENTRANTS), help="[default: all]")
    parser.add_argument(
        "--allocator",
        choices=("fixed", "system"),
        default="fixed",
        help="glibc's thresholds: fixed for all alike, or as they are [default: fixed]",
    )
    parser.add_argument("--output", type=Path, help="a folder for tables, plot and figures")
    return parser.parse_args()


def prepared(folder: Path, allocator: str) -> Setting:
    """
    Raise the limit of open files, choose the cores, and make the certificate.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    available = sorted(os.sched_getaffinity(0))
    cores = Cores(*available[:2]) if len(available) > 1 else Cores(None, None)
    if cores.server is None:
        print("there is only one core: entrant and load share it")
    try:
        from tests.support.certificates import pemFile

        (folder / CERTIFICATE).write_bytes(pemFile().read_bytes())
    except ImportError as error:
        print(f"no certificate, and so no TLS: {error}")
    environment = ALLOCATOR if allocator == "fixed" else {}
    print("environment:", *(f"{k}={v}" for k, v in environment.items()), flush=True)
    return Setting(folder, cores, environment)


def main() -> None:
    """
    Run the cases of the command line.
    """
    arguments = parsed()
    results: Results = {}
    titles: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        setting = prepared(Path(folder), arguments.allocator)
        for key in arguments.case or CASES:
            names = [n for n in CASES[key].entrants if n in (arguments.server or ENTRANTS)]
            try:
                for title, figures in measured(
                    key, names, setting, arguments.seconds, arguments.starts
                ):
                    label = key + title.removeprefix(CASES[key].title).replace(", ", "-")
                    titles[label] = title
                    for name, values in figures.items():
                        results.setdefault(label, {}).setdefault(name, []).extend(values)
                        middle = f"{len(values)} figures, median {median(values):.6g}"
                        print(f"{label:13} {name:17} {middle}", flush=True)
            except Unavailable as error:
                print(f"{CASES[key].title}: left out: {error}", flush=True)
    text = tables(results, titles)
    print("\n" + text)
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        (arguments.output / "performance-table.txt").write_text(text)
        (arguments.output / "performance.json").write_text(json.dumps(results) + "\n")
        (arguments.output / "performance.svg").write_text(plot(results, titles, ENTRANTS))


if __name__ == "__main__":
    main()
