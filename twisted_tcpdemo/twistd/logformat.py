"""
The log of C{twistd} or C{twist} in the format that C{--log-format} names.

Both have options of their own for what makes the observer, and these take ours.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import IO, Any

from twisted.logger import FileLogObserver
from twisted.python.logfile import LogFile
from twisted.python.reflect import namedAny
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from twisted_tcpdemo.monitoring.jsonlog import inJSON, jsonLog
from twisted_tcpdemo.service.startup import giveUp

_chosen: list[Callable[[], FileLogObserver]] = []
"""What makes the observer of this process: C{twistd} takes only a name."""


def logInJSON(command: UsageOptions | None) -> None:
    """
    Let the log be JSON.

    @param command: the options of C{twistd} or C{twist}; L{None} in any other program,
        whose log is its own.
    @raise UsageError: if its log has no lines.
    """
    if command is None:
        return
    if "fileLogObserverFactory" in command:
        command["fileLogObserverFactory"] = jsonLog
    elif command.get("syslog"):
        raise UsageError("--log-format json goes with a file or standard output, not --syslog")
    else:
        _chosen[:] = [partial(_observer, command, command.get("logger"))]
        command["logger"] = f"{__name__}.{chosenObserver.__name__}"


def chosenObserver() -> FileLogObserver:
    """
    The observer that L{logInJSON} has chosen.

    @raise StartError: if there can be none.
    """
    return _chosen[0]()


def _observer(command: UsageOptions, given: str | None) -> FileLogObserver:
    """
    The observer of C{twistd}, with the file that it would have otherwise.

    @param given: the name after C{twistd --logger}.
    """
    if given is not None:
        try:
            return inJSON(namedAny(given)())
        except Exception as error:
            giveUp(f"--log-format json with --logger {given}: {error}")
    path, isDaemon = command.get("logfile"), not command.get("nodaemon")
    if path == "-" and isDaemon:
        giveUp("a daemon cannot log to standard output")
    file: IO[Any] | Any = sys.stdout
    if path != "-" and (path or isDaemon):
        file = LogFile.fromFullPath(path or "twistd.log")
    return jsonLog(file)
