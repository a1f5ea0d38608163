"""
Records of connections, and their slots, protocols and transports.
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
    A server that always has a free slot.
    """

    def __init__(self, clock: Clock, allowHalfOpen: bool = False, **budgets: Any) -> None:
        self.clock = clock
        self.allowHalfOpen = allowHalfOpen
        self.budgets = Budgets(**{"closeFlush": None, "handshake": None, **budgets})
        self.released: list[Connection] = []

    def admit(self, connection: Connection) -> bool:
        """
        Admit the connection.
        """
        connection.attach()
        return True

    def release(self, connection: Connection) -> None:
        """
        Remember the connection that gives its slot back.
        """
        self.released.append(connection)


class Told(TCPDemoProtocol):
    """
    Remembers the hooks that were called.
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
    A transport that tells its watcher of closes and aborts.  Its client has said
    something.
    """

    bytesRead = 1

    def loseConnection(self) -> None:
        """
        Tell, and close.
        """
        if self.watcher is not None:
            self.watcher.transportClosing()
        super().loseConnection()

    def abortConnection(self) -> None:
        """
        Tell, and abort.
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
    Let the transport report a loss.

    @return: the reason of the end that comes of it.
    """
    connection.transportLost(Failure(reason))
    found: CloseReason = connection.closeReason
    return found


class Held(Ours):
    """
    Accepts bytes and keeps them.
    """

    def write(self, data: bytes) -> None:
        """
        Keep the bytes.
        """
        super().write(data)
        self.bytesWritten += len(data)
        self.bytesPending += len(data)
        self.watcher.transportWaiting()

    def take(self, count: int) -> None:
        """
        Let the system take some of them.
        """
        self.bytesPending -= count
        self.watcher.transportFlushed()
