"""
The entry point of C{tcpdemo}: it runs one command.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress

from twisted_tcpdemo.cli.outcome import CommandError, Outcome
from twisted_tcpdemo.cli.parsing.arguments import parser


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run a command.

    @param arguments: the words after the program's name; L{None} for those of the
        process.
    @return: the exit status.
    """
    _fillStandardFiles()
    try:
        options = parser().parse_args(sys.argv[1:] if arguments is None else arguments)
        try:
            status = _run(options)
        finally:
            sys.stdout.flush()
    except CommandError as failed:
        return _failed(failed.outcome, str(failed))
    except BrokenPipeError:
        # Python flushes standard output once more at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Outcome.CLOSED_OUTPUT
    except OSError as error:  # a full disk under standard output, or no descriptor left
        return _failed(Outcome.FAILED, error.strerror or str(error))
    except KeyboardInterrupt:
        return Outcome.INTERRUPTED
    return status


def _failed(outcome: Outcome, why: str) -> int:
    with suppress(OSError):
        print(f"tcpdemo: {why}", file=sys.stderr)
    return outcome


def _run(options: Namespace) -> int:
    """
    Run the chosen command.  The modules of the others are not imported.
    """
    match options.command:
        case "connect":
            from twisted_tcpdemo.cli.piping.connect import connect

            return connect(options)
        case "listen":
            from twisted_tcpdemo.cli.piping.listen import listen

            return listen(options)
        case "load":
            from twisted_tcpdemo.cli.load.load import load

            return load(options)
        case "status":
            from twisted_tcpdemo.cli.operating.show import show

            return show(options)
        case _:
            from twisted_tcpdemo.cli.operating.steer import steer

            return steer(options)


def _fillStandardFiles() -> None:
    """
    Open the null device for each standard file that is closed.  Otherwise the next
    socket would get its number, and be used in its place.
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
