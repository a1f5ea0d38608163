"""
Measure servers side by side, and write a table and a plot.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from tests.benchmarks.plot import plot
from tests.benchmarks.servers import NAMES, commandOf, compiled


class Case(NamedTuple):
    """
    What is measured.

    @ivar load: which of the load generator's.
    @ivar figure: which of its figures counts.
    """

    title: str
    load: str
    connections: int
    size: int
    figure: str = "microseconds"


CASES = {
    "small": Case("64 bytes, 50 connections (us)", "echo", 50, 64),
    "many": Case("64 bytes, 1000 connections (us)", "echo", 1000, 64),
    "medium": Case("64 KiB, 10 connections (us)", "echo", 10, 65536),
    "large": Case("1 MiB, 10 connections (us)", "echo", 10, 1 << 20),
    "connect": Case("connect, one message, close (us)", "connect", 50, 64),
    "idle": Case("memory of an idle connection (bytes)", "idle", 10_000, 64, "bytes"),
}

Results = dict[str, dict[str, list[float]]]


def measure(
    case: Case, command: list[str], seconds: float, cores: tuple[int, int], generator: str | None
) -> Any:
    """
    Start a server, load it, stop it.

    @param generator: the load generator in C, if it can be had.
    """
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        if cores[0] >= 0:
            os.sched_setaffinity(server.pid, {cores[0]})
        assert server.stdout is not None
        port = int(server.stdout.readline())
        load = [sys.executable, "-m", "tests.benchmarks.load", case.load]
        options = {"port": port, "process": server.pid, "seconds": seconds, "core": cores[1]}
        options |= {"connections": case.connections, "size": case.size}
        for option, value in options.items():
            load += [f"--{option}", str(value)]
        if generator is not None:
            load += ["--compiled", generator]
        done = subprocess.run(load, stdout=subprocess.PIPE, text=True, check=True, timeout=300)
        return json.loads(done.stdout)
    finally:
        server.kill()
        server.wait()


def table(results: Results) -> str:
    """
    The medians, in Markdown; in brackets, how far apart the runs were.
    """
    lines = ["| | " + " | ".join(CASES[c].title for c in results) + " |"]
    lines.append("| --- |" + " ---: |" * len(results))
    for name, title in NAMES.items():
        cells = []
        for runs in results.values():
            values = runs.get(name)
            if not values:
                cells.append("-")
                continue
            middle = median(values)
            shown = f"{middle:.2f}" if middle < 100 else f"{middle:.0f}"
            spread = (max(values) - min(values)) / 2 / (middle or 1) * 100
            cells.append(f"{shown} (±{spread:.0f} %)" if len(values) > 1 else shown)
        if any(cell != "-" for cell in cells):
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """
    Run what was asked for.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run [default: 3]")
    parser.add_argument("--repeats", type=int, help="[default: 3, or 1 below two seconds]")
    parser.add_argument("--case", action="append", choices=list(CASES), help="[default: all]")
    parser.add_argument("--server", action="append", choices=list(NAMES), help="[default: all]")
    parser.add_argument("--output", type=Path, help="a folder for table, plot and figures")
    arguments = parser.parse_args()
    repeats = arguments.repeats or (1 if arguments.seconds < 2 else 3)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    available = sorted(os.sched_getaffinity(0))
    cores = (available[0], available[1]) if len(available) > 1 else (-1, -1)
    if cores[0] < 0:
        print("there is only one core: server and load generator share it")
    results: Results = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as folder:
        commands = {}
        for name in arguments.server or NAMES:
            commands[name] = commandOf(name, Path(folder))
            if commands[name] is None:
                print(f"{NAMES[name]}: cannot be had here, and is left out")
        generator = compiled("load", Path(folder))
        if generator is None:
            print(
                "there is no C compiler: the load comes from Python, and fast servers wait for it"
            )
        for key in arguments.case or CASES:
            case = CASES[key]
            if arguments.seconds < 2 and key == "idle":
                case = case._replace(connections=1000)
            if case.connections * 1.5 + 200 > hard:
                print(f"{case.title}: needs more open files than {hard}, and is left out")
                continue
            for turn in range(repeats):
                for name, command in commands.items():
                    if command is None:
                        continue
                    measured = measure(case, command, arguments.seconds, cores, generator)
                    results[key][name].append(measured[case.figure])
                    facts = ", ".join(f"{k} {v:.6g}" for k, v in measured.items())
                    print(f"{turn + 1}/{repeats} {key:8} {name:13} {facts}", flush=True)
    print("\n" + table(results))
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        (arguments.output / "performance-table.txt").write_text(table(results))
        (arguments.output / "performance.json").write_text(json.dumps(results, indent=1) + "\n")
        titles = {key: CASES[key].title for key in results}
        (arguments.output / "performance.svg").write_text(plot(results, titles, NAMES))


if __name__ == "__main__":
    main()
