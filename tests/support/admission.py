"""
Peers that ask a policy whether they may come in.
"""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from twisted_tcpdemo.interfaces import IAdmissionPolicy

HOST = IPv4Address("TCP", "127.0.0.1", 80)
UNIX = UNIXAddress(b"/tmp/socket")


def peer(host: str, port: int = 1) -> IAddress:
    """
    The address of a peer.
    """
    return (IPv6Address if ":" in host else IPv4Address)("TCP", host, port)


def arrives(policy: IAdmissionPolicy, who: IAddress, now: float = 0.0) -> str | None:
    """
    Let a peer come, and tell which rule refuses it.
    """
    name = policy.decide(HOST, who, now)
    if name is None:
        policy.opened(HOST, who, now)
    return name
