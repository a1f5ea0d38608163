"""
How long a connection may take, how much it may hold, and when it must go.

L{twisted_tcpdemo.connection.watch} keeps them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Final

from twisted_tcpdemo.values.checks import nonNegative, number

CLOSE_RATE: Final = 16384
"""Bytes that the peer of a closing connection must take in each period of the
close budget to be given another period: slow is allowed, a drip is not.  Where
our own producer is the slow side, taking all that there is is enough."""


@dataclass(frozen=True, slots=True)
class Budgets:
    """
    The limits of one connection.  Times are seconds; L{None} or C{0}: no limit, and
    for C{linger}, no time.

    @ivar maxPending: bytes that may wait for a peer that does not read; a write
        that exceeds it resets the connection.
    @ivar firstByte: time for the peer to send its first byte.  With
        C{pauseOnConnect} it begins when reading does, and so does C{handshake}.
    @ivar idle: time in which no byte comes, and the peer takes none.
    @ivar lifetime: time from the beginning to the end.
    @ivar lifetimeJitter: a share of C{lifetime}, 0 to 1, by which the lifetime of
        each connection may be shorter, so that clients that came together do
        not return together.
    @ivar writeStall: time in which bytes are pending and the peer takes none.
    @ivar closeFlush: time after this side has closed for a peer that does not
        read the rest.  A producer that has not finished when the application
        closes is waited for as long as C{lifetime} allows, without one for
        ever; the peer only has to take what there is.
    @ivar handshake: time for the TLS handshake, closing or not.
    @ivar linger: time that a peer has to end its side when this side has closed and
        the peer has taken all.  What it sends meanwhile is discarded.  Without it a
        connection is closed as soon as its bytes are with the operating system.
    @ivar lingerBytes: bytes that are discarded then, at most.
    @ivar fromTheStart: whether any of them runs from the beginning of a connection.
    """

    firstByte: float | None = None
    idle: float | None = None
    lifetime: float | None = None
    lifetimeJitter: float = 0.0
    writeStall: float | None = None
    closeFlush: float | None = 30.0
    handshake: float | None = 30.0
    maxPending: int | None = None
    linger: float | None = 5.0
    lingerBytes: int | None = 2**25
    fromTheStart: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for each in fields(self):
            if each.init:
                value = nonNegative(each.name, getattr(self, each.name))
                object.__setattr__(self, each.name, value)
        share = number("lifetimeJitter", self.lifetimeJitter or 0.0, 0, 1)
        object.__setattr__(self, "lifetimeJitter", share)
        running = bool(self.firstByte or self.idle or self.lifetime or self.writeStall)
        object.__setattr__(self, "fromTheStart", running)


DEFAULT_BUDGETS = Budgets()
