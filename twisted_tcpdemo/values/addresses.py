"""
Addresses in plain words, as Node's C{net} has them, and one spelling of each.
"""

from __future__ import annotations

from ipaddress import ip_address
from socket import AF_INET, AF_INET6, if_indextoname, inet_ntop, inet_pton
from typing import Final, NamedTuple, TypeAlias

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from twisted_tcpdemo.values.text import printable

_LONGEST: Final = 80
"""Characters of an address and port that are shown: IPv6 with a zone needs 64."""

_MAPPED: Final = bytes(10) + b"\xff\xff"
"""How IPv4-mapped addresses begin (RFC 4291, section 2.5.5.2)."""

IPAddress: TypeAlias = IPv4Address | IPv6Address


class Endpoint(NamedTuple):
    """
    One end of a connection.  Its text is safe in a log, even where the peer has
    chosen the address, as it may on a UNIX socket and in a PROXY header.

    @ivar address: the IP address, or the path of a UNIX socket; L{None} for a
        UNIX socket without a path, and where the transport does not know.
        Behind Twisted's PROXY wrapper it may be any text: that checks nothing.
    @ivar port: the port, or L{None} where there is none.
    @ivar family: C{"IPv4"}, C{"IPv6"}, C{"UNIX"}, or L{None} for anything else.
    """

    address: str | None
    port: int | None
    family: str | None

    def __str__(self) -> str:
        if self.family == "IPv6":
            return printable(f"[{self.address}]:{self.port}", _LONGEST)
        if self.family == "IPv4":
            return printable(f"{self.address}:{self.port}", _LONGEST)
        if self.family == "UNIX":
            return f"unix:{printable(self.address) if self.address else '(unnamed)'}"
        return "unknown"


def endpointOf(address: IAddress | None) -> Endpoint:
    """
    Translate one of Twisted's addresses.

    An IPv4 client of a dual-stack listener is reported as IPv4 with its plain
    address.  Two addresses are the same if, and only if, their L{Endpoint}s are
    equal: each has its L{canonical} spelling.

    @param address: any address; foreign kinds give an empty L{Endpoint}.
    """
    if isinstance(address, IPv4Address):
        return Endpoint(address.host, address.port, "IPv4")
    if isinstance(address, IPv6Address):
        host = canonical(address.host, address.scopeID)
        isMapped = ":" in address.host and ":" not in host
        return Endpoint(host, address.port, "IPv4" if isMapped else "IPv6")
    if isinstance(address, UNIXAddress):
        return Endpoint(_pathOf(address), None, "UNIX")
    return Endpoint(None, None, None)


def canonical(host: str, scope: int = 0) -> str:
    """
    The one spelling of an IP address.

    It is the kernel's (RFC 5952): an IPv4-mapped address is the IPv4 address in it, and
    the zone of a link-local address is the name of the network interface.  Text that
    is no address is returned as it is.

    @param host: an address, or any other text.
    @param scope: the number of the interface, where the text has no zone.
    """
    if ":" not in host:
        return host  # IPv4 has one spelling
    plain, _, zone = host.partition("%")
    try:
        packed = inet_pton(AF_INET6, plain)
    except (OSError, ValueError):
        return host
    if packed.startswith(_MAPPED):
        return inet_ntop(AF_INET, packed[len(_MAPPED) :])
    zone = interfaceName(zone or (str(scope) if scope else ""))
    return f"{inet_ntop(AF_INET6, packed)}%{zone}" if zone else inet_ntop(AF_INET6, packed)


def canonicalAddress(address: IPAddress) -> IPAddress:
    """
    The same address in its L{canonical} spelling, and of the kind that it is.
    """
    host = canonical(address.host, getattr(address, "scopeID", 0))
    return (IPv6Address if ":" in host else IPv4Address)("TCP", host, address.port)


def interfaceName(zone: str) -> str:
    """
    The name of a network interface that is given by its number (RFC 4007, section
    11.2).  A name is returned as it is, and so is the number of no interface.
    """
    if not (zone.isascii() and zone.isdecimal()):
        return zone
    try:
        return if_indextoname(int(zone))
    except (OSError, OverflowError):
        return zone


def _pathOf(address: UNIXAddress) -> str | None:
    name = address.name
    return name.decode("utf-8", "backslashreplace") if name else None


def isLoopback(address: str) -> bool:
    """
    Whether text is a loopback address.
    """
    try:
        return ip_address(canonical(address)).is_loopback
    except ValueError:
        return False


def isLocal(end: Endpoint) -> bool:
    """
    Whether only this machine can reach an end: it is on loopback, or no IP address.
    """
    return end.family not in ("IPv4", "IPv6") or isLoopback(end.address or "")
