"""
The rules of admission, each by itself.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from twisted.internet.interfaces import IAddress

from tests.support.admission import UNIX, arrives, peer
from twisted_tcpdemo.admission.policy import Admission
from twisted_tcpdemo.admission.rules import AllowedNetworks, DeniedNetworks, PerPeerLimit, Rule
from twisted_tcpdemo.values.networks import Networks


def test_ruleAdmits() -> None:
    """
    A rule of an application's own states only its refusals.
    """

    class Odd(Rule):
        name = "odd"

        def decide(self, host: IAddress, peer: Any, now: float) -> str | None:
            return self.name if peer.port % 2 else None

    policy = Admission(Odd(), Rule())
    assert arrives(policy, peer("192.0.2.1", 1)) == "odd"
    assert arrives(policy, peer("192.0.2.1", 2)) is None
    policy.closed(peer("192.0.2.1", 2))


def test_allowed() -> None:
    """
    Only allowed networks come in, and clients of UNIX sockets, which have no
    network.
    """
    allowed = AllowedNetworks("192.0.2.0/24", "2001:db8::/32")
    admitted = ["192.0.2.9", "::ffff:192.0.2.9", "2001:db8::9"]
    assert [arrives(allowed, peer(host)) for host in admitted] == [None] * 3
    assert arrives(allowed, UNIX) is None
    for host in ("192.0.3.1", "::1", "no address"):
        assert arrives(allowed, peer(host)) == "allowedNetworks"


def test_allowedNobody() -> None:
    """
    No allowed network means that no client comes in.
    """
    assert arrives(AllowedNetworks(), peer("127.0.0.1")) == "allowedNetworks"


def test_denied() -> None:
    """
    Clients in denied networks do not come in.
    """
    denied = DeniedNetworks("192.0.2.0/24", name="blocked")
    assert arrives(denied, peer("::ffff:192.0.2.9")) == "blocked"
    assert arrives(denied, peer("192.0.3.1")) is None
    assert arrives(denied, UNIX) is None


@pytest.mark.parametrize("networks", [["192.0.3.0/24"], "192.0.3.0/24", Networks(["192.0.3.0/24"])])
def test_otherNetworks(networks: Any) -> None:
    """
    The networks of a rule can be changed, in any form in which they can be given.
    """
    denied, allowed = DeniedNetworks("192.0.2.0/24"), AllowedNetworks("192.0.2.0/24")
    denied.networks = allowed.networks = networks
    assert list(denied.networks) == [ip_network("192.0.3.0/24")]
    for host, isInside in (("192.0.2.1", False), ("192.0.3.1", True)):
        assert (arrives(denied, peer(host)) is not None) is isInside
        assert (arrives(allowed, peer(host)) is None) is isInside


def test_noOtherNetworks() -> None:
    """
    A malformed network changes nothing, and is named.
    """
    denied = DeniedNetworks("192.0.2.0/24")
    with pytest.raises(ValueError, match="'nonsense' does not appear"):
        denied.networks = "nonsense"
    assert arrives(denied, peer("192.0.2.1")) == "deniedNetworks"


def test_perPeerLimit() -> None:
    """
    Full refuses, a release admits again, the count returns to zero.
    """
    limit = PerPeerLimit(2)
    mine = [peer("192.0.2.1", port) for port in range(4)]
    assert [arrives(limit, who) for who in mine[:3]] == [None, None, "perPeerLimit"]
    assert arrives(limit, peer("192.0.2.2")) is None
    limit.closed(mine[0])
    assert arrives(limit, mine[3]) is None
    assert (limit.connectionsOf(mine[0]), len(limit)) == (2, 2)
    for who in (mine[1], mine[3], peer("192.0.2.2")):
        limit.closed(who)
    assert (limit.connectionsOf(mine[0]), len(limit)) == (0, 0)


def test_perPeerLimitOfIPv6() -> None:
    """
    All addresses of a /64 are one peer, and a mapped address is the peer of its
    IPv4 address.
    """
    limit = PerPeerLimit(1)
    assert arrives(limit, peer("2001:db8::1")) is None
    assert arrives(limit, peer("2001:db8::2")) == "perPeerLimit"
    assert arrives(limit, peer("2001:db8:0:1::1")) is None
    assert arrives(limit, peer("192.0.2.1")) is None
    assert arrives(limit, peer("::ffff:192.0.2.1")) == "perPeerLimit"


def test_perPeerLimitOfUNIX() -> None:
    """
    The limit does not apply to UNIX sockets, which do not tell peers apart.
    """
    limit = PerPeerLimit(0)
    assert arrives(limit, UNIX) is None
    limit.closed(UNIX)
    assert (limit.connectionsOf(UNIX), len(limit)) == (0, 0)


def test_perPeerLimitChanged() -> None:
    """
    The limit can be lowered, raised and taken away.
    """
    limit = PerPeerLimit(3)
    who = peer("192.0.2.1")
    assert [arrives(limit, who) for _ in range(3)] == [None] * 3
    limit.limit = 1
    limit.closed(who)
    limit.closed(who)
    assert arrives(limit, who) == "perPeerLimit"
    limit.limit = 2
    assert [arrives(limit, who) for _ in range(2)] == [None, "perPeerLimit"]
    limit.limit = None
    assert [arrives(limit, who) for _ in range(5)] == [None] * 5


def test_closedTwice() -> None:
    """
    A count never falls below zero: that would be a slot too many for ever.
    """
    limit = PerPeerLimit(1)
    arrives(limit, peer("192.0.2.1"))
    limit.closed(peer("192.0.2.1"))
    with pytest.raises(KeyError):
        limit.closed(peer("192.0.2.1"))
    assert len(limit) == 0


@pytest.mark.parametrize(
    ("limit", "error"), [(-1, ValueError), (True, TypeError), (1.5, TypeError), ("1", TypeError)]
)
def test_noSuchLimit(limit: Any, error: type[Exception]) -> None:
    """
    A limit is a whole number or None.
    """
    with pytest.raises(error, match="limit must be"):
        PerPeerLimit(limit)
