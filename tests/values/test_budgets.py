"""
Time budgets: the values that they take.
"""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from twisted_tcpdemo.values.budgets import DEFAULT_BUDGETS, Budgets
from twisted_tcpdemo.values.checks import nonNegative

NAMES = [
    "firstByte",
    "idle",
    "lifetime",
    "lifetimeJitter",
    "writeStall",
    "closeFlush",
    "handshake",
    "maxPending",
    "linger",
    "lingerBytes",
]


@pytest.mark.parametrize("value", [None, 0, 0.0])
def test_off(value: float | None) -> None:
    """
    None and 0 both switch a budget off.
    """
    budgets = Budgets(**dict.fromkeys(NAMES, value))  # type: ignore[arg-type]
    assert nonNegative("it", value) is None
    assert budgets.lifetimeJitter == 0.0
    assert all(getattr(budgets, name) is None for name in NAMES if name != "lifetimeJitter")
    assert not budgets.fromTheStart


@given(some.floats(min_value=1e-9, allow_infinity=False) | some.integers(1))
def test_positive(value: float) -> None:
    """
    A number of seconds is kept as it is.
    """
    try:
        assert nonNegative("it", value) == value
    except OverflowError:
        assert isinstance(value, int)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-1, -0.001, float("inf"), float("nan")])
def test_outOfRange(name: str, value: float) -> None:
    """
    A negative or endless time is refused when it is given, by its name.
    """
    with pytest.raises(ValueError, match=f"{name} must be a finite number"):
        Budgets(**{name: value})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["1", True, [1]])
def test_noNumber(name: str, value: Any) -> None:
    """
    A value that is no number is refused when it is given, by its name.
    """
    with pytest.raises(TypeError, match=f"{name} must be a number or None"):
        Budgets(**{name: value})


def test_jitterIsAShare() -> None:
    """
    The jitter of the lifetime is a share of it.
    """
    assert Budgets(lifetimeJitter=1).lifetimeJitter == 1
    with pytest.raises(ValueError, match="lifetimeJitter must be from 0 to 1"):
        Budgets(lifetimeJitter=1.1)


def test_defaults() -> None:
    """
    By default only the budgets of dead connections are on.
    """
    assert not DEFAULT_BUDGETS.fromTheStart
    assert DEFAULT_BUDGETS.closeFlush and DEFAULT_BUDGETS.handshake
    with pytest.raises(FrozenInstanceError):
        DEFAULT_BUDGETS.idle = 1  # type: ignore[misc]


@pytest.mark.parametrize("name", ["firstByte", "idle", "lifetime", "writeStall"])
def test_fromTheStart(name: str) -> None:
    """
    These budgets run as soon as there is a connection.
    """
    assert Budgets(**{name: 1}).fromTheStart
