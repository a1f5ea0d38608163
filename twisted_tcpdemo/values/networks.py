"""
Networks, and the addresses that count as one peer.

A host can take any address of its IPv6 network, which is a /64 nearly everywhere
(RFC 4291, section 2.5.1).  A limit for each IPv6 address would limit nothing, so
one peer is an IPv4 address or an IPv6 /64.  An IPv4-mapped address (RFC 4291,
section 2.5.5.2) is the IPv4 address in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress

Network: TypeAlias = IPv4Network | IPv6Network

_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_NOWHERE: Final = (0, 0)


class Networks:
    """
    A set of networks that does not change: C{address in networks}.

    The time of a look-up grows with the number of different prefix lengths, not
    with the number of networks.
    """

    __slots__ = ("_byPrefix", "_networks")

    def __init__(self, networks: Iterable[str | Network] = ()) -> None:
        """
        @param networks: such as C{"192.0.2.0/24"} or C{"2001:db8::/32"}; an
            address stands for itself alone.  A single string is allowed.
        @raise ValueError: for text that is no network, and for a network with
            bits set below its prefix.
        """
        given = (networks,) if isinstance(networks, str) else networks
        self._networks = tuple(_folded(ip_network(network)) for network in given)
        self._byPrefix: dict[tuple[int, int], set[int]] = {}
        for network in self._networks:
            shift = network.max_prefixlen - network.prefixlen
            same = self._byPrefix.setdefault((network.version, shift), set())
            same.add(int(network.network_address) >> shift)

    def __contains__(self, address: IAddress | None) -> bool:
        source = _sourceOf(address)
        if source is None:
            return False
        version, number = source
        return any(
            number >> shift in prefixes
            for (itsVersion, shift), prefixes in self._byPrefix.items()
            if itsVersion == version
        )

    def __iter__(self) -> Iterator[Network]:
        return iter(self._networks)

    def __len__(self) -> int:
        return len(self._networks)

    def __repr__(self) -> str:
        return f"Networks([{', '.join(repr(str(network)) for network in self._networks)}])"


def hasNetwork(address: IAddress | None) -> bool:
    """
    Whether an address belongs to a network.  That of a UNIX socket does not, and
    rules about networks do not apply to it.
    """
    return isinstance(address, (IPv4Address, IPv6Address))


def peerKey(address: IAddress | None) -> int | None:
    """
    A number that all addresses of one peer share, and no other peer has; L{None}
    for an address that L{has no network<hasNetwork>}.
    """
    source = _sourceOf(address)
    if source is None:
        return None
    version, number = source
    # IPv4 stays below 2**32; the bit above the /64 keeps IPv6 clear of it.
    # Text that cannot be read as an address counts as one peer.
    return number if version == 4 else 1 << 64 | number >> 64 if version == 6 else -1


def _folded(network: Network) -> Network:
    """
    The IPv4 network in an IPv4-mapped one.
    """
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        lowest = int(network.network_address) & 0xFFFFFFFF
        return IPv4Network((lowest, network.prefixlen - _MAPPED.prefixlen))
    return network


def _sourceOf(address: IAddress | None) -> tuple[int, int] | None:
    """
    The version and the number of an address; C{(0, 0)}, which is in no network,
    for one that cannot be read; L{None} for one without a network.
    """
    if isinstance(address, (IPv4Address, IPv6Address)):
        return _read(address.host)
    return None


# Each rule reads the same address, when a connection opens and when it closes.
@lru_cache(maxsize=1024)
def _read(host: str) -> tuple[int, int]:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return _NOWHERE
    # Not addresses.unmapped: a proxy may spell an address at full length.
    address = getattr(address, "ipv4_mapped", None) or address
    return address.version, int(address)
