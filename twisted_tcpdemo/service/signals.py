"""
The signals that end a server: the first in order, the second at once.

Twisted's own handlers are not enough.  They come when the reactor starts, which
is after a service listens: a SIGINT in between raises C{KeyboardInterrupt} in
the middle of something, and whatever runs in a Deferred swallows it.  And they
answer a second signal with a traceback (twisted #6011).
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from threading import current_thread, main_thread
from types import FrameType
from typing import Any

_Handler = Callable[[int, FrameType | None], object]

_DEFAULTS: dict[signal.Signals, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}


class StopSignals:
    """
    SIGINT and SIGTERM, handled from before the reactor runs until it has
    stopped.

    A handler that is neither Python's nor the reactor's is left in its place.
    """

    def __init__(self, reactor: Any, hurry: Callable[[], object]) -> None:
        """
        @param reactor: what the first signal stops, through its own handler.
            Where it has none, as in a unit test, no signal is taken.
        @param hurry: called in the reactor's thread for every signal after the
            first one, and for every one after L{stopping}.
        """
        self._reactor = reactor
        self._hurry = hurry
        self._stopping = False
        self._taken = False

    def take(self) -> None:
        """
        Handle them from now on.  Nothing happens outside the main thread, where
        Python does not allow it.
        """
        self._taken = current_thread() is main_thread() and hasattr(self._reactor, "sigTerm")
        if self._taken:
            self._place()
            self._reactor.callWhenRunning(self._place)

    def _place(self) -> None:
        if not self._taken:
            return
        for number, stop in self._stops().items():
            # Once it runs, Python's own handlers mean that the application
            # wanted it so (installSignalHandlers=False).
            replaced = stop if self._reactor.running else _DEFAULTS[number]
            if signal.getsignal(number) == replaced:
                signal.signal(number, self._received)

    def _stops(self) -> dict[signal.Signals, _Handler]:
        return {signal.SIGINT: self._reactor.sigInt, signal.SIGTERM: self._reactor.sigTerm}

    def stopping(self) -> None:
        """
        The reactor is about to stop, whoever asked it to.
        """
        self._stopping = True

    def giveBack(self) -> None:
        """
        Let them do what they did before; except when the reactor is stopping,
        which its own handlers do not expect.
        """
        if not self._taken or self._stopping:
            return
        self._taken = False
        for number, stop in self._stops().items():
            if signal.getsignal(number) == self._received:
                signal.signal(number, stop if self._reactor.running else _DEFAULTS[number])

    def _received(self, number: int, frame: FrameType | None) -> None:
        if self._stopping:
            self._reactor.callFromThread(self._hurry)
        else:
            self._stopping = True
            stop = self._stops()[signal.Signals(number)]
            self._reactor.callWhenRunning(stop, number, frame)
