"""
The configuration, read again while the server runs.

It is read and checked as a whole, as at the start, before anything is changed.  Compared is
what was read with what was read before: what control has changed meanwhile stays, unless
the file changes it, too.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.logger import Logger
from twisted.python.usage import UsageError

from twisted_tcpdemo.admission.policy import Admission
from twisted_tcpdemo.admission.rate import PeerRate
from twisted_tcpdemo.admission.rules import PerPeerLimit
from twisted_tcpdemo.monitoring.logbudget import LogBudget
from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.service.service import TCPDemoService
from twisted_tcpdemo.twistd.configfile import assigned
from twisted_tcpdemo.twistd.declarations import DeclaredOptions, Option
from twisted_tcpdemo.twistd.programs import ReportProtocol
from twisted_tcpdemo.twistd.settings import admissionFor, budgetsFor, protocolFor
from twisted_tcpdemo.values.budgets import Budgets

_log = Logger(namespace="tcpdemo")

_TIMES: Final = {"drain", "drain-delay", "drain-spread", "hard-stop"}

_NETWORKS: Final = {"allow", "deny"}

_RULES: Final = {PerPeerLimit, PeerRate, Admission}

_LOGGING: Final = {LogBudget, ReportProtocol}


def isRule(option: Option) -> bool:
    """
    Whether an option is about admission.
    """
    return option.name in _NETWORKS or option.target in _RULES


def isLive(option: Option) -> bool:
    """
    Whether an option can change while the server runs.
    """
    isSetting = option.target in {TCPDemoFactory, Budgets, *_LOGGING}
    return isSetting or isRule(option) or option.name in _TIMES


class Reload:
    """
    Reads the configuration of a server again, and changes the server.
    """

    def __init__(
        self,
        options: DeclaredOptions,
        service: TCPDemoService,
        factory: TCPDemoFactory,
        log: LogBudget,
    ) -> None:
        """
        @param options: those with which it was started.
        """
        self._options = options
        self._service = service
        self._factory = factory
        self._logBudget = log
        self._held = {option.name: options.plain(option) for option in options.table}

    def __call__(self, signalName: str) -> None:
        """
        Read it, and change what has changed.

        @param signalName: the signal that asks for it.
        """
        path = self._options["config"]
        try:
            fresh = self._options.again()
        except UsageError as error:
            text = " ".join(str(error).split())
            _log.error("{signalName}: {text}; nothing is changed", signalName=signalName, text=text)
            return
        changed = [o for o in fresh.table if fresh.plain(o) != self._held[o.name]]
        live = [option for option in changed if isLive(option)]
        self._change(fresh, live)
        self._held.update({option.name: fresh.plain(option) for option in live})
        told = "; ".join(_told(fresh, option) for option in live) or "nothing is changed"
        _log.info("{signalName}: {path}: {told}", signalName=signalName, path=path, told=told)
        if len(live) < len(changed):
            _log.warn(
                "{signalName}: a restart is needed for {names}",
                signalName=signalName,
                names=", ".join(option.name for option in changed if not isLive(option)),
            )

    def _change(self, fresh: DeclaredOptions, changed: list[Option]) -> None:
        factory, names = self._factory, {option.name for option in changed}
        targets = {option.target for option in changed}
        values = fresh.settings(TCPDemoFactory)
        if Budgets in targets:
            factory.budgets = budgetsFor(fresh)
        for option in changed:
            if option.target is TCPDemoFactory:
                setattr(factory, option.sets, values[option.sets])
        if "pause-on-connect" in names:
            factory.pauseOnConnect = bool(fresh["pause-on-connect"])
        if any(map(isRule, changed)):
            former = factory.admission
            factory.admission = admissionFor(
                fresh, former if isinstance(former, Admission) else None
            )
        if targets & _LOGGING:
            self._logBudget.rate = fresh["log-rate"] or None
            started = self._options
            factory.protocol = protocolFor(
                fresh, started["protocol"], self._logBudget, bool(started["workers"])
            )
        if names & _TIMES:
            self._service.setTimes(**_timesOf(fresh))
        if factory.handOver is not None and changed:
            factory.handOver.update()


def _timesOf(options: DeclaredOptions) -> dict[str, Any]:
    names = {option.name: option.sets for option in options.table}
    return {names[name]: options[name] for name in _TIMES}


def _told(options: DeclaredOptions, option: Option) -> str:
    value = options.plain(option)
    return f"{option.name}, to none" if value is None else assigned(option.name, value)
