"""
The fixtures of the tests of clients.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack

import pytest

from tests.support.clients import Resolver, installedReactor


@pytest.fixture
def resources() -> Generator[ExitStack]:
    """
    Closes sockets when a test ends.
    """
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def resolver() -> Generator[Resolver]:
    """
    A resolver that replaces the reactor's.
    """
    replacement = Resolver()
    before = installedReactor().installNameResolver(replacement)
    yield replacement
    installedReactor().installNameResolver(before)
