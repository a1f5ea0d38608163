"""
Latency by percentile, as SVG.

Each step to the right has a tenth of the requests of the one before; time goes up by
tens as well.  So the few slow answers have as much room as the many fast ones.
"""

from __future__ import annotations

from math import log10

from twisted_tcpdemo.cli.load.histogram import Histogram, Results

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 80, 20, 50, 50

STYLE = """
  text { font: 13px sans-serif; fill: #222 } path { fill: none; stroke-width: 2 }
  .grid { stroke: #ddd; stroke-width: 1 } .measured { stroke: #8a8a8a }
  .corrected { stroke: #0b62b3 } rect { fill: #fff }
"""

LABELS = ("0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %")


class Scale:
    """
    From a percentile and a time to a point.
    """

    def __init__(self, results: Results) -> None:
        """
        @param results: both histograms are to have room.
        """
        both = [h for h in (results.measured, results.corrected) if h.total]
        total = max((h.total for h in both), default=10)
        self.decades = min(max(2, len(str(total)) - 1), len(LABELS) - 1)
        least = min((min(h.counts) for h in both), default=1000)
        most = max((h.most for h in both), default=10**6)
        self.low, self.high = int(log10(max(least, 1))), int(log10(max(most, 1))) + 1

    def x(self, share: float) -> float:
        """
        The place of a share of all times, C{0} to less than C{1}.
        """
        decades = min(-log10(max(1 - share, 1e-9)), self.decades)
        return LEFT + (WIDTH - LEFT - RIGHT) * decades / self.decades

    def y(self, nanoseconds: float) -> float:
        """
        The place of a time.
        """
        part = (log10(max(nanoseconds, 1)) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(max(part, 0), 1)


def svg(results: Results, title: str) -> str:
    """
    The drawing.

    @param title: what was measured.
    """
    scale = Scale(results)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}"/>',
        f'<text x="{LEFT}" y="20">{_escaped(title)}</text>',
        *_grid(scale),
    ]
    for number, (name, histogram) in enumerate(
        (("measured", results.measured), ("corrected", results.corrected))
    ):
        x = LEFT + 110 * number
        parts.append(f'<path class="{name}" d="M{x} 38h24"/>')
        parts.append(f'<text x="{x + 30}" y="42">{name}</text>')
        parts.append(f'<path class="{name}" d="{_line(scale, histogram)}"/>')
    return "\n".join([*parts, "</svg>", ""])


def _grid(scale: Scale) -> list[str]:
    lines = []
    for decade in range(scale.decades + 1):
        x = scale.x(1 - 10.0**-decade)
        lines.append(f'<path class="grid" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
        anchor = "end" if decade == scale.decades else "middle"
        lines.append(
            f'<text x="{x:.1f}" y="{HEIGHT - 25}" text-anchor="{anchor}">{LABELS[decade]}</text>'
        )
    for power in range(scale.low, scale.high + 1):
        y = scale.y(10**power)
        lines.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        lines.append(
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
            f"{10 ** (power - 6):g} ms</text>"
        )
    return lines


def _line(scale: Scale, histogram: Histogram) -> str:
    """
    Level up to the share that a time covers, then up to the next time.
    """
    path, before = "", 0.0
    for value, seen in histogram.cumulated():
        y = f"{scale.y(value):.1f}"
        path += f"{'V' if path else f'M{scale.x(0):.1f} '}{y}"
        share = seen / histogram.total
        if scale.x(share) - before >= 0.5 or share == 1:
            before = scale.x(share)
            path += f"H{before:.1f}"
    return path


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
