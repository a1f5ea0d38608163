"""
The results as tables, in Markdown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median, quantiles

from tests.benchmarks.servers import NAMES

Results = dict[str, dict[str, list[float]]]
"""The figures of each case and server, in the order of their measurement: those
with the same index are of the same moment."""


def table(results: Results, titles: Mapping[str, str]) -> str:
    """
    The medians, with the figures between which the middle half lies.
    """

    def cell(runs: dict[str, list[float]], name: str) -> str:
        values = runs[name]
        if len(values) < 2:
            return shown(values[0])
        low, middle, high = quantiles(values, n=4, method="inclusive")
        return f"{shown(middle)} ({shown(low)} to {shown(high)})"

    return _rows(results, titles, list(NAMES), cell)


def compared(results: Results, titles: Mapping[str, str], subject: str = "fast") -> str:
    """
    The cost of each other server in units of the subject's cost, turn by turn: the
    speed of the machine at the moment cancels out.
    """

    def cell(runs: dict[str, list[float]], name: str) -> str:
        if subject not in runs:
            return "-"
        ratios = [a / b for a, b in zip(runs[name], runs[subject], strict=True) if b]
        return f"{median(ratios):.2f}" if ratios else "-"

    return _rows(results, titles, [name for name in NAMES if name != subject], cell)


def _rows(
    results: Results,
    titles: Mapping[str, str],
    names: list[str],
    cell: Callable[[dict[str, list[float]], str], str],
) -> str:
    lines = ["| | " + " | ".join(titles[key] for key in results) + " |"]
    lines.append("| --- |" + " ---: |" * len(results))
    for name in names:
        cells = [cell(runs, name) if runs.get(name) else "-" for runs in results.values()]
        if any(c != "-" for c in cells):
            lines.append(f"| {NAMES[name]} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def shown(value: float) -> str:
    """
    A figure with its significant digits.
    """
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"
