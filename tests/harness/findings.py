"""
What an attack has shown, as plain values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, TypeAlias

HELD: Final = "held"
NOT_HELD: Final = "did not hold"
NOT_APPLICABLE: Final = "not applicable"

Facts: TypeAlias = Mapping[str, float | str]
"""What was measured, by name."""


class NotApplicable(Exception):
    """
    An attack does not concern a peer; the text says why.
    """


@dataclass(frozen=True)
class Finding:
    """
    The outcome of one attack on one peer.

    @ivar verdict: one of L{HELD}, L{NOT_HELD}, L{NOT_APPLICABLE}.
    @ivar why: what did not hold, or why the attack does not concern the peer.
    """

    part: str
    case: str
    peer: str
    verdict: str
    why: str = ""
    facts: Facts = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """
        The finding for JSON.
        """
        return asdict(self)
