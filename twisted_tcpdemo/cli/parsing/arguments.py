"""
The command line as a whole: its commands, and what it tells of itself.

This module imports no command, so that only the chosen one is imported.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import version

from twisted_tcpdemo.cli.outcome import CommandError, Outcome, statuses
from twisted_tcpdemo.cli.parsing.manual import manualOf
from twisted_tcpdemo.cli.parsing.parser import Parser
from twisted_tcpdemo.cli.parsing.serverarguments import addControl, addStatus
from twisted_tcpdemo.cli.parsing.socketarguments import addConnect, addListen, addLoad

SHELLS = ("bash", "zsh", "tcsh", "fish")

FILES = ("FILE",)
"""The names of values that are paths of files."""


def parser() -> Parser:
    """
    The parser for all commands.
    """
    top = Parser(
        prog="tcpdemo",
        description="Connect to a TCP server, or be one; measure one, and look after one.",
        epilog=statuses(),
    )
    top.add_argument("--version", action="version", version=version("twisted-tcpdemo"))
    top.add_argument("--print-completion", metavar="SHELL", choices=SHELLS, action=_Completion,
                     help="print what completes this command in bash, zsh, tcsh or fish"
                     )  # fmt: skip
    top.add_argument("--print-manual", action=_Manual, nargs=0, help="print the manual page")
    commands = top.add_subparsers(metavar="COMMAND", dest="command", required=True)
    for add in (addConnect, addListen, addLoad, addStatus, addControl):
        add(commands)
    return top


class _Completion(argparse.Action):
    """
    Prints the completion of a shell, and ends.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        try:
            import shtab
        except ImportError:
            raise CommandError(
                Outcome.FAILED, "completion needs shtab: pip install 'twisted-tcpdemo[cli]'"
            ) from None
        assert isinstance(parser, Parser)
        _markFiles(parser, shtab.FILE)
        print(shtab.complete(parser, str(values)))
        parser.exit()


def _markFiles(parser: Parser, mark: object) -> None:
    """
    Tell shtab, by an attribute of its own, which values are paths of files.
    """
    for action in parser.arguments:
        if action.metavar in FILES:
            vars(action)["complete"] = mark
    for command in parser.commands().values():
        _markFiles(command, mark)


class _Manual(argparse.Action):
    """
    Prints the manual page, and ends.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        assert isinstance(parser, Parser)
        print(manualOf(parser), end="")
        parser.exit()
