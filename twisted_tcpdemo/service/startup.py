"""
A failed start: one line on standard error, and the end of the process.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure


class StartError(SystemExit, Exception):
    """
    The service cannot start, and the process is to end.

    C{twistd} cleans up (removes its pid file, tells the parent of a daemon) only
    after an L{Exception}, and prints a traceback for all but a L{SystemExit}.  This
    is both.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = 1


def giveUp(message: str) -> NoReturn:
    """
    End the process with one line on the real standard error: C{twistd} sends
    C{sys.stderr} to its log.

    @raise StartError: always.
    """
    message = f"tcpdemo: {' '.join(message.split())}"
    print(message, file=sys.__stderr__)
    raise StartError(message)


def dashed(option: str) -> str:
    """
    An option, as the user of a command line knows it.
    """
    return f"--{option}"


def cannotListen(name: str, failure: Failure) -> str:
    """
    One line about a failed listen.
    """
    error = failure.value
    if isinstance(error, CannotListenError):
        error = error.socketError
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"cannot listen on {name}: {why or type(error).__name__}"
