"""
A hard stop: the end of a process that was asked to stop, and does not.

A drain has a deadline, but code of the application may never return: a hook in a
loop, a thread that the reactor joins, a Deferred of another service that never fires.
A second signal is no help then.  It waits for the same reactor.

What works while something is stuck:

  - I{Python code, a lock, a sleep, a system call}: the signal interrupts it, and
    Python runs the handler in the main thread.  The handler starts a thread, which
    needs nothing of the reactor, and ends the process by C{os._exit}.
  - I{C code that has let go of the interpreter lock}: the thread runs all the same.
  - I{C code that keeps the interpreter lock}: no Python code runs any more.  The timer
    of C{faulthandler} is a thread of C's.  It shows what runs, and ends the process.
  - I{a pipe that nobody empties} stops whoever writes to the log.  So another thread
    writes the last lines, and has L{LAST_WORDS} seconds for it.

C code that is stuck before the signal comes, and does not return to Python, hides the
signal itself.  Only SIGKILL ends that.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, NoReturn

from twisted.logger import Logger

from twisted_tcpdemo.connection.record import Connection
from twisted_tcpdemo.values.addresses import endpointOf

# Neither can be had in a signal handler: both take locks at their first use.
from _thread import allocate_lock, start_new_thread  # isort: skip

_log = Logger(namespace="tcpdemo")

LAST_WORDS: Final = 1.0
"""Seconds for the last lines of the log."""

NAMED: Final = 10
"""The most connections that are named."""

EXIT_STATUS: Final = 1


class HardStop:
    """
    Ends the process some seconds after it was asked to stop.

    @ivar seconds: from the first L{begin} on, and its delay; L{None} or C{0}: never.
    """

    def __init__(self, seconds: float | None, records: Callable[[], Iterable[Connection]]) -> None:
        """
        @param seconds: see the attribute.
        @param records: the open connections.  It is called in another thread, and must
            only copy them.
        """
        self.seconds = seconds
        self._records = records
        self._begun = False
        self._isDelayed = False

    def begin(self, delay: float = 0.0) -> None:
        """
        The process was asked to stop.  This may be called in a signal handler, and
        again.

        @param delay: seconds for which it may go on as it is, before the others begin.
        """
        if not self.seconds or self._begun:
            return
        self._begun = True
        self._isDelayed = delay > 0
        self._count(delay + self.seconds)

    def hasten(self) -> None:
        """
        The process shall not go on as it is: the seconds begin now, if they have not.  This
        may be called in a signal handler, and again.
        """
        if self.seconds and self._isDelayed:
            self._isDelayed = False
            self._count(self.seconds)

    def _count(self, seconds: float) -> None:
        # Not threading.Thread: its start waits for locks, and the handler may have
        # interrupted the code that holds them.
        start_new_thread(self._wait, (seconds,))
        if sys.__stderr__ is not None:
            late = seconds + 2 * LAST_WORDS
            with suppress(OSError, ValueError, RuntimeError):  # it may be closed
                faulthandler.dump_traceback_later(late, exit=True, file=sys.__stderr__)

    def _wait(self, seconds: float) -> NoReturn:
        try:
            time.sleep(seconds)
            said = allocate_lock()
            said.acquire()
            start_new_thread(self._say, (said.release,))
            said.acquire(timeout=LAST_WORDS)
        finally:
            os._exit(EXIT_STATUS)

    def _say(self, done: Callable[[], None]) -> None:
        """
        Say what is in the way: in the log, and on standard error, for C{twistd} may
        have ended its log by now.
        """
        try:
            line = f"hard stop after {self.seconds:g} s: {named(self._records())}; {_threads()}"
            text = f"{line}\n{_stacks()}"
            inLog = partial(_log.critical, "{text}", text=text)
            for say in (inLog, partial(_toError, text), _flush):
                with suppress(BaseException):
                    say()
        finally:
            done()


def _toError(text: str) -> None:
    print(f"tcpdemo: {text}", file=sys.__stderr__)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()


def named(records: Iterable[Connection]) -> str:
    """
    Name the connections that are open.
    """
    connections = list(records)
    return f"open: {listed(connections, NAMED)}" if connections else "no connection is open"


def listed(connections: Sequence[Connection], most: int) -> str:
    """
    The numbers and peers of some connections, and how many more there are.

    @param most: how many are named.
    """
    names = ", ".join(map(_named, connections[:most]))
    more = f" and {len(connections) - most} more" if len(connections) > most else ""
    return f"{names}{more}"


def _named(connection: Connection) -> str:
    try:
        return f"{connection.connectionID} ({endpointOf(connection.peer)})"
    except BaseException:  # a transport may be anybody's
        return str(connection.connectionID)


def _frames() -> list[tuple[str, traceback.StackSummary]]:
    """
    The stacks of all threads but those of this module, after their names.
    """
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    stacks = [
        (names.get(number, f"thread {number}"), traceback.extract_stack(frame))
        for number, frame in sys._current_frames().items()
    ]
    return [(name, stack) for name, stack in stacks if stack[0].filename != __file__]


def _threads() -> str:
    """
    The threads, each with the place where it is, in one line.
    """
    places = [
        f"{name} in {os.path.basename(stack[-1].filename)}:{stack[-1].lineno} ({stack[-1].name})"
        for name, stack in _frames()
    ]
    return f"running: {', '.join(places)}"


def _stacks() -> str:
    """
    The stacks of the threads, as a traceback shows them.
    """
    return "\n".join(f"{name}:\n{''.join(stack.format())}" for name, stack in _frames())
