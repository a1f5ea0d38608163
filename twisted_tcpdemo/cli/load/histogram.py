"""
Times, counted in buckets whose widths are one part in 128 of their values, at the most.

A bucket is named by the greatest value in it, so no percentile is better than what
happened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

BITS: Final = 8
"""Bits of a value that count: the first is always 1."""

PERCENTILES: Final = (50.0, 75.0, 90.0, 99.0, 99.9, 99.99)


class Histogram:
    """
    Counts of times in nanoseconds.

    @ivar counts: the number of times in each bucket.
    @ivar total: the number of all times.
    @ivar most: the greatest time, exactly.
    """

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.total = 0
        self.most = 0

    def add(self, value: int, count: int = 1) -> None:
        """
        Count a time.

        @param count: how often.
        """
        bucket = value | ((1 << max(value.bit_length() - BITS, 0)) - 1)
        self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.total += count
        self.most = max(self.most, value)

    def percentile(self, percent: float) -> int | None:
        """
        A time that this part of all times does not exceed; L{None} without any.
        """
        wanted = self.total * percent / 100
        for value, seen in self.cumulated():
            if seen >= wanted:
                return value
        return None

    def cumulated(self) -> Iterator[tuple[int, int]]:
        """
        The buckets, the least first, and how many times are in them and those before.
        """
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            yield min(bucket, self.most), seen

    @property
    def mean(self) -> float | None:
        """
        The mean time; L{None} without any.
        """
        if not self.total:
            return None
        return sum(min(b, self.most) * n for b, n in self.counts.items()) / self.total

    def between(self, low: float, high: float) -> int:
        """
        How many times are above C{low}, up to C{high}.
        """
        return sum(n for bucket, n in self.counts.items() if low < min(bucket, self.most) <= high)

    def corrected(self, interval: int) -> Histogram:
        """
        The histogram of a client that had sent at regular times, and not waited for an
        answer first: who waits for five intervals has left out four requests, that would
        have waited for four, three, two and one (coordinated omission, Gil Tene).

        @param interval: nanoseconds from one request of a client to the next.
        """
        made = Histogram()
        for bucket, count in self.counts.items():
            value = min(bucket, self.most)
            made.spread(value, interval, max(1, value // interval), count)
        made.most = self.most
        return made

    def spread(self, value: int, interval: float, steps: int, count: int = 1) -> None:
        """
        Count a time, and others that are less, each by an interval.

        @param steps: the number of these times.
        @param count: how often to count each.
        """
        done = 0
        while done < steps:
            # All that fall into one bucket are counted at once.
            at = int(value - done * interval)
            several = min(int((at - _lowest(at)) / interval) + 1, steps - done)
            self.add(max(at, 0), count * several)
            done += several


def _lowest(value: int) -> int:
    """
    The least value in the bucket of a value.
    """
    shift = max(value.bit_length() - BITS, 0)
    return value >> shift << shift


@dataclass(slots=True)
class Results:
    """
    What has come of it.

    @ivar measured: times from the sending of a message.
    @ivar corrected: times from the moment when it was due, as far as one knows.
    @ivar sent: messages sent.
    @ivar answered: answers.
    @ivar bytesRead: bytes of answers.
    @ivar unanswered: messages that were due, and had no answer at the end.  Their time
        until then is counted in C{corrected}.
    @ivar errors: how often what went wrong.
    @ivar seconds: from the first message to the last answer, or to the end of the time.
    """

    measured: Histogram = field(default_factory=Histogram)
    corrected: Histogram = field(default_factory=Histogram)
    sent: int = 0
    answered: int = 0
    bytesRead: int = 0
    unanswered: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
