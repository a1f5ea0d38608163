"""
Connections to a factory, in memory.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from twisted_tcpdemo import TCPDemoFactory

ADDRESS = IPv4Address("TCP", "127.0.0.1", 1)
DONE = Failure(ConnectionDone())


def connected(factory: TCPDemoFactory) -> tuple[Any, Any]:
    """
    A protocol of the factory on a transport in memory, if it is admitted.
    """
    protocol, transport = factory.buildProtocol(ADDRESS), StringTransport()
    protocol.makeConnection(transport)
    return protocol, transport


def peerAddress(host: str, port: int = 1) -> IAddress:
    """
    The address of a peer.
    """
    return (IPv6Address if ":" in host else IPv4Address)("TCP", host, port)


def connect(server: TCPDemoFactory, host: str = "192.0.2.1", port: int = 1) -> Any:
    """
    Connect to a factory in memory.

    @return: the protocol, with its transport as C{wire}, refused or not.
    """
    address = peerAddress(host, port)
    protocol = server.buildProtocol(address)
    protocol.wire = StringTransport(peerAddress=address)
    protocol.makeConnection(protocol.wire)
    return protocol


def lose(protocol: Any, reason: type[Exception] = ConnectionDone) -> None:
    """
    End a connection in memory.
    """
    protocol.connectionLost(Failure(reason()))
