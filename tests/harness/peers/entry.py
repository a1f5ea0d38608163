"""
How each Python server begins: its wishes are read, and the shims are put in place
before anything else is imported.
"""

from __future__ import annotations

import json

from tests.harness.peers.probe import Probe
from tests.harness.peers.shims import Faults, WallClock
from tests.harness.peers.wanted import Wanted


class Entry:
    """
    The wishes and the shims of a server's process.
    """

    def __init__(self, wishes: str) -> None:
        self.wanted = Wanted(**json.loads(wishes))
        clock = faults = None
        if self.wanted.shims:
            clock, faults = WallClock(), Faults()
            clock.install()
            faults.install()
        self.probe = Probe(clock, faults)
