"""
The names and addresses of hosts: one spelling of each, for the look-up and for TLS.
"""

from __future__ import annotations

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address

from twisted_tcpdemo.values.addresses import canonical

Family = type[IPv4Address] | type[IPv6Address]


def familyOf(address: str) -> Family | None:
    """
    The family of an IP address, or L{None} for any other text.
    """
    if isIPAddress(address):
        return IPv4Address
    return IPv6Address if isIPv6Address(address) else None


def checkHost(host: object) -> Family | None:
    """
    Check a host's name or address.

    @return: the family of an address, or L{None} for a name.
    @raise TypeError: if the host is no C{str}.
    @raise ValueError: if it is neither a name nor an address.
    """
    if not isinstance(host, str):
        raise TypeError(f"host must be a str, not {host!r}")
    family = familyOf(host)
    if family is None:
        if host.startswith("["):
            raise ValueError(f"host must be an address without brackets, not {host!r}")
        encoded(host)
    return family


def encoded(host: str) -> str:
    """
    A host's name in ASCII, as a look-up and a certificate have it.

    A name is encoded once, and everything else gets the result.  Python's own
    look-up encodes by IDNA 2003, its TLS and Twisted's by IDNA 2008, and for
    some names that makes two (C{faß.test} is C{fass.test} in the first).  This is
    IDNA 2008, after the mapping of UTS 46 that browsers and Node have, such as
    that to small letters.

    @param host: a name, or an address, whose spelling is L{canonical} in the result.
        A name in ASCII is returned as it is: names of containers often have an
        underscore.
    @raise ValueError: if it is no name.
    """
    if familyOf(host) is not None:
        return canonical(host)
    wrong = f"host must be a name or an address, not {host!r}"
    if not host.isprintable() or any(c in " /:@[]\\" for c in host):
        raise ValueError(wrong)
    try:
        name = _encode(host)
    except UnicodeError:
        raise ValueError(wrong) from None
    if not 0 < len(name) <= 254:
        raise ValueError(wrong)
    return name


def _encode(host: str) -> str:
    if not host.isascii():
        try:
            import idna  # comes with Twisted, by way of hyperlink
        except ImportError:
            pass
        else:
            return idna.encode(host, uts46=True).decode("ascii")
    return host.encode("idna").decode("ascii")
