"""
Addresses in plain words, as Node's C{net} has them.
"""

from __future__ import annotations

from ipaddress import IPv6Address as IPv6
from typing import Final, NamedTuple

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from twisted_tcpdemo.values.text import printable

_LONGEST: Final = 80
"""Characters of an address and port that are shown: IPv6 with a scope needs 69."""


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
    address.  The kernel spells it C{::ffff:192.0.2.1} (RFC 4291, section
    2.5.5.2).

    @param address: any address; foreign kinds give an empty L{Endpoint}.
    """
    if isinstance(address, IPv4Address):
        return Endpoint(address.host, address.port, "IPv4")
    if isinstance(address, IPv6Address):
        plain = unmapped(address.host)
        return Endpoint(plain, address.port, "IPv4" if plain != address.host else "IPv6")
    if isinstance(address, UNIXAddress):
        return Endpoint(_pathOf(address), None, "UNIX")
    return Endpoint(None, None, None)


def unmapped(host: str) -> str:
    """
    The IPv4 literal inside an IPv4-mapped IPv6 literal.  Any other text is
    returned as it is.
    """
    if not host.lower().startswith("::ffff:"):
        return host
    try:
        mapped = IPv6(host.partition("%")[0]).ipv4_mapped
    except ValueError:
        return host
    return host if mapped is None else str(mapped)


def _pathOf(address: UNIXAddress) -> str | None:
    name = address.name
    return name.decode("utf-8", "backslashreplace") if name else None
