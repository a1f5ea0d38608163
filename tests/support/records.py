"""
Records of connections, and what they need.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.support.metering import Counting
from twisted_tcpdemo import CloseReason, TCPDemoProtocol
from twisted_tcpdemo.connection.record import Connection, ISlots
from twisted_tcpdemo.values.budgets import Budgets

HOST, PEER = IPv4Address("TCP", "192.0.2.1", 80), IPv4Address("TCP", "192.0.2.2", 4000)


DONE, LOST, ABORTED = ConnectionDone(), ConnectionLost(), ConnectionAborted()


@implementer(ISlots)
class Slots:
    """
    The places of a server that has enough of them.
    """

    def __init__(self, clock: Clock, allowHalfOpen: bool = False, **budgets: Any) -> None:
        self.clock = clock
        self.allowHalfOpen = allowHalfOpen
        self.budgets = Budgets(**{"closeFlush": None, "handshake": None, **budgets})
        self.released: list[Connection] = []

    def admit(self, connection: Connection) -> bool:
        """
        There is always one.
        """
        connection.attach()
        return True

    def release(self, connection: Connection) -> None:
        """
        Remember who has given it back.
        """
        self.released.append(connection)


class Told(TCPDemoProtocol):
    """
    Remembers which hooks were called.
    """

    def __init__(self) -> None:
        self.told: list[str] = []

    def readConnectionLost(self) -> None:
        """
        Remember it.
        """
        self.told.append("read")

    def writeConnectionLost(self) -> None:
        """
        Remember it.
        """
        self.told.append("write")

    def timeoutConnection(self) -> None:
        """
        Remember it.
        """
        self.told.append("timeout")

    def drainStarted(self) -> None:
        """
        Remember it.
        """
        self.told.append("drain")


class Ours(Counting):
    """
    A transport of this kind tells its watcher what it is asked for.
    """

    def loseConnection(self) -> None:
        """
        Tell, and close.
        """
        if self.watcher is not None:
            self.watcher.transportClosing()
        super().loseConnection()

    def abortConnection(self) -> None:
        """
        Tell, and break it off.
        """
        if self.watcher is not None:
            self.watcher.transportAborting()
        self.disconnected = self.disconnecting = True


def begin(transport: Any = None, protocol: Any = None, slots: Slots | None = None) -> Any:
    """
    A record of a connection that has just been made.
    """
    slots = slots or Slots(Clock())
    connection = Connection(protocol or Told(), transport or Ours(HOST, PEER), slots)
    slots.admit(connection)
    return connection


def lose(connection: Any, reason: BaseException = DONE) -> CloseReason:
    """
    Let the transport tell of the end: the reason that comes of it.
    """
    connection.transportLost(Failure(reason))
    found: CloseReason = connection.closeReason
    return found


class Held(Ours):
    """
    Accepts what it is given, and keeps it.
    """

    def write(self, data: bytes) -> None:
        """
        Keep it.
        """
        super().write(data)
        self.bytesWritten += len(data)
        self.bytesPending += len(data)
        self.watcher.transportWaiting()

    def take(self, count: int) -> None:
        """
        Let the system take some.
        """
        self.bytesPending -= count
        self.watcher.transportFlushed()
