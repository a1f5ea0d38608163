"""
Measure servers side by side, and write a table and a plot.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

from tests.benchmarks.entrants import Case, Cores, entered, idleMemory
from tests.benchmarks.plot import plot
from tests.benchmarks.servers import NAMES, commandOf, compiled
from tests.benchmarks.tables import Results, compared, table

CASES: Final = {
    "small": Case("64 bytes, 50 connections (us)", "echo", 50, 64),
    "many": Case("64 bytes, 1000 connections (us)", "echo", 1000, 64),
    "medium": Case("64 KiB, 10 connections (us)", "echo", 10, 65536),
    "large": Case("1 MiB, 10 connections (us)", "echo", 10, 1 << 20),
    "connect": Case("connect, one message, close (us)", "connect", 50, 64),
    "idle": Case("memory of an idle connection (bytes)", "idle", 10_000, 64),
}

TURN: Final = 0.1
"""Seconds of a turn: much longer than a server takes to get warm, and much shorter
than the slow and quick times of a shared machine."""


def inTurns(
    case: Case,
    commands: dict[str, list[str]],
    generator: list[str],
    cores: Cores,
    seconds: float,
) -> dict[str, list[float]]:
    """
    Start all servers, and load them in turns.

    @param seconds: the time of load for each server.
    @return: the figures of each server's turns.
    """
    figures: dict[str, list[float]] = {name: [] for name in commands}
    with ExitStack() as stack:
        entrants = {
            name: stack.enter_context(entered(case, command, generator, cores))
            for name, command in commands.items()
        }
        for entrant in entrants.values():
            entrant.turn(TURN)  # to get warm
        for _ in range(max(1, round(seconds / TURN))):
            for name, entrant in entrants.items():
                figures[name].append(round(entrant.turn(TURN), 2))
    return figures


def main() -> None:
    """
    Run the cases of the command line.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="of load for each server and start [default: 2]"
    )
    parser.add_argument("--starts", type=int, default=3, help="of all servers [default: 3]")
    parser.add_argument("--case", action="append", choices=list(CASES), help="[default: all]")
    parser.add_argument("--server", action="append", choices=list(NAMES), help="[default: all]")
    parser.add_argument("--output", type=Path, help="a folder for tables, plot and figures")
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    available = sorted(os.sched_getaffinity(0))
    cores = Cores(*available[:2]) if len(available) > 1 else Cores(None, None)
    if cores.server is None:
        print("there is only one core: server and load generator share it")
    results: Results = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as folder:
        commands = {}
        for name in arguments.server or NAMES:
            command = commandOf(name, Path(folder))
            if command is None:
                print(f"{NAMES[name]}: cannot be had here, and is left out")
            else:
                commands[name] = command
        program = compiled("load", Path(folder))
        if program is None:
            print("no C compiler: the load comes from Python, and fast servers wait for it")
        generator = [program] if program else [sys.executable, "-m", "tests.benchmarks.load"]
        for key in arguments.case or CASES:
            case = CASES[key]
            if case.connections * 1.5 + 200 > hard:
                print(f"{case.title}: needs more open files than {hard}, and is left out")
                continue
            for start in range(arguments.starts):
                if case.load == "idle":
                    figures = {n: [round(idleMemory(case, c), 2)] for n, c in commands.items()}
                else:
                    figures = inTurns(case, commands, generator, cores, arguments.seconds)
                for name, values in figures.items():
                    results[key][name] += values
                    middle = f"{len(values)} figures, median {median(values):.6g}"
                    print(f"{start + 1}/{arguments.starts} {key:8} {name:13} {middle}", flush=True)
    titles = {key: CASES[key].title for key in results}
    text = table(results, titles) + "\n" + compared(results, titles)
    print("\n" + text)
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        (arguments.output / "performance-table.txt").write_text(text)
        (arguments.output / "performance.json").write_text(json.dumps(results) + "\n")
        (arguments.output / "performance.svg").write_text(plot(results, titles, NAMES))


if __name__ == "__main__":
    main()
