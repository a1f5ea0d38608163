"""
What systemd is told of a server that it has started (sd_notify(3), C{Type=notify}).

Each notice is one datagram of a few lines to the socket that NOTIFY_SOCKET names.  No
library is needed for that.  What cannot be sent is not said again: systemd has a deadline
of its own for the start, the stop and the watchdog.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Final

from twisted.internet.interfaces import IDelayedCall

from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.shapes import AnyReactor, Clock

STATUS_INTERVAL: Final = 5.0
"""Seconds between two looks at the status."""

_NAMES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Systemd:
    """
    Tells systemd what the server does, from L{ready} to L{ended}.  Before and after, it
    tells nothing: the end of a reload, too, has the notice C{READY}.
    """

    def __init__(self, path: str, status: Callable[[], str], watchdog: float | None = None) -> None:
        """
        @param path: of the socket; C{"@"} begins an abstract one.
        @param status: makes the line of C{systemctl status}.
        @param watchdog: seconds after which systemd kills a server from which it has heard
            nothing; L{None}: never.
        """
        self._path = "\0" + path[1:] if path.startswith("@") else path
        self._status = status
        self._interval = min(STATUS_INTERVAL, watchdog / 2) if watchdog else STATUS_INTERVAL
        self._isWatched = bool(watchdog)
        self._said = ""
        self._clock: Clock | None = None
        self._call: IDelayedCall | None = None

    @classmethod
    def fromEnvironment(
        cls, status: Callable[[], str], environment: MutableMapping[str, str] = os.environ
    ) -> Systemd | None:
        """
        Find out whether systemd waits for notices.  The variables are removed: programs that
        the server starts are not meant.

        @return: L{None} if it does not.
        """
        path, microseconds, pid = (environment.pop(name, "") for name in _NAMES)
        if not path.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
            return None
        isOurs = pid in ("", str(os.getpid()))
        isTime = microseconds.isascii() and microseconds.isdigit()
        watchdog = int(microseconds) / 10**6 if isTime and isOurs else None
        return cls(path, status, watchdog)

    def ready(self, reactor: AnyReactor) -> None:
        """
        The server serves; from now on systemd hears of it in intervals.  It may be said again.

        @param reactor: the source of time.  When it hangs, the watchdog hears nothing.
        """
        if self._call is None:
            self._tell("READY=1", self._statusLine())
            self._clock = steady(reactor)
            self._beat()

    def reloading(self) -> None:
        """
        The server reads its configuration again.  L{reloaded} ends that.
        """
        if self._call is not None:
            self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        """
        The server has read its configuration.
        """
        if self._call is not None:
            self._tell("READY=1", self._statusLine())

    def stopping(self) -> None:
        """
        The server is about to end.
        """
        if self._call is not None:
            self._tell("STOPPING=1", self._statusLine())

    def ended(self) -> None:
        """
        The server has come to rest.
        """
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _beat(self) -> None:
        assert self._clock is not None
        self._call = self._clock.callLater(self._interval, self._beat)
        before = self._said
        line = self._statusLine()
        lines = ["WATCHDOG=1"] if self._isWatched else []
        if line != before:
            lines.append(line)
        if lines:
            self._tell(*lines)

    def _statusLine(self) -> str:
        self._said = f"STATUS={self._status()}"
        return self._said

    def _tell(self, *lines: str) -> None:
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client,
        ):
            client.setblocking(False)
            client.sendto("\n".join(lines).encode(), self._path)
