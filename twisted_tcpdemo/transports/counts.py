"""
The byte counts of one connection.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol


class FinalCounts(NamedTuple):
    """
    The counts of a connection that is over.
    """

    bytesRead: int
    bytesWritten: int
    bytesPending: int
    lastActivity: float


NOTHING = FinalCounts(0, 0, 0, 0.0)


class Counts(Protocol):
    """
    The counts that a transport or a meter keeps; see L{ICountingTransport
    <twisted_tcpdemo.interfaces.ICountingTransport>}.
    """

    @property
    def bytesRead(self) -> int:
        """
        Bytes delivered to the protocol.
        """

    @property
    def bytesWritten(self) -> int:
        """
        Bytes accepted for the peer.
        """

    @property
    def bytesPending(self) -> int:
        """
        Of those, bytes that the operating system has not taken.
        """

    @property
    def lastActivity(self) -> float:
        """
        The time at which a byte last moved, in seconds of the clock.
        """


def finalOf(counts: Counts) -> FinalCounts:
    """
    The counts of this moment, which change no more.
    """
    return FinalCounts(
        counts.bytesRead, counts.bytesWritten, counts.bytesPending, counts.lastActivity
    )
