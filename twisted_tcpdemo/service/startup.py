"""
A start that fails: one line, and the end of the process.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure


class StartError(SystemExit, Exception):
    """
    The service cannot do its work, and the process is to end.

    C{twistd} cleans up (it removes its pid file, and tells the process that
    waits for a daemon) only after an L{Exception}, and prints a traceback for
    all but a L{SystemExit}.  This is both.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = 1


def giveUp(message: str) -> NoReturn:
    """
    End the process with one line on standard error: the real one, for
    C{twistd} lets C{sys.stderr} write to its log.

    @raise StartError: always.
    """
    message = f"tcpdemo: {' '.join(message.split())}"
    print(message, file=sys.__stderr__)
    raise StartError(message)


def cannotListen(name: str, failure: Failure) -> str:
    """
    A failed listen in one line.
    """
    error = failure.value
    if isinstance(error, CannotListenError):
        error = error.socketError
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"cannot listen on {name}: {why or type(error).__name__}"
