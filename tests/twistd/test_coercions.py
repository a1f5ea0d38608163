"""
Words of the command line become values.
"""

from __future__ import annotations

from collections.abc import Callable
from socket import if_nametoindex

import pytest

from tests.support.links import LOOPBACK
from twisted_tcpdemo.twistd.coercions import (
    network,
    number,
    oneOf,
    proxies,
    seconds,
    utf8,
    wholeNumber,
)


@pytest.mark.parametrize(
    ("coerce", "word", "value"),
    [
        (wholeNumber(), "0", 0),
        (wholeNumber(1, 9), "9", 9),
        (number(0.5, 2), "0.5", 0.5),
        (seconds, "1e9", 1e9),
        (oneOf("a", "b"), "b", "b"),
        (network, "192.0.2.1", "192.0.2.1/32"),
        (network, "2001:db8::/32", "2001:db8::/32"),
        (network, "2001:db8:0:0:0:0:0:7", "2001:db8::7/128"),
        (network, "::ffff:10.0.0.0/104", "10.0.0.0/8"),
        (network, f"fe80::1%{if_nametoindex(LOOPBACK)}", f"fe80::1%{LOOPBACK}/128"),
        (proxies, f"fe80::%{LOOPBACK}/64", f"fe80::%{LOOPBACK}/64"),
        (proxies, "192.0.2.1", "192.0.2.1/32"),
        (proxies, "unix", "unix"),
        (utf8, "grün", "grün".encode()),
    ],
)
def test_value(coerce: Callable[[str], object], word: str, value: object) -> None:
    """
    A valid word becomes its value.
    """
    assert coerce(word) == value


@pytest.mark.parametrize(
    ("coerce", "word", "message"),
    [
        (wholeNumber(), "-1", "must be a whole number, 0 or more, not '-1'"),
        (wholeNumber(1, 9), "10", "must be a whole number, 1 to 9, not '10'"),
        (wholeNumber(1, 9), "1.5", "must be a whole number, 1 to 9, not '1.5'"),
        (number(0.5, 2), "2.1", "must be a number, 0.5 to 2, not '2.1'"),
        (number(), "nan", "must be a number, 0 or more, not 'nan'"),
        (seconds, "inf", "must be a number, 0 to 1000000000, not 'inf'"),
        (oneOf("a", "b"), "c", "must be one of a, b, not 'c'"),
        (network, "192.0.2.1/24", "192.0.2.1/24 has host bits set"),
        (proxies, "192.0.2.1/24", "192.0.2.1/24 has host bits set"),
        (network, "fe80::1%nope", "fe80::1%nope/128: there is no network interface 'nope'"),
        (proxies, "fe80::1%nope", "fe80::1%nope/128: there is no network interface 'nope'"),
        (utf8, "\udcff", r"must be UTF-8, not '\udcff'"),
    ],
)
def test_refused(coerce: Callable[[str], object], word: str, message: str) -> None:
    """
    Any other word is refused, with the words that are valid.
    """
    with pytest.raises(ValueError) as refused:
        coerce(word)
    assert str(refused.value) == message
