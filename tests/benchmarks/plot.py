"""
Bar charts in SVG, without a library.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from statistics import median

from tests.benchmarks.tables import shown

WIDTH, LABEL, BAR, GAP = 720, 280, 16, 34


def plot(
    results: Mapping[str, Mapping[str, list[float]]],
    titles: Mapping[str, str],
    names: Mapping[str, str],
) -> str:
    """
    One group of bars for each case; shorter is better.
    """
    parts: list[str] = []
    y = 10
    for case, runs in results.items():
        medians = {name: median(values) for name, values in runs.items()}
        longest = max(medians.values()) or 1
        y += 14
        parts.append(f'<text x="8" y="{y}" font-weight="bold">{escape(titles[case])}</text>')
        y += 8
        for name, value in medians.items():
            width = (WIDTH - LABEL - 80) * value / longest
            color = "#2a7" if name == "fast" else "#9ab"
            title = escape(names[name])
            parts += [
                f'<text x="{LABEL - 8}" y="{y + 12}" text-anchor="end">{title}</text>',
                f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="13" fill="{color}"/>',
                f'<text x="{LABEL + width + 6:.1f}" y="{y + 12}">{shown(value)}</text>',
            ]
            y += BAR
        y += GAP - BAR
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
    )
    return "\n".join([head, *parts, "</svg>", ""])
