"""
The service that C{twistd} runs: listen, serve, drain.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.service.hardstop import HardStop, listed
from twisted_tcpdemo.service.leaving import Leaving
from twisted_tcpdemo.service.signals import LogSignals, StopSignals
from twisted_tcpdemo.service.startup import StartError, cannotListen, giveUp
from twisted_tcpdemo.service.systemd import Systemd
from twisted_tcpdemo.shapes import AnyReactor, ProcessLog, StreamServer
from twisted_tcpdemo.values.checks import nonNegative, whole
from twisted_tcpdemo.values.report import DRAIN_SUMMARY, DrainReport
from twisted_tcpdemo.workers.lines import LineBudget
from twisted_tcpdemo.workers.program import MOST_WORKERS, programFor

if TYPE_CHECKING:
    # At run time only on request: some systems have no such sockets.
    from twisted_tcpdemo.workers.workers import Workers

T = TypeVar("T")

_log = Logger(namespace="tcpdemo")

WAITING_INTERVAL = 2.0
"""Seconds between two lines about the connections that are waited for."""

NAMED = 5
"""The most connections that such a line names."""


class TCPDemoService(Service):
    """
    Listens on endpoints with one factory, from start to stop.  It can be started
    again.

    Twisted's own endpoint service logs a failed listen and goes on without a
    listener, does not wait for connections when it stops, and cannot be started
    twice (twisted #5071).

    @ivar reload: is called with the name of the signal, when SIGHUP comes: the configuration
        may have changed.
    @ivar _run: an object for each run, from start to stop; L{None} between runs.
    @ivar _waiting: the endpoints on which this run does not listen yet.
    """

    reload: Callable[[str], object] | None = None

    def __init__(
        self,
        factory: TCPDemoFactory,
        endpoints: Sequence[tuple[str, StreamServer | IStreamServerEndpoint | str]],
        *,
        reactor: AnyReactor = None,
        drain: float | None = 10.0,
        spread: float = 0.0,
        log: ProcessLog | None = None,
        workers: int = 0,
        workerTimeout: float | None = 30.0,
        logBudget: LineBudget | None = None,
        hardStop: float | None = None,
        drainDelay: float = 0.0,
        systemd: Systemd | None = None,
    ) -> None:
        """
        @param endpoints: the endpoints to listen on, or their strings, each with its name
            in error messages.
        @param reactor: the reactor whose shutdown ends the service; L{None} for
            the installed one.
        @param drain: seconds that connections have to end when the service
            stops; L{None} for as long as they take.
        @param spread: seconds over which idle connections are closed then.
        @param log: the log of the process; L{None} to leave it as it is.
        @param workers: processes that serve the connections, with the C{protocol} of the
            factory, which they import by its name.  C{0}: this process serves them.
        @param workerTimeout: seconds in which a worker's reactor has to answer, or it is
            killed and replaced; L{None} or C{0}: for ever.
        @param logBudget: the budget that lines of workers ask, such as a
            L{LogBudget<twisted_tcpdemo.monitoring.logbudget.LogBudget>}; L{None}: there is
            none.
        @param hardStop: seconds after which the process ends by force, counted from
            the signal that stops it, or from the shutdown of the reactor, and later by
            C{drainDelay}; L{None} or C{0}: never.  See
            L{twisted_tcpdemo.service.hardstop}.
        @param drainDelay: seconds from the stop to the drain.  Clients are accepted all the
            while, and C{factory.leaving} is true, so that health checks fail before the
            listeners close.  A second stop ends the wait.
        @param systemd: is told what the service does; L{None}: nobody is.
        @raise TypeError: for a time that is no number.
        @raise ValueError: for a time that is negative or not finite.
        @raise ProgramError: if workers cannot have the protocol.
        """
        self._factory = factory
        self._endpoints = endpoints
        self._reactor = reactor
        self._log = log
        self._workers: Workers | None = None
        self._hardStop = HardStop(hardStop, lambda: factory.records)
        self.setTimes(drain, spread, drainDelay, hardStop)
        self._systemd = systemd
        self._leaving = Leaving(factory)
        self._isHopeless = False
        self._opening = 0
        self._run: object = None
        self._waiting: list[tuple[str, StreamServer | IStreamServerEndpoint | str]] = []
        self._shuttingDown = False
        self._signals: StopSignals | None = None
        self._logSignals: LogSignals | None = None
        self._trigger: object = None
        self._makeWorkers: Callable[..., Workers] | None = None
        if whole("workers", workers, 0, MOST_WORKERS):
            from twisted_tcpdemo.workers.workers import Workers

            self._makeWorkers = partial(
                Workers,
                factory,
                workers,
                timeout=nonNegative("workerTimeout", workerTimeout),
                logBudget=logBudget,
                hopeless=self._stopReactor,
                isServing=self._look,
            )
            programFor(factory)

    def setTimes(
        self, drain: float | None, spread: float, drainDelay: float, hardStop: float | None
    ) -> None:
        """
        Change the times of the next stop; see C{__init__}.

        @raise TypeError: for a time that is no number.
        @raise ValueError: for a time that is negative or not finite.
        """
        nonNegative("drain", drain)
        nonNegative("spread", spread)
        nonNegative("drainDelay", drainDelay)
        self._hardStop.seconds = nonNegative("hardStop", hardStop)
        self._drain, self._spread, self._drainDelay = drain, spread, drainDelay
        if self._workers is not None:
            self._workers.drain = drain

    def privilegedStartService(self) -> None:
        """
        Listen, as long as the process may use low ports.  A UNIX socket has to wait
        until the process has shed its privileges: its path belongs to the user that
        removes it again.

        @raise StartError: if it cannot listen on one of the endpoints; it has
            not started then, and listens on none.
        """
        super().privilegedStartService()
        self._begin(True)

    def startService(self) -> None:
        """
        Listen, if L{privilegedStartService} has not.

        @raise StartError: see L{privilegedStartService}.
        """
        super().startService()
        self._begin(False)
        if self._log is not None:
            self._log.check()
        if self._workers is not None:
            # Now the process has shed its privileges, and has become a daemon.
            self._reactor.callWhenRunning(self._workers.start)
        self._reactor.callWhenRunning(self._look)

    def _begin(self, privileged: bool) -> None:
        if self._run is None:
            self._setUp()
        now = [
            (name, endpoint)
            for name, endpoint in self._waiting
            if not (privileged and getattr(endpoint, "belongsToUser", False))
        ]
        self._waiting = [each for each in self._waiting if each not in now]
        try:
            for name, endpoint in now:
                self._listen(name, endpoint)
        except StartError:
            # Open listeners are closed, so that it can be started again.
            self._isHopeless = True
            self.stopService()
            raise

    def _setUp(self) -> None:
        self._leaving.cut()
        self._run = object()
        self._isHopeless = False
        self._opening = 0
        self._waiting = list(self._endpoints)
        reactor = self._reactor = self._reactor or _installedReactor()
        self._trigger = reactor.addSystemEventTrigger("before", "shutdown", self._shutdown)
        self._signals = StopSignals(reactor, self._hurry, self._asked, self._hardStop.hasten)
        self._signals.take()
        self._logSignals = LogSignals(reactor, self._reopen)
        self._logSignals.take()
        if self._log is not None:
            self._log.begin()
        if self._makeWorkers is not None:
            self._factory.handOver = self._workers = self._makeWorkers(
                reactor=reactor, drain=self._drain
            )

    def _listen(self, name: str, endpoint: StreamServer | str) -> None:
        failures: list[Failure] = []
        # A string may describe no endpoint.
        listening: Deferred[Any] = maybeDeferred(self._factory.listen, endpoint)
        if self._workers is not None:
            described: str | None = getattr(endpoint, "description", None)
            if isinstance(endpoint, str):
                described = endpoint
            listening.addCallback(self._workers.opened, described)
        listening.addErrback(failures.append)
        if failures:
            giveUp(cannotListen(name, failures[0]))
        # An endpoint that takes its time may fail when the reactor runs.
        self._opening += 1
        listening.addCallback(self._listened, name, failures, self._run)

    def _listened(self, _: object, name: str, failures: list[Failure], run: object) -> None:
        if run is not self._run:
            return
        self._opening -= 1
        if failures:
            _log.critical("{message}", message=cannotListen(name, failures[0]))
            self._stopReactor()
        elif self._reactor.running:
            self._look()

    def _look(self) -> None:
        """
        Look whether the server serves: everything listens, and a worker is there, if there
        are any.
        """
        hasWorker = self._workers is None or self._workers.isOpen
        if self._systemd is not None and self._run and hasWorker and not self._opening:
            self._systemd.ready(self._reactor)

    def _stopReactor(self) -> None:
        self._isHopeless = True
        # No other way stops the reactor with an exit status.
        signal.raise_signal(signal.SIGTERM)

    def stopService(self) -> Deferred[DrainReport]:
        """
        Stop listening, at once or after C{drainDelay}, and let the connections end, until
        the deadline.

        @return: fires when no connection is open any more; at once if the
            service was never started.
        """
        super().stopService()
        self._run = None
        if self._trigger is not None and not self._shuttingDown:
            self._reactor.removeSystemEventTrigger(self._trigger)
        self._trigger = None
        clock = steady(self._reactor or _installedReactor())
        waiting = self._leaving.begin(self._delay, clock)
        if self._systemd is not None:
            self._systemd.stopping()
        return self._rest() if waiting is None else waiting.addCallback(lambda _: self._rest())

    @property
    def _delay(self) -> float:
        """
        Seconds until a drain that is asked for now.
        """
        return 0.0 if self._isHopeless or not self._factory.listening else self._drainDelay

    def _rest(self) -> Deferred[DrainReport]:
        """
        Come to rest.
        """
        drained = self._factory.drain(self._drain, self._spread)
        if self._signals is not None and self._logSignals is not None:
            self._signals.giveBack()
            if not self._shuttingDown:
                self._logSignals.giveBack()
        if self._factory.connectionCount:
            waiting = LoopingCall(self._tellWaiting)
            waiting.clock = steady(self._reactor or _installedReactor())
            waiting.start(WAITING_INTERVAL).addErrback(_cannotTell)
            drained.addBoth(_ended, waiting)
        drained.addCallback(self._drained)
        workers, self._workers = self._workers, None
        if workers is not None:
            drained.addCallback(self._stopWorkers, workers)
        return drained

    def _stopWorkers(self, report: DrainReport, workers: Workers) -> Deferred[DrainReport]:
        def stopped(_: None) -> DrainReport:
            if self._factory.handOver is workers:
                self._factory.handOver = None
            return report

        return workers.stop().addCallback(stopped)

    def _tellWaiting(self) -> None:
        connections = self._factory.records
        _log.info(
            "waiting for {names}",
            names=listed(connections, NAMED),
            connectionCount=len(connections),
        )

    def _drained(self, report: DrainReport) -> DrainReport:
        if report.finished or report.aborted:
            _log.info(f"drained: {DRAIN_SUMMARY}", **asdict(report))
        if self._log is not None and self._run is None:
            self._log.end()
        if self._systemd is not None and self._run is None:
            self._systemd.ended()
        return report

    def _shutdown(self) -> None:
        """
        The reactor is about to stop: a signal from now on ends connections at
        once.
        """
        self._shuttingDown = True
        self._asked()
        assert self._signals is not None
        self._signals.stopping()

    def _asked(self) -> None:
        """
        The process was asked to stop.  This may be a signal handler.
        """
        self._hardStop.begin(self._delay)

    def _hurry(self) -> None:
        self._leaving.cut()
        self._factory.drain(0)

    def _reopen(self, signalName: str) -> None:
        if self._workers is not None and signalName == "SIGUSR2":
            self._workers.restart()
        elif self._log is not None and signalName != "SIGUSR2":
            self._log.reopen(signalName)
        elif self.reload is None or signalName != "SIGHUP":
            _log.info("{signalName}: nothing is to be done for it", signalName=signalName)
        if self.reload is not None and signalName == "SIGHUP":
            self._reload(self.reload, signalName)

    def _reload(self, reload: Callable[[str], object], signalName: str) -> None:
        told = self._systemd if self._run is not None else None
        if told is not None:
            told.reloading()
        try:
            reload(signalName)
        except Exception:
            _log.failure("{signalName}: the configuration is not in force", signalName=signalName)
        if told is not None:
            told.reloaded()


def _cannotTell(failure: Failure) -> None:
    _log.failure("who is being waited for could not be told", failure)


def _ended(result: T, waiting: LoopingCall) -> T:
    if waiting.running:  # not if it has raised
        waiting.stop()
    return result


def _installedReactor() -> AnyReactor:
    from twisted.internet import reactor

    return reactor
