"""
The guard that notices what a test leaves behind.
"""

from __future__ import annotations

import gc
import os
from itertools import count
from typing import Any

from twisted.internet.task import deferLater
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure


class LoggedErrors:
    """
    The failures that were logged during a test.
    """

    def __init__(self) -> None:
        self._failures: list[tuple[Failure, LogEvent]] = []

    def __call__(self, event: LogEvent) -> None:
        """
        Observe an event of the log.
        """
        failure = event.get("log_failure") or event.get("failure")  # the latter by log.err()
        if failure is not None:
            self._failures.append((failure, event))

    def take(self, *kinds: type[BaseException]) -> list[BaseException]:
        """
        Remove the expected failures of some classes, and return them.
        """
        # Failure.check() knows no class that is no Exception.
        taken = [f for f, _ in self._failures if isinstance(f.value, kinds)]
        self._failures = [(f, e) for f, e in self._failures if not isinstance(f.value, kinds)]
        return [failure.value for failure in taken]

    def describe(self) -> list[str]:
        """
        The remaining failures, in a line each.
        """
        return [
            f"logged error: {f.type.__name__}: {f.getErrorMessage()}\n{f.getTraceback()}"
            for f, _ in self._failures
        ]


_tests = count(1)


def _collect() -> None:
    """
    Collect the garbage of a test.

    Objects that survive are frozen, and looked at again after a hundred tests: they
    may have become garbage meanwhile.
    """
    if next(_tests) % 100 == 0:
        gc.unfreeze()
    gc.collect()
    gc.freeze()


class Watch:
    """
    Compares the reactor and the process before and after a test.
    """

    def __init__(self) -> None:
        self.errors = LoggedErrors()
        globalLogPublisher.addObserver(self.errors)
        self._selectables = _selectables()
        self._calls = _calls()
        self._descriptors = _descriptors()

    async def whatIsLeft(self) -> list[str]:
        """
        Everything that the test has left, after some turns of the reactor in which
        work under way may end.
        """
        from twisted.internet import reactor

        for _ in range(20):
            if not self._left():
                break
            await deferLater(reactor, 0.005, lambda: None)
        # A Deferred logs an unhandled error when it is collected.  Those that a test
        # drops are young, unless they are part of a cycle.
        _collect()
        globalLogPublisher.removeObserver(self.errors)
        return self._left() + self.errors.describe()

    def _left(self) -> list[str]:
        left = [f"selectable: {s!r}" for s in _selectables() - self._selectables]
        left += [f"delayed call: {c}" for c in _calls() - self._calls]
        left += [f"descriptor: {d}" for d in sorted(_descriptors() - self._descriptors)]
        return left


def _selectables() -> set[Any]:
    from twisted.internet import reactor

    internal = getattr(reactor, "_internalReaders", set())
    return {*reactor.getReaders(), *reactor.getWriters()} - internal  # type: ignore[attr-defined]


def _calls() -> set[Any]:
    from twisted.internet import reactor

    return set(reactor.getDelayedCalls())  # type: ignore[attr-defined]


def _descriptors() -> set[str]:
    """
    Open sockets; other files come and go with imports and threads.
    """
    found = set()
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(f"{name} -> {target}")
    return found
