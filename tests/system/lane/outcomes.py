"""
Runs tests with trial, and writes a line of JSON for each: its name, its outcome, and
the reason.

As a program: C{outcomes.py REACTOR PATTERN NAME...}; tests in whose names the pattern is
found are left out.
"""

from __future__ import annotations

import io
import json
import re
import sys
import tempfile
from collections.abc import Callable
from typing import Any, TextIO
from unittest import TestSuite

from twisted.trial import util
from twisted.trial.reporter import Reporter
from twisted.trial.runner import TestLoader, TrialRunner

util.DEFAULT_TIMEOUT_DURATION = 30.0
"""Seconds after which a test that does not end has failed.  A few start processes."""


class Recorder(Reporter):
    """
    Writes the outcome of each test.

    @cvar outcomes: where to.
    """

    outcomes: TextIO

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(io.StringIO(), *args[1:], **kwargs)

    def _tell(self, test: Any, outcome: str, why: object = "") -> None:
        print(json.dumps([test.id(), outcome, str(why)]), file=self.outcomes, flush=True)

    def addSuccess(self, test: Any) -> None:
        """
        See L{Reporter}.
        """
        self._tell(test, "passed")

    def addError(self, test: Any, error: Any) -> None:
        """
        See L{Reporter}.
        """
        self._tell(test, "error", error)

    def addFailure(self, test: Any, fail: Any) -> None:
        """
        See L{Reporter}.
        """
        self._tell(test, "failed", fail)

    def addSkip(self, test: Any, reason: Any) -> None:
        """
        See L{Reporter}.
        """
        self._tell(test, "skipped", reason)

    def addExpectedFailure(self, test: Any, error: Any, todo: Any = None) -> None:
        """
        See L{Reporter}.
        """
        self._tell(test, "failed as expected")

    def addUnexpectedSuccess(self, test: Any, todo: Any = None) -> None:
        """
        See L{Reporter}.
        """
        self._tell(test, "passed unexpectedly")


def chosen(tests: Any, choice: Callable[[str], bool]) -> Any:
    """
    Some of the tests.

    @param choice: whether to run a test of a name.
    """
    suite = TestSuite()
    for test in tests:
        if hasattr(test, "__iter__"):
            suite.addTest(chosen(test, choice))
        elif choice(test.id()):
            suite.addTest(test)
    return suite


def run(names: list[str], choice: Callable[[str], bool] = bool) -> None:
    """
    Run the tests of modules or packages.  What they print goes to the standard error.
    """
    Recorder.outcomes, sys.stdout = sys.stdout, sys.stderr
    loader: Any = TestLoader()
    with tempfile.TemporaryDirectory() as folder:
        runner: Any = TrialRunner(Recorder, workingDirectory=f"{folder}/trial", logfile="log")
        runner.run(chosen(loader.loadByNames(names, True), choice))
    sys.stdout = Recorder.outcomes


if __name__ == "__main__":
    from twisted.python.reflect import namedAny

    # Not by twisted.application.reactors: one of the plugins there imports the reactor.
    install: Any = namedAny(f"twisted.internet.{sys.argv[1]}reactor.install")
    install()
    run(sys.argv[3:], lambda name: not re.search(sys.argv[2], name))
