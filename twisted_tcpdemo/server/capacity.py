"""
The limit: how many connections there is room for, and when observers hear that
it is near.

The limit is asked three times for one client.  A listener asks how many it may accept
(L{Capacity.room}), the factory asks before it builds a protocol, and again when
that gets its transport (L{Capacity.refusing}): between the two, other clients may come,
and a protocol may be built past the factory.  Then the connection is entered in
the ledger, whose count is the one compared.  So there is never one too many,
whatever accepts and whatever is wrapped around it.

Descriptors are a limit too, and belong to the whole process: L{DESCRIPTORS} is the
account of all servers in it.  A refused client holds one as long as it lingers, or at
least until the next turn of the reactor; both are counted.  So are the connections of
other servers; companions have places set aside for their visitors; and what else is
open when a listener opens is measured.
"""

from __future__ import annotations

import os
from collections.abc import Sized
from typing import Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from twisted_tcpdemo.connection.farewell import Farewell
from twisted_tcpdemo.interfaces import IHandOver, IHeldClient
from twisted_tcpdemo.server.observers import Observers
from twisted_tcpdemo.server.watermarks import Watermarks
from twisted_tcpdemo.shapes import Clock
from twisted_tcpdemo.transports.layers import clockOf
from twisted_tcpdemo.values.descriptors import NO_DESCRIPTOR, mostDescriptors

_log = Logger(namespace="tcpdemo")

