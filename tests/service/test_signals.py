"""
The signals that end a server.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from threading import Thread
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.testing import MemoryReactorClock

from tests.support.waiting import turn
from twisted_tcpdemo.service.signals import LogSignals, StopSignals


class Reactor:
    """
    The part of a reactor that signals concern.
    """

    def __init__(self) -> None:
        self.running = False
        self.log: list[str] = []
        self._later: list[tuple[Any, ...]] = []

    def callWhenRunning(self, function: Callable[..., object], *args: object) -> None:
        """
        Call the function when the reactor runs.
        """
        if self.running:
            function(*args)
        else:
            self._later.append((function, *args))

    def start(self) -> None:
        """
        Begin to run, and install handlers as Twisted's reactors do.
        """
        if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
            signal.signal(signal.SIGINT, self.sigInt)
        signal.signal(signal.SIGTERM, self.sigTerm)
        self.running = True
        for function, *args in self._later:
            function(*args)

    def sigInt(self, number: int, frame: object) -> None:
        """
        Handle SIGINT.
        """
        self.log.append("SIGINT")

    def sigTerm(self, number: int, frame: object) -> None:
        """
        Handle SIGTERM.
        """
        self.log.append("SIGTERM")

    def callFromThread(self, function: Callable[..., object], *args: object) -> None:
        """
        Call the function at once.
        """
        function(*args)


OTHERS = [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]


@pytest.fixture(autouse=True)
def handlers() -> Generator[None]:
    """
    Python's own handlers, as in a new process; the former ones come back
    afterwards.
    """
    # The tests' own reactor installs its handlers when it starts.
    pytest_twisted.blockon(turn())
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, *OTHERS)
    before = [signal.getsignal(number) for number in numbers]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGQUIT, *OTHERS):
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def reactor() -> Reactor:
    """
    A reactor that does not run yet.
    """
    return Reactor()


@pytest.fixture
def signals(reactor: Reactor) -> StopSignals:
    """
    The handlers under test.
    """
    return StopSignals(reactor, lambda: reactor.log.append("hurry"))


def send(*numbers: int) -> None:
    """
    Send signals to this process, and let them be handled.
    """
    for number in numbers:
        signal.raise_signal(number)


BOTH = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", BOTH)
@pytest.mark.parametrize("second", BOTH)
def test_firstAndSecond(
    reactor: Reactor, signals: StopSignals, number: signal.Signals, second: signal.Signals
) -> None:
    """
    The first signal goes to the reactor, every later one hurries the stop.
    """
    signals.take()
    reactor.start()
    send(number)
    assert reactor.log == [number.name]
    send(second, number)
    assert reactor.log == [number.name, "hurry", "hurry"]


def test_inTheHandler(reactor: Reactor) -> None:
    """
    What must not wait for the reactor is called in the handler: one thing at the first
    signal, another at all later ones.
    """
    log: list[str] = []
    called = [lambda name=name: log.append(name) for name in ("hurry", "first", "again")]
    signals = StopSignals(reactor, *called)
    reactor.callFromThread = lambda function, *args: None  # type: ignore[method-assign]
    signals.take()
    send(signal.SIGTERM, signal.SIGTERM, signal.SIGINT)
    assert log == ["first", "again", "again"]
    signals.stopping()
    signals.giveBack()


@pytest.mark.parametrize("number", BOTH)
def test_beforeTheReactorRuns(
    reactor: Reactor, signals: StopSignals, number: signal.Signals
) -> None:
    """
    A signal before the reactor runs stops it as soon as it does.
    """
    signals.take()
    send(number)
    assert reactor.log == []
    reactor.start()
    assert reactor.log == [number.name]


@pytest.mark.parametrize("number", BOTH)
def test_reactorThatRuns(reactor: Reactor, signals: StopSignals, number: signal.Signals) -> None:
    """
    The signals may be taken while the reactor already runs.
    """
    reactor.start()
    signals.take()
    send(number)
    assert reactor.log == [number.name]


def test_givenBackWhileItRuns(reactor: Reactor, signals: StopSignals) -> None:
    """
    When the service stops and the reactor goes on, the reactor's handlers are back.
    """
    signals.take()
    reactor.start()
    signals.giveBack()
    assert signal.getsignal(signal.SIGINT) == reactor.sigInt
    assert signal.getsignal(signal.SIGTERM) == reactor.sigTerm
    signals.giveBack()


def test_givenBackBeforeItRuns(reactor: Reactor, signals: StopSignals) -> None:
    """
    When signals are given back before the reactor runs, Python's handlers are back.
    """
    signals.take()
    signals.giveBack()
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    reactor.start()
    assert signal.getsignal(signal.SIGTERM) == reactor.sigTerm


def test_keptWhileStopping(reactor: Reactor, signals: StopSignals) -> None:
    """
    While the reactor stops, each signal hurries, to the very end: the reactor's own
    handlers would raise.
    """
    signals.take()
    reactor.start()
    signals.stopping()
    signals.giveBack()
    send(signal.SIGTERM)
    assert reactor.log == ["hurry"]


def test_ignoredStaysIgnored(reactor: Reactor, signals: StopSignals) -> None:
    """
    A handler that others have installed is left alone: under nohup or a debugger.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signals.take()
    reactor.start()
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    signals.giveBack()
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_reactorWithoutHandlers(reactor: Reactor, signals: StopSignals) -> None:
    """
    Signals are left alone where the application has told its reactor to leave them
    alone.
    """
    reactor.running = True
    signals.take()
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_quit(reactor: Reactor, signals: StopSignals) -> None:
    """
    SIGQUIT stops in the same order as SIGTERM, and a second signal hurries.
    """
    signals.take()
    reactor.start()
    send(signal.SIGQUIT, signal.SIGQUIT)
    assert reactor.log == ["SIGTERM", "hurry"]


