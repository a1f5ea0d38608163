"""
The harness: it tells what holds and what does not, ends in time, and leaves nothing.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from itertools import count
from pathlib import Path

import pytest

from tests.benchmarks.entrants import starvedTime
from tests.harness.__main__ import merged
from tests.harness.findings import HELD, NOT_APPLICABLE, NOT_HELD, Finding, NotApplicable
from tests.harness.ground import Bounds, Ground, attacked
from tests.harness.parts import soak
from tests.harness.parts.catalogue import PARTS
from tests.harness.peers.kinds import PEERS
from tests.harness.peers.running import Running
from tests.harness.peers.shims import FAULTS, Faults
from tests.harness.tables import listed, markdown, plain
from tests.support.places import DOCS, PROJECT
from tests.support.processes import Child, running
from tests.support.waiting import until

PAGE = DOCS / "reliability.md"
BOUNDS = Bounds(scale=0.02, seconds=1.0, deadline=20.0)


def ground(folder: Path, seconds: float = 20.0) -> Ground:
    """
    The ground of an attack on our server.
    """
    return Ground(PEERS["fast"], BOUNDS._replace(deadline=seconds), folder)


def test_page() -> None:
    """
    The tables of the page are those of the run that is kept beside it.
    """
    told = json.loads((DOCS / "reliability.json").read_text())
    assert markdown(told) in PAGE.read_text()


@pytest.mark.parametrize("part", PARTS)
def test_promises(part: str) -> None:
    """
    The page has the promise of each part, and its short form is of cases that it has.
    """
    words = " ".join(PAGE.read_text().split())
    assert PARTS[part].promise in words
    assert PARTS[part].short <= PARTS[part].cases.keys()
    assert PARTS[part].promise in listed()


def test_verdicts(tmp_path: Path) -> None:
    """
    An attack holds, does not hold, or does not concern a peer.
    """

    def wrong(here: Ground) -> dict[str, float]:
        here.expect([], "sums are wrong")
        return {"sums": 1}

    def strange(here: Ground) -> dict[str, float]:
        raise NotApplicable("no sums")

    def broken(here: Ground) -> dict[str, float]:
        raise EOFError("it has gone")

    found = [
        attacked(attack, ground(tmp_path), "part", "case")[0]
        for attack in (lambda here: {}, wrong, strange, broken)
    ]
    assert [(finding.verdict, finding.why) for finding in found] == [
        (HELD, ""),
        (NOT_HELD, "sums are wrong"),
        (NOT_APPLICABLE, "no sums"),
        (NOT_HELD, "EOFError: it has gone"),
    ]
    assert "NO" in plain(found[1:2])


def test_deadline(tmp_path: Path) -> None:
    """
    An attack that does not end is given up.
    """

    def endless(here: Ground) -> dict[str, float]:
        while True:
            pass

    finding, took = attacked(endless, ground(tmp_path, 0.1), "part", "case")
    assert (finding.verdict, finding.why) == (NOT_HELD, "OutOfTime: not over after 0 s")
    assert took < 5


def test_table() -> None:
    """
    A table has a row for each case and a column for each peer, and names what does not
    hold.
    """
    findings = [
        Finding("waves", "wait", "fast", HELD),
        Finding("waves", "wait", "go", NOT_HELD, "a | b"),
        Finding("churn", "connects", "fast", NOT_APPLICABLE, "why"),
    ]
    text = markdown({"findings": [finding.plain() for finding in findings]})
    assert text.splitlines() == [
        "|  | tcpdemo | Go, LimitListener |",
        "| --- | :---: | :---: |",
        "| waves: wait | held | **no** |",
        "| churn: connects | - |  |",
        "",
        "Go, LimitListener did not hold:",
        "",
        "- waves, wait: a / b",
    ]


def test_update() -> None:
    """
    A run of one case takes the place of what a former run has found there.
    """
    kept = [
        Finding("waves", "refuse", "fast", NOT_HELD),
        Finding("waves", "refuse", "go", HELD),
        Finding("a part that is gone", "refuse", "go", HELD),
    ]
    new = [Finding("churn", "connects", "fast", HELD), Finding("waves", "refuse", "fast", HELD)]
    assert merged(kept, new) == [new[1], kept[1], new[0]]


def test_faults() -> None:
    """
    Injected faults are those that were asked for, and none before that.
    """
    faults = Faults()
    faults.strike("send")
    faults.share, faults.calls = 1.0, {"send"}
    faults.strike("accept")
    with pytest.raises(OSError) as caught:
        faults.strike("send")
    assert caught.value.errno in FAULTS["send"]
    assert faults.injected == {"send": 1}


def test_faultsOfEpoll() -> None:
    """
    Calls for connections of the program fail, and no others; none leaves a descriptor.
    """
    faults = Faults()
    faults.share = 1.0
    before = len(os.listdir("/proc/self/fd"))
    with socket.socket() as connection, socket.socket(socket.AF_UNIX) as other:
        faults.strikeAt(other.fileno())
        with open(os.devnull) as noSocket:
            faults.strikeAt(noSocket.fileno())
        with pytest.raises(OSError):
            faults.strikeAt(connection.fileno())
        assert connection.getsockname() and faults.injected == {"epoll_ctl": 1}
    assert len(os.listdir("/proc/self/fd")) == before


def stateOf(process: int) -> str:
    """
    The state of a process, by proc(5): C{"S"} while it sleeps, C{"Z"} when it has ended and
    nothing when it is gone.
    """
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


class Late(Running):
    """
    A server that lets go of its descriptors when it has been looked at twenty times.
    """

    port = 0

    def __init__(self, clock: Callable[[], float]) -> None:
        self.ownTime = clock  # type: ignore[method-assign]
        self._looks = count()

    def descriptors(self) -> int:
        """
        Three, and none in the end.
        """
        return 3 if next(self._looks) < 20 else 0

    def ask(self, **order: object) -> dict[str, object]:
        """
        It has no connection.
        """
        return {}


@pytest.mark.parametrize(
    ("pace", "wrong"), [(0.0, []), (0.01, ["3 descriptors are left"])], ids=["starved", "idle"]
)
def test_ownTime(
    pace: float, wrong: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A server has its time to let go without that in which the machine does other work; a
    server that only forgets has no more.
    """
    monkeypatch.setattr(soak, "REST", 0.1)
    monkeypatch.setattr(soak, "isServed", lambda *_: True)
    here, ticks = ground(tmp_path), count()
    soak.inOrder(here, Late(lambda: next(ticks) * pace), 0)
    assert here.wrong == wrong


