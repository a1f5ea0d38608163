"""
The counts of one connection, whoever keeps them.
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
    What L{ICountingTransport} counts, whoever counts it.
    """

    @property
    def bytesRead(self) -> int:
        """
        Bytes delivered.
        """

    @property
    def bytesWritten(self) -> int:
        """
        Bytes accepted.
        """

    @property
    def bytesPending(self) -> int:
        """
        Bytes accepted and not taken.
        """

    @property
    def lastActivity(self) -> float:
        """
        When a byte last moved.
        """


def finalOf(counts: Counts) -> FinalCounts:
    """
    What has been counted, for ever.
    """
    return FinalCounts(
        counts.bytesRead, counts.bytesWritten, counts.bytesPending, counts.lastActivity
    )
