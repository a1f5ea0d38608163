"""
Attack servers, side by side, and tell what held: C{python -m tests.harness}.

Everything is on the loopback network, bounded in number and time, and ends with the
command: processes, sockets and files.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final

from tests.harness.findings import NOT_HELD, Finding
from tests.harness.ground import Bounds, Ground, attacked
from tests.harness.parts.catalogue import PARTS
from tests.harness.peers.kinds import PEERS
from tests.harness.tables import listed, markdown, plain

SHORT: Final = Bounds(scale=0.02, seconds=6.0, deadline=30.0)
SHORT_PEERS: Final = ("fast",)


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """
    The command line.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.harness", description=__doc__)
    parser.add_argument("--list", action="store_true", help="the parts and their cases")
    parser.add_argument("--part", action="append", choices=list(PARTS), help="[default: all]")
    parser.add_argument("--case", action="append", help="only cases with this text in their name")
    parser.add_argument("--peer", action="append", choices=list(PEERS), help="[default: all]")
    parser.add_argument("--scale", type=float, help="share of the full counts [default: 1]")
    parser.add_argument("--seconds", type=float, help="of the soak [default: 600]")
    parser.add_argument("--deadline", type=float, help="seconds for a case [default: 180]")
    parser.add_argument(
        "--short", action="store_true", help="a minute in all: small counts, some cases, ours alone"
    )
    parser.add_argument("--output", type=Path, help="the file for the JSON")
    parser.add_argument(
        "--update", action="store_true", help="keep what that file has of other cases and peers"
    )
    parser.add_argument("--markdown", type=Path, help="only print the tables of such a file")
    return parser.parse_args(arguments)


def bounds(arguments: argparse.Namespace) -> Bounds:
    """
    The bounds of a run.
    """
    told = {name: getattr(arguments, name) for name in Bounds._fields}
    base = SHORT if arguments.short else Bounds()
    return base._replace(**{name: value for name, value in told.items() if value is not None})


def run(arguments: argparse.Namespace, folder: Path) -> Iterator[Finding]:
    """
    Attack all peers with all parts that were asked for.
    """
    limits = bounds(arguments)
    numbers = count()
    names = arguments.peer or (SHORT_PEERS if arguments.short else PEERS)
    for part in PARTS.values():
        if arguments.part and part.name not in arguments.part:
            continue
        for case, attack in part.cases.items():
            if arguments.case and not any(text in case for text in arguments.case):
                continue
            if arguments.short and case not in part.short:
                continue
            for name in names:
                print(f"{part.name}: {case}: {name} ...", end=" ", flush=True)
                place = folder / str(next(numbers))
                place.mkdir()
                ground = Ground(PEERS[name], limits, place)
                finding, took = attacked(attack, ground, part.name, case)
                facts = ", ".join(f"{key} {value}" for key, value in finding.facts.items())
                why = f": {finding.why}" if finding.why else ""
                print(f"{finding.verdict}{why} ({took:.1f} s) {facts}", flush=True)
                yield finding


def before(output: Path) -> list[Finding]:
    """
    The findings of a former run.
    """
    return [Finding(**finding) for finding in json.loads(output.read_text())["findings"]]


def merged(kept: list[Finding], findings: list[Finding]) -> list[Finding]:
    """
    The findings of a former run, with those of this one in their places, in the order of
    parts, cases and peers.
    """
    newest = {(f.part, f.case, f.peer): f for f in [*kept, *findings]}
    places = [(part.name, case) for part in PARTS.values() for case in part.cases]
    return [
        newest[part, case, peer]
        for part, case in places
        for peer in PEERS
        if (part, case, peer) in newest
    ]


def told(findings: list[Finding], limits: Bounds) -> dict[str, object]:
    """
    The run for JSON.
    """
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "bounds": limits._asdict(),
        "promises": {name: part.promise for name, part in PARTS.items()},
        "findings": [finding.plain() for finding in findings],
    }


def main() -> int:
    """
    Do what the command line says.

    @return: the exit status: C{1} if something of ours did not hold.
    """
    arguments = parsed()
    if arguments.list:
        print(listed())
        return 0
    if arguments.markdown:
        print(markdown(json.loads(arguments.markdown.read_text())))
        return 0
    # So that the end of the command is the end of what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    began, findings = time.monotonic(), list[Finding]()
    kept = before(arguments.output) if arguments.update else []
    with tempfile.TemporaryDirectory(prefix="harness-") as folder:
        for finding in run(arguments, Path(folder)):
            findings.append(finding)
            if arguments.output:
                text = json.dumps(told(merged(kept, findings), bounds(arguments)), indent=1)
                arguments.output.write_text(text + "\n")
    print("\n" + plain(findings))
    ours = [f for f in findings if f.verdict == NOT_HELD and "ours" in PEERS[f.peer].abilities]
    print(f"{time.monotonic() - began:.0f} s; {len(ours)} of ours did not hold")
    return 1 if ours else 0


if __name__ == "__main__":
    sys.exit(main())
