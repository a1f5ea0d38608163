"""
Failures in a log: escaped, bounded, and sorted by their kind.
"""

from __future__ import annotations

import json
from io import StringIO

import pytest
from twisted.logger import Logger, jsonFileLogObserver
from twisted.python.failure import Failure

from twisted_tcpdemo.values.failures import ToldFailure, kindOf, messageOf, placeOf

EVIL = "\x1b[2J\r\n2026-01-01 forged\u202e"


def failureOf(error: BaseException) -> Failure:
    """
    A failure with a traceback.
    """
    try:
        raise error
    except BaseException:
        return Failure()


class Unspeakable(Exception):
    """
    An exception without a text.
    """

    def __str__(self) -> str:
        raise ZeroDivisionError


def test_told() -> None:
    """
    A traceback has its frames, with their source, and the exception in one line.
    """
    told = ToldFailure.of(failureOf(ValueError(EVIL)))
    lines = told.getTraceback().splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].endswith(", in failureOf")
    assert lines[2:] == [
        "    raise error",
        r"builtins.ValueError: \x1b[2J\r\n2026-01-01 forged\u202e",
    ]
    assert told.getErrorMessage() == r"\x1b[2J\r\n2026-01-01 forged\u202e"


def test_original() -> None:
    """
    The failure of the application is left alone, and the told one is checked like it.
    """
    failure = failureOf(ValueError(EVIL))
    told = ToldFailure.of(failure)
    assert told.check(ValueError) is ValueError and told.value is failure.value
    assert failure.getErrorMessage() == EVIL


def test_length() -> None:
    """
    A long text is cut, and so are the frames of code that calls itself.
    """

    def recurse(depth: int) -> None:
        if not depth:
            raise ValueError("x" * 100_000)
        recurse(depth - 1)

    try:
        recurse(500)
    except ValueError:
        failure = Failure()
    told = ToldFailure.of(failure).getTraceback()
    assert len(told) < 10_000
    assert "(470 more)" in told and "(+99" in told
    assert len(failure.frames) == 502


def test_json() -> None:
    """
    As JSON a failure has no more frames than in a text.
    """

    def recurse(depth: int) -> None:
        recurse(depth - 1) if depth else 1 / 0

    output = StringIO()
    try:
        recurse(500)
    except ZeroDivisionError:
        failure = ToldFailure.of(Failure())
    Logger("mine", observer=jsonFileLogObserver(output, "")).failure("x", failure)
    assert len(json.loads(output.getvalue())["log_failure"]["frames"]) < 40


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (failureOf(ZeroDivisionError("a\nb")), r"builtins.ZeroDivisionError: a\nb"),
        (Failure(OSError(24, "too many")), "builtins.OSError: [Errno 24] too many"),
    ],
)
def test_message(failure: Failure, text: str) -> None:
    """
    A failure in a line has the class of the exception and its text.
    """
    assert messageOf(failure) == text


def test_noText() -> None:
    """
    An exception that cannot tell its text is told all the same.
    """
    assert "Unspeakable" in messageOf(failureOf(Unspeakable()))


def test_kind() -> None:
    """
    Failures are of one kind if they have the same class and place, whatever they say.
    """
    one, other = (kindOf(failureOf(ValueError(text))) for text in "ab")
    assert one == other
    assert one != kindOf(failureOf(TypeError("a")))
    assert one != kindOf(Failure(ValueError("a")))
    assert placeOf(Failure(ValueError())) == "no place"
    assert placeOf(failureOf(ValueError())).startswith("test_failures.py:")
