"""
A second door into a server's process: what it holds, and the shims.

It is a UNIX socket with lines of JSON, served by the server's own loop; so no answer
comes while the program hangs.  Its one client connects before the attack and stays.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from typing import Any

from tests.harness.peers.shims import Faults, WallClock


class Probe:
    """
    The answers of a process about itself.
    """

    def __init__(self, clock: WallClock | None, faults: Faults | None) -> None:
        self._clock = clock
        self._faults = faults
        self.calls: Callable[[], int] = lambda: 0
        """How many timers wait."""

    def answer(self, line: bytes) -> bytes:
        """
        Answer a line.
        """
        asked: dict[str, Any] = json.loads(line)
        if "shift" in asked and self._clock is not None:
            self._clock.shift = asked["shift"]
        if "share" in asked and self._faults is not None:
            self._faults.share = asked["share"]
            self._faults.calls = set(asked.get("calls", self._faults.calls))
        told: dict[str, Any] = {"calls": self.calls()}
        if self._faults is not None:
            told["injected"] = dict(self._faults.injected)
        if "objects" in asked:
            gc.collect()
            told["objects"] = len(gc.get_objects())
        told |= _accounts()
        return json.dumps(told).encode() + b"\n"


_factories: list[Any] = []


def _accounts() -> dict[str, Any]:
    """
    The accounts of our factory, if there is one here.
    """
    if not _factories:
        # A search through all objects of the process, once.
        _factories.extend(o for o in gc.get_objects() if type(o).__name__ == "TCPDemoFactory")
    if not _factories:
        return {}
    factory = _factories[0]
    report = factory.report()
    return {
        "open": factory.connectionCount,
        "accepted": factory.acceptedCount,
        "closed": factory.closedCount,
        "refused": factory.refusedCount,
        "refusedBy": dict(report.refusedBy),
        "closedBy": {reason.value: n for reason, n in report.closedBy.items()},
        "violations": factory.conservation(),
    }


def serveOnReactor(probe: Probe, path: str) -> None:
    """
    Answer under the running reactor, on Twisted's own transport.
    """
    from twisted.internet import reactor
    from twisted.internet.protocol import Factory
    from twisted.protocols.basic import LineOnlyReceiver

    class Lines(LineOnlyReceiver):
        """
        One asker.
        """

        delimiter = b"\n"

        def lineReceived(self, line: bytes) -> None:
            """
            Answer.
            """
            self.transport.write(probe.answer(line))  # type: ignore[attr-defined]

    Factory.noisy = False
    running: Any = reactor
    probe.calls = lambda: len(running.getDelayedCalls())
    running.callWhenRunning(running.listenUNIX, path, Factory.forProtocol(Lines))
