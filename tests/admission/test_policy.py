"""
The admission policy: the composition of rules.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IAddress
from zope.interface import implementer
from zope.interface.verify import verifyClass, verifyObject

from tests.support.admission import HOST, arrives, peer
from tests.support.places import DOCS
from twisted_tcpdemo.admission.policy import Admission, wouldRefuseBy
from twisted_tcpdemo.admission.rate import PeerRate
from twisted_tcpdemo.admission.rules import AllowedNetworks, DeniedNetworks, PerPeerLimit, Rule
from twisted_tcpdemo.interfaces import IAdmissionPolicy


@pytest.mark.parametrize(
    "policy",
    [
        Rule(),
        AllowedNetworks(),
        DeniedNetworks(),
        PerPeerLimit(1),
        PeerRate(1),
        Admission(),
    ],
)
def test_interface(policy: IAdmissionPolicy) -> None:
    """
    Every rule, and the composition of them, is a policy.
    """
    verifyClass(IAdmissionPolicy, type(policy))
    verifyObject(IAdmissionPolicy, policy)


def test_firstRuleNames() -> None:
    """
    The first rule that refuses gives its name, and no rule counts the refused peer.
    """
    limit, rate = PerPeerLimit(1), PeerRate(1, burst=2)
    policy = Admission(DeniedNetworks("192.0.2.0/24"), limit, rate)
    assert arrives(policy, peer("192.0.2.1")) == "deniedNetworks"
    who = peer("198.51.100.1")
    assert arrives(policy, who) is None
    assert arrives(policy, who) == "perPeerLimit"
    limit.limit = 2
    assert arrives(policy, who) is None
    limit.limit = 9
    assert arrives(policy, who) == "peerRate"
    assert limit.connectionsOf(who) == 2


def test_noRule() -> None:
    """
    An object that is no rule is an error at once.
    """
    with pytest.raises(TypeError, match="does not provide IAdmissionPolicy"):
        Admission(object())  # type: ignore[arg-type]


def test_exempt() -> None:
    """
    Peers in exempt networks are neither refused nor counted, until they are not
    exempt.
    """
    limit = PerPeerLimit(1)
    policy = Admission(limit, exempt=["192.0.2.0/24"])
    mine = [peer("192.0.2.1", port) for port in range(3)]
    assert [arrives(policy, who) for who in mine] == [None] * 3
    assert limit.connectionsOf(mine[0]) == 0
    policy.exempt = ()
    assert limit.connectionsOf(mine[0]) == 3
    for who in mine:
        policy.closed(who)
    assert len(limit) == 0
    assert list(policy.exempt) == []


def test_dryRun() -> None:
    """
    A dry run admits every peer, and counts the peers it would have refused.
    """
    limit, rate = PerPeerLimit(2), PeerRate(1, burst=3)
    policy = Admission(limit, rate, dryRun=True)
    mine = [peer("192.0.2.1", port) for port in range(4)]
    assert [arrives(policy, who) for who in mine] == [None] * 4
    assert policy.wouldRefuse == {"perPeerLimit": 2}
    assert limit.connectionsOf(mine[0]) == 2
    policy.closed(mine[0])
    assert [arrives(policy, peer("192.0.2.1", 9)) for _ in range(1)] == [None]
    assert policy.wouldRefuse == {"perPeerLimit": 2}
    policy.closed(mine[1])
    assert arrives(policy, mine[1]) is None
    assert policy.wouldRefuse == {"perPeerLimit": 2, "peerRate": 1}


def test_dryRunOfTheRate() -> None:
    """
    A dry run of a rate counts only the peers that the rate would have refused.
    """
    tried, real = Admission(PeerRate(1), dryRun=True), Admission(PeerRate(1))
    who = peer("192.0.2.1")
    times = [step / 2 for step in range(41)]
    refused = sum(arrives(real, who, now) is not None for now in times)
    assert [arrives(tried, who, now) for now in times] == [None] * 41
    assert tried.wouldRefuse == {"peerRate": refused} == {"peerRate": 20}


def test_dryRunEnds() -> None:
    """
    After a dry run the rules count every peer that is still connected.
    """
    limit = PerPeerLimit(1)
    policy = Admission(limit, dryRun=True)
    mine = [peer("192.0.2.1", port) for port in range(3)]
    for who in mine:
        arrives(policy, who)
    policy.dryRun = False
    assert limit.connectionsOf(mine[0]) == 3
    assert arrives(policy, peer("192.0.2.1", 9)) == "perPeerLimit"
    for who in mine:
        policy.closed(who)
    assert len(limit) == 0


def test_dryRunOfOneRule() -> None:
    """
    A composition is a rule, so a dry run of one rule can stand among others.
    """
    tried = Admission(PerPeerLimit(1), dryRun=True)
    policy = Admission(tried, PerPeerLimit(2))
    who = peer("192.0.2.1")
    assert [arrives(policy, who) for _ in range(3)] == [None, None, "perPeerLimit"]
    assert tried.wouldRefuse == {"perPeerLimit": 1}
    assert policy.rules[0] is tried


def test_wouldRefuseBy() -> None:
    """
    Any policy tells the clients that dry runs have let in, even a dry run of one
    rule among others.
    """
    who = peer("192.0.2.1")
    inner = Admission(PerPeerLimit(1), dryRun=True)
    policy = Admission(PerPeerLimit(2, name="two"), Admission(inner), dryRun=True)
    for _ in range(4):
        arrives(policy, who)
    assert wouldRefuseBy(policy) == {"perPeerLimit": 1, "two": 2}
    assert wouldRefuseBy(PerPeerLimit(1)) == wouldRefuseBy(None) == {}


def test_wouldRefuseNobodyYet() -> None:
    """
    A dry run that has let in no client yet is shown; without one there is nothing
    to show.
    """
    policy = Admission(PerPeerLimit(1), dryRun=True)
    assert wouldRefuseBy(policy) == {"perPeerLimit": 0}
    policy.dryRun = False
    assert wouldRefuseBy(policy) == {}


@implementer(IAdmissionPolicy)
class Broken(Rule):
    """
    A rule with one method that raises.
    """

    def __init__(self, method: str) -> None:
        super().__init__()
        setattr(self, method, self._raise)

    def _raise(self, *args: object) -> None:
        raise ZeroDivisionError


@pytest.mark.parametrize("method", ["opened", "adopted", "closed"])
def test_brokenRule(method: str) -> None:
    """
    A rule that raises leaves no count in another rule that is never given back.
    """
    before, after = PerPeerLimit(1), PerPeerLimit(1)
    policy = Admission(before, Broken(method), after)
    who = peer("192.0.2.1")
    with pytest.raises(ZeroDivisionError):
        if method == "adopted":
            policy.adopted(who)
        else:
            policy.opened(HOST, who, 0)
            policy.closed(who)
    assert (len(before), len(after)) == (0, 0)


class OfOnePath(Rule):
    """
    A rule that counts the clients of a UNIX socket, and allows one of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.open = 0

    def decide(self, host: IAddress, peer: IAddress, now: float) -> str | None:
        """
        Refuse all but one.
        """
        return "onePath" if self.open else None

    def opened(self, host: IAddress, peer: IAddress, now: float) -> None:
        """
        Count one.
        """
        self.open += 1

    def closed(self, peer: IAddress) -> None:
        """
        Count one less.
        """
        self.open -= 1


