"""
Several admission rules as one policy.

Nothing here does I/O or reads a clock: the time is passed in.  C{decide} answers
as often as it is called and leaves no trace; a rule counts only the connections
of C{opened} and C{closed}.  So a rule does not miscount when another one refuses
the connection after it, and each counted connection is given back once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import ExitStack
from types import MappingProxyType
from typing import TypeAlias

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IAddress
from zope.interface import implementer

from twisted_tcpdemo.interfaces import IAdmissionPolicy
from twisted_tcpdemo.shapes import AdmissionPolicy
from twisted_tcpdemo.values.networks import Network, Networks

_Uncounted: TypeAlias = dict[Hashable, list[IAddress]]
"""Open connections that the rules do not count, by their peers.  The address of a peer has
its port, and so means one connection of a listener."""


@implementer(IAdmissionPolicy)
class Admission:
    """
    Several rules as one policy: the first rule that refuses gives the refusal its
    name.

    A rule may be any L{IAdmissionPolicy}, another composition included.  So a
    single rule is tried out with C{Admission(rule, dryRun=True)} among others.
    """

    def __init__(
        self,
        *rules: AdmissionPolicy | IAdmissionPolicy,
        exempt: Iterable[str | Network] = (),
        dryRun: bool = False,
    ) -> None:
        """
        @param rules: asked in this order.  A rule keeps its own counts: give one
            to two factories only if it is to count for both.
        @param exempt: see the property.
        @param dryRun: see the property.
        @raise TypeError: if a rule does not provide L{IAdmissionPolicy}.
        @raise ValueError: for text that is no network.
        """
        for rule in rules:
            if not IAdmissionPolicy.providedBy(rule):
                raise TypeError(f"{rule!r} does not provide IAdmissionPolicy")
        self._rules: tuple[AdmissionPolicy, ...] = rules
        self._exempt = Networks(exempt)
        self._dryRun = dryRun
        self._wouldRefuse: Counter[str] = Counter()
        self._exempted: _Uncounted = {}
        self._tried: _Uncounted = {}

    @property
    def rules(self) -> tuple[AdmissionPolicy, ...]:
        """
        The rules, in the order in which they are asked.
        """
        return self._rules

    @property
    def exempt(self) -> Networks:
        """
        Networks whose peers no rule refuses or counts; settable, to anything
        that L{Networks} takes.  The rules begin to count connections that a
        change leaves without an exemption.
        """
        return self._exempt

    @exempt.setter
    def exempt(self, networks: Iterable[str | Network]) -> None:
        self._exempt = Networks(networks)
        self._count(self._exempted, lambda peer: peer not in self._exempt)

    @property
    def dryRun(self) -> bool:
        """
        Whether clients that a rule would refuse are admitted, and counted in
        L{wouldRefuse}.  The rules do not count these connections, as if they had
        been refused, until the dry run is switched off.
        """
        return self._dryRun

    @dryRun.setter
    def dryRun(self, dryRun: bool) -> None:
        self._dryRun = dryRun
        if not dryRun:
            self._count(self._tried)

    @property
    def wouldRefuse(self) -> Mapping[str, int]:
        """
        Connections admitted only because of L{dryRun}, by the name of the rule.
        """
        return MappingProxyType(self._wouldRefuse)

    def succeed(self, former: Admission) -> None:
        """
        Go on with the counts of L{wouldRefuse} of a policy that this one replaces.
        """
        self._wouldRefuse.update(former._wouldRefuse)

    def decide(self, host: IAddress, peer: IAddress, now: float) -> str | None:
        """
        See L{IAdmissionPolicy}.
        """
        return None if self._dryRun else self._refusing(host, peer, now)

    def opened(self, host: IAddress, peer: IAddress, now: float) -> None:
        """
        See L{IAdmissionPolicy}.
        """
        if peer in self._exempt:
            _add(self._exempted, peer)
            return
        rule = self._refusing(host, peer, now) if self._dryRun else None
        if rule is not None:
            self._wouldRefuse[rule] += 1
            _add(self._tried, peer)
            return
        with ExitStack() as undo:
            for counting in self._rules:
                counting.opened(host, peer, now)
                undo.callback(counting.closed, peer)
            undo.pop_all()

    def adopted(self, peer: IAddress) -> None:
        """
        See L{IAdmissionPolicy}.
        """
        if peer in self._exempt:
            _add(self._exempted, peer)
            return
        with ExitStack() as undo:
            for counting in self._rules:
                counting.adopted(peer)
                undo.callback(counting.closed, peer)
            undo.pop_all()

    def closed(self, peer: IAddress) -> None:
        """
        See L{IAdmissionPolicy}.
        """
        if _taken(self._tried, peer) or _taken(self._exempted, peer):
            return
        with ExitStack() as each:  # the others are called even if one raises
            for counting in self._rules:
                each.callback(counting.closed, peer)

    def _refusing(self, host: IAddress, peer: IAddress, now: float) -> str | None:
        if peer in self._exempt:
            return None
        for rule in self._rules:
            name = rule.decide(host, peer, now)
            if name is not None:
                return name
        return None

    def _count(
        self, uncounted: _Uncounted, isMeant: Callable[[IAddress], bool] = lambda _: True
    ) -> None:
        """
        Let the rules count connections that they did not count before.
        """
        for peer in [peer for peers in uncounted.values() for peer in peers if isMeant(peer)]:
            self.adopted(peer)
            _taken(uncounted, peer)  # only now: a rule may have raised


def ruleNames(policy: AdmissionPolicy | None) -> list[str]:
    """
    The names of all rules of a policy that say theirs, in their order.
    """
    name = getattr(policy, "name", None)
    rules = policy.rules if isinstance(policy, Admission) else ()
    own = [name] if isinstance(name, str) else []
    return [*own, *(name for rule in rules for name in ruleNames(rule))]


def wouldRefuseBy(policy: AdmissionPolicy | None) -> dict[str, int]:
    """
    Connections admitted only because of a dry run, of a policy or of one of its
    rules, by the name of the rule that would have refused them.  During a dry run
    each rule with a C{name} is in the result from the start.

    @param policy: any policy; one that is no L{Admission} has no dry run.
    """
    counts: Counter[str] = Counter()
    if isinstance(policy, Admission):
        counts.update(policy.wouldRefuse)
        for rule in policy.rules:
            counts.update(wouldRefuseBy(rule))
            name = getattr(rule, "name", None)
            if policy.dryRun and isinstance(name, str):
                counts[name] += 0
    return dict(counts)


def _keyOf(peer: IAddress) -> Hashable:
    """
    What stands for the address of a peer.  Twisted takes the hash of a UNIX socket's from
    its file, which may be gone when the connection is, and fails for an abstract name.
    """
    return peer.name if isinstance(peer, UNIXAddress) else peer


def _add(uncounted: _Uncounted, peer: IAddress) -> None:
    uncounted.setdefault(_keyOf(peer), []).append(peer)


def _taken(uncounted: _Uncounted, peer: IAddress) -> bool:
    """
    Take out one connection of a peer, if there is any.
    """
    if not uncounted:
        return False  # as most often
    key = _keyOf(peer)
    peers = uncounted.get(key)
    if peers is None:
        return False
    peers.pop()
    if not peers:
        del uncounted[key]
    return True
