"""
One run, in a process of its own: C{child.py REACTOR ours|both|stock}.

It writes a line of JSON for each test: its name, its outcome, and the reason.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from typing import Any
from unittest import TestSuite

from tests.system.twisted_suite.reactors import Ours, install

MODULES = (
    "twisted.internet.test.test_tcp",
    "twisted.internet.test.test_socket",
    "twisted.internet.test.test_tls",
    "twisted.internet.test.test_newtls",
    "twisted.internet.test.test_unix",
    "twisted.test.test_tcp",
    "twisted.test.test_tcp_internals",
    "twisted.test.test_policies",
    "twisted.test.test_ssl",
    "twisted.test.test_sslverify",
    "twisted.test.test_sni",
    "twisted.test.test_loopback",
    "twisted.test.test_unix",
)


ENDLESS = "test_streamingProducer"
"""It waits for the pause of a producer whose bytes the kernel takes at once, and
disturbs the next test when its time is up."""


def without(tests: Any, name: str) -> Any:
    """
    Some tests, but for those of a name.
    """
    suite = TestSuite()
    for test in tests:
        if hasattr(test, "__iter__"):
            suite.addTest(without(test, name))
        elif not test.id().endswith(f".{name}"):
            suite.addTest(test)
    return suite


def main(kind: str, whose: str) -> None:
    """
    Run all tests.
    """
    install(kind, whose != "stock")
    Ours.bothSides = whose == "both"
    # Not earlier: these look at the reactors when they are imported.
    from twisted.internet.test import reactormixins
    from twisted.trial.reporter import Reporter
    from twisted.trial.runner import TestLoader, TrialRunner

    # Seconds after which a test that does not end has failed; none needs a second.
    reactormixins.DEFAULT_TIMEOUT_DURATION = 10.0

    outcomes = sys.stdout
    sys.stdout = sys.stderr

    class Recorder(Reporter):
        """
        Writes the outcome of each test.
        """

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(io.StringIO(), *args[1:], **kwargs)

        def _tell(self, test: Any, outcome: str, why: object = "") -> None:
            print(json.dumps([test.id(), outcome, str(why)]), file=outcomes, flush=True)

        def addSuccess(self, test: Any) -> None:
            self._tell(test, "passed")

        def addError(self, test: Any, error: Any) -> None:
            self._tell(test, "error", error)

        def addFailure(self, test: Any, fail: Any) -> None:
            self._tell(test, "failed", fail)

        def addSkip(self, test: Any, reason: Any) -> None:
            self._tell(test, "skipped", reason)

        def addExpectedFailure(self, test: Any, error: Any, todo: Any = None) -> None:
            self._tell(test, "failed as expected")

        def addUnexpectedSuccess(self, test: Any, todo: Any = None) -> None:
            self._tell(test, "passed unexpectedly")

    loader: Any = TestLoader()
    with tempfile.TemporaryDirectory() as folder:
        runner: Any = TrialRunner(Recorder, workingDirectory=f"{folder}/trial", logfile="log")
        tests = loader.loadByNames(list(MODULES))
        runner.run(without(tests, ENDLESS) if whose == "both" else tests)


if __name__ == "__main__":
    main(*sys.argv[1:3])
