"""
PROXY headers as plain values, and back.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from twisted_tcpdemo.fast.proxyheader import ProxyHeader


def headerTo(header: ProxyHeader | None) -> tuple[Any, ...] | None:
    """
    A PROXY header as a plain value.
    """
    if header is None:
        return None
    version, source, destination, tlvs = header
    return version, _addressTo(source), _addressTo(destination), tlvs


def headerFrom(value: tuple[Any, ...] | None) -> ProxyHeader | None:
    """
    The opposite of L{headerTo}.
    """
    if value is None:
        return None
    version, source, destination, tlvs = value
    return ProxyHeader(version, _addressFrom(source), _addressFrom(destination), tlvs)


def _addressTo(address: IAddress | None) -> tuple[Any, ...] | None:
    if isinstance(address, IPv4Address):
        return "IPv4", "TCP", address.host, address.port
    if isinstance(address, IPv6Address):
        return "IPv6", "TCP", address.host, address.port, address.flowInfo, address.scopeID
    if isinstance(address, UNIXAddress):
        return "UNIX", address.name
    return None


_KINDS: dict[str, Any] = {"IPv4": IPv4Address, "IPv6": IPv6Address, "UNIX": UNIXAddress}


def _addressFrom(value: tuple[Any, ...] | None) -> Any:
    return None if value is None else _KINDS[value[0]](*value[1:])
