"""
The commands of entrants and loads, and why one cannot be had.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent

_FLAGS: Final = {"load": (["-DTLS", "-lssl", "-lcrypto"], []), "echo": ([],)}
"""How each program in C is built, the best way first."""


class Unavailable(Exception):
    """
    A program cannot run here; the text says why.
    """


@contextmanager
def leavingOut(what: str) -> Generator[None]:
    """
    Go on after a program that cannot run here, and say that it is left out.
    """
    try:
        yield
    except Unavailable as error:
        print(f"{what} is left out: {error}", flush=True)


def serverCommand(name: str, door: str, folder: Path) -> list[str]:
    """
    The command of a server, which prints where it listens.

    @param folder: a folder for builds, sockets and the certificate.
    @raise Unavailable: if it cannot be had.
    """
    place = folder / f"{name}.socket"
    place.unlink(missing_ok=True)
    if name == "c":
        return [compiled("echo", folder), str(place) if door == "unix" else ""]
    if name == "node":
        return [_node(), str(HERE / "echo.js"), door, str(folder), str(place)]
    return [*_python(name), "-m", "tests.benchmarks.servers", name, door, str(folder), str(place)]


def clientCommand(name: str, folder: Path, arguments: list[str]) -> list[str]:
    """
    The command of a client.

    @param arguments: port, connections, and bytes of a message.
    @raise Unavailable: if it cannot be had.
    """
    if name == "c":
        ignored = folder / "ignored"
        ignored.write_bytes(bytes(8))
        return [compiled("load", folder), "echo", "tcp", *arguments, str(ignored)]
    if name == "node":
        return [_node(), str(HERE / "client.js"), *arguments]
    return [*_python(name), "-m", "tests.benchmarks.clients", name, *arguments]


def loadCommand(load: str, door: str, folder: Path) -> list[str]:
    """
    The command of a load generator, without its further arguments.

    @raise Unavailable: if it cannot be had.
    """
    if shutil.which("cc") is None and load in ("echo", "connect") and door == "tcp":
        return [sys.executable, "-m", "tests.benchmarks.load", load, door]
    program = compiled("load", folder)
    if door == "tls" and not knowsTLS(folder):
        raise Unavailable("no headers of OpenSSL for the load (libssl-dev)")
    return [program, load, "tcp" if door == "adopted" else door]


def compiled(name: str, folder: Path) -> str:
    """
    The path of a program in C from this folder, built at the first call.

    @param folder: the folder for the build.
    @raise Unavailable: without a compiler.
    """
    program, compiler = folder / name, shutil.which("cc")
    if compiler is None:
        raise Unavailable("no C compiler")
    for flags in _FLAGS[name]:
        if program.exists():
            break
        build = [compiler, "-O2", "-o", str(program), str(HERE / f"{name}.c"), *flags]
        if not subprocess.run(build, check=False, stderr=subprocess.DEVNULL).returncode:
            (folder / f"{name}.flags").write_text(" ".join(flags))
    if not program.exists():
        raise Unavailable(f"{name}.c cannot be built")
    return str(program)


def knowsTLS(folder: Path) -> bool:
    """
    Whether the load generator was built with TLS.
    """
    return "-DTLS" in (folder / "load.flags").read_text()


def _node() -> str:
    node = shutil.which("node")
    if node is None:
        raise Unavailable("no Node.js")
    return node


def _python(name: str) -> list[str]:
    """
    The interpreter, if it has the packages that an entrant is named after.
    """
    for package in name.split("-"):
        if package in ("uvloop", "aiofastnet") and importlib.util.find_spec(package) is None:
            raise Unavailable(f"{package} is not installed")
    return [sys.executable]
