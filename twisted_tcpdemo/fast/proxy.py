"""
The proxies before a server: who may send a PROXY header.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IAddress

from twisted_tcpdemo.values.checks import positive
from twisted_tcpdemo.values.networks import Network, Networks

_UNIX: Final = "unix"


@dataclass(frozen=True, slots=True)
class Proxy:
    """
    Proxies before a server: who may send a PROXY header, and how long it may take.

    Behind them every connection begins with a header, of version 1 or 2.

    @ivar trusted: the networks and addresses of the proxies; C{"unix"} stands for
        every peer on a UNIX socket.
    @ivar timeout: seconds until the header has to be whole.
    """

    trusted: Iterable[str | Network]
    timeout: float = 5.0
    networks: Networks = field(init=False, repr=False, compare=False)
    trustsUNIX: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """
        @raise TypeError: for a value of the wrong type.
        @raise ValueError: for text that is no network, if nobody is trusted, and
            for a time that is not positive.
        """
        given = (self.trusted,) if isinstance(self.trusted, str) else self.trusted
        if not isinstance(given, Iterable):
            raise TypeError(f"trusted must be a list of networks, not {given!r}")
        trusted = tuple(given)
        for network in trusted:
            if not isinstance(network, str | Network):
                raise TypeError(f"trusted must hold networks such as '10.0.0.0/8', not {network!r}")
        if not trusted:
            raise ValueError("trusted must name the proxies; nobody could connect")
        positive("timeout", self.timeout)
        object.__setattr__(self, "trusted", trusted)
        networks = Networks(network for network in trusted if network != _UNIX)
        object.__setattr__(self, "networks", networks)
        object.__setattr__(self, "trustsUNIX", _UNIX in trusted)

    def trusts(self, peer: IAddress) -> bool:
        """
        Whether a peer may send a header.
        """
        return self.trustsUNIX if isinstance(peer, UNIXAddress) else peer in self.networks
