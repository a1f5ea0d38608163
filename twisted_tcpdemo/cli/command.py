"""
Running a command: the entry point of C{tcpdemo}.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence

from twisted_tcpdemo.cli.arguments import parser
from twisted_tcpdemo.cli.outcome import CommandError, Outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run a command.

    @param arguments: those of the process, if none are given.
    @return: the exit status.
    """
    _fillStandardFiles()
    try:
        options = parser().parse_args(arguments)
        try:
            status = _run(options)
        finally:
            sys.stdout.flush()
    except CommandError as failed:
        print(f"tcpdemo: {failed}", file=sys.stderr)
        return failed.outcome
    except BrokenPipeError:
        # Python flushes once more when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Outcome.CLOSED_OUTPUT
    except KeyboardInterrupt:
        return Outcome.INTERRUPTED
    return status


def _run(options: Namespace) -> int:
    """
    Run the command that was chosen, and import nothing of the others.
    """
    match options.command:
        case "connect":
            from twisted_tcpdemo.cli.connect import connect

            return connect(options)
        case "status":
            from twisted_tcpdemo.cli.show import show

            return show(options)
        case _:
            from twisted_tcpdemo.cli.steer import steer

            return steer(options)


def _fillStandardFiles() -> None:
    """
    Where the process was started with one of its three files closed, the next
    socket would get its number, and be taken for it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, os.fdopen(number, "w" if number else "r"))
