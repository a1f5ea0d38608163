"""
The manual page.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from twisted_tcpdemo.cli.outcome import MEANINGS
from twisted_tcpdemo.cli.parsing.manual import manualOf
from twisted_tcpdemo.cli.parsing.parser import Parser


def test_sections() -> None:
    """
    Commands, arguments, choices and exit statuses have their places, and nothing in a text
    is taken for a request of troff's.
    """
    statuses = "exit status:\n    2  bad input"
    parser = Parser(prog="one", description="Do this.", epilog=statuses)
    command = parser.add_subparsers(metavar="COMMAND").add_parser(
        "two", description=".odd\ntext", epilog=f"examples:\n  'one two \\n'\n\n{statuses}"
    )
    command.add_argument("place", metavar="PLACE", nargs="?", help="where [default: %(default)s]")
    command.add_argument("--how", choices=("a", "b"), help="'quoted'")
    lines = manualOf(parser).splitlines()
    assert lines[2] == "one \\- do this"
    order = ["\\&.odd text", ".B PLACE", "where [default: None]", ".B \\-\\-how a|b"]
    assert [line for line in lines if line in order] == order
    assert "\\&'quoted'" in lines
    assert "  'one two \\en'" in lines
    assert lines[-3:] == [".TP", ".B 2", "bad input"]


def test_read(tmp_path: Path) -> None:
    """
    Groff has nothing to complain of, and what it makes has every exit status.
    """
    if shutil.which("groff") is None:
        pytest.skip("there is no groff")
    from twisted_tcpdemo.cli.parsing.arguments import parser

    (tmp_path / "page").write_text(manualOf(parser()))
    command = ["groff", "-man", "-Tascii", "-ww", "-P-c", str(tmp_path / "page")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    shown = re.sub(".\b", "", done.stdout)  # bold on a printer
    for outcome, meaning in MEANINGS.items():
        assert re.search(rf"\n +{outcome.value} +{meaning.split()[0]}", shown)
