"""
The start of a worker process.

The parent has passed one end of a wire as descriptor 3.  The first message says what to
import.  Signals that end a server are the parent's: a terminal and systemd send them to
every process, and the parent drains.
"""

from __future__ import annotations

import ctypes
import marshal
import signal
import sys
from collections import deque
from contextlib import suppress
from importlib import import_module
from socket import socket
from threading import current_thread, main_thread
from typing import Any, Final

from twisted.logger import LogEvent, globalLogBeginner

from twisted_tcpdemo.connection.record import identifyFrom
from twisted_tcpdemo.shapes import AnyReactor
from twisted_tcpdemo.workers.lines import lineOf
from twisted_tcpdemo.workers.process import WIRE
from twisted_tcpdemo.workers.room import Room, factoryFrom
from twisted_tcpdemo.workers.wire import LARGEST, Message, Wire

RANGE: Final = 10**9
"""Numbers of connections that a worker makes itself, as a client."""

MOST_LINES: Final = 1000
"""Messages that may wait for the parent when a line of the log is added."""

_PR_SET_PDEATHSIG: Final = 1

_SIGNALS: Final = ("SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2")


class Start:
    """
    A worker from its start to its end.
    """

    def __init__(self) -> None:
        self._wire: Wire | None = None
        self._room: Room | None = None
        self._reactor: AnyReactor = None
        self._lines: deque[dict[str, Any]] = deque()
        self._unsaid = 0
        self._isOver = False

    def run(self, end: socket) -> int:
        """
        Start, and serve until the parent says stop, or is gone.

        @return: the exit status.
        """
        packet = end.recv(LARGEST)
        if not packet:
            return 1
        first: list[Message] = [message for message, _ in marshal.loads(packet)]
        settings: dict[str, Any] = first[0][1]
        with suppress(Exception):  # the usual one does as well
            import_module(settings["reactor"]).install()
        from twisted.internet import reactor

        self._reactor = reactor
        self._wire = Wire(end, self, reactor)
        globalLogBeginner.beginLoggingTo(
            [self._log],  # type: ignore[list-item]  # any callable
            redirectStandardIO=True,
        )
        identifyFrom(settings["generation"] * RANGE + 1)
        try:
            factory = factoryFrom(settings)
            self._room = Room(factory, reactor, settings["interval"])
            for port in settings["ports"]:
                self._room.open(*port)
        except Exception as error:
            self._wire.send(["failed", " ".join(str(error).split()) or repr(error)])
            self._wire.flush()
            return 1
        self._room.begin(self._wire)
        for message in first[1:]:
            self._room.received(message, None)
        reactor.callWhenRunning(_ignoreSignals)
        if not self._isOver:
            reactor.run()
        return 0

    def _log(self, event: LogEvent) -> None:
        """
        Tell the parent of an event of the log, unless it does not listen.  The event may
        come from any thread; the wire is the reactor's.
        """
        if self._wire is None:
            return
        if self._wire.waiting + len(self._lines) > MOST_LINES:
            self._unsaid += 1
            return
        line = lineOf(event)
        if self._unsaid:
            line["text"] += f" ({self._unsaid} lines before are missing)"
            self._unsaid = 0
        self._lines.append(line)
        if current_thread() is main_thread():
            self._say()
        else:
            self._reactor.callFromThread(self._say)

    def _say(self) -> None:
        assert self._wire is not None
        while self._lines:
            self._wire.send(["log", self._lines.popleft()])

    def received(self, message: Message, descriptor: int | None) -> None:
        """
        See L{Correspondent<twisted_tcpdemo.workers.wire.Correspondent>}.
        """
        if self._room is not None:
            self._room.received(message, descriptor)

    def wireLost(self) -> None:
        """
        End: the parent is gone.
        """
        self._isOver = True
        if self._room is not None:
            self._room.wireLost()


def _ignoreSignals() -> None:
    """
    Take no notice of signals that are the parent's business.

    It is a handler and not SIG_IGN, which programs that the worker starts would inherit.
    """
    for name in _SIGNALS:
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, lambda number, frame: None)


def _dieWithParent() -> None:
    """
    Be killed when the parent ends, also if the reactor hangs, which would not notice
    (prctl(2); Linux).
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """
    Run a worker; the parent's path has been set.
    """
    _ignoreSignals()
    _dieWithParent()
    status = Start().run(socket(fileno=WIRE))
    sys.stdout.flush()
    raise SystemExit(status)
