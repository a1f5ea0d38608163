"""
The exit statuses.
"""

from __future__ import annotations

from tests.support.places import DOCS
from twisted_tcpdemo.cli.outcome import MEANINGS


def test_documented() -> None:
    """
    The page on the client has every exit status.
    """
    page = (DOCS / "client-cli.md").read_text()
    assert [s for s in MEANINGS if f"| {s.value} | " not in page] == []