HEADROOM: Final = 32
"""Descriptors that may be opened after a listener has, for all but connections."""

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
    @ivar handOver: takes clients into other processes, if anything does.  The descriptors
        are those of all processes then, and each has its own share.
    """

    descriptorLimit: int | None
    descriptorReserve: int | None
    watermarks: Watermarks | None
    clock: Clock | IReactorTime | None
    numPorts: int
    handOver: IHandOver | None

    @property
    def maxConnections(self) -> int | None:
        """
        How many connections may be open; L{None} for any number.
        """

    @property
    def overflow(self) -> str:
        """
        What happens to clients beyond the limit.
        """


class Descriptors:
    """
    The account of a process's descriptors.
    """

    def __init__(self) -> None:
        self._servers: list[Capacity] = []
        self._aside: dict[Capacity, int] = {}

    def enter(self, server: Capacity) -> None:
        """
        Count the connections of a server from now on: a port of it has opened.
        """
        if server not in self._servers:
            self._servers.append(server)
        self.strikeOut()

    def strikeOut(self) -> None:
        """
        Count no more servers that neither listen nor hold a descriptor.
        """
        self._servers = [server for server in self._servers if server.isCounted]
        for server in self._servers:
            server.beside = tuple(other for other in self._servers if other is not server)

    def setAside(self, visitors: Capacity, count: int) -> None:
        """
        Keep descriptors for the visitors of a companion; C{0} gives them back.
        """
        self._aside.pop(visitors, None)
        if count:
            self._aside[visitors] = count
        self.strikeOut()
        for server in self._servers:
            server.measureAgain()

    def kept(self, reserve: int) -> int:
        """
        Descriptors that are not for connections of servers.

        @param reserve: the least number for all but servers and companions.
        """
        counted = sum(c.used for c in (*self._servers, *self._aside))
        return max(reserve, openNow() - counted + HEADROOM) + sum(self._aside.values())


DESCRIPTORS: Final = Descriptors()
"""The account of this process."""


def openNow() -> int:
    """
    How many descriptors the process has open; C{0} where the system does not tell.
    """
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


class Capacity:
    """
    Compares the connections of a server with its limits.

    @ivar lingering: refused clients that still hold a descriptor.
    @ivar held: accepted clients that have no protocol yet, and hold a descriptor.
    @ivar waiting: of those, the clients that wait for a slot, the first one first.
    @ivar suspended: whether listeners are to accept no client for now.
    @ivar beside: other servers in the process.
    """

    def __init__(self, limits: Limits, connections: Sized, observers: Observers) -> None:
        """
        @param limits: the factory.
        @param connections: the open connections.
        @param observers: are told when a watermark is crossed.
        """
        self.lingering: set[Farewell] = set()
        self.held: set[IHeldClient] = set()
        self.waiting: dict[IHeldClient, None] = {}
        self.suspended = False
        self.beside: tuple[Capacity, ...] = ()
        self._limits = limits
        self._connections = connections
        self._observers = observers
        self._reminder: IDelayedCall | None = None
        self._measured: int | None = None
        self._here: int | None = None

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
        limits, opened = self._limits, len(self._connections)
        limit = limits.maxConnections
        if limit is not None and opened >= limit:
            return "maxConnections"
        limit = limits.descriptorLimit
        if limit is not None and opened + self._others >= limit:
            return NO_DESCRIPTOR
        return None

    def hasDescriptors(self) -> bool:
        """
        Whether one is left for another connection.
        """
        limit = self._limits.descriptorLimit
        return limit is None or self._left(limit) > 0

    def _left(self, limit: int) -> int:
        """
        Descriptors that are left for other connections.

        @param limit: those of all processes.
        """
        opened, handOver = len(self._connections), self._limits.handOver
        if handOver is None:
            return limit - opened - self._others
        here = limit if self._here is None else self._here
        return min(limit - opened, here - (opened - handOver.elsewhere) - self._others)

    @property
    def _isShut(self) -> bool:
        """
        Whether clients are to stay in the kernel's queue, however many places there are.
        """
        handOver = self._limits.handOver
        return self.suspended or (handOver is not None and not handOver.isOpen)

    @property
    def _others(self) -> int:
        """
        Descriptors of clients that are no connections, and of other servers.
        """
        own = len(self.lingering) + len(self.held)
        return own + sum(other.used for other in self.beside) if self.beside else own

    @property
    def used(self) -> int:
        """
        Descriptors of all its clients in this process.
        """
        used = len(self._connections) + len(self.lingering) + len(self.held)
        handOver = self._limits.handOver
        return used if handOver is None else used - handOver.elsewhere

    @property
    def isCounted(self) -> bool:
        """
        Whether it listens, or holds a descriptor.
        """
        return bool(self._limits.numPorts or self.used)

    @property
    def refuses(self) -> bool:
        """
        Whether clients that cannot come in are refused, and do not wait.
        """
        return self._limits.overflow != "wait"

    def mustWait(self, isHeld: bool) -> bool:
        """
        Whether a client that could be connected has to wait, as it would in the
        kernel's queue.

        @param isHeld: whether it holds a descriptor already.
        """
        if self._isShut or self._limits.overflow != "wait":
            return self._isShut
        places, descriptors = self._limits.maxConnections, self._limits.descriptorLimit
        opened = len(self._connections)
        isFull = places is not None and opened >= places
        return isFull or (descriptors is not None and self._left(descriptors) + isHeld <= 0)

    def room(self) -> int | None:
        """
        How many clients a listener may accept in a batch; L{None} for any
        number.
        """
        if self._isShut:
            return 0
        limits, opened = self._limits, len(self._connections)
        descriptors = limits.descriptorLimit
        if descriptors is not None:
            descriptors = max(0, self._left(descriptors))
        if limits.overflow == "wait":
            places = limits.maxConnections
            if places is not None:
                places -= opened + len(self.waiting)
            bounds = [n for n in (places, descriptors) if n is not None]
            return max(0, min(bounds)) if bounds else None
        if descriptors is None:
            return None
        # A refused client holds its descriptor until the next turn: the reserve
        # has to hold a batch of them.
        return descriptors + max(1, (limits.descriptorReserve or 0) // 4)

    def measureDescriptors(self) -> None:
        """
        Take the descriptor limit from the process, as a listener opens.
        """
        limits = self._limits
        if limits.descriptorReserve is None:
            return
        DESCRIPTORS.enter(self)
        kept = DESCRIPTORS.kept(limits.descriptorReserve)
        allowed = self._here = descriptorLimit(kept)
        if allowed is not None and limits.handOver is not None:
            # The other processes have neither listeners nor companions.
            each = descriptorLimit(limits.descriptorReserve) or 0
            allowed = limits.handOver.processes * each
        limits.descriptorLimit = self._measured = allowed
        self.changed()
        if allowed is not None and (limits.maxConnections or 0) > allowed:
            _log.warn(
                "maxConnections is {maxConnections}, but the descriptor limit of the process "
                "leaves room for {descriptorLimit}; raise it (ulimit -n)",
                maxConnections=limits.maxConnections,
                descriptorLimit=allowed,
            )

    def measureAgain(self) -> None:
        """
        Take the descriptor limit once more, unless the program has set one of its own.
        """
        if self._limits.descriptorLimit == self._measured:
            self.measureDescriptors()

    def changed(self) -> None:
        """
        Tell observers of the watermarks that a change of the count or of a limit
        has crossed, and look again when a cooldown is over.
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
        Do not look again: no listener is open.
        """
        if self._reminder is not None and self._reminder.active():
            self._reminder.cancel()
        self._reminder = None


def share(most: int) -> int:
    """
    How many descriptors may be set aside for one purpose: an eighth of them.

    @param most: the most that are wanted.
    """
    allowed = descriptorLimit(0)
    return most if allowed is None else min(most, max(1, allowed // 8))


def descriptorLimit(reserve: int = DESCRIPTOR_RESERVE) -> int | None:
    """
    How many connections the process's descriptor limit (RLIMIT_NOFILE) leaves
    room for.

    @param reserve: descriptors that are kept for something else; at the most
        half of what there is.
    @return: L{None} where there is no such limit.
    """
    most = mostDescriptors()
    return None if most is None else max(most - reserve, most // 2)
