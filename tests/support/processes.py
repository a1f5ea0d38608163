"""
Programs as child processes, seen from outside: their output and their end.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure


class Child(ProcessProtocol):
    """
    A child process that remembers its output.

    @ivar status: its exit status, negative for a signal; L{None} while it runs.
    """

    transport: Any

    def __init__(self) -> None:
        self._out = bytearray()
        self._err = bytearray()
        self.status: int | None = None
        self._waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    @property
    def out(self) -> str:
        """
        Its standard output.
        """
        return self._out.decode("utf-8", "backslashreplace")

    @property
    def err(self) -> str:
        """
        Its standard error.
        """
        return self._err.decode("utf-8", "backslashreplace")

    def outReceived(self, data: bytes) -> None:
        """
        Remember it.
        """
        self._out += data
        self._happened()

    def errReceived(self, data: bytes) -> None:
        """
        Remember it.
        """
        self._err += data
        self._happened()

    def processEnded(self, reason: Failure) -> None:  # type: ignore[override]
        """
        Remember the status; all output has been read by now.
        """
        ended: Any = reason.value
        self.status = ended.exitCode if ended.signal is None else -ended.signal
        self._happened()

    def _happened(self) -> None:
        waiting, self._waiting = self._waiting, []
        for condition, waiter in waiting:
            if found := condition():
                waiter.callback(found)
            elif self.status is not None:
                waiter.errback(AssertionError(f"it has ended:\n{self.out}\n{self.err}"))
            else:
                self._waiting.append((condition, waiter))

    def _when(self, condition: Callable[[], Any]) -> Deferred[Any]:
        waiter: Deferred[Any] = Deferred()
        self._waiting.append((condition, waiter))
        self._happened()
        return waiter

    def whenPrinted(self, pattern: str) -> Deferred[re.Match[str]]:
        """
        Wait for a regular expression in its standard output.
        """
        return self._when(lambda: re.search(pattern, self.out))

    def whenTold(self, pattern: str) -> Deferred[re.Match[str]]:
        """
        Wait for a regular expression in its standard error.
        """
        return self._when(lambda: re.search(pattern, self.err))

    async def whenOut(self, count: int) -> bytes:
        """
        Wait for a number of bytes on its standard output.

        @return: all bytes so far.
        """
        await self._when(lambda: len(self._out) >= count)
        return bytes(self._out)

    async def whenEnded(self) -> int:
        """
        Wait for its end.

        @return: its exit status.
        """
        await self._when(lambda: self.status is not None)
        assert self.status is not None
        return self.status

    def signal(self, number: int) -> None:
        """
        Send it a signal.
        """
        self.transport.signalProcess(number)


@asynccontextmanager
async def running(
    command: Sequence[str | Path],
    folder: Path | None = None,
    inherited: int | None = None,
    **environment: str,
) -> AsyncGenerator[Child]:
    """
    Run a process as long as the block lasts, if it does not end before.

    @param folder: the folder to run it in; L{None} for the current one.
    @param inherited: a descriptor of ours that it has as number 3.
    """
    from twisted.internet import reactor

    child = Child()
    arguments = [str(part) for part in command]
    # Unlike twistd, twist does not flush its log.
    variables = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
    descriptors: dict[int, int | str] = {0: "w", 1: "r", 2: "r"}
    if inherited is not None:
        descriptors[3] = inherited
    reactor.spawnProcess(  # type: ignore[attr-defined]
        child, arguments[0], arguments, variables, folder and str(folder), childFDs=descriptors
    )
    try:
        yield child
    finally:
        if child.status is None:
            with suppress(ProcessExitedAlready):  # it is about to be told
                child.signal(9)
            await child.whenEnded()


def script(name: str) -> list[str]:
    """
    The command line of a program that is installed beside this Python.
    """
    return [sys.executable, str(Path(sysconfig.get_path("scripts")) / name)]


def twistd(*options: str) -> list[str]:
    """
    The command line of C{twistd -n tcpdemo}.
    """
    return [*script("twistd"), "-n", "--pidfile=", "tcpdemo", *options]


def twist(*options: str, log: str = "text") -> list[str]:
    """
    The command line of C{twist tcpdemo}.
    """
    return [*script("twist"), "--log-format", log, "tcpdemo", *options]


async def portOf(child: Child) -> int:
    """
    The port on which a server says that it listens.
    """
    found = await child.whenPrinted(r"listening on \S*:(\d+) \(IPv\d\)")
    return int(found[1])
