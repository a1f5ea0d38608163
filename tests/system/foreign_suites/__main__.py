"""
Install, run, compare.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from tests.support.places import PROJECT
from tests.system.lane.comparison import Outcomes, parsed, tell

LANE = PROJECT / "tests" / "system" / "lane"

REQUIREMENTS = (
    "Twisted[tls]==26.10.0",
    *("treq==26.7.0", "httpbin==0.10.2", "werkzeug==3.1.8"),
    *("foolscap==24.9.0", "txtorcon==26.6.0"),
    "magic-wormhole-mailbox-server==0.8.0",
    *("daphne==4.2.3", "django==5.2.19", "hypothesis==6.170.17"),
    *("pytest==9.2.0", "pytest-asyncio==1.5.0"),
)


class Suite(NamedTuple):
    """
    The tests of a program.

    @ivar package: the package whose tests trial runs; empty where pytest runs those of
        the source archive.
    @ivar expected: a pattern of the names of tests that may end differently.
    @ivar because: a pattern in the reason of such an end.
    @ivar leftOut: a pattern in the names of tests that are not run at all.
    """

    name: str
    package: str = ""
    expected: str = "(?!)"
    because: str = ""
    leftOut: str = "(?!)"

    def isExpected(self, name: str, why: str) -> bool:
        """
        Whether a test may end differently, for a reason.
        """
        return bool(re.fullmatch(self.expected, name) and re.search(self.because, why))


SUITES = (
    # After each test they wait until no client's transport is among the reactor's
    # readers.  On the lane the poller is there, and they do not wait.  A connection that
    # lingers then has its next look at the clock.
    Suite(
        "treq",
        "treq",
        r".*\.(HTTPS)?TreqIntegrationTests\..*",
        r"Reactor was unclean\.\nSelectables:\n"
        r"<(twisted_tcpdemo\.fast\.poller\.Poller|KernelClock with .*Linger\._look)",
    ),
    # Both sides are in one process.  An answer arrives there before what its sender has
    # put into callLater(0): a subscription, a line for the log.  With Twisted's TLS it
    # leaves a turn of the reactor later.  Some wait for ever then, and disturb the tests
    # after them.
    Suite(
        "foolscap",
        "foolscap",
        r".*\.(Gatherer\.test_log_gatherer\w*|TestCallable\.testLogLocalFailure)",
        leftOut=r"\.Publish\.test_logpublisher",
    ),
    Suite("magic-wormhole-mailbox-server", "wormhole_mailbox_server"),
    # They kill the server when the head of its answer has arrived, and look at the
    # rest later.  With Twisted's transport, head and rest leave at once when the turn
    # of the reactor ends.
    Suite(
        "daphne==4.2.3",
        expected=r".*\.(TestHTTPResponse\..*|TestHTTPRequest\.test_request_body_chunking)",
    ),
)


def installed() -> Path:
    """
    Make the environment, or complete it.

    @return: its Python.
    """
    folder = PROJECT / ".venv-foreign"
    if not folder.exists():
        venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "install", "-q"]
    subprocess.run([*pip, *REQUIREMENTS, "-e", PROJECT], check=True)
    return python


def unpacked(python: Path, requirement: str, folder: Path) -> Path:
    """
    Fetch the source archive of a program, which has its tests.
    """
    options = ("--no-deps", "--no-binary", ":all:", "-d", folder)
    subprocess.run([python, "-m", "pip", "download", "-q", *options, requirement], check=True)
    [archive] = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def readXML(path: Path) -> Outcomes:
    """
    Read how tests of pytest have ended.
    """
    outcomes: Outcomes = {}
    for case in ElementTree.parse(path).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        ends = [(child.tag, child.get("message", "")) for child in case]
        found = [end for end in ends if end[0] in ("failure", "error", "skipped")]
        outcomes[name] = found[0] if found else ("passed", "")
    return outcomes


def run(python: Path, suite: Suite, onLane: bool, seconds: float) -> tuple[Outcomes, int]:
    """
    Run the tests of a program once.

    @return: how they have ended, and the number of connections on the lane.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "TMPDIR": name}
        served = folder / "served"
        served.touch()
        if onLane:
            environment |= {"PYTHONPATH": str(LANE), "LANE_SERVED": str(served)}
        results = folder / "results"
        if suite.package:
            command = [python, LANE / "outcomes.py", "epoll", suite.leftOut, suite.package]
            where = folder
        else:
            command = [python, "-m", "pytest", "-q", f"--junitxml={results}", "tests"]
            where = unpacked(python, suite.name, folder)
        with (
            results.open("wb") as output,
            (folder / "log").open("wb") as log,
            suppress(subprocess.TimeoutExpired),  # the tests not run are missing then
        ):
            subprocess.run(
                command,
                cwd=where,
                env=environment,
                stdout=output if suite.package else log,
                stderr=log,
                timeout=seconds,
                check=False,
            )
        outcomes = parsed(results.read_text()) if suite.package else readXML(results)
        if not outcomes:
            raise SystemExit(f"{suite.name}: ran no test\n{(folder / 'log').read_text()[-3000:]}")
        return outcomes, served.stat().st_size


def main() -> int:
    """
    Install, run, compare, print.

    @return: the exit status: 1 for any unexpected difference.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tests.system.foreign_suites", description=__doc__
    )
    parser.add_argument("names", nargs="*", help="begin with these letters; all, without")
    parser.add_argument("--seconds", type=float, default=400, help="how long one run may take")
    arguments = parser.parse_args()
    python = installed()
    unexpected = 0
    for suite in SUITES:
        if arguments.names and not suite.name.startswith(tuple(arguments.names)):
            continue
        with ThreadPoolExecutor(2) as pool:
            runs = [
                pool.submit(run, python, suite, onLane, arguments.seconds)
                for onLane in (False, True)
            ]
            (stock, _), (ours, served) = (each.result() for each in runs)
        unexpected += tell(
            suite.name,
            stock,
            ours,
            served,
            suite.isExpected,
        )
    print(f"{unexpected} unexpected differences")
    return min(unexpected, 1)


if __name__ == "__main__":
    sys.exit(main())
