"""
What somebody has probably meant.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str]) -> str:
    """
    The end of a sentence about an unknown word: the known word that is most like it,
    or nothing.
    """
    found = get_close_matches(word, [*known], 1, 0.7)
    return f"; the nearest is {found[0]}" if found else ""