@pytest.mark.parametrize("isAbstract", [False, True])
@pytest.mark.parametrize("dryRun", [False, True])
def test_unix(tmp_path: Path, isAbstract: bool, dryRun: bool) -> None:
    """
    A client of a UNIX socket is given back by the name by which it came, though its path
    is gone or it never had a file.
    """
    path = tmp_path / "client"
    path.touch()
    who = UNIXAddress(b"\0client" if isAbstract else bytes(path))
    limit = OfOnePath()
    policy = Admission(limit, dryRun=dryRun)
    came = [arrives(policy, who) for _ in range(2)]
    assert came == [None, None if dryRun else "onePath"]
    assert dict(policy.wouldRefuse) == ({"onePath": 1} if dryRun else {})
    path.unlink()
    for _ in range(came.count(None)):
        policy.closed(who)
    assert limit.open == 0
    policy.dryRun = False
    assert arrives(policy, who) is None
    assert limit.open == 1


def test_countingFails() -> None:
    """
    A rule that raises when a dry run ends is given back no connection that it has not
    counted.
    """
    before, broken = PerPeerLimit(0), Broken("adopted")
    policy = Admission(before, broken, dryRun=True)
    who = peer("192.0.2.1")
    arrives(policy, who)
    with pytest.raises(ZeroDivisionError):
        policy.dryRun = False
    assert len(before) == 0
    policy.closed(who)
    assert len(before) == 0


