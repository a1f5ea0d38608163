"""
The limit: how many connections there is room for, and who is told that it is
near.

It is asked three times for one client.  A listener asks how many it may accept
(L{Capacity.room}), the factory asks before it builds a protocol, and again when
that gets its transport (L{Capacity.refusing}): between the two, others may have
come, and a protocol may be built past the factory.  Only then is the connection
entered in the ledger, whose count is the one that is compared.  So there is
never one too many, whatever accepts and whatever is wrapped around it.

Descriptors are a limit too.  A client that is sent away holds one as long as it
lingers, and one that is refused at once holds it until the next turn of the
reactor; both are counted.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from twisted_tcpdemo.connection.farewell import Farewell
from twisted_tcpdemo.server.observers import Observers
from twisted_tcpdemo.server.watermarks import Watermarks
from twisted_tcpdemo.transports.layers import clockOf

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

_log = Logger(namespace="tcpdemo")

DESCRIPTOR_RESERVE: Final = 64
"""Descriptors for all but the connections of a server: listeners, the reactor's
own, logs, files that protocols open."""


class Limits(Protocol):
    """
    What a factory says of its limit; each may change at any time.

    @ivar descriptorLimit: how many connections the process's descriptors allow;
        L{None} for any number.
    @ivar descriptorReserve: descriptors that are kept for something else; L{None}
        to do without such a limit.
    @ivar numPorts: listeners that are open.
    """

    descriptorLimit: int | None
    descriptorReserve: int | None
    watermarks: Watermarks | None
    clock: IReactorTime | None
    numPorts: int

    @property
    def maxConnections(self) -> int | None:
        """
        How many may be connected.
        """

    @property
    def overflow(self) -> str:
        """
        What happens to the others.
        """


class Capacity:
    """
    Compares the connections of a server with its limits.

    @ivar lingering: clients that are being sent away and still have their
        descriptor.
    @ivar suspended: whether nobody is to be accepted for the time being.
    """

    def __init__(self, limits: Limits, connections: Sized, observers: Observers) -> None:
        """
        @param limits: the factory.
        @param connections: those that are open.
        @param observers: are told when a watermark is crossed.
        """
        self.lingering: set[Farewell] = set()
        self.suspended = False
        self._limits = limits
        self._connections = connections
        self._observers = observers
        self._reminder: IDelayedCall | None = None

    @property
    def effectiveLimit(self) -> int | None:
        """
        The lower of both limits; L{None} if there is neither.
        """
        limits = (self._limits.maxConnections, self._limits.descriptorLimit)
        return min((n for n in limits if n is not None), default=None)

    def refusing(self) -> str | None:
        """
        The rule that refuses a connection now, or L{None}.
        """
        limit = self._limits.maxConnections
        if limit is not None and len(self._connections) >= limit:
            return "maxConnections"
        return None if self.hasDescriptors() else "descriptorLimit"

    def hasDescriptors(self) -> bool:
        """
        Whether one is left for another connection.
        """
        limit = self._limits.descriptorLimit
        return limit is None or len(self._connections) + len(self.lingering) < limit

    def room(self) -> int | None:
        """
        How many clients may leave the kernel's queue in a batch; L{None} for
        any number.
        """
        if self.suspended:
            return 0
        limits, opened = self._limits, len(self._connections)
        descriptors = limits.descriptorLimit
        if descriptors is not None:
            descriptors = max(0, descriptors - opened - len(self.lingering))
        if limits.overflow == "wait":
            places = None if limits.maxConnections is None else limits.maxConnections - opened
            left = [n for n in (places, descriptors) if n is not None]
            return max(0, min(left)) if left else None
        if descriptors is None:
            return None
        # A client that is refused has its descriptor until the next turn: the
        # reserve must hold a batch of them.
        return descriptors + max(1, (limits.descriptorReserve or 0) // 4)

    def measureDescriptors(self) -> None:
        """
        A listener opens: find out how many descriptors the process has.
        """
        limits = self._limits
        if limits.descriptorReserve is None:
            return
        limits.descriptorLimit = allowed = descriptorLimit(limits.descriptorReserve)
        self.changed()
        if allowed is not None and (limits.maxConnections or 0) > allowed:
            _log.warn(
                "maxConnections is {maxConnections}, but the descriptor limit of the process "
                "leaves room for {descriptorLimit}; raise it (ulimit -n)",
                maxConnections=limits.maxConnections,
                descriptorLimit=allowed,
            )

    def changed(self) -> None:
        """
        The count or a limit has changed: tell of the watermarks that this has
        crossed, and look again when a cooldown is over.
        """
        marks = self._limits.watermarks
        if marks is None:
            return
        clock = self._limits.clock or clockOf(None)
        now = clock.seconds()
        crossings = marks.update(len(self._connections), self.effectiveLimit, now)
        self.forgetReminder()
        if marks.dueAt is not None and self._limits.numPorts:
            self._reminder = clock.callLater(max(0.0, marks.dueAt - now), self.changed)
        for crossing in crossings:
            self._observers.tell("watermarkCrossed", crossing)

    def forgetReminder(self) -> None:
        """
        Look no more by itself, as nobody listens.
        """
        if self._reminder is not None and self._reminder.active():
            self._reminder.cancel()
        self._reminder = None


def descriptorLimit(reserve: int = DESCRIPTOR_RESERVE) -> int | None:
    """
    How many connections the process's descriptor limit (RLIMIT_NOFILE) leaves
    room for.

    @param reserve: descriptors that are kept for something else; at the most
        half of what there is.
    @return: L{None} where there is no such limit.
    """
    if resource is None:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else max(soft - reserve, soft // 2)
