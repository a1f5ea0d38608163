"""
Networks, and the addresses that count as one peer.
"""

from __future__ import annotations

from ipaddress import IPv4Address as IPv4
from ipaddress import IPv6Address as IPv6
from ipaddress import ip_address, ip_network
from socket import if_nametoindex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from tests.support.links import LOOPBACK
from twisted_tcpdemo.values.networks import Networks, hasNetwork, peerKey

NUMBER = if_nametoindex(LOOPBACK)


def address(host: str, port: int = 1) -> IAddress:
    """
    One of Twisted's addresses.
    """
    kind = IPv6Address if ":" in host else IPv4Address
    return kind("TCP", host, port)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "::FFFF:c000:201", True),
        ("192.0.2.1", "0:0:0:0:0:ffff:192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("::1", "0.0.0.0", False),
        ("no address", "nor this", True),
        ("no address", "::1", False),
    ],
)
def test_peers(one: str, other: str, same: bool) -> None:
    """
    A peer is an IPv4 address, however it is spelled, or an IPv6 /64.
    """
    first, second = peerKey(address(one, 1)), peerKey(address(other, 2))
    assert first is not None and second is not None
    assert (first == second) is same


@pytest.mark.parametrize("nowhere", [UNIXAddress(b"/tmp/socket"), UNIXAddress(None), None])
def test_noNetwork(nowhere: IAddress | None) -> None:
    """
    The peer of a UNIX socket is in no network, and has no key.
    """
    assert peerKey(nowhere) is None
    assert not hasNetwork(nowhere)
    assert nowhere not in Networks(["0.0.0.0/0", "::/0"])


@pytest.mark.parametrize(
    ("network", "host", "inside"),
    [
        ("192.0.2.0/24", "192.0.2.255", True),
        ("192.0.2.0/24", "192.0.3.0", False),
        ("192.0.2.0/24", "::ffff:192.0.2.7", True),
        ("192.0.2.7", "192.0.2.7", True),
        ("::ffff:192.0.2.0/120", "192.0.2.9", True),
        ("0.0.0.0/0", "198.51.100.1", True),
        ("0.0.0.0/0", "::1", False),
        ("::/0", "::1", True),
        ("::/0", "192.0.2.1", False),
        ("2001:db8::/32", "2001:db8:ffff::1", True),
        ("fe80::/10", "fe80::1%eth0", True),
        ("0.0.0.0/0", "no address", False),
        ("127.0.0.1", "0:0:0:0:0:ffff:7f00:1", True),
        ("2001:db8:0:0:0:0:0:7", "2001:db8::7", True),
        (f"fe80::1%{LOOPBACK}", f"fe80::1%{LOOPBACK}", True),
        (f"fe80::1%{NUMBER}", f"fe80::1%{LOOPBACK}", True),
        (f"fe80::1%{LOOPBACK}", f"fe80::1%{NUMBER}", True),
        (f"fe80::%{LOOPBACK}/10", f"fe80::2%{LOOPBACK}", True),
        (f"fe80::1%{LOOPBACK}", "fe80::1%another", False),
        (f"fe80::1%{LOOPBACK}", "fe80::1", False),
        (f"fe80::1%{LOOPBACK}", f"fe80::2%{LOOPBACK}", False),
        ("fe80::1", f"fe80::1%{LOOPBACK}", True),
    ],
)
def test_inside(network: str, host: str, inside: bool) -> None:
    """
    An address belongs to networks of its own family, a mapped one to those of IPv4;
    a network with a zone is that of one interface.
    """
    assert (address(host) in Networks([network])) is inside


def test_insideByScope() -> None:
    """
    The zone may be a number beside the address, as Twisted's clients have it.
    """
    beside = IPv6Address("TCP", "fe80::1", 1, 0, NUMBER)
    assert beside in Networks([f"fe80::1%{LOOPBACK}"])
    assert beside not in Networks([f"fe80::2%{LOOPBACK}"])


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("fe80::1%nope", "no network interface 'nope'"),
        ("fe80::1%99999", "no network interface '99999'"),
        (f"2001:db8::1%{LOOPBACK}", "only link-local addresses have one"),
        (f"::1%{LOOPBACK}", "only link-local addresses have one"),
        (f"::%{LOOPBACK}/0", "only link-local addresses have one"),
        (f"fe80::%{LOOPBACK}/9", "only link-local addresses have one"),
        (f"::ffff:127.0.0.1%{LOOPBACK}", "only link-local addresses have one"),
        (f"127.0.0.1%{LOOPBACK}", "does not appear"),
        ("fe80::1%", "does not appear"),
    ],
)
def test_noSuchZone(wrong: str, why: str) -> None:
    """
    A zone that no peer can have is refused with the reason: the rule would never
    hold.
    """
    with pytest.raises(ValueError, match=why):
        Networks([wrong])


@pytest.mark.parametrize("wrong", ["192.0.2.1/24", "192.0.2.0/33", "example.org", ""])
def test_noSuchNetwork(wrong: str) -> None:
    """
    A malformed network is named at once.
    """
    with pytest.raises(ValueError, match=r"does not appear|has host bits"):
        Networks([wrong])


def test_oneNetwork() -> None:
    """
    A single network need not be put into a list, and the networks of a rule can be
    read.
    """
    networks = Networks("192.0.2.0/24")
    assert list(networks) == [ip_network("192.0.2.0/24")]
    assert list(Networks(networks)) == list(networks)
    assert (len(networks), repr(networks)) == (1, "Networks(['192.0.2.0/24'])")
    zoned = Networks(f"fe80::%{NUMBER}/64")
    assert list(Networks(zoned)) == list(zoned)
    assert repr(zoned) == f"Networks(['fe80::%{LOOPBACK}/64'])"


ADDRESSES = st.one_of(
    st.integers(0, 2**32 - 1).map(IPv4),
    st.integers(0, 2**32 - 1).map(lambda low: IPv4((10 << 24) + low % 1024)),
    st.integers(2**64, 2**128 - 1).map(IPv6),  # away from the mapped addresses
    st.integers(0, 2**66 - 1).map(lambda low: IPv6((0x20010DB8 << 96) + low)),
)
"""Addresses from all over, and some neighbours."""


@given(st.lists(st.tuples(ADDRESSES, st.integers(0, 128))), ADDRESSES)
@settings(deadline=None)
def test_asTheStandardLibrary(ends: list[tuple[IPv4 | IPv6, int]], asked: IPv4 | IPv6) -> None:
    """
    Membership agrees with that of C{ipaddress} for each network.
    """
    networks = [
        ip_network(f"{end}/{min(prefix, end.max_prefixlen)}", strict=False) for end, prefix in ends
    ]
    plain = getattr(asked, "ipv4_mapped", None) or asked
    expected = any(plain in network for network in networks)
    assert (address(str(asked)) in Networks(networks)) is expected


@given(ADDRESSES, ADDRESSES)
@settings(deadline=None)
def test_peersAsTheStandardLibrary(one: IPv4 | IPv6, other: IPv4 | IPv6) -> None:
    """
    Two addresses have one key if, and only if, they are the same IPv4 address or
    belong to the same /64.
    """

    def network(host: IPv4 | IPv6) -> object:
        plain = ip_address(host)
        plain = getattr(plain, "ipv4_mapped", None) or plain
        return ip_network(f"{plain}/{32 if plain.version == 4 else 64}", strict=False)

    same = network(one) == network(other)
    assert (peerKey(address(str(one))) == peerKey(address(str(other)))) is same
