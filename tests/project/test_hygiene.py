"""
The tests' own guard: a test that leaves something behind fails.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.places import PROJECT

CONFTEST = """
from tests.conftest import *
"""

TESTS = """
import gc, socket
import pytest
from twisted.internet.defer import Deferred, fail
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python import log

kept = []

def test_delayedCall():
    from twisted.internet import reactor
    kept.append(reactor.callLater(60, print))

def test_port():
    from twisted.internet import reactor
    kept.append(reactor.listenTCP(0, Factory(), interface="127.0.0.1"))

def test_descriptor():
    kept.append(socket.socket())

def test_loggedFailure():
    try:
        1 / 0
    except ZeroDivisionError:
        Logger().failure("it went wrong")

def test_legacyError():
    log.err(ZeroDivisionError("legacy"))

def test_unhandledDeferred():
    fail(ZeroDivisionError("unhandled"))

def test_unhandledInCycle():
    deferred = fail(ZeroDivisionError("in a cycle"))
    deferred.itself = deferred

async def test_unhandledCoroutine():
    async def forgotten():
        raise ZeroDivisionError("forgotten")
    Deferred.fromCoroutine(forgotten())

def test_afterAll():
    pass

def test_expected(loggedErrors):
    log.err(ZeroDivisionError("expected"))
    assert [str(error) for error in loggedErrors.take(ZeroDivisionError)] == ["expected"]

def test_unexpected(loggedErrors):
    log.err(ZeroDivisionError("unexpected"))
    assert loggedErrors.take(KeyError) == []

def test_onItsWay():
    from twisted.internet import reactor
    reactor.callLater(0.01, print)
    port = reactor.listenTCP(0, Factory(), interface="127.0.0.1")
    port.stopListening()

@pytest.mark.deadline(0.1)
async def test_hangs():
    await Deferred()

@pytest.mark.deadline(0.1)
async def test_hangsAndCleansUp():
    try:
        await Deferred()
    finally:
        kept.append("cleaned up")

async def test_cleanedUp():
    assert "cleaned up" in kept

@pytest.mark.deadline(5)
@pytest.mark.parametrize("value", [1])
async def test_parameters(value, tmp_path):
    assert value == 1 and tmp_path.exists()

async def test_fails():
    assert kept == "nothing"
"""


@cache
def outcome() -> str:
    """
    The output of pytest for some tests, run in a process of its own.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "conftest.py").write_text(CONFTEST)
        (folder / "test_left.py").write_text(TESTS)
        (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
        path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-rA",
            "-p",
            "no:cacheprovider",
            "--strict-markers",
        ]
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout + done.stderr


def verdicts(name: str) -> set[str]:
    """
    The verdicts on one test: PASSED, FAILED, ERROR.
    """
    return set(re.findall(rf"^(PASSED|FAILED|ERROR) \S+::{name}\b", outcome(), re.MULTILINE))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("test_delayedCall", "delayed call: <DelayedCall"),
        ("test_port", "selectable: <"),
        ("test_port", r"descriptor: \d+ -> socket:"),
        ("test_descriptor", r"descriptor: \d+ -> socket:"),
        ("test_loggedFailure", "logged error: ZeroDivisionError: division by zero"),
        ("test_legacyError", "logged error: ZeroDivisionError: legacy"),
        ("test_unhandledDeferred", "logged error: ZeroDivisionError: unhandled"),
        ("test_unhandledInCycle", "logged error: ZeroDivisionError: in a cycle"),
        ("test_unhandledCoroutine", "logged error: ZeroDivisionError: forgotten"),
        ("test_unexpected", "logged error: ZeroDivisionError: unexpected"),
    ],
)
def test_left(name: str, message: str) -> None:
    """
    A test that leaves something behind is an error though it passes, with the name
    of the thing left.
    """
    assert verdicts(name) == {"PASSED", "ERROR"}
    section = outcome().partition(f"ERROR at teardown of {name} ")[2].partition("\n____")[0]
    assert "the test has left behind:" in section
    assert re.search(message, section)


@pytest.mark.parametrize(
    "name",
    ["test_afterAll", "test_expected", "test_onItsWay", "test_cleanedUp", "test_parameters"],
)
def test_notLeft(name: str) -> None:
    """
    A test is not blamed for the leftovers of another, for expected errors, or for
    work that ends by itself at once.
    """
    assert verdicts(name) == {"PASSED"}


@pytest.mark.parametrize("name", ["test_hangs", "test_hangsAndCleansUp"])
def test_deadline(name: str) -> None:
    """
    A test that hangs fails in time, and may clean up.
    """
    assert verdicts(name) == {"FAILED"}
    assert "AssertionError: did not finish within 0.1 s" in outcome()


def test_failure() -> None:
    """
    A failing test is reported as itself.
    """
    assert verdicts("test_fails") == {"FAILED"}
    assert 'assert kept == "nothing"' in outcome()
