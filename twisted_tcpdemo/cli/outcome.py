"""
The end of a command: its exit status, and its one line.
"""

from __future__ import annotations

from enum import IntEnum


class Outcome(IntEnum):
    """
    The exit statuses.  They are promised to scripts.
    """

    DONE = 0
    FAILED = 1
    BAD_INPUT = 2
    REFUSED = 3
    TIMED_OUT = 4
    RESET = 5
    CUT_SHORT = 6
    UNREACHABLE = 7
    NO_SUCH_NAME = 8
    TLS_FAILED = 9
    INTERRUPTED = 130
    CLOSED_OUTPUT = 141
    TERMINATED = 143


MEANINGS = {
    Outcome.DONE: "done: the connection came to an orderly end, or the command was carried out",
    Outcome.FAILED: "something else went wrong; the line on standard error says what",
    Outcome.BAD_INPUT: "bad input",
    Outcome.REFUSED: "connection refused: nobody listens there",
    Outcome.TIMED_OUT: "timed out: no connection, no answer, or nothing moved for too long",
    Outcome.RESET: "reset: the connection was broken off",
    Outcome.CUT_SHORT: "cut short: the peer ended before all of the input was sent",
    Outcome.UNREACHABLE: "host or network unreachable",
    Outcome.NO_SUCH_NAME: "the name has no address, or could not be looked up",
    Outcome.TLS_FAILED: "TLS: no common language, or a certificate that is not trusted",
    Outcome.INTERRUPTED: "Ctrl-C",
    Outcome.CLOSED_OUTPUT: "standard output was closed",
    Outcome.TERMINATED: "SIGTERM",
}


def statuses() -> str:
    """
    The exit statuses, as text for C{--help}.
    """
    lines = [f"  {outcome.value:>3}  {meaning}" for outcome, meaning in MEANINGS.items()]
    return "exit status:\n" + "\n".join(lines)


class CommandError(Exception):
    """
    A command has failed; the text is its line on standard error.

    @ivar outcome: the exit status.
    """

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome
