"""
A server that runs, as it looks from outside.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any, Final

from tests.benchmarks.entrants import cpuTime, starvedTime
from tests.benchmarks.programs import Unavailable
from tests.harness.clients import soon
from tests.harness.findings import NotApplicable
from tests.harness.peers.haproxy import configuration
from tests.harness.peers.kinds import PEERS, PROBE, Peer
from tests.harness.peers.wanted import Wanted
from tests.support.places import PROJECT

__all__ = ["Running", "Wanted", "serving"]

_PDEATHSIG: Final = 1
"""PR_SET_PDEATHSIG of prctl(2)."""

_START: Final = 20.0
"""Seconds in which a server has to listen."""


class Running:
    """
    A server's process.

    @ivar port: where it listens.
    @ivar folder: where it may have sockets.
    @ivar mayEnd: whether its end is expected.
    """

    def __init__(
        self, peer: Peer, process: subprocess.Popen[bytes], log: IO[bytes], folder: Path
    ) -> None:
        self.peer = peer
        self.folder = folder
        self.pid = process.pid
        self.port = 0
        self.mayEnd = False
        self._process = process
        self._log = log
        self._probe: socket.socket | None = None
        self._answers: IO[bytes] | None = None

    # What the system knows of it.

    @property
    def isRunning(self) -> bool:
        """
        Whether it has not ended.
        """
        return self._process.poll() is None

    def descriptors(self) -> int:
        """
        How many descriptors it holds.
        """
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def memory(self) -> int:
        """
        Its resident memory, in kB.
        """
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0])

    def cpuTime(self) -> float:
        """
        Seconds of CPU time that it has used.
        """
        return cpuTime(self.pid)

    def ownTime(self) -> float:
        """
        Its own time in seconds: a clock that stands still while it is ready to run, and the
        machine does other work.
        """
        return time.monotonic() - starvedTime(self.pid)

    def soon(self, condition: Callable[[], object], seconds: float) -> float | None:
        """
        Wait for what it has to do within some seconds of its own time.

        A connection or a descriptor that it has forgotten waits for no processor, so a busy
        machine gives it no more time.

        @return: the seconds it took; L{None} if it did not come true.
        """
        return soon(condition, seconds, self.ownTime)

    # What it says.

    def log(self) -> bytes:
        """
        All that it has written.
        """
        return os.pread(self._log.fileno(), 1 << 30, 0)

    def logged(self) -> int:
        """
        How many bytes it has written.
        """
        return os.fstat(self._log.fileno()).st_size

    def lastLine(self) -> str:
        """
        The last line that it has written.
        """
        lines = self.log().decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:200] if lines else "no word"

    def where(self, purpose: str) -> int:
        """
        The port of one of its doors.

        @param purpose: as the log names it, such as C{"listening"}.
        """
        return int(self._said(rf"{purpose} on \S*?:(\d+)\b"))

    def _said(self, pattern: str) -> bytes:
        end = time.monotonic() + _START
        while not (found := re.search(pattern.encode(), self.log())):
            if not self.isRunning or time.monotonic() > end:
                raise Unavailable(self.lastLine())
            time.sleep(0.02)
        return found[1]

    def begin(self, probe: Path | None) -> None:
        """
        Wait until it listens.
        """
        self.port = self.where("listening")
        if probe is not None:
            self._probe = _connected(probe)
            self._answers = self._probe.makefile("rb")
            self.ask()  # so that it is accepted, and counts no more

    def ask(self, **order: Any) -> dict[str, Any]:
        """
        Ask its probe.

        @raise NotApplicable: if it has none.
        """
        if self._probe is None or self._answers is None:
            raise NotApplicable(self.peer.reasons[PROBE])
        self._probe.sendall(json.dumps(order).encode() + b"\n")
        answer: dict[str, Any] = json.loads(self._answers.readline() or b"{}")
        return answer

    # Its end.

    def stop(self) -> None:
        """
        Tell it to drain, and to end.
        """
        self.mayEnd = True
        self._process.send_signal(getattr(signal, self.peer.stopSignal))

    def whenEnded(self, seconds: float) -> float | None:
        """
        Wait for its end.

        @return: how long that took; L{None} if it did not come.
        """
        began = time.monotonic()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        return time.monotonic() - began

    def close(self) -> None:
        """
        End it at once.
        """
        if self._answers is not None and self._probe is not None:
            self._answers.close()
            self._probe.close()
        self._process.kill()
        self._process.wait()


def _connected(path: Path) -> socket.socket:
    """
    A connection to a UNIX socket, which opens soon.
    """
    end = time.monotonic() + _START
    while True:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(20)
        try:
            client.connect(str(path))
        except OSError:
            client.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return client


def _child(descriptors: int) -> Callable[[], None]:
    """
    What a server's process does first: it dies with the harness, and has the wanted
    number of descriptors.
    """
    library = ctypes.CDLL(None)
    harness = os.getpid()

    def prepare() -> None:
        library.prctl(_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != harness:
            os._exit(1)  # it has died before it could be heard of
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = descriptors or hard
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    return prepare


@contextmanager
def serving(peer: Peer, wanted: Wanted, folder: Path) -> Generator[Running]:
    """
    Let a peer serve as long as the block lasts.

    @param folder: for builds and sockets.
    @raise NotApplicable: if it cannot be started.
    """
    with ExitStack() as stack:
        behind: tuple[int, ...] = ()
        wanted = replace(wanted, probe=str(folder / "probe"))
        Path(wanted.probe).unlink(missing_ok=True)
        log = stack.enter_context(tempfile.TemporaryFile(dir=folder))
        if peer.backend:
            backend = replace(Wanted(), shims=False)
            first = stack.enter_context(serving(PEERS[peer.backend], backend, folder))
            door = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=4096))
            behind = (door.fileno(),)
            port = door.getsockname()[1]
            text = configuration(wanted, door.fileno(), first.port)
            (folder / "haproxy.cfg").write_text(text)
            log.write(f"listening on 127.0.0.1:{port}\n".encode())
            log.flush()
        try:
            command = peer.command(json.dumps(asdict(wanted)), folder)
        except Unavailable as error:
            raise NotApplicable(f"{error}") from None
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=behind,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT), *sys.path[1:]])},
            preexec_fn=_child(wanted.descriptors),  # noqa: PLW1509 - one thread
        )
        if behind:
            door.close()
        running = Running(peer, process, log, folder)
        stack.callback(running.close)
        try:
            running.begin(Path(wanted.probe) if PROBE in peer.abilities else None)
        except Unavailable as error:
            raise NotApplicable(f"it has not started: {error}") from None
        yield running
