"""
Values on the command line.
"""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable

import pytest

from twisted_tcpdemo.cli import kinds


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (kinds.port, "0"),
        (kinds.seconds, "-1"),
        (kinds.interval, "0"),
        (kinds.limit, "some"),
    ],
)
def test_wrong(kind: Callable[[str], object], text: str) -> None:
    """
    A wrong value is refused with what it must be.
    """
    with pytest.raises(ArgumentTypeError, match=r"^it must be .*, not '"):
        kind(text)
