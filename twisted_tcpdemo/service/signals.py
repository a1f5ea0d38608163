"""
The signals of a server.  Three end it: the first one in order, the second at once.
The others that a process can get from an operator reopen its log, or do nothing.

Twisted's own handlers are not enough.  The reactor installs them when it starts,
after a service listens.  A SIGINT in between raises C{KeyboardInterrupt} in the
middle of other code, and a Deferred may swallow it.  A second signal gets a
traceback (twisted #6011).  SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 have no handler at
all: each of them kills the process, its clients with it.
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
}
"""Python's own handlers, where they are not the system's."""


class StopSignals:
    """
    Handlers of SIGINT, SIGTERM and SIGQUIT, from before the reactor runs until it has
    stopped.

    A handler that is neither Python's nor the reactor's is left in place.
    """

    def __init__(
        self,
        reactor: AnyReactor,
        hurry: Callable[[], object],
        first: Callable[[], object] = lambda: None,
        again: Callable[[], object] = lambda: None,
    ) -> None:
        """
        @param reactor: the reactor, which the first signal stops through its own
            handler.  A reactor without one, as in a unit test, gets no signals.
        @param hurry: is called in the reactor's thread for every signal after the
            first, and for every signal after L{stopping}.
        @param first: is called at the first signal, in its handler: the reactor may
            never have another turn.
        @param again: is called in the handler of each one for which C{hurry} is called.
        """
        self._reactor = reactor
        self._hurry = hurry
        self._first = first
        self._again = again
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
            replaced = self._usual(number, stop)
            if signal.getsignal(number) == replaced:
                signal.signal(number, self._received)

    def _stops(self) -> dict[signal.Signals, _Handler]:
        stops = {signal.SIGINT: self._reactor.sigInt, signal.SIGTERM: self._reactor.sigTerm}
        if hasattr(signal, "SIGQUIT"):  # not on Windows
            stops[signal.SIGQUIT] = self._quit
        return stops

    def _usual(self, number: signal.Signals, stop: _Handler) -> _Handler | signal.Handlers:
        """
        The handler without ours.  The reactor has none for SIGQUIT.
        """
        if self._reactor.running and stop != self._quit:
            return stop
        return _DEFAULTS.get(number, signal.SIG_DFL)

    def _quit(self, number: int, frame: FrameType | None) -> None:
        """
        Stop as for SIGTERM: C{twistd} ends by the signal that its reactor was told, and
        the end by SIGQUIT is a core dump.
        """
        self._reactor.sigTerm(signal.SIGTERM, frame)

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
                signal.signal(number, self._usual(number, stop))

    def _received(self, number: int, frame: FrameType | None) -> None:
        if self._stopping:
            self._again()
            self._reactor.callFromThread(self._hurry)
        else:
            self._stopping = True
            self._first()
            stop = self._stops()[signal.Signals(number)]
            self._reactor.callWhenRunning(stop, number, frame)


class LogSignals:
    """
    Handlers of SIGHUP, SIGUSR1 and SIGUSR2, which end nothing.  They too are in place
    from before the reactor runs until it has stopped.

    A handler of somebody else's is left in place: C{nohup} ignores SIGHUP, and C{twistd
    --logfile} rotates its file at SIGUSR1.
    """

    def __init__(self, reactor: AnyReactor, told: Callable[[str], object]) -> None:
        """
        @param reactor: see L{StopSignals}.
        @param told: is called in the reactor's thread, with the name of a signal that
            has come.
        """
        self._reactor = reactor
        self._told = told
        self._numbers: list[signal.Signals] = []

    def take(self) -> None:
        """
        Handle the signals from now on, where L{StopSignals} does.
        """
        if current_thread() is not main_thread() or not hasattr(self._reactor, "sigTerm"):
            return
        if self._reactor.running and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            return  # the application wants no handlers (installSignalHandlers=False)
        for name in ("SIGHUP", "SIGUSR1", "SIGUSR2"):
            number = getattr(signal, name, None)  # L{None} on Windows
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                signal.signal(number, self._received)
                self._numbers.append(number)

    def giveBack(self) -> None:
        """
        Put the system's own handlers back: the process is no server any more.
        """
        numbers, self._numbers = self._numbers, []
        for number in numbers:
            if signal.getsignal(number) == self._received:
                signal.signal(number, signal.SIG_DFL)

    def _received(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._told, signal.Signals(number).name)
