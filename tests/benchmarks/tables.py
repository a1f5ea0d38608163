"""
The results as tables, in Markdown.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median, quantiles
from typing import Final

from tests.benchmarks.cases import ENTRANTS

Results = dict[str, dict[str, list[float]]]
"""The figures of each case and entrant, in the order of their measurement: those
with the same index are of the same moment."""

_HEAD: Final = (
    "| | median | middle half | ratio | turn by turn |\n| --- | ---: | ---: | ---: | ---: |"
)


def tables(results: Results, titles: Mapping[str, str], subject: str = "fast") -> str:
    """
    A table for each case: the median of each entrant, the figures between which the
    middle half lies, the ratio of its median to the subject's, and the median of
    the ratios turn by turn, in which the speed of the machine at the moment cancels
    out.
    """
    parts = []
    for case, runs in results.items():
        rows = [_row(name, runs, subject) for name in ENTRANTS if runs.get(name)]
        parts.append("\n".join([f"### {titles[case]}", "", _HEAD, *rows, ""]))
    return "\n".join(parts)


def _row(name: str, runs: Mapping[str, list[float]], subject: str) -> str:
    values = runs[name]
    half = "-"
    if len(values) > 1:
        low, _, high = quantiles(values, n=4, method="inclusive")
        half = f"{shown(low)} to {shown(high)}"
    cells = [ENTRANTS[name], shown(median(values)), half, *_ratios(values, runs.get(subject))]
    return f"| {' | '.join(cells)} |"


def _ratios(values: list[float], others: list[float] | None) -> tuple[str, str]:
    if not others or not median(others):
        return "-", "-"
    paired = [a / b for a, b in zip(values, others, strict=True) if b]
    return f"{median(values) / median(others):.2f}", f"{median(paired):.2f}"


def shown(value: float) -> str:
    """
    A figure with its significant digits.
    """
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"
