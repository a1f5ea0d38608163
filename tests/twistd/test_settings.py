"""
Rules, budgets and protocols from options, and again from other options.
"""

from __future__ import annotations

from functools import partial

from twisted.internet.address import IPv4Address

from tests.support.commandline import parsed
from twisted_tcpdemo.admission.policy import Admission
from twisted_tcpdemo.monitoring.logbudget import LogBudget
from twisted_tcpdemo.twistd.programs import Echo, ReportProtocol, StreamBuilder, reportWithin
from twisted_tcpdemo.twistd.settings import admissionFor, budgetsFor, protocolFor
from twisted_tcpdemo.workers.program import programOf

HOST, PEER = IPv4Address("TCP", "127.0.0.1", 1), IPv4Address("TCP", "192.0.2.1", 2)


async def handle(stream: object) -> None:
    """
    A handler of streams.
    """


def policyOf(*arguments: str, former: Admission | None = None) -> Admission:
    """
    The policy of a command line, after another one.
    """
    policy = admissionFor(parsed(*arguments), former)
    assert policy is not None
    return policy


def test_noRules() -> None:
    """
    Without an option for a rule there is no policy, also where there was one.
    """
    assert admissionFor(parsed()) is None
    assert admissionFor(parsed(), policyOf("--max-per-peer", "1")) is None


def test_sameRules() -> None:
    """
    Other values of the same rules change them in place: counts and tokens stay.
    """
    policy = policyOf("--max-per-peer", "1", "--peer-rate", "1", "--peer-burst", "2")
    policy.opened(HOST, PEER, 0.0)
    rules = policy.rules
    again = policyOf(
        *("--max-per-peer", "5", "--peer-rate", "2", "--peer-burst", "4"),
        *("--dry-run", "--exempt", "::1"),
        former=policy,
    )
    assert again is policy and policy.rules == rules
    limit, rate = rules
    assert (limit.limit, len(limit)) == (5, 1)  # type: ignore[attr-defined,arg-type]
    assert (rate.rate, rate.burst) == (2, 4)  # type: ignore[attr-defined]
    assert rate.tokensOf(PEER) == 3  # type: ignore[attr-defined]
    assert policy.dryRun and [str(n) for n in policy.exempt] == ["::1/128"]


def test_otherRules() -> None:
    """
    A rule that is added or taken away leaves the others as they are, and what a dry run has
    counted.
    """
    policy = policyOf("--max-per-peer", "1", "--deny", "192.0.2.1", "--dry-run")
    policy.opened(HOST, PEER, 0.0)
    assert policy.wouldRefuse == {"deniedNetworks": 1}
    deny, limit = policy.rules
    again = policyOf("--max-per-peer", "2", "--allow", "192.0.2.0/24", former=policy)
    assert again is not policy and not again.dryRun
    assert again.rules[1] is limit and again.rules[0].name == "allowedNetworks"
    assert again.wouldRefuse == {"deniedNetworks": 1}
    assert deny not in again.rules


def test_budgets() -> None:
    """
    Connections that came together do not end together.
    """
    assert budgetsFor(parsed("--max-lifetime", "60")).lifetimeJitter == 0.1


def test_protocols() -> None:
    """
    The report has the budget of the log, or with workers its rate; other protocols are left
    as they are.
    """
    budget = LogBudget(5)
    options = parsed("--preview", "7", "--log-rate", "5")
    alone = protocolFor(options, ReportProtocol, budget, False)
    assert isinstance(alone, partial) and alone.keywords == {"budget": budget, "preview": 7}
    shared = protocolFor(options, ReportProtocol, budget, True)
    assert isinstance(shared, partial) and shared.keywords == {"rate": 5, "preview": 7}
    assert shared.func is reportWithin
    assert protocolFor(options, Echo, budget, True) is Echo
    streams = StreamBuilder(handle)
    built = protocolFor(options, streams, budget, False)
    assert isinstance(built, partial) and built.args == (budget,)
    assert programOf(protocolFor(options, streams, budget, True)).parts[1].arguments == {"rate": 5}
