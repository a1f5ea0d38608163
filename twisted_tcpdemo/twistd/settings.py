"""
From options to what a server has of them: its protocol, its budgets, its rules.

All of it can be made again while the server runs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from twisted_tcpdemo.admission.policy import Admission
from twisted_tcpdemo.admission.rate import PeerRate
from twisted_tcpdemo.admission.rules import AllowedNetworks, DeniedNetworks, PerPeerLimit, Rule
from twisted_tcpdemo.monitoring.logbudget import LogBudget
from twisted_tcpdemo.twistd.declarations import DeclaredOptions
from twisted_tcpdemo.twistd.programs import ReportProtocol, StreamBuilder, reportWithin
from twisted_tcpdemo.values.budgets import Budgets

LIFETIME_JITTER: Final = 0.1
"""The share of C{--max-lifetime} by which a connection may end earlier, so that
clients that came together do not return together."""


def protocolFor(
    options: DeclaredOptions, protocol: Callable[..., Any], logBudget: LogBudget, hasWorkers: bool
) -> Callable[..., Any]:
    """
    What builds the protocols.

    @param protocol: the value of C{--protocol}.
    @param logBudget: the budget of log lines.
    @param hasWorkers: whether workers build them, each with a budget of its own, of the same
        rate.
    """
    rate = options["log-rate"]
    if protocol is ReportProtocol:
        settings = options.settings(ReportProtocol)
        if hasWorkers:
            return partial(reportWithin, rate=rate, **settings)
        return partial(protocol, budget=logBudget, **settings)
    if isinstance(protocol, StreamBuilder):
        return protocol.forWorkers(rate) if hasWorkers else partial(protocol, logBudget)
    return protocol


def budgetsFor(options: DeclaredOptions) -> Budgets:
    """
    The budgets of a connection.
    """
    return Budgets(lifetimeJitter=LIFETIME_JITTER, **options.settings(Budgets))


def admissionFor(options: DeclaredOptions, former: Admission | None = None) -> Admission | None:
    """
    The rules about peers and networks; L{None} without any.

    @param former: those until now.  The ones that are still wanted stay, with their counts.
    """
    kept = {} if former is None else {type(rule): rule for rule in former.rules}
    rules: list[Any] = []

    def add(kind: type[Rule], make: Callable[[], Rule], **values: object) -> None:
        rule = kept[kind] if kind in kept else make()  # an empty one is false
        for name, value in values.items():
            setattr(rule, name, value)
        rules.append(rule)

    if options["allow"]:
        add(AllowedNetworks, AllowedNetworks, networks=options["allow"])
    if options["deny"]:
        add(DeniedNetworks, DeniedNetworks, networks=options["deny"])
    if options["max-per-peer"]:
        add(PerPeerLimit, lambda: PerPeerLimit(None), **options.settings(PerPeerLimit))
    if options["peer-rate"]:
        add(PeerRate, lambda: PeerRate(None), **options.settings(PeerRate))
    if not rules:
        return None
    settings = options.settings(Admission)
    if former is None or [*former.rules] != rules:
        policy = Admission(*rules, **settings)
        if former is not None:
            policy.succeed(former)
        return policy
    former.exempt, former.dryRun = settings["exempt"], settings["dryRun"]
    return former
