"""
The fixtures of the tests of the fast lane.
"""

from __future__ import annotations

from itertools import product

import pytest

from tests.support.secure import CONTEXTS, Sides


@pytest.fixture(params=CONTEXTS)
def kind(request: pytest.FixtureRequest) -> str:
    """
    The kind of a server's context.
    """
    name: str = request.param
    return name


@pytest.fixture(params=product(CONTEXTS, CONTEXTS), ids="-".join)
def sides(request: pytest.FixtureRequest) -> Sides:
    """
    The kinds of both contexts, the server's first.
    """
    return Sides(*request.param)
