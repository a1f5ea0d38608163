"""
Mistakes on the command line, called by their names.
"""

from __future__ import annotations

import pytest

from tests.support.cli import HOSTILE
from twisted_tcpdemo.cli import main
from twisted_tcpdemo.cli.outcome import Outcome


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("connect --tiemout 5 localhost 80",
         "there is no option --tiemout; the nearest is --timeout (see tcpdemo connect --help)"),
        ("connect localhost 80 --tiemout=5",
         "there is no option --tiemout; the nearest is --timeout (see tcpdemo connect --help)"),
        ("connect --quie", "there is no option --quie; the nearest is --quiet"),
        ("connect -x localhost 80", "there is no option -x (see tcpdemo connect --help)"),
        ("status --al /x", "there is no option --al; the nearest is --all"),
        ("load --conections 3 /x", "the nearest is --connections (see tcpdemo load --help)"),
        ("listen --kep 1", "the nearest is --keep (see tcpdemo listen --help)"),
        ("control /x drain --sread 4",
         "the nearest is --spread (see tcpdemo control SERVER drain --help)"),
        ("control --tokenfile /x y limit",
         "the nearest is --token-file (see tcpdemo control --help"),
        ("control /x lmit", "there is no command lmit; the nearest is limit"),
        ("conect localhost 80", "there is no command conect; the nearest is connect"),
        ("--versio", "there is no option --versio; the nearest is --version (see tcpdemo --help)"),
        ("--json status /x", "there is no option --json (see tcpdemo --help)"),
        ("connect --timeout", "argument --timeout: expected one argument (see tcpdemo connect"),
        ("connect --timeout -1 localhost 80", "argument --timeout: expected one argument"),
        ("status /x --sort peers", "argument --sort: invalid choice: 'peers'"),
    ],
)  # fmt: skip
def test_mistakes(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """
    An unknown option or command is called that, with the nearest known one, and leads to
    the help of its command.
    """
    assert main(line.split()) == Outcome.BAD_INPUT
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["connect", "--timeout", "0.1", "--", "-x"],
        ["connect", "-qv", "--timeout=0.1", "-"],
        ["control", "limit", "limit", "5"],
        ["status", "--filter", "status", "x"],
        ["control", "--token-file", "limit", "x", "suspend"],
    ],
)
def test_noMistakes(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """
    A value that looks like a command, an option in one word with others, and what follows
    two hyphens are no unknown options.
    """
    main(words)
    assert "there is no" not in capsys.readouterr().err


def test_hostileWords(capsys: pytest.CaptureFixture[str]) -> None:
    """
    An option from a hostile script is shown with escapes.
    """
    assert main(["connect", f"--{HOSTILE}"]) == Outcome.BAD_INPUT
    assert capsys.readouterr().err.strip("\n").isprintable()
