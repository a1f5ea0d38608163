"""
The process's limit of descriptors.
"""

from __future__ import annotations

import resource

import pytest

from twisted_tcpdemo.values import descriptors


@pytest.mark.parametrize(("soft", "most"), [(1024, 1024), (resource.RLIM_INFINITY, None)])
def test_most(soft: int, most: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The soft limit is what the process may have.
    """
    monkeypatch.setattr(resource, "getrlimit", lambda what: (soft, resource.RLIM_INFINITY))
    assert descriptors.mostDescriptors() == most


def test_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where the system has no such limit, there is none.
    """
    monkeypatch.setattr(descriptors, "resource", None)
    assert descriptors.mostDescriptors() is None
