"""
Single rules of admission: networks, and connections of one peer.

L{PerPeerLimit} keeps one number for each connected peer, so never more of them
than there are connections.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.interfaces import IAddress
from zope.interface import implementer

from twisted_tcpdemo.interfaces import IAdmissionPolicy
from twisted_tcpdemo.values.checks import wholeOrNone
from twisted_tcpdemo.values.networks import Network, Networks, hasNetwork, peerKey


@implementer(IAdmissionPolicy)
class Rule:
    """
    A rule that admits every client and counts nothing.  Subclass it, and override
    the methods that your own rule needs.

    @ivar name: the name of its refusals in counters and logs; make it unique in a
        composition.
    """

    name = "rule"

    def __init__(self, *, name: str | None = None) -> None:
        """
        @param name: a name in place of that of the class.
        """
        if name is not None:
            self.name = name

    def decide(self, host: IAddress, peer: IAddress, now: float) -> str | None:
        """
        See L{IAdmissionPolicy}.
        """
        return None

    def opened(self, host: IAddress, peer: IAddress, now: float) -> None:
        """
        See L{IAdmissionPolicy}.
        """

    def adopted(self, peer: IAddress) -> None:
        """
        See L{IAdmissionPolicy}.
        """

    def closed(self, peer: IAddress) -> None:
        """
        See L{IAdmissionPolicy}.
        """


class _OfNetworks(Rule):
    """
    A rule about the network of a peer.
    """

    def __init__(self, *networks: str | Network, name: str | None = None) -> None:
        """
        @raise ValueError: for text that is no network.
        """
        super().__init__(name=name)
        self._networks = Networks(networks)

    @property
    def networks(self) -> Networks:
        """
        The networks; settable, to anything that L{Networks} takes.  A change
        holds for clients that come after it.

        @raise ValueError: when it is set to text that is no network.
        """
        return self._networks

    @networks.setter
    def networks(self, networks: Iterable[str | Network]) -> None:
        self._networks = Networks(networks)


class AllowedNetworks(_OfNetworks):
    """
    Refuses every peer outside some networks; without networks, every peer that
    has one.
    """

    name = "allowedNetworks"

    def decide(self, host: IAddress, peer: IAddress, now: float) -> str | None:
        """
        See L{IAdmissionPolicy}.
        """
        return self.name if hasNetwork(peer) and peer not in self._networks else None


class DeniedNetworks(_OfNetworks):
    """
    Refuses the peers of some networks.
    """

    name = "deniedNetworks"

    def decide(self, host: IAddress, peer: IAddress, now: float) -> str | None:
        """
        See L{IAdmissionPolicy}.
        """
        return self.name if peer in self._networks else None


class PerPeerLimit(Rule):
    """
    Refuses a peer that has as many connections as the limit allows.
    """

    name = "perPeerLimit"

    def __init__(self, limit: int | None, *, name: str | None = None) -> None:
        """
        @param limit: see the property.
        """
        super().__init__(name=name)
        self.limit = limit
        self._open: dict[int, int] = {}

    @property
    def limit(self) -> int | None:
        """
        How many connections a peer may have: L{None} for any number, C{0} for
        none.  It may be changed at any time; lowering it closes nobody.

        @raise TypeError: when it is set to anything but a number or L{None}.
        @raise ValueError: when it is set to a negative number.
        """
        return self._limit

    @limit.setter
    def limit(self, limit: int | None) -> None:
        self._limit = wholeOrNone("limit", limit)

    def connectionsOf(self, peer: IAddress) -> int:
        """
        How many connections are counted for a peer.
        """
        key = peerKey(peer)
        return 0 if key is None else self._open.get(key, 0)

    def __len__(self) -> int:
        """
        How many peers have a connection.
        """
        return len(self._open)

    def decide(self, host: IAddress, peer: IAddress, now: float) -> str | None:
        """
        See L{IAdmissionPolicy}.
        """
        key = peerKey(peer)
        if key is None or self._limit is None or self._open.get(key, 0) < self._limit:
            return None
        return self.name

    def opened(self, host: IAddress, peer: IAddress, now: float) -> None:
        """
        See L{IAdmissionPolicy}.
        """
        self.adopted(peer)

    def adopted(self, peer: IAddress) -> None:
        """
        See L{IAdmissionPolicy}.
        """
        key = peerKey(peer)
        if key is not None:
            self._open[key] = self._open.get(key, 0) + 1

    def closed(self, peer: IAddress) -> None:
        """
        See L{IAdmissionPolicy}.

        @raise KeyError: if no connection of this peer is open.
        """
        key = peerKey(peer)
        if key is None:
            return
        left = self._open[key] - 1
        if left:
            self._open[key] = left
        else:
            del self._open[key]
