"""
Connecting over TCP: the client's side of a connection that writes through.

Twisted's own client looks names up, binds, connects and fails.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.tcp import Client, Connector

from twisted_tcpdemo.fast.connecting import Connecting, SteadyConnector
from twisted_tcpdemo.fast.transport import Name, WriteThroughTransport
from twisted_tcpdemo.tls.context import EngineMaker

PRIVATE_NAMES: Final = {
    "twisted.internet.tcp.Connector": ("_makeTransport",),
}


class ClientTransport(Connecting, WriteThroughTransport, Client):  # type: ignore[misc]
    """
    The client's side of a connection, from the attempt to connect on.
    """

    _commonConnection = WriteThroughTransport  # type: ignore[assignment]

    def __init__(
        self, host: str, port: int, bindAddress: object, connector: Connector, reactor: object
    ) -> None:
        """
        See L{Client}, which calls the other base's when it has a socket.
        """
        Client.__init__(self, host, port, bindAddress, connector, reactor)

    def _connectDone(self) -> None:
        # Under Nagle's algorithm the second of two small writes would wait 40 ms.
        self.setTcpNoDelay(True)
        self.inheritedNoDelay = True
        super()._connectDone()

    def _peerName(self) -> Name:
        name: Name = self.realAddress
        return name


class WriteThroughConnector(SteadyConnector, Connector):
    """
    Makes a L{ClientTransport} for each attempt to connect.

    @ivar engineMaker: makes the TLS engine of the connection, if it is to be
        encrypted.
    """

    engineMaker: EngineMaker | None = None

    def _makeTransport(self) -> ClientTransport:
        return ClientTransport(self.host, self.port, self.bindAddress, self, self.reactor)
