"""
All parts, in the order of their columns.
"""

from __future__ import annotations

from typing import Final

from tests.harness.parts import (
    churn,
    clocks,
    descriptors,
    doors,
    drains,
    logs,
    programs,
    resets,
    slow,
    soak,
    waves,
)
from tests.harness.parts.part import Part

PARTS: Final[dict[str, Part]] = {
    module.PART.name: module.PART
    for module in (
        waves,
        churn,
        resets,
        slow,
        descriptors,
        programs,
        logs,
        doors,
        drains,
        clocks,
        soak,
    )
}
