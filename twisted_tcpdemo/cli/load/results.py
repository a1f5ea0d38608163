"""
The results of C{tcpdemo load}, as text and as plain values.
"""

from __future__ import annotations

from itertools import pairwise

from twisted_tcpdemo.cli.load.histogram import PERCENTILES, Histogram, Results
from twisted_tcpdemo.cli.showing.display import Part, Table, styled
from twisted_tcpdemo.cli.showing.words import count, size

BAR = 40
"""Characters of the longest bar."""

MILLISECOND = 10**6


def milliseconds(nanoseconds: float | None) -> str:
    """
    A time with three digits that count.
    """
    if nanoseconds is None:
        return "-"
    value = nanoseconds / MILLISECOND
    digits = 3 if value < 10 else 2 if value < 100 else 1 if value < 1000 else 0
    return f"{value:,.{digits}f} ms"


def liveLine(results: Results, before: tuple[int, float], now: float) -> str:
    """
    The figures of a load that goes on.

    @param before: the answers, and the time, of the line before.
    @param now: seconds since the load began.
    """
    answered, then = before
    each = (results.answered - answered) / max(now - then, 0.001)
    shown = results.corrected if results.corrected.total else results.measured
    times = ", ".join(f"{p:g} % in {milliseconds(shown.percentile(p))}" for p in (50, 99))
    wrong = results.errors.total()
    return f"{now:.1f}s: {count(each)} answers/s, {times}" + (f", {wrong} errors" if wrong else "")


def shown(results: Results, connections: int) -> list[Part]:
    """
    The results for people.
    """
    seconds = max(results.seconds, 1e-9)
    moved = f"{size(results.bytesRead / seconds)}/s received"
    parts: list[Part] = [
        styled(
            f"{count(results.answered)} answers in {results.seconds:.2f} s on {connections} "
            f"connections: {count(results.answered / seconds)}/s, {moved}",
            "bold",
        ),
        "",
        _percentiles(results),
    ]
    if results.corrected.total:
        parts += ["", _bars(results.corrected)]
    if results.unanswered:
        parts.append(styled(f"{count(results.unanswered)} messages had no answer", "red"))
    parts += [styled(f"{count(n)} times: {what}", "red") for what, n in results.errors.items()]
    return parts


def _percentiles(results: Results) -> Table:
    """
    Both times side by side.
    """
    rows = [
        [
            f"{percent:g} %",
            milliseconds(results.measured.percentile(percent)),
            milliseconds(results.corrected.percentile(percent)),
        ]
        for percent in PERCENTILES
    ]
    both = results.measured, results.corrected
    rows.append(["mean", *(milliseconds(h.mean) for h in both)])
    rows.append(["most", *(milliseconds(h.most if h.total else None) for h in both)])
    return Table(rows, ["latency", "measured", "corrected"], frozenset({0}))


def edges(histogram: Histogram) -> list[int]:
    """
    The edges of some ten bars, 1, 2 and 5 times a power of ten nanoseconds.
    """
    steps = [n * 10**power for power in range(3, 13) for n in (1, 2, 5)]
    least = min(histogram.counts, default=1)
    start = max((n for n, step in enumerate(steps) if step < least), default=0)
    end = next((n for n, step in enumerate(steps) if step >= histogram.most), len(steps) - 1)
    return steps[start : end + 1]


def _bars(histogram: Histogram) -> Table:
    inside = edges(histogram)
    counts = [histogram.between(low, high) for low, high in pairwise(inside)]
    longest = max(counts, default=0) or 1
    rows = [
        [
            f"up to {milliseconds(high)}",
            f"{100 * n / histogram.total:.2f} %",
            styled("#" * -(-BAR * n // longest), "green"),
        ]
        for high, n in zip(inside[1:], counts, strict=True)
    ]
    return Table(rows, ["corrected", "share", ""], frozenset({2}))


def values(results: Results, connections: int) -> dict[str, object]:
    """
    The results for programs; times in seconds.
    """
    seconds = max(results.seconds, 1e-9)
    return {
        "connections": connections,
        "seconds": round(results.seconds, 6),
        "sent": results.sent,
        "answered": results.answered,
        "unanswered": results.unanswered,
        "errors": dict(results.errors),
        "bytesRead": results.bytesRead,
        "answersPerSecond": round(results.answered / seconds, 3),
        "bytesReadPerSecond": round(results.bytesRead / seconds, 3),
        "latency": {
            "measured": _latency(results.measured),
            "corrected": _latency(results.corrected),
        },
    }


def _latency(histogram: Histogram) -> dict[str, object]:
    percentiles = {f"{p:g}": _seconds(histogram.percentile(p)) for p in PERCENTILES}
    return {
        "count": histogram.total,
        "mean": _seconds(histogram.mean),
        "most": _seconds(histogram.most if histogram.total else None),
        "percentiles": percentiles,
        "histogram": [[_seconds(value), seen] for value, seen in histogram.cumulated()],
    }


def _seconds(nanoseconds: float | None) -> float | None:
    return None if nanoseconds is None else round(nanoseconds / 10**9, 9)
