"""
Lines and tables, on a terminal and elsewhere, with rich and without.
"""

from __future__ import annotations

import os
import re
import select
import sys
from collections.abc import Generator
from io import StringIO
from typing import TextIO

import pytest

from tests.support.cli import HOSTILE
from twisted_tcpdemo.cli.showing.display import PlainDisplay, RichDisplay, Table, displayOn, styled
from twisted_tcpdemo.cli.showing.words import text


class Terminal:
    """
    A terminal, and what is on it.
    """

    def __init__(self) -> None:
        self._ours, theirs = os.openpty()
        self.file: TextIO = os.fdopen(theirs, "w")

    def shown(self, end: str) -> str:
        """
        What has been written to it, up to an end: the kernel hands it on a little later.
        """
        self.file.flush()
        found = ""
        while not found.endswith(end):
            assert select.select([self._ours], [], [], 10)[0], found
            found += os.read(self._ours, 65536).decode().replace("\r\n", "\n")
        return found

    def close(self) -> None:
        """
        Close both ends.
        """
        self.file.close()
        os.close(self._ours)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Generator[Terminal]:
    """
    A terminal of 40 columns that knows colours.
    """
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm", "COLUMNS": "40", "LINES": "10"}.items():
        monkeypatch.setenv(name, value)
    made = Terminal()
    yield made
    made.close()


PAGE = [
    styled("a line", "green"),
    Table([["1", "left", "5"], ["2", styled("x", "red"), "50"]], ["n", "name", "count"],
          frozenset({1})),
    "[bold]no markup[/bold]",
]  # fmt: skip

PLAIN = """a line
n  name  count
1  left      5
2  x        50
[bold]no markup[/bold]
"""


def lines(shown: str) -> str:
    """
    What is left without escape sequences and spaces at the ends of lines.
    """
    text = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", shown)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def test_plain() -> None:
    """
    What is no terminal gets plain text, and no escape sequence.
    """
    file = StringIO()
    display = displayOn(file)
    display.show(PAGE)
    display.update(["more"])
    display.close()
    assert file.getvalue() == f"{PLAIN}more\n"
    assert (display.size(), display.replaces) == (None, False)


def test_rich(terminal: Terminal) -> None:
    """
    A terminal gets the same text, with colours.
    """
    display = displayOn(terminal.file)
    assert isinstance(display, RichDisplay)
    display.show(PAGE)
    shown = terminal.shown("[/bold]\n")
    assert lines(shown) == PLAIN
    assert "\x1b[32ma line\x1b[0m" in shown
    assert (display.size(), display.replaces) == ((40, 10), True)


def test_noColor(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    NO_COLOR is obeyed.
    """
    monkeypatch.setenv("NO_COLOR", "1")
    displayOn(terminal.file).show(PAGE)
    shown = terminal.shown("[/bold]\n")
    assert lines(shown) == PLAIN and not re.search(r"\x1b\[(\d+;)*[34]\d", shown)


def test_noRich(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without rich a terminal gets plain text, that fits it.
    """
    monkeypatch.setitem(sys.modules, "rich.console", None)
    display = displayOn(terminal.file)
    assert isinstance(display, PlainDisplay)
    display.show(PAGE)
    assert terminal.shown("[/bold]\n") == PLAIN
    assert (display.size(), display.replaces) == ((40, 10), False)


def test_replaced(terminal: Terminal) -> None:
    """
    An update takes the place of the one before, and can be taken away; no line is longer
    than the terminal.
    """
    display = displayOn(terminal.file)
    display.update(["x" * 100])
    assert len(lines(terminal.shown("\u2026"))) == 41
    display.update(["second"])
    assert terminal.shown("second").endswith("\x1b[2Ksecond")
    display.close(keep=False)
    display.close()
    display.show(["the end"])
    assert terminal.shown("the end\n").endswith("\x1b[1A\x1b[2Kthe end\n")


def test_hostile(terminal: Terminal) -> None:
    """
    Text of a server that was made safe stays safe on a terminal.
    """
    displayOn(terminal.file).show([text(HOSTILE), Table([[text(HOSTILE)]]), "the end"])
    assert "\x1b]0;" not in terminal.shown("the end\n")
