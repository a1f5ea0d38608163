"""
The rules for every test: it ends in time, and it leaves nothing behind.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator

import pytest
import pytest_twisted
from hypothesis import settings
from twisted.internet.defer import Deferred

from tests.support.hygiene import LoggedErrors, Watch
from tests.support.waiting import withDeadline

settings.register_profile("long", max_examples=3000, stateful_step_count=60, deadline=None)


def pytest_configure(config: pytest.Config) -> None:
    """
    Register our markers.
    """
    config.addinivalue_line("markers", "deadline(seconds): how long an async test may take")
    config.addinivalue_line("markers", "storm: many connections; some seconds each")
    config.addinivalue_line("markers", "packaging: builds and installs; takes long")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Give each C{async def} test a deadline: that of its marker, or the common one.
    """
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            marker = item.get_closest_marker("deadline")
            item.obj = withDeadline(item.obj, marker.args[0] if marker else 10.0)


@pytest.fixture(autouse=True)
def nothingLeft(request: pytest.FixtureRequest) -> Generator[Watch]:
    """
    Fail a test that leaves delayed calls, selectables, descriptors, logged
    errors or unhandled Deferreds behind: pytest-twisted notices none of them.
    """
    watch = Watch()
    yield watch
    left = pytest_twisted.blockon(Deferred.fromCoroutine(watch.whatIsLeft()))
    if left:
        pytest.fail("the test has left behind:\n" + "\n".join(f"  {item}" for item in left), False)


@pytest.fixture
def loggedErrors(nothingLeft: Watch) -> LoggedErrors:
    """
    The errors that the test has caused on purpose: C{take(ZeroDivisionError)}.
    """
    return nothingLeft.errors
