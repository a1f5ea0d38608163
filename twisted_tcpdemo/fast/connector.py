"""
Connecting over TCP: the client's side of a connection that writes through.

Twisted's own client looks names up, binds, connects and fails; only the waiting is
ours.  While the kernel connects, the poller waits for the socket to become
writable, and for nothing else.
"""

from __future__ import annotations

from socket import socket
from typing import Final

from twisted.internet.error import ConnectError
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Client, Connector
from twisted.python.failure import Failure

from twisted_tcpdemo.fast.poller import READ, WRITE
from twisted_tcpdemo.fast.transport import Name, WriteThroughTransport
from twisted_tcpdemo.shapes import Reactor

PRIVATE_NAMES: Final = {
    "twisted.internet.tcp.Client": (
        "_commonConnection",
        "_connectDone",
        "_finishInit",
        "_stopReadingAndWriting",
        "_collectSocketDetails",
    ),
    "twisted.internet.tcp.Connector": ("_makeTransport",),
}


class ClientTransport(WriteThroughTransport, Client):  # type: ignore[misc]
    """
    The client's side of a connection, from the attempt to connect on.
    """

    _commonConnection = WriteThroughTransport  # type: ignore[assignment]
    reactor: Reactor  # type: ignore[assignment]  # Twisted's type has no clock

    def __init__(
        self, host: str, port: int, bindAddress: object, connector: Connector, reactor: object
    ) -> None:
        """
        See L{Client}, which calls the other base's when it has a socket.
        """
        Client.__init__(self, host, port, bindAddress, connector, reactor)

    def _finishInit(
        self, whenDone: object, skt: socket | None, error: object, reactor: object
    ) -> None:
        if whenDone is None and skt is not None:
            skt.close()  # it could not be bound, and Twisted would forget it
        super()._finishInit(whenDone, skt, error, reactor)

    def startReading(self) -> None:
        """
        Read when data comes; while it connects, none can.
        """
        if self.connected:
            super().startReading()

    def startWriting(self) -> None:
        """
        Send pending bytes; while it connects, wait for the socket to be writable.
        """
        if self.connected:
            super().startWriting()
        elif self.descriptor < 0:
            self.writing = True
            self.descriptor = self.socket.fileno()
            self._poller.add(self, WRITE)

    def _connectDone(self) -> None:
        if self.descriptor < 0:
            self.descriptor = self.socket.fileno()
            self._poller.add(self)
        else:
            self._poller.watch(self, READ)
        protocol = self.connector.buildProtocol(self.getPeer())
        self.connected = 1
        self._logstr = None
        self.lastActivity = self._poller.now or self.reactor.seconds()
        self._direct = True
        self.protocol = Protocol() if protocol is None else protocol
        self._name = self.protocol.__class__.__name__
        if protocol is None:
            self.loseConnection()
        else:
            self.startReading()
            protocol.makeConnection(self)

    def _stopReadingAndWriting(self) -> None:
        self.reading = self.writing = False
        if self.descriptor >= 0:
            self._poller.remove(self)

    def _collectSocketDetails(self) -> None:
        del self.socket

    def connectionLost(self, reason: Failure) -> None:
        """
        Tell the protocol, and then the connector.
        """
        if self.connected:
            super().connectionLost(reason)
            self.connector.connectionLost(reason)
        else:
            self.failIfNotConnected(ConnectError(string=reason))

    def _madeLogstr(self) -> str:
        return f"{self._prefix()},client" if self.connected else "Uninitialized"

    def _peerName(self) -> Name:
        name: Name = self.realAddress
        return name


class WriteThroughConnector(Connector):
    """
    Makes a L{ClientTransport} for each attempt to connect.
    """

    def _makeTransport(self) -> ClientTransport:
        return ClientTransport(self.host, self.port, self.bindAddress, self, self.reactor)
