"""
The peers, what each can do, and why it cannot do the rest.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from tests.benchmarks.programs import Unavailable

HERE: Final = Path(__file__).parent

PROBE: Final = "probe"
SHIMS: Final = "shims"

_EVERYBODY: Final = frozenset({"refuse", "reset", "lifetime", "program"})
_IN_PYTHON: Final = _EVERYBODY | {"exit", PROBE}

_FOREIGN: Final = {
    "exit": "what is no Exception exists in Python only",
    PROBE: "its objects and timers cannot be counted from outside",
    SHIMS: "nothing can be put into its process",
    "doors": "it has no such door",
    "log": "it has no log of connections",
}


class Peer(NamedTuple):
    """
    A server that can be started.

    Abilities are the policies C{refuse}, C{reset} and C{wait}; C{lifetime}, a bound for the
    age of a connection; C{program}, the program in its own process; C{exit}, what is
    no C{Exception}; C{log}, a log of connections; C{doors}, a status page and control;
    L{PROBE} and L{SHIMS}; and C{ours}.

    @ivar title: the head of its column.
    @ivar command: builds the command line from the wishes, in a folder for builds.
    @ivar abilities: what can be asked of it.
    @ivar reasons: by ability, why it lacks it.
    @ivar stopSignal: the name of the signal that drains it.
    @ivar backend: the peer behind it, if it is a proxy.
    """

    name: str
    title: str
    command: Callable[[str, Path], list[str]]
    abilities: frozenset[str]
    reasons: Mapping[str, str] = _FOREIGN
    stopSignal: str = "SIGTERM"
    backend: str = ""


def _python(module: str, *arguments: str) -> Callable[[str, Path], list[str]]:
    def command(wishes: str, folder: Path) -> list[str]:
        if "uvloop" in arguments and importlib.util.find_spec("uvloop") is None:
            raise Unavailable("uvloop is not installed")
        return [sys.executable, "-m", f"tests.harness.peers.{module}", wishes, *arguments]

    return command


def program(name: str) -> str:
    """
    The path of a program.

    @raise Unavailable: if it is not installed.
    """
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise Unavailable(f"{name} is not installed")
    return found


def _node(wishes: str, folder: Path) -> list[str]:
    return [program("node"), str(HERE / "net.js"), wishes]


def _go(wishes: str, folder: Path) -> list[str]:
    built = folder.parent / "limited"
    if not built.exists():
        build = [program("go"), "build", "-o", str(built), str(HERE / "limited.go")]
        done = subprocess.run(build, check=False, capture_output=True, text=True)
        if done.returncode:
            raise Unavailable(f"limited.go cannot be built: {done.stderr}")
    return [str(built), wishes]


def _haproxy(wishes: str, folder: Path) -> list[str]:
    return [program("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]


_OURS: Final = _IN_PYTHON | {"wait", "doors", "log", SHIMS, "ours"}

PEERS: Final = {
    peer.name: peer
    for peer in (
        Peer("fast", "tcpdemo", _python("ours", "fast"), _OURS),
        Peer("metered", "tcpdemo, `--transport twisted`", _python("ours", "twisted"), _OURS),
        Peer("twisted", "Twisted", _python("plain"), _IN_PYTHON | {"wait", SHIMS, "log"}),
        Peer(
            "asyncio",
            "asyncio",
            _python("loops", "asyncio"),
            _IN_PYTHON | {SHIMS, "log"},
            {**_FOREIGN, "wait": "its server cannot stop accepting and keep its port"},
        ),
        Peer(
            "uvloop",
            "uvloop",
            _python("loops", "uvloop"),
            _IN_PYTHON | {"log"},
            {
                **_FOREIGN,
                "wait": "its server cannot stop accepting and keep its port",
                SHIMS: "its sockets and clock are in C",
            },
        ),
        Peer(
            "node",
            "Node's `net`",
            _node,
            _EVERYBODY | {"log"},
            {**_FOREIGN, "wait": "its server cannot stop accepting and keep its port"},
        ),
        Peer("go", "Go, LimitListener", _go, _EVERYBODY | {"wait", "log"}),
        Peer(
            "haproxy",
            "HAProxy",
            _haproxy,
            frozenset({"refuse", "reset", "wait"}),
            {
                **_FOREIGN,
                "program": "the program is not in its process",
                "lifetime": "it has no bound for the age of a connection",
            },
            "SIGUSR1",
            "asyncio",
        ),
    )
}