@pytest.mark.parametrize("running", [False, True])
def test_quitGivenBack(reactor: Reactor, signals: StopSignals, running: bool) -> None:
    """
    When the service stops, SIGQUIT is the system's again: the reactor has no handler of it.
    """
    signals.take()
    if running:
        reactor.start()
    signals.giveBack()
    assert signal.getsignal(signal.SIGQUIT) == signal.SIG_DFL


def test_otherThread(reactor: Reactor, signals: StopSignals) -> None:
    """
    Outside the main thread no signal is taken, and nothing raises.
    """
    thread = Thread(target=signals.take)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_reactorOfUnitTests() -> None:
    """
    With a reactor that knows no signals, none is taken.
    """
    StopSignals(MemoryReactorClock(), lambda: None).take()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


# Signals that end nothing.


@pytest.fixture
def logSignals(reactor: Reactor) -> LogSignals:
    """
    Their handlers.
    """
    return LogSignals(reactor, reactor.log.append)


@pytest.mark.parametrize("number", OTHERS)
@pytest.mark.parametrize("running", [False, True])
def test_told(
    reactor: Reactor, logSignals: LogSignals, number: signal.Signals, running: bool
) -> None:
    """
    A signal that ends nothing is told by its name, before the reactor runs and after.
    """
    logSignals.take()
    if running:
        reactor.start()
    send(number, number)
    assert reactor.log == [number.name] * 2
    logSignals.giveBack()
    assert signal.getsignal(number) == signal.SIG_DFL
    logSignals.giveBack()


@pytest.mark.parametrize("number", OTHERS)
def test_handlerOfOthers(logSignals: LogSignals, number: signal.Signals) -> None:
    """
    A handler of others is left in place, such as that of C{nohup} or C{twistd --logfile}.
    """
    signal.signal(number, signal.SIG_IGN)
    logSignals.take()
    assert signal.getsignal(number) == signal.SIG_IGN
    logSignals.giveBack()
    assert signal.getsignal(number) == signal.SIG_IGN


def test_installSignalHandlers(reactor: Reactor, logSignals: LogSignals) -> None:
    """
    Where the application has told its reactor to leave signals alone, these are left alone.
    """
    reactor.running = True
    logSignals.take()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


def test_logSignalsElsewhere(reactor: Reactor, logSignals: LogSignals) -> None:
    """
    Outside the main thread, and with a reactor that knows no signals, none is taken.
    """
    thread = Thread(target=logSignals.take)
    thread.start()
    thread.join()
    LogSignals(MemoryReactorClock(), reactor.log.append).take()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
