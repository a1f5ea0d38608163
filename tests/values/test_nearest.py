"""
What somebody has probably meant.
"""

from __future__ import annotations

import pytest

from twisted_tcpdemo.values.nearest import nearest


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("prot", "; the nearest is port"),
        ("max-conection", "; the nearest is max-connections"),
        ("nonsense", ""),
        ("", ""),
    ],
)
def test_nearest(word: str, said: str) -> None:
    """
    A known word is named only where it is much like the unknown one.
    """
    assert nearest(word, iter(["port", "max-connections"])) == said