def test_memory() -> None:
    """
    Memory that grows with the first crowds and then stays is no leak; what grows with each
    round is one.
    """
    warm, most = soak.grown([30_000, 45_000, 54_000, 54_100, 54_000, 54_200])
    assert warm == 200 < most
    leak, most = soak.grown([30_000 + 5_000 * index for index in range(6)])
    assert leak == 15_000 > most
    assert soak.grown([30_000])[0] == soak.grown([])[0] == 0


@pytest.mark.deadline(60)
async def test_starved() -> None:
    """
    A process that shares its processor waits for it; one that sleeps waits for none.
    """
    alone = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}}); print(1); "

    def child(deed: str) -> AbstractAsyncContextManager[Child]:
        return running([sys.executable, "-uc", alone + deed], PROJECT)

    spin, rest = "\nwhile True: pass", "input()"
    async with child(spin) as one, child(spin) as other, child(rest) as asleep:
        for process in (one, other, asleep):
            await process.whenPrinted("1")
        busy, idle = one.transport.pid, asleep.transport.pid
        await until(lambda: stateOf(idle) == "S")
        before = starvedTime(busy), starvedTime(idle)
        await until(lambda: starvedTime(busy) > before[0] + 0.2)
        assert starvedTime(idle) < before[1] + 0.1


def harness(*arguments: str) -> list[str]:
    """
    The command line of a small run.
    """
    command = [sys.executable, "-m", "tests.harness", "--scale", "0.02", "--deadline", "30"]
    return [*command, *arguments]


@pytest.mark.deadline(60)
async def test_run(tmp_path: Path) -> None:
    """
    A run tells what holds of ours, and what does not of another.
    """
    told = tmp_path / "told.json"
    case = ("--part", "waves", "--case", "refuse", "--peer", "fast", "--peer", "asyncio")
    async with running(harness(*case, "--output", str(told)), PROJECT) as child:
        assert await child.whenEnded() == 0, child.err
    findings = [Finding(**finding) for finding in json.loads(told.read_text())["findings"]]
    assert [(f.peer, f.verdict) for f in findings] == [("fast", HELD), ("asyncio", NOT_HELD)]
    assert findings[0].facts["served"] == findings[0].facts["fin"] == 50
    assert "saw a reset in place of an end" in findings[1].why


def childrenOf(process: int) -> list[int]:
    """
    The processes that a process has started.
    """
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(word) for word in text.split()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.deadline(60)
async def test_leavesNothing(number: signal.Signals, tmp_path: Path) -> None:
    """
    A run that is ended takes its servers with it, and its files, unless it is killed.
    """
    case = ("--part", "slow", "--case", "silent", "--peer", "fast")
    async with running(harness(*case), PROJECT, TMPDIR=str(tmp_path)) as child:
        await child.whenPrinted("fast ...")
        servers = await until(lambda: childrenOf(child.transport.pid))
        os.kill(child.transport.pid, number)
        await child.whenEnded()
        await until(lambda: all(stateOf(server) in ("", "Z") for server in servers))
    if number != signal.SIGKILL:
        assert list(tmp_path.iterdir()) == []
