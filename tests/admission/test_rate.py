"""
The rate: how often a peer may come.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from twisted_tcpdemo.admission.rate import PeerRate

HOST = IPv4Address("TCP", "127.0.0.1", 80)


def peer(number: int) -> IPv4Address:
    """
    The address of a peer of its own, for each number.
    """
    return IPv4Address("TCP", f"10.0.{number // 256}.{number % 256}", 1)


def arrives(rate: PeerRate, who: IAddress, now: float) -> bool:
    """
    Let a peer come, and tell whether it is admitted.
    """
    if rate.decide(HOST, who, now) is not None:
        return False
    rate.opened(HOST, who, now)
    return True


def test_burstThenRate() -> None:
    """
    A peer may come a few times at once, and afterwards at the rate.
    """
    rate = PeerRate(2.0, burst=3)
    times = [0, 0, 0, 0, 0.25, 0.5, 0.5, 0.75, 1.0]
    admitted = [arrives(rate, peer(1), now) for now in times]
    assert admitted == [True, True, True, False, False, True, False, False, True]


def test_named() -> None:
    """
    A refusal has the name of the rule, or the name given to it.
    """
    for rate, name in ((PeerRate(1), "peerRate"), (PeerRate(1, name="often"), "often")):
        rate.opened(HOST, peer(1), 0)
        assert rate.decide(HOST, peer(1), 0) == name


def test_peersAreApart() -> None:
    """
    The arrivals of one peer do not affect another.
    """
    rate = PeerRate(1)
    assert [arrives(rate, peer(n), 0) for n in (1, 2, 1, 2)] == [True, True, False, False]


def test_socketsWithoutNetwork() -> None:
    """
    The peers of a UNIX socket are not told apart, and so not limited.
    """
    rate = PeerRate(1)
    assert all(arrives(rate, UNIXAddress(b""), 0) for _ in range(10))
    assert len(rate) == 0


def test_clockSetBack() -> None:
    """
    After the clock is set back, no peer waits longer than the rate demands.
    """
    rate = PeerRate(1)
    assert arrives(rate, peer(1), 1_700_000_000.0)
    assert not arrives(rate, peer(1), 1_600_000_000.0)
    assert arrives(rate, peer(1), 1_600_000_001.0)


def test_timeOfDay() -> None:
    """
    A token is on time even when the time of day is a large number.
    """
    rate = PeerRate(10)
    start = 1_700_000_000.05
    assert all(arrives(rate, peer(1), start + step / 10) for step in range(200))


def test_fullBucketsAreForgotten() -> None:
    """
    Peers that stay away are forgotten as others come.
    """
    rate = PeerRate(1, burst=5)
    for number in range(100):
        arrives(rate, peer(number), 0)
    assert len(rate) == 100
    for later in range(50):
        arrives(rate, peer(1000), 10 + later)
    assert len(rate) == 1


def test_fullestIsForgotten() -> None:
    """
    When more peers come than are remembered, a limited peer stays limited.
    """
    rate = PeerRate(1, burst=2, maxPeers=10)
    assert [arrives(rate, peer(0), 0) for _ in range(3)] == [True, True, False]
    for number in range(1, 1000):
        assert arrives(rate, peer(number), 0)
        assert len(rate) <= 10
    assert not arrives(rate, peer(0), 0)


def test_noMoreThanFull() -> None:
    """
    A full bucket that is still remembered holds the burst, and no more.
    """
    rate = PeerRate(1, burst=2)
    for number in range(100):
        arrives(rate, peer(number), 0)
    assert [arrives(rate, peer(99), 1000) for _ in range(3)] == [True, True, False]


def test_noDebt() -> None:
    """
    A peer that comes in without a token waits no longer for the next.
    """
    rate = PeerRate(1, burst=2)
    for _ in range(10):
        rate.opened(HOST, peer(1), 0)
    assert rate.tokensOf(peer(1)) == 0
    assert rate.tokensOf(UNIXAddress(b"")) == 2
    assert [arrives(rate, peer(1), now) for now in (0.5, 1)] == [False, True]


def test_switchedOff() -> None:
    """
    Without a rate no peer is refused or remembered.
    """
    rate = PeerRate(1)
    assert arrives(rate, peer(1), 0)
    rate.rate = None
    assert all(arrives(rate, peer(1), 0) for _ in range(5))
    assert (len(rate), rate.tokensOf(peer(1))) == (0, 1)
    rate.rate = 1
    assert [arrives(rate, peer(1), 0) for _ in range(2)] == [True, False]


def test_raising() -> None:
    """
    A higher rate and a larger burst take effect at once.
    """
    rate = PeerRate(0.01)
    assert arrives(rate, peer(1), 0)
    rate.rate = 10
    assert arrives(rate, peer(1), 0.1)
    rate.burst = 3
    assert [arrives(rate, peer(1), 0.1) for _ in range(3)] == [True, True, False]


def test_lowering() -> None:
    """
    After the burst is made smaller, no peer waits longer than an empty bucket
    demands.
    """
    rate = PeerRate(1, burst=100)
    assert all(arrives(rate, peer(1), 0) for _ in range(100))
    rate.burst = 1
    assert [arrives(rate, peer(1), now) for now in (0.5, 1.0, 1.5, 2.0)] == [
        False,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"rate": 0}, ValueError),
        ({"rate": -1}, ValueError),
        ({"rate": float("inf")}, ValueError),
        ({"rate": float("nan")}, ValueError),
        ({"rate": True}, TypeError),
        ({"rate": "1"}, TypeError),
        ({"rate": 1, "burst": 0}, ValueError),
        ({"rate": 1, "burst": 0.5}, ValueError),
        ({"rate": 1, "burst": float("inf")}, ValueError),
        ({"rate": 1, "burst": None}, TypeError),
        ({"rate": 1, "maxPeers": 0}, ValueError),
        ({"rate": 1, "maxPeers": 1.5}, TypeError),
    ],
)
def test_nonsense(options: dict[str, Any], error: type[Exception]) -> None:
    """
    An invalid value is refused when it is given, by its name.
    """
    [*_, name] = options
    with pytest.raises(error, match=f"{name} must be .*, not {options[name]!r}"):
        PeerRate(**options)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [("rate", 0, ValueError), ("rate", "1", TypeError), ("burst", 0, ValueError)],
)
def test_nonsenseLater(name: str, value: Any, error: type[Exception]) -> None:
    """
    An invalid value is refused when it is set later, and changes nothing.
    """
    rule = PeerRate(2, burst=3)
    with pytest.raises(error, match=f"{name} must be"):
        setattr(rule, name, value)
    assert (rule.rate, rule.burst) == (2, 3)


@given(
    st.floats(0.01, 1000),
    st.integers(1, 20),
    st.lists(st.floats(0, 2), min_size=1, max_size=60),
)
@settings(deadline=None)
def test_neverMoreThanThat(rate: float, burst: int, gaps: list[float]) -> None:
    """
    In any span of time a peer comes in no more often than the burst and the rate
    allow.
    """
    limited = PeerRate(rate, burst)
    now, admitted = 1e9, []
    for gap in gaps:
        now += gap
        if arrives(limited, peer(1), now):
            admitted.append(now)
    for first, start in enumerate(admitted):
        for last, end in enumerate(admitted[first:], first):
            assert last - first + 1 <= burst + rate * (end - start + 1e-5) + 1e-6


# Powers of two, so that the model and the rule calculate without rounding.
GAPS = st.integers(-64, 512).map(lambda ticks: ticks / 64)
RATES = st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0])
BURSTS = st.integers(1, 5)
PEERS = st.integers(0, 5)


class Buckets(RuleBasedStateMachine):
    """
    The rule, against buckets that are really filled as time goes by.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rate: float | None = 1.0
        self.burst = 2
        self.now = 1000.0
        self.tokens: dict[int, float] = {}
        self.limited = PeerRate(self.rate, self.burst)

    @rule(who=PEERS, gap=GAPS, enters=st.booleans())
    def arrive(self, who: int, gap: float, enters: bool) -> None:
        """
        A peer asks, and comes in if neither this rule nor another refuses it.
        """
        self.now += gap
        for other in self.tokens:
            added = max(0.0, gap) * (self.rate or 0.0)
            self.tokens[other] = min(float(self.burst), self.tokens[other] + added)
        mine = self.tokens.setdefault(who, float(self.burst))
        expected = self.rate is None or mine >= 1
        assert (self.limited.decide(HOST, peer(who), self.now) is None) is expected
        if enters and expected:
            self.limited.opened(HOST, peer(who), self.now)
            if self.rate is not None:
                self.tokens[who] -= 1

    @rule(rate=st.none() | RATES)
    def changeRate(self, rate: float | None) -> None:
        """
        Change the rate; tokens are kept, unless there is no rate.
        """
        self.limited.rate = self.rate = rate
        if rate is None:
            self.tokens.clear()

    @precondition(lambda self: self.rate is not None)
    @rule(burst=BURSTS)
    def changeBurst(self, burst: int) -> None:
        """
        Change the burst; missing tokens stay missing, as far as they fit.
        """
        missing = {who: min(self.burst - tokens, burst) for who, tokens in self.tokens.items()}
        self.limited.burst = self.burst = burst
        self.tokens = {who: burst - missed for who, missed in missing.items()}

    @invariant()
    def remembersOnlyWhatItMust(self) -> None:
        """
        A peer that never came in is not remembered.
        """
        assert len(self.limited) <= len(self.tokens)


