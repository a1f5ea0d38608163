"""
Peers on loopback for the servers and clients under test.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    clientFromString,
    connectProtocol,
    serverFromString,
    wrapClientTLS,
)
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.support.contexts import TwistedContexts
from tests.support.waiting import until
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.server.observers import ConnectionObserver


@implementer(IHalfCloseableProtocol)
class Peer(Protocol):
    """
    A plain Twisted protocol that remembers its events.
    """

    transport: Any

    def __init__(self) -> None:
        self.received = bytearray()
        self.ended = False
        self.reason: BaseException | None = None
        self._waiting: list[tuple[Any, Deferred[None]]] = []

    def connectionMade(self) -> None:
        """
        Look at what is waited for.
        """
        self._happened()

    def dataReceived(self, data: bytes) -> None:
        """
        Remember the bytes.
        """
        self.received += data
        self._happened()

    def readConnectionLost(self) -> None:
        """
        Remember the FIN, and do nothing.
        """
        self.ended = True
        self._happened()

    def writeConnectionLost(self) -> None:
        """
        Do nothing.
        """

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """
        Remember the reason.
        """
        self.reason = reason.value
        self._happened()

    def _happened(self) -> None:
        waiting, self._waiting = self._waiting, []
        for condition, waiter in waiting:
            if condition():
                waiter.callback(None)
            else:
                self._waiting.append((condition, waiter))

    def when(self, condition: Any) -> Deferred[None]:
        """
        Wait until a condition holds, looking at each event.
        """
        waiter: Deferred[None] = Deferred()
        self._waiting.append((condition, waiter))
        self._happened()
        return waiter

    def whenReceived(self, count: int) -> Deferred[None]:
        """
        Wait for a number of bytes in all.
        """
        return self.when(lambda: len(self.received) >= count)

    def whenEnded(self) -> Deferred[None]:
        """
        Wait for the other side's FIN, or for the end.
        """
        return self.when(lambda: self.ended or self.reason is not None)

    def whenLost(self) -> Deferred[None]:
        """
        Wait for the end.
        """
        return self.when(lambda: self.reason is not None)


class Events(ConnectionObserver):
    """
    An observer that remembers the events, as pairs of a name and a fact.
    """

    def __init__(self) -> None:
        self.all: list[tuple[str, Any]] = []

    def __getattribute__(self, name: str) -> Any:
        if name in ConnectionObserver.__dict__ and not name.startswith("_"):
            return lambda fact: self.all.append((name, fact))
        return super().__getattribute__(name)

    def of(self, event: str) -> list[Any]:
        """
        The facts of one kind of event.
        """
        return [fact for name, fact in self.all if name == event]

    @property
    def names(self) -> list[str]:
        """
        The names of the events, in their order.
        """
        return [name for name, _ in self.all]


class Server:
    """
    A factory that listens, and a way to reach it.
    """

    def __init__(self, factory: TCPDemoFactory, client: str, tls: bool) -> None:
        self.factory = factory
        self.client = client
        self.tls = tls
        self.port = 0
        self.events = Events()
        self.peers: list[Peer] = []
        factory.addObserver(self.events)

    async def connect(self) -> Peer:
        """
        Connect another peer.
        """
        from twisted.internet import reactor

        peer = Peer()
        endpoint: Any = clientFromString(reactor, self.client)
        if self.tls:
            endpoint = wrapClientTLS(TwistedContexts.client(), endpoint)
        await connectProtocol(endpoint, peer)
        self.peers.append(peer)
        return peer

    async def protocol(self, index: int = -1) -> Any:
        """
        The protocol of one of the connections, as soon as there is any.
        """
        await until(lambda: self.factory.connections)
        return self.factory.connections[index]


@asynccontextmanager
async def serving(
    factory: TCPDemoFactory,
    endpoint: Any = "tcp:0:interface=127.0.0.1",
    client: str = "tcp:127.0.0.1:{port}",
    tls: bool = False,
) -> AsyncGenerator[Server]:
    """
    Serve with a factory as long as the block lasts.

    @param endpoint: the endpoint to listen on, as a string or an object.
    @param client: the endpoint string of clients, with C{{port}} in place of the
        port.
    @param tls: whether clients speak TLS.
    """
    from twisted.internet import reactor

    server = Server(factory, client, tls)
    if isinstance(endpoint, str):
        endpoint = serverFromString(reactor, endpoint)
    port = await factory.listen(endpoint)
    server.port = getattr(port.getHost(), "port", 0)
    server.client = client.format(port=server.port)
    try:
        yield server
    finally:
        await factory.drain(0)
        for peer in server.peers:
            if peer.reason is None:
                peer.transport.abortConnection()
        for peer in server.peers:
            await peer.whenLost()


def rawConnection(port: int, receiveBuffer: int = 0) -> socket.socket:
    """
    A plain socket, connected over loopback, for behaviour that Twisted's own does
    not have.

    @param receiveBuffer: its SO_RCVBUF, or 0 for the system's.
    """
    raw = socket.socket()
    if receiveBuffer:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receiveBuffer)
    raw.connect(("127.0.0.1", port))
    raw.setblocking(False)
    return raw


def hasEnded(raw: socket.socket) -> bool:
    """
    Whether the other side has closed a plain socket in order, and nothing is left
    to read.
    """
    try:
        return raw.recv(1) == b""
    except BlockingIOError:
        return False


def reset(raw: socket.socket) -> None:
    """
    Close a socket with RST.
    """
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()


def connectTo(port: int, seconds: float = 10.0) -> socket.socket:
    """
    A plain blocking socket for talking to another process, with a limit of time.
    """
    return socket.create_connection(("127.0.0.1", port), timeout=seconds)
