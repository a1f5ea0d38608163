"""
The parser of the command line, which calls a mistake by its name.

Argparse notes what it does not know until all is parsed, complains of something else
before, and leads to the help of the program.  So each parser looks for unknown options
itself, before it parses.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from twisted_tcpdemo.cli.outcome import CommandError, Outcome
from twisted_tcpdemo.values.nearest import nearest
from twisted_tcpdemo.values.text import printable


class Parser(argparse.ArgumentParser):
    """
    A parser of one command, with errors of one line.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options
        )

    @property
    def arguments(self) -> list[argparse.Action]:
        """
        Its options and arguments, in their order.
        """
        return self._actions

    def commands(self) -> dict[str, Parser]:
        """
        The parsers of its commands, by name; there may be none.
        """
        found = (a.choices for a in self._actions if isinstance(a.choices, dict))
        return next(found, {})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """
        Refuse unknown options first, then parse.
        """
        if args is not None:
            self._refuseUnknown(args)
        return super().parse_known_args(args, namespace)

    def _refuseUnknown(self, words: Sequence[str]) -> None:
        """
        Look at the words up to the name of a command: the rest is for its own parser.
        """
        commands, known = self.commands(), set(self._options())
        free: list[str] = []
        isValue = False
        for word in words:
            if word == "--" or (word in commands and not isValue):
                return
            option = word.partition("=")[0] if word.startswith("--") else word[:2]
            if isValue or not word.startswith("-") or word == "-" or " " in word:
                free += [] if isValue else [word]
                isValue = False
            elif option not in known:
                self.error(f"there is no option {_shown(option)}{nearest(option, known)}")
            else:
                isValue = option == word and self._takesValue(option)
        places = [a.choices for a in self._actions if not a.option_strings]
        if commands and len(free) >= len(places):
            wrong = free[places.index(commands)]
            self.error(f"there is no command {_shown(wrong)}{nearest(wrong, commands)}")

    def _options(self) -> Iterator[str]:
        for action in self._actions:
            yield from action.option_strings

    def _takesValue(self, option: str) -> bool:
        return any(option in a.option_strings and a.nargs != 0 for a in self._actions)

    def error(self, message: str) -> NoReturn:
        """
        Raise an error as a L{CommandError} of one line.
        """
        raise CommandError(Outcome.BAD_INPUT, f"{message} (see {self.prog} --help)")


def _shown(word: str) -> str:
    return printable(word, 60)
