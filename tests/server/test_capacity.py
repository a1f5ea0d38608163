"""
The limit: how many there is room for.
"""

from __future__ import annotations

import resource

import pytest

from twisted_tcpdemo.server import capacity
from twisted_tcpdemo.server.capacity import descriptorLimit


@pytest.mark.parametrize(
    ("soft", "expected"),
    [(1024, 960), (20000, 19936), (100, 50), (64, 32), (3, 1), (resource.RLIM_INFINITY, None)],
)
def test_descriptors(monkeypatch: pytest.MonkeyPatch, soft: int, expected: int | None) -> None:
    """
    The limit is the process's less a reserve, which never takes more than half.
    """
    monkeypatch.setattr(resource, "getrlimit", lambda what: (soft, soft))
    assert descriptorLimit() == expected


def test_noDescriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where the system has no such limit, there is none.
    """
    monkeypatch.setattr(capacity, "resource", None)
    assert descriptorLimit() is None
