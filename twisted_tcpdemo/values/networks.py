"""
Networks, and the addresses that count as one peer.

A host can take any address of its IPv6 network, which is a /64 nearly everywhere
(RFC 4291, section 2.5.1).  A limit for each IPv6 address would limit nothing, so
one peer is an IPv4 address or an IPv6 /64.  An IPv4-mapped address (RFC 4291,
section 2.5.5.2) is the IPv4 address in it.

A link-local address is one host in each of the links that this machine is on, so it
may have a zone: the network interface (RFC 4007).  No other address has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from socket import AF_INET, AF_INET6, if_nametoindex, inet_pton
from typing import Final, NamedTuple, TypeAlias

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress

from twisted_tcpdemo.values.addresses import canonical, interfaceName

Network: TypeAlias = IPv4Network | IPv6Network

_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_LINK_LOCAL_PREFIX: Final = 10


class _Source(NamedTuple):
    """
    Where a peer is.

    @ivar version: C{0}, which no network has, for text that is no address.
    @ivar zone: the network interface of a link-local address.
    """

    version: int
    number: int
    zone: str


_NOWHERE: Final = _Source(0, 0, "")


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
            address stands for itself alone.  A single string is allowed.  A
            link-local one with a zone, such as C{"fe80::%eth0/64"}, is that of one
            network interface; without a zone it is that of all.
        @raise ValueError: for text that is no network, for a network with bits set
            below its prefix, and for a zone that no peer can have.
        """
        given = (networks,) if isinstance(networks, str) else networks
        self._networks = tuple(_folded(ip_network(network)) for network in given)
        self._byPrefix: dict[tuple[int, str, int], set[int]] = {}
        for network in self._networks:
            shift = network.max_prefixlen - network.prefixlen
            same = self._byPrefix.setdefault((network.version, _zoneOf(network), shift), set())
            same.add(int(network.network_address) >> shift)

    def __contains__(self, address: IAddress | None) -> bool:
        source = _sourceOf(address)
        if source is None:
            return False
        version, number, ownZone = source
        for (itsVersion, zone, shift), prefixes in self._byPrefix.items():
            isSameKind = itsVersion == version and (not zone or zone == ownZone)
            if isSameKind and number >> shift in prefixes:
                return True
        return False

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
    version, number, _ = source
    # IPv4 stays below 2**32; the bit above the /64 keeps IPv6 clear of it.
    # Text that cannot be read as an address counts as one peer.
    return number if version == 4 else 1 << 64 | number >> 64 if version == 6 else -1


def _folded(network: Network) -> Network:
    """
    The same network in its one spelling: the IPv4 network in an IPv4-mapped one, and
    the zone by its name.

    @raise ValueError: see L{Networks}.
    """
    zone = _zoneOf(network)
    if zone:
        address = network.network_address
        if not address.is_link_local or network.prefixlen < _LINK_LOCAL_PREFIX:
            raise ValueError(f"{network} has a zone, and only link-local addresses have one")
        name = interfaceName(zone)
        try:
            if_nametoindex(name)
        except OSError:
            raise ValueError(f"{network}: there is no network interface {zone!r}") from None
        plain = str(address).partition("%")[0]
        return IPv6Network((f"{plain}%{name}", network.prefixlen))
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        lowest = int(network.network_address) & 0xFFFFFFFF
        return IPv4Network((lowest, network.prefixlen - _MAPPED.prefixlen))
    return network


def _zoneOf(network: Network) -> str:
    return getattr(network.network_address, "scope_id", None) or ""


def _sourceOf(address: IAddress | None) -> _Source | None:
    """
    Where an address is; L{None} for one without a network.
    """
    if isinstance(address, (IPv4Address, IPv6Address)):
        return _read(canonical(address.host, getattr(address, "scopeID", 0)))
    return None


# Each rule reads the same address, when a connection opens and when it closes.  The
# module ipaddress would take a tenth of the cost of a connection for one that is new.
@lru_cache(maxsize=1024)
def _read(host: str) -> _Source:
    plain, _, zone = host.partition("%")
    version, family = (6, AF_INET6) if ":" in plain else (4, AF_INET)
    try:
        packed = inet_pton(family, plain)
    except (OSError, ValueError):
        return _NOWHERE
    return _Source(version, int.from_bytes(packed, "big"), zone)
