"""
Fuzz what reads a peer's bytes: C{python -m tests.fuzz TARGET --seconds 600}.

With atheris (C{pip install atheris}) coverage leads the way; without it, the kept inputs
are changed at random.  An input that breaks a promise is printed, and kept in a file; put
it into C{tests/fuzz/corpus} with its mending.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.mutation import mutated


def parsed() -> argparse.Namespace:
    """
    The command line.
    """
    names = sorted(path.name for path in (Path(__file__).parent / "corpus").iterdir())
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=names)
    parser.add_argument("--seconds", type=int, default=600, help="[default: 600]")
    parser.add_argument("--output", type=Path, default=Path("."), help="for inputs that fail")
    return parser.parse_args()


def guided(arguments: argparse.Namespace) -> None:
    """
    Fuzz with atheris, which ends the process.
    """
    import atheris

    with atheris.instrument_imports(include=["twisted_tcpdemo", "twisted.web"]):
        from tests.fuzz.targets import CORPUS, TARGETS
    with tempfile.TemporaryDirectory() as found:
        options = [
            sys.argv[0],
            f"-max_total_time={arguments.seconds}",
            f"-artifact_prefix={arguments.output}/",
            "-max_len=2000",
            "-print_final_stats=1",
            found,
            str(CORPUS / arguments.target),
        ]
        atheris.Setup(options, TARGETS[arguments.target])
        atheris.Fuzz()


def blind(arguments: argparse.Namespace) -> None:
    """
    Fuzz by chance.
    """
    from tests.fuzz.targets import TARGETS, corpus

    kept, end, tries = corpus(arguments.target), time.monotonic() + arguments.seconds, 0
    chance = random.Random(14)
    while time.monotonic() < end:
        data = mutated(chance.choice(kept), kept, chance)
        tries += 1
        try:
            TARGETS[arguments.target](data)
        except BaseException:
            (arguments.output / f"crash-{arguments.target}").write_bytes(data)
            print(repr(data))
            raise
    print(f"{tries} inputs")


def main() -> None:
    """
    Do what the command line says.
    """
    arguments = parsed()
    if importlib.util.find_spec("atheris") is not None:
        guided(arguments)
    else:
        blind(arguments)


if __name__ == "__main__":
    main()