HOSTS = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"]


class Door(RuleBasedStateMachine):
    """
    A composition, against a list of the peers inside and whether each counts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.limit = PerPeerLimit(2)
        self.policy = Admission(self.limit)
        self.inside: list[tuple[IAddress, str, str]] = []
        self.port = 0
        self.would = 0

    def counted(self, key: str) -> int:
        """
        The number of a peer's connections that count.
        """
        return sum(1 for _, its, how in self.inside if its == key and how == "counted")

    @property
    def exempt(self) -> bool:
        """
        Whether the IPv4 peers are exempt.
        """
        return len(self.policy.exempt) > 0

    @rule(host=st.sampled_from(HOSTS), asks=st.integers(1, 3))
    def arrive(self, host: str, asks: int) -> None:
        """
        A peer connects; asking more than once changes nothing.
        """
        self.port += 1
        who = peer(host, self.port)
        key = "2001:db8::" if ":" in host else host
        exempt = self.exempt and "." in host
        full = self.limit.limit is not None and self.counted(key) >= self.limit.limit
        for _ in range(asks):
            name = self.policy.decide(HOST, who, 0.0)
        if full and not exempt and not self.policy.dryRun:
            assert name == "perPeerLimit"
            return
        assert name is None
        self.policy.opened(HOST, who, 0.0)
        tried = full and not exempt
        self.would += tried
        self.inside.append((who, key, "exempt" if exempt else "tried" if tried else "counted"))

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """
        A connection ends.
        """
        who, _, _ = self.inside.pop(data.draw(st.integers(0, len(self.inside) - 1)))
        self.policy.closed(who)

    @rule(limit=st.none() | st.integers(0, 4))
    def changeLimit(self, limit: int | None) -> None:
        """
        Change the limit.
        """
        self.limit.limit = limit

    @rule(exempt=st.booleans())
    def changeExempt(self, exempt: bool) -> None:
        """
        Exempt the IPv4 peers, or exempt them no longer.
        """
        self.policy.exempt = ["192.0.2.0/24"] if exempt else []
        if not exempt:
            self.recount("exempt")

    @rule(dryRun=st.booleans())
    def changeDryRun(self, dryRun: bool) -> None:
        """
        Begin or end a dry run.
        """
        self.policy.dryRun = dryRun
        if not dryRun:
            self.recount("tried")

    def recount(self, was: str) -> None:
        """
        Bring the list up to date: a peer counts unless it is exempt by now.
        """
        self.inside = [
            (who, key, how if how != was else "exempt" if self.exempt and "." in key else "counted")
            for who, key, how in self.inside
        ]

    @rule()
    def replace(self) -> None:
        """
        Put another policy into force; it hears of all open connections.
        """
        for who, _, _ in self.inside:
            self.policy.closed(who)
        assert len(self.limit) == 0
        self.limit = PerPeerLimit(self.limit.limit)
        self.would = 0
        self.policy = Admission(self.limit, exempt=self.policy.exempt, dryRun=self.policy.dryRun)
        for who, _, _ in self.inside:
            self.policy.adopted(who)
        self.inside = [
            (who, key, "exempt" if self.exempt and "." in key else "counted")
            for who, key, how in self.inside
        ]

    @invariant()
    def asTheModel(self) -> None:
        """
        The rule counts the same peers as the list.
        """
        for host in HOSTS:
            key = "2001:db8::" if ":" in host else host
            assert self.limit.connectionsOf(peer(host)) == self.counted(key)
        keys = {key for _, key, how in self.inside if how == "counted"}
        assert len(self.limit) == len(keys)
        assert self.policy.wouldRefuse.get("perPeerLimit", 0) == self.would

    def teardown(self) -> None:
        """
        When all connections have ended, every count is zero.
        """
        for who, _, _ in self.inside:
            self.policy.closed(who)
        assert len(self.limit) == 0


TestDoor = Door.TestCase
TestDoor.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)


def test_documentation() -> None:
    """
    The examples of the documentation run, one after another.
    """
    text = (DOCS / "limits.md").read_text("utf-8")
    names: dict[str, Any] = {}
    examples = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    for example in examples:
        exec(example, names)
    assert len(examples) == 6
    assert names["trial"].dryRun is False
