"""
What is wanted of a server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Wanted:
    """
    The wishes, the same for every peer.  Times are in seconds.

    @ivar limit: the most connections.
    @ivar overflow: C{"refuse"}, C{"reset"} or C{"wait"}.
    @ivar firstByte: for the first byte of a client.
    @ivar idle: without a byte in either direction.
    @ivar lifetime: of a connection in all.
    @ivar stall: for a client to take waiting bytes.
    @ivar close: for a client to read the rest after this side has closed.
    @ivar drain: for clients to finish after the signal to stop.
    @ivar descriptors: the process's RLIMIT_NOFILE; 0: as high as it goes.
    @ivar shims: whether clock and system calls can be made to fail.
    @ivar probe: the path of the probe's socket.
    @ivar extra: further options for ours.
    """

    limit: int = 20_000
    overflow: str = "refuse"
    firstByte: float = 60.0
    idle: float = 60.0
    lifetime: float = 3600.0
    stall: float = 60.0
    close: float = 30.0
    drain: float = 10.0
    descriptors: int = 0
    shims: bool = False
    probe: str = ""
    extra: Any = ()
