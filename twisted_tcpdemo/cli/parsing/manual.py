"""
The manual page, made from the parser (man(7), groff_man(7)).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol


class Documented(Protocol):
    """
    What a manual page has to know of a parser.
    """

    prog: str
    description: str | None
    epilog: str | None

    @property
    def arguments(self) -> Sequence[argparse.Action]:
        """
        Its options and arguments.
        """

    def commands(self) -> Mapping[str, Documented]:
        """
        The parsers of its commands, by name.
        """


def manualOf(parser: Documented) -> str:
    """
    The text of the manual page.
    """
    return "\n".join(_lines(parser)) + "\n"


def _lines(parser: Documented) -> Iterator[str]:
    about, statuses = _text(parser.description or ""), parser.epilog or ""
    yield f'.TH {parser.prog.upper()} 1 "" "twisted\\-{parser.prog}" "User Commands"'
    yield from (".SH NAME", f"{parser.prog} \\- {about[:1].lower()}{about[1:].rstrip('.')}")
    yield ".SH SYNOPSIS"
    yield from _synopsis(parser)
    for command in parser.commands().values():
        yield from _synopsis(command)
    yield ".SH OPTIONS"
    yield from _options(parser)
    for name, command in parser.commands().items():
        yield f".SH {name.upper()}"
        yield _text(command.description or "")
        yield from _options(command)
        for verb in command.commands().values():
            yield from _verb(verb)
        examples = (command.epilog or "").partition(statuses)[0].strip()
        yield from (".SS Examples", ".nf", *map(_raw, examples.splitlines()[1:]), ".fi")
    yield ".SH EXIT STATUS"
    for line in statuses.splitlines()[1:]:
        number, meaning = line.split(None, 1)
        yield from (".TP", f".B {number}", _text(meaning))


def _synopsis(parser: Documented) -> Iterator[str]:
    words = ["[OPTIONS]"]
    for action in parser.arguments:
        if not action.option_strings:
            words.append(f"[{action.metavar}]" if action.nargs == "?" else str(action.metavar))
    yield from (f".B {_text(parser.prog)}", _text(" ".join(words)), ".br")


def _verb(parser: Documented) -> Iterator[str]:
    yield ".SS " + _text(parser.prog.partition(" ")[2])
    yield _text(parser.description or "")
    yield from _options(parser)


def _options(parser: Documented) -> Iterator[str]:
    """
    The options and arguments with their help.  Commands have sections of their own.
    """
    for action in parser.arguments:
        if isinstance(action.choices, dict):
            continue
        yield from (".TP", f".B {_text(_head(action))}", _text(_help(action)))


def _head(action: argparse.Action) -> str:
    value = ""
    if action.nargs != 0:
        choices = "|".join(map(str, action.choices)) if action.choices else ""
        value = str(action.metavar or choices or action.dest.upper())
    if not action.option_strings:
        return value
    return ", ".join(f"{name} {value}".rstrip() for name in action.option_strings)


def _help(action: argparse.Action) -> str:
    help = action.help or ""
    return help % vars(action) if "%" in help else help


def _text(text: str) -> str:
    return _raw(re.sub(r"\s+", " ", text).strip())


def _raw(line: str) -> str:
    r"""
    A line that troff prints as it is.  One that begins with a point or an apostrophe would
    be a request, and C{-} a hyphen that cannot be searched for.
    """
    line = line.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{line}" if line[:1] in {".", "'"} else line
