"""
Coercions: from a word of the command line to a value.

A coercion is called with the word.  For a wrong word it raises a L{ValueError}.
The text goes on after the name of the option: C{"must be a number, not 'x'"}.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from math import inf
from typing import TypeVar

from twisted_tcpdemo.values.networks import Networks
from twisted_tcpdemo.workers.program import MOST_WORKERS

_N = TypeVar("_N", int, float)


def wholeNumber(low: int = 0, high: float = inf) -> Callable[[str], int]:
    """
    A coercion to a whole number in a range, its ends included.
    """
    return _between(int, "a whole number", low, high)


def number(low: float = 0, high: float = inf) -> Callable[[str], float]:
    """
    A coercion to a number in a range, its ends included.
    """
    return _between(float, "a number", low, high)


def _between(kind: Callable[[str], _N], what: str, low: float, high: float) -> Callable[[str], _N]:
    upTo = f"{low} to {high}" if high < inf else f"{low} or more"

    def coerce(word: str) -> _N:
        wrong = f"must be {what}, {upTo}, not {word!r}"
        try:
            value = kind(word)
        except ValueError:
            raise ValueError(wrong) from None
        if not low <= value <= high:  # nor is "nan"
            raise ValueError(wrong)
        return value

    return coerce


seconds = number(0, 10**9)
"""A coercion to a time."""


def workerCount(word: str) -> int:
    """
    How many workers a word stands for; C{"auto"}: one for each processor that the process
    may use.

    @raise ValueError: if it is neither that nor a number.
    """
    if word == "auto":
        try:
            return len(os.sched_getaffinity(0))
        except AttributeError:  # not on every system
            return os.cpu_count() or 1
    return wholeNumber(0, MOST_WORKERS)(word)


def oneOf(*known: str) -> Callable[[str], str]:
    """
    A coercion to one of some words.
    """

    def coerce(word: str) -> str:
        if word not in known:
            raise ValueError(f"must be one of {', '.join(known)}, not {word!r}")
        return word

    return coerce


def network(word: str) -> str:
    """
    Check an IPv4 or IPv6 network or address.

    @return: the network with its prefix, such as C{"192.0.2.1/32"}.
    @raise ValueError: if the word is neither, or has a zone that no peer can have.
    """
    [found] = Networks(word)
    return str(found)


def proxies(word: str) -> str:
    """
    Check an IPv4 or IPv6 network or address, or C{"unix"}.

    @return: as L{network} does; C{"unix"} as it is.
    @raise ValueError: if the word is none of them.
    """
    return word if word == "unix" else network(word)


def utf8(word: str) -> bytes:
    """
    Encode text.  The shell may have passed bytes of another encoding.

    @raise ValueError: if these bytes were not UTF-8.
    """
    try:
        return word.encode()
    except UnicodeEncodeError:
        raise ValueError(f"must be UTF-8, not {word!r}") from None
