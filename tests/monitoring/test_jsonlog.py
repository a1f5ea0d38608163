"""
The log as JSON: plain objects, typed fields.
"""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from twisted.logger import (
    FilteringLogObserver,
    Logger,
    LogPublisher,
    PredicateResult,
    globalLogPublisher,
    textFileLogObserver,
)
from twisted.python import log as legacy
from twisted.python.failure import Failure

from tests.support.hygiene import LoggedErrors
from twisted_tcpdemo import CloseReason
from twisted_tcpdemo.monitoring.guard import guardedLog
from twisted_tcpdemo.monitoring.jsonlog import inJSON, jsonLine, jsonLog
from twisted_tcpdemo.monitoring.logbudget import LogBudget


class Unspeakable:
    """
    A value that cannot be made into text.
    """

    def __str__(self) -> str:
        raise ValueError("no")

    __repr__ = __str__


def logged(text: str, /, **fields: object) -> dict[str, Any]:
    """
    The object of an event.
    """
    file = StringIO()
    Logger(namespace="mine", observer=jsonLog(file)).info(text, **fields)
    [line] = file.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_object() -> None:
    """
    A line has its time, level, namespace, text and fields, and nothing of Twisted's.
    """
    found = logged("{count} of {name}", count=3, name="x", share=0.5, isOn=True, nothing=None)
    time = found.pop("time")
    assert time.endswith("+00:00") and "T" in time and "." in time
    assert found == {
        "level": "info",
        "namespace": "mine",
        "text": "3 of x",
        "count": 3,
        "name": "x",
        "share": 0.5,
        "isOn": True,
        "nothing": None,
    }


def test_hugeNumber() -> None:
    """
    A whole number that Python does not turn into decimals is there in hexadecimal, cut.
    """
    found = logged("numbers", great=2**4095, huge=2**20_000)
    assert (found["great"], found["huge"]) == (2**4095, "0x1" + "0" * 997)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        ({"a": [1, {2}]}, {"a": [1, [2]]}),
        ({1: CloseReason.RESET}, {"1": str(CloseReason.RESET)}),
        (OSError(2, "No such file"), "[Errno 2] No such file"),
        (b"x", "x"),
        ([[[[[[[1]]]]]]], [[[[["[[1]]"]]]]]),
    ],
)
def test_values(value: object, expected: object) -> None:
    """
    A value that JSON does not have becomes one that it has.
    """
    assert logged("said", value=value)["value"] == expected


def test_unspeakable() -> None:
    """
    A value without a text costs no line.
    """
    assert "Unspeakable" in logged("said {value}", value=Unspeakable())["value"]


def test_ownNames() -> None:
    """
    A field cannot take the place of what each line has.
    """
    found = logged("said", exception=1, namespace="other", text="else")
    assert (found["exception"], found["namespace"], found["text"]) == (1, "mine", "said")


@pytest.mark.parametrize("text", ["a\nb", "\x1b[2J", "\u2028", "\udcff", '"}{"'])
def test_oneLine(text: str) -> None:
    """
    Whatever is said, a line is one line of ASCII.
    """
    file = StringIO()
    Logger(observer=jsonLog(file)).info("{said}", said=text)
    line = file.getvalue()
    assert line.isascii() and line.endswith("\n") and len(line.splitlines()) == 1
    assert "\x1b" not in line
    assert json.loads(line)["said"] == text


def failureOf(error: Exception) -> Failure:
    """
    A failure with a traceback.
    """
    try:
        raise error
    except Exception:
        return Failure()


def test_failure() -> None:
    """
    A failure is the name of its class and a traceback, apart from the text.
    """
    file = StringIO()
    Logger(observer=jsonLog(file)).failure("it went wrong", failureOf(ValueError("no")))
    found = json.loads(file.getvalue())
    assert (found["text"], found["exception"]) == ("it went wrong", "builtins.ValueError")
    assert found["traceback"].startswith("Traceback") and "no" in found["traceback"]
    assert found["level"] == "critical"


def test_legacy(loggedErrors: LoggedErrors) -> None:
    """
    Lines and failures of Twisted's older log are plain objects, too, also behind the
    guard.
    """
    file = StringIO()
    observer = guardedLog(jsonLog(file), LogBudget(100))
    globalLogPublisher.addObserver(observer)
    try:
        legacy.msg("a line", mine=5)
        legacy.err(failureOf(ValueError("no")), "because")
    finally:
        globalLogPublisher.removeObserver(observer)
    line, failed = map(json.loads, file.getvalue().splitlines())
    assert (line["text"], line["mine"]) == ("a line", 5)
    assert not line.keys() & {"message", "system", "isError", "format"}
    assert (failed["text"], failed["exception"]) == ("because", "builtins.ValueError")
    assert not failed.keys() & {"message", "system", "isError", "failure", "why"}
    loggedErrors.take(ValueError)


def test_withoutLevel() -> None:
    """
    An event that lacks what the log gives it has a line all the same.
    """
    found = json.loads(jsonLine({"count": 1}))
    assert (found["level"], found["time"], found["count"]) == ("info", None, 1)


def test_inJSON() -> None:
    """
    An observer that writes text to a file writes JSON instead; any other is refused.
    """
    file = StringIO()
    Logger(observer=inJSON(textFileLogObserver(file))).info("said")
    assert json.loads(file.getvalue())["text"] == "said"
    other = FilteringLogObserver(LogPublisher(), [lambda event: PredicateResult.yes])
    with pytest.raises(ValueError, match="FilteringLogObserver"):
        inJSON(other)
