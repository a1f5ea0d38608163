"""
What a part of the harness is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from tests.harness.findings import Facts
from tests.harness.ground import Ground

Attack: TypeAlias = Callable[[Ground], Facts]


class Part(NamedTuple):
    """
    Attacks of one kind.

    @ivar promise: what has to hold, in a sentence.
    @ivar cases: the attacks by name.
    @ivar short: those that belong to the short form.
    """

    name: str
    promise: str
    cases: Mapping[str, Attack]
    short: frozenset[str]
