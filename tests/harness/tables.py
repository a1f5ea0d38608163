"""
The findings as tables: a plain one for the terminal, and the page's in Markdown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from tests.harness.findings import HELD, NOT_APPLICABLE, NOT_HELD, Finding
from tests.harness.parts.catalogue import PARTS
from tests.harness.peers.kinds import PEERS

_SIGN: Final = {HELD: "held", NOT_HELD: "**no**", NOT_APPLICABLE: "-"}
_SHORT: Final = {HELD: "held", NOT_HELD: "NO", NOT_APPLICABLE: "-"}

Cells = dict[tuple[str, str], dict[str, Finding]]


def _cells(findings: Iterable[Finding]) -> Cells:
    cells: Cells = {}
    for finding in findings:
        cells.setdefault((finding.part, finding.case), {})[finding.peer] = finding
    return cells


def _columns(cells: Cells) -> list[str]:
    return [name for name in PEERS if any(name in row for row in cells.values())]


def plain(findings: Iterable[Finding]) -> str:
    """
    A table for the terminal.
    """
    cells = _cells(findings)
    columns = _columns(cells)
    width = max((len(f"{part}: {case}") for part, case in cells), default=0)
    lines = [" " * width + "".join(f"  {name:>8}" for name in columns)]
    for (part, case), row in cells.items():
        signs = (_SHORT[row[name].verdict] if name in row else "" for name in columns)
        lines.append(f"{part}: {case}".ljust(width) + "".join(f"  {sign:>8}" for sign in signs))
    return "\n".join(lines) + "\n"


def markdown(told: Mapping[str, Any]) -> str:
    """
    The tables of the page, from the JSON of a run.
    """
    findings = [Finding(**finding) for finding in told["findings"]]
    cells = _cells(findings)
    columns = _columns(cells)
    head = "".join(f" | {PEERS[name].title}" for name in columns)
    lines = [f"| {head} |", "| ---" + " | :---:" * len(columns) + " |"]
    for part, case in cells:
        row = cells[part, case]
        signs = (_SIGN[row[name].verdict] if name in row else "" for name in columns)
        lines.append(f"| {part}: {case} | " + " | ".join(signs) + " |")
    return "\n".join([*lines, "", *_reasons(findings, columns)])


def _reasons(findings: list[Finding], columns: list[str]) -> list[str]:
    """
    What did not hold, and where, by peer.
    """
    lines = []
    for name in columns:
        wrong = [f for f in findings if f.peer == name and f.verdict == NOT_HELD]
        if wrong:
            lines += [f"{PEERS[name].title} did not hold:", ""]
            lines += [f"- {f.part}, {f.case}: {_safe(f.why)}" for f in wrong]
            lines.append("")
    return lines


def _safe(text: str) -> str:
    return text.replace("|", "/").replace("<", "(").replace(">", ")")[:240]


def listed() -> str:
    """
    The parts, their promises and their cases.
    """
    lines = []
    for part in PARTS.values():
        lines.append(f"{part.name}: {part.promise}")
        lines += [f"    {case}" for case in part.cases]
    return "\n".join(lines)
