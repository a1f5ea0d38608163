"""
Values on the command line.
"""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable

import pytest

from twisted_tcpdemo.cli.parsing import kinds


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("192.0.2.1", ("192.0.2.1", 0)),
        ("192.0.2.1:80", ("192.0.2.1", 80)),
        ("::1", ("::1", 0)),
        ("[::1]", ("::1", 0)),
        ("[::1]:80", ("::1", 80)),
        ("2001:db8::7:80", ("2001:db8::7:80", 0)),
    ],
)
def test_address(text: str, value: kinds.Address) -> None:
    """
    An address has a port, or none.
    """
    assert kinds.address(text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((kinds.address, t) for t in ("", "x", "1.2.3.4:x", "1.2.3.4:65536", "[::1]:", ":80")),
        (kinds.messageSize, "0"),
        (kinds.rate, "0"),
        (kinds.rate, "nan"),
        (kinds.positive, "0"),
        (kinds.positive, "1.5"),
        (kinds.port, "0"),
        (kinds.listeningPort, "65536"),
        (kinds.seconds, "-1"),
        (kinds.interval, "0"),
        (kinds.limit, "some"),
        (kinds.writable, ""),
        (kinds.writable, "/"),
        (kinds.writable, "/dev/null/plot.svg"),
        (kinds.writable, "no/such/folder/plot.svg"),
    ],
)
def test_wrong(kind: Callable[[str], object], text: str) -> None:
    """
    A wrong value is refused with what it must be.
    """
    with pytest.raises(ArgumentTypeError, match=r"^it must be .*, not '"):
        kind(text)
