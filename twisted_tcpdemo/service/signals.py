"""
The signals that end a server: the first one in order, the second at once.

Twisted's own handlers are not enough.  The reactor installs them when it starts,
after a service listens.  A SIGINT in between raises C{KeyboardInterrupt} in the
middle of other code, and a Deferred may swallow it.  A second signal gets a
traceback (twisted #6011).
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from threading import current_thread, main_thread
from types import FrameType

from twisted_tcpdemo.shapes import AnyReactor

_Handler = Callable[[int, FrameType | None], object]

_DEFAULTS: dict[signal.Signals, _Handler | signal.Handlers] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}


class StopSignals:
    """
    Handlers of SIGINT and SIGTERM, from before the reactor runs until it has
    stopped.

    A handler that is neither Python's nor the reactor's is left in place.
    """

    def __init__(self, reactor: AnyReactor, hurry: Callable[[], object]) -> None:
        """
        @param reactor: the reactor, which the first signal stops through its own
            handler.  A reactor without one, as in a unit test, gets no signals.
        @param hurry: is called in the reactor's thread for every signal after the
            first, and for every signal after L{stopping}.
        """
        self._reactor = reactor
        self._hurry = hurry
        self._stopping = False
        self._taken = False

    def take(self) -> None:
        """
        Handle the signals from now on.  Nothing happens outside the main thread:
        Python does not allow it there.
        """
        self._taken = current_thread() is main_thread() and hasattr(self._reactor, "sigTerm")
        if self._taken:
            self._place()
            self._reactor.callWhenRunning(self._place)

    def _place(self) -> None:
        if not self._taken:
            return
        for number, stop in self._stops().items():
            # Python's own handlers under a running reactor are the choice of the
            # application (installSignalHandlers=False).
            replaced = stop if self._reactor.running else _DEFAULTS[number]
            if signal.getsignal(number) == replaced:
                signal.signal(number, self._received)

    def _stops(self) -> dict[signal.Signals, _Handler]:
        return {signal.SIGINT: self._reactor.sigInt, signal.SIGTERM: self._reactor.sigTerm}

    def stopping(self) -> None:
        """
        The reactor is about to stop, for whatever reason.
        """
        self._stopping = True

    def giveBack(self) -> None:
        """
        Put the former handlers back, except when the reactor is stopping: its
        own handlers do not expect that.
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
