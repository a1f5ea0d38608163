"""
Clients that a port has accepted and not connected yet: behind a proxy, until their
PROXY header is whole.

They hold descriptors, and no slots.  Where clients wait for a slot, one that could be
connected waits, before those in the kernel's queue.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IAddress
from zope.interface import implementer

from twisted_tcpdemo.interfaces import IHeldClient, IHeldClients
from twisted_tcpdemo.server.capacity import Capacity


@implementer(IHeldClients)
class HeldClients:
    """
    The held clients of a factory.
    """

    def __init__(
        self,
        capacity: Capacity,
        freed: Callable[[], object],
        refused: Callable[[str, IAddress, IAddress, str], object],
    ) -> None:
        """
        @param freed: is called when a descriptor may be free.
        @param refused: is called with the rule, both addresses and the detail.
        """
        self._capacity = capacity
        self._freed = freed
        self._refused = refused

    def hold(self, client: IHeldClient) -> bool:
        """
        See L{IHeldClients}.
        """
        if not self._capacity.hasDescriptors():
            return False
        self._capacity.held.add(client)
        return True

    def letGo(self, client: IHeldClient) -> None:
        """
        See L{IHeldClients}.
        """
        self._capacity.waiting.pop(client, None)
        if client in self._capacity.held:
            self._capacity.held.discard(client)
            self._freed()

    def mayEnter(self, client: IHeldClient | None) -> bool:
        """
        See L{IHeldClients}.
        """
        capacity = self._capacity
        first = next(iter(capacity.waiting), client)
        return first is client and not capacity.mustWait(client in capacity.held)

    def wait(self, client: IHeldClient) -> None:
        """
        See L{IHeldClients}.
        """
        self._capacity.held.add(client)
        self._capacity.waiting[client] = None

    def retry(self) -> None:
        """
        See L{IHeldClients}.
        """
        first = next(iter(self._capacity.waiting), None)
        if first is not None and self.mayEnter(first):
            first.enterSoon()

    def refuses(self) -> bool:
        """
        See L{IHeldClients}.
        """
        return self._capacity.refuses

    def refuse(self, host: IAddress, peer: IAddress, rule: str, detail: str) -> None:
        """
        See L{IHeldClients}.
        """
        self._refused(rule, host, peer, detail)
