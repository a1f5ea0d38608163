"""
Type checkers read users' programs without a plugin and without our settings.

A checker belongs to the extra C{dev}; without it, its tests are skipped.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from shutil import copy
from typing import Any, Final

import pytest

from tests.support.places import EXAMPLES, TESTS

BEFORE: Final = """
from twisted.internet.task import Clock
from twisted_tcpdemo import Admission, Budgets, ClientEndpoint, ServerEndpoint
from twisted_tcpdemo import TCPDemoFactory, TCPDemoProtocol
clock = Clock()
factory = TCPDemoFactory()
client = ClientEndpoint(clock, "localhost", 1)
"""

WRONG: Final = (
    'TCPDemoFactory(maxConnections="3")',
    'TCPDemoFactory(overflow="nobody")',
    'TCPDemoFactory.forProtocol(TCPDemoProtocol, maxConnections="3")',
    "TCPDemoFactory.forProtocol(TCPDemoProtocol, most=3)",
    "TCPDemoFactory(clock=3)",
    'factory.overflow = "nobody"',
    "factory.admission = TCPDemoProtocol()",
    "factory.addObserver(TCPDemoProtocol())",
    "factory.listen(TCPDemoProtocol())",
    "factory.listen(80.0)",
    "TCPDemoFactory(TCPDemoProtocol())",
    'TCPDemoFactory("examples.Echo")',
    'factory.connections[0].transport.write("text")',
    "Admission(TCPDemoProtocol())",
    'Budgets(idle="60")',
    'ServerEndpoint(clock, "80")',
    "ServerEndpoint(clock, 80, tls=True)",
    "client.connect(TCPDemoProtocol())",
    "client.connectProtocol(TCPDemoFactory())",
    "TCPDemoProtocol().closeReason.value",
)
"""Mistakes, one in each line."""

Errors = list[tuple[str, int, str]]
"""The file, the line and the error of each mistake found."""

Checker = Callable[[Path, bool], Errors]
"""Checks a folder of files, strictly or not."""


def mypy(folder: Path, strict: bool) -> Errors:
    """
    Run mypy.  Functions without annotations are checked even when it is not strict.
    """
    (folder / "mypy.ini").write_text("[mypy]\n")
    options = ["--strict"] if strict else ["--check-untyped-defs"]
    files = sorted(path.name for path in folder.glob("*.py"))
    command = ["mypy", "--config-file", "mypy.ini", "--cache-dir", ".cache", *options, *files]
    output = checked(folder, command)
    found = re.findall(r"^(.+?):(\d+): error: (.*)$", output, re.MULTILINE)
    assert found or output.startswith("Success"), output
    return [(file, int(line), message) for file, line, message in found]


def pyright(folder: Path, strict: bool) -> Errors:
    """
    Run pyright.
    """
    config = {"include": ["*.py"], "typeCheckingMode": "strict" if strict else "standard"}
    (folder / "pyrightconfig.json").write_text(json.dumps(config))
    command = ["pyright", "--outputjson", "--pythonpath", sys.executable, "-p", "."]
    result: dict[str, Any] = json.loads(checked(folder, command))
    assert result["summary"]["filesAnalyzed"] == len(list(folder.glob("*.py")))
    return [
        (found["file"], found["range"]["start"]["line"] + 1, found["message"])
        for found in result["generalDiagnostics"]
        if found["severity"] == "error"
    ]


def checked(folder: Path, command: list[str]) -> str:
    """
    The output of a checker that has run to its end.
    """
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


@pytest.fixture(params=[mypy, pyright])
def check(request: pytest.FixtureRequest) -> Checker:
    """
    A type checker.
    """
    checker: Checker = request.param
    name = request.param.__name__
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed; it is in the extra dev")
    return checker


def test_examples(check: Checker, tmp_path: Path) -> None:
    """
    A checker finds no mistake in the types of any example of the documentation.
    """
    for example in EXAMPLES.glob("*.py"):
        copy(example, tmp_path)
    assert check(tmp_path, False) == []


def test_program(check: Checker, tmp_path: Path) -> None:
    """
    A program with annotations passes the strictest check.
    """
    copy(TESTS / "project" / "typed_program.py", tmp_path)
    assert check(tmp_path, True) == []


def test_mistakes(check: Checker, tmp_path: Path) -> None:
    """
    A checker reports each mistake in its line, and nothing else.
    """
    before = BEFORE.splitlines()
    (tmp_path / "wrong.py").write_text("\n".join([*before, *WRONG, ""]))
    lines = {line for _, line, _ in check(tmp_path, False)}
    assert lines == set(range(len(before) + 1, len(before) + len(WRONG) + 1))
