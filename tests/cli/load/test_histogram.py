"""
Times in buckets, and the correction for coordinated omission.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_tcpdemo.cli.load.histogram import PERCENTILES, Histogram

MS = 10**6


def of(*values: int) -> Histogram:
    """
    A histogram of some times.
    """
    made = Histogram()
    for value in values:
        made.add(value)
    return made


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**12), min_size=1))
def test_precision(values: list[int]) -> None:
    """
    A percentile is never better than what happened, and no more than one part in 128 worse.
    """
    made, ordered = of(*values), sorted(values)
    for percent in (*PERCENTILES, 100.0):
        exact = ordered[max(0, -int(-len(values) * percent // 100) - 1)]
        found = made.percentile(percent)
        assert found is not None and exact <= found <= exact + exact // 128 + 1
    assert made.percentile(100) == made.most == ordered[-1]
    assert (made.total, made.mean is not None) == (len(values), True)


def test_nothing() -> None:
    """
    Without a time there are no figures.
    """
    made = Histogram()
    assert (made.percentile(50), made.mean, made.total) == (None, None, 0)
    assert made.corrected(5).total == 0


def test_corrected() -> None:
    """
    One request that took as long as five intervals stands for four that were not sent, and
    would have waited for four, three, two and one.
    """
    made = of(500 * MS).corrected(100 * MS)
    waits = [(n - 1) * 100 * MS for n in range(2, 7)]
    assert made.total == 5
    for part, wait in enumerate(waits, 1):
        found = made.percentile(20 * part)
        assert found is not None and wait <= found <= wait * 1.01
    assert of(99 * MS, 150 * MS).corrected(100 * MS).total == 2


@settings(deadline=None)
@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=5), st.integers(10**6, 10**8))
def test_correctedInOneStep(values: list[int], interval: int) -> None:
    """
    To count many missing requests at once makes no difference.
    """
    base, slow = of(*values), of(*values)
    for bucket, count in base.counts.items():
        missing = min(bucket, base.most) - interval
        while missing >= interval:
            slow.add(missing, count)
            missing -= interval
    fast = base.corrected(interval)
    assert (fast.total, fast.most) == (slow.total, slow.most)
    # A time that stands for several may be in the bucket beside its own.
    for percent in PERCENTILES:
        a, b = fast.percentile(percent), slow.percentile(percent)
        assert a is not None and b is not None and abs(a - b) <= max(a, b) / 64 + 1


def test_between() -> None:
    """
    Bars are cut at round figures.
    """
    made = of(1 * MS, 2 * MS, 3 * MS)
    assert [made.between(0, 2.1 * MS), made.between(2.1 * MS, 5 * MS)] == [2, 1]