TestBuckets = Buckets.TestCase
TestBuckets.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)


@given(st.integers(1, 4), st.lists(st.tuples(st.integers(0, 9), GAPS), max_size=80))
@settings(deadline=None)
def test_boundedAndFair(maxPeers: int, arrivals: list[tuple[int, float]]) -> None:
    """
    The number of remembered peers is bounded.  A refused peer would also be refused
    if all were remembered, and a forgotten bucket was no emptier than any other.
    """
    rate = PeerRate(1.0, burst=3, maxPeers=maxPeers)
    now, missing = 0.0, dict.fromkeys(range(10), 0.0)
    for who, gap in arrivals:
        now += gap
        missing = {p: max(0.0, m - max(0.0, gap)) for p, m in missing.items()}
        refused = rate.decide(HOST, peer(who), now) is not None
        assert refused == (missing[who] > 2)
        if refused:
            continue
        before = {p for p in missing if missing[p]}
        rate.opened(HOST, peer(who), now)
        missing[who] += 1
        assert len(rate) <= maxPeers
        if len(before | {who}) > maxPeers:
            least = min(missing[p] for p in before - {who})
            forgotten = [p for p in before - {who} if missing[p] == least and not known(rate, p)]
            assert forgotten
            missing[forgotten[0]] = 0.0
        assert {p for p in missing if missing[p]} <= {p for p in missing if known(rate, p)}


def known(rate: PeerRate, number: int) -> bool:
    """
    Whether a peer is remembered.
    """
    return rate.tokensOf(peer(number)) < rate.burst
