"""
Puts every process with this folder on its path on the fast lane; see L{site}.

C{LANE_SERVED} names a file that grows by a byte for each connection.
"""

from __future__ import annotations

import os

import onlane  # type: ignore[import-not-found]
from twisted.internet.posixbase import PosixReactorBase


def served() -> None:
    """
    Tell of a connection, at once: processes are killed.
    """
    with open(os.environ["LANE_SERVED"], "ab") as file:
        file.write(b".")


onlane.putOnLane(PosixReactorBase)
onlane.count(served)
