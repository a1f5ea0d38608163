"""
Checks of values from an application or an operator.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from sys import float_info
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from twisted_tcpdemo.values.checks import (
    decimal,
    flag,
    nonNegative,
    number,
    positive,
    whole,
    wholeOrNone,
)

ENDLESS = 10**400
"""A whole number that no float can hold."""


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (number, 0),
        (number, 1.5),
        (number, float_info.max),
        (positive, 1),
        (positive, 5e-324),
        (nonNegative, 1),
        (nonNegative, 0.5),
        (whole, 0),
        (whole, 7),
        (whole, ENDLESS),
        (wholeOrNone, 0),
        (wholeOrNone, 7),
        (wholeOrNone, None),
        (flag, True),
        (flag, False),
    ],
)
def test_kept(check: Callable[[str, Any], object], value: object) -> None:
    """
    A valid value is returned as it was given.
    """
    assert check("it", value) is value


@pytest.mark.parametrize("value", [None, 0, 0.0])
def test_nothing(value: float | None) -> None:
    """
    None and 0 both mean that there is no such time or size.
    """
    assert nonNegative("it", value) is None


@pytest.mark.parametrize("value", [0, 0.5, 1])
def test_range(value: float) -> None:
    """
    Both ends of a range belong to it.
    """
    assert number("it", value, 0, 1) is value
    if value:
        assert positive("it", value, 1) is value
    assert whole("it", round(value), 0, 1) == round(value)
    assert wholeOrNone("it", round(value), 0, 1) == round(value)


NUMBER = "it must be a number"
WHOLE = "it must be a whole number"


@pytest.mark.parametrize(
    ("check", "value", "line"),
    [
        *[(number, value, f"{NUMBER}, not {value!r}") for value in (None, True, "1", b"1", [1])],
        *[(positive, value, f"{NUMBER}, not {value!r}") for value in (None, True, "1", 1j)],
        *[(nonNegative, value, f"{NUMBER} or None, not {value!r}") for value in (False, "1", [])],
        *[(whole, value, f"{WHOLE}, not {value!r}") for value in (None, True, "1", 1.0, nan)],
        *[(wholeOrNone, value, f"{WHOLE} or None, not {value!r}") for value in (True, "1", 1.0)],
        *[(flag, value, f"it must be True or False, not {value!r}") for value in (None, 1, "yes")],
    ],
)
def test_wrongType(check: Callable[[str, Any], object], value: object, line: str) -> None:
    """
    A value of the wrong type gives one clear line, which names the option and shows
    the value; a truth value is no number, and a number no truth value.
    """
    with pytest.raises(TypeError) as raised:
        check("it", value)
    assert str(raised.value) == line


@pytest.mark.parametrize(
    ("check", "value", "span", "line"),
    [
        (number, -1, (), "a finite number, 0 or more, not -1"),
        (number, -0.5, (), "a finite number, 0 or more, not -0.5"),
        (number, nan, (), "a finite number, 0 or more, not nan"),
        (number, inf, (), "a finite number, 0 or more, not inf"),
        (number, ENDLESS, (), f"a finite number, 0 or more, not {ENDLESS}"),
        (number, 0.5, (1,), "a finite number, 1 or more, not 0.5"),
        (number, 1.5, (0, 1), "from 0 to 1, not 1.5"),
        (number, nan, (0, 1), "from 0 to 1, not nan"),
        (positive, 0, (), "a finite number above 0, not 0"),
        (positive, 0.0, (), "a finite number above 0, not 0.0"),
        (positive, -1, (), "a finite number above 0, not -1"),
        (positive, nan, (), "a finite number above 0, not nan"),
        (positive, inf, (), "a finite number above 0, not inf"),
        (positive, 0, (1,), "above 0 and up to 1, not 0"),
        (positive, 1.5, (1,), "above 0 and up to 1, not 1.5"),
        (nonNegative, -1, (), "a finite number, 0 or more, not -1"),
        (nonNegative, nan, (), "a finite number, 0 or more, not nan"),
        (nonNegative, inf, (), "a finite number, 0 or more, not inf"),
        (nonNegative, ENDLESS, (), f"a finite number, 0 or more, not {ENDLESS}"),
        (whole, -1, (), "0 or more, not -1"),
        (whole, 0, (1,), "1 or more, not 0"),
        (whole, 65536, (0, 65535), "from 0 to 65535, not 65536"),
        (wholeOrNone, -1, (), "0 or more, not -1"),
        (wholeOrNone, 0, (1, 9), "from 1 to 9, not 0"),
    ],
)
def test_outOfRange(
    check: Callable[..., object], value: float, span: tuple[float, ...], line: str
) -> None:
    """
    A number out of range gives one clear line, which names the option, its range
    and the number.
    """
    with pytest.raises(ValueError) as raised:
        check("it", value, *span)
    assert str(raised.value) == f"it must be {line}"


@given(some.floats() | some.integers(), some.floats(0, 100), some.floats(0, 100))
def test_numberIsInRange(value: float, low: float, more: float) -> None:
    """
    A number passes if and only if it is in the range.
    """
    high = low + more
    if low <= value <= high:
        assert number("it", value, low, high) is value
    else:
        with pytest.raises(ValueError, match="it must be from"):
            number("it", value, low, high)


@given(some.integers())
def test_decimal(value: int) -> None:
    """
    Only digits are a whole number in a string; a sign is not.
    """
    if value >= 0:
        assert decimal("it", str(value)) == value
    else:
        with pytest.raises(ValueError, match="it must be a whole number"):
            decimal("it", str(value))


@pytest.mark.parametrize("word", ["", "x", " 1", "1 ", "+1", "1.0", "1e3", "0x1", "1_0", "²"])
def test_notDecimal(word: str) -> None:
    """
    A word that is no whole number gives one clear line, which shows it.
    """
    with pytest.raises(ValueError) as raised:
        decimal("it", word)
    assert str(raised.value) == f"it must be a whole number, not {word!r}"
