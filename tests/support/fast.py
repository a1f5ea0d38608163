"""
Servers on the fast lane, with plain protocols of Twisted's.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet.protocol import Factory

from tests.support.peers import Peer
from tests.support.waiting import until
from twisted_tcpdemo.fast.endpoint import ServerEndpoint
from twisted_tcpdemo.fast.poller import Poller


class Remembering(Peer):
    """
    A server's protocol that remembers its events, and enters itself in
    C{server.made}.
    """

    def connectionMade(self) -> None:
        """
        Enter itself.
        """
        factory: Any = self.factory
        factory.made.append(self)
        super().connectionMade()


class FastServer(Factory[Any]):
    """
    A factory that listens.

    @ivar made: its protocols, in the order of their connections.
    """

    noisy = False

    def __init__(self, protocol: Callable[[], Any]) -> None:
        self.protocol = protocol
        self.made: list[Any] = []
        self.listening: Any = None

    @property
    def port(self) -> int:
        """
        The number of the port.
        """
        port: int = self.listening.getHost().port
        return port


@asynccontextmanager
async def fastServer(
    protocol: Callable[[], Any] = Remembering, **options: Any
) -> AsyncGenerator[FastServer]:
    """
    Listen as long as the block lasts.

    @param options: the options of L{ServerEndpoint}.
    """
    from twisted.internet import reactor

    server = FastServer(protocol)
    if "path" not in options:
        options = {"port": 0, "interface": "127.0.0.1", **options}
    server.listening = await ServerEndpoint(reactor, **options).listen(server)
    try:
        yield server
    finally:
        await server.listening.stopListening()


def pollerReads() -> bool:
    """
    Whether the poller is one of the reactor's readers.
    """
    from twisted.internet import reactor

    readers = reactor.getReaders()  # type: ignore[attr-defined]
    return any(isinstance(reader, Poller) for reader in readers)


SMALL = 4096
"""A receive buffer that is full soon, in bytes."""


async def drainPeer(peer: socket.socket, count: int) -> bytes:
    """
    Read a number of bytes from a plain socket.
    """
    got = bytearray()

    def some() -> bool:
        try:
            while len(got) < count and (data := peer.recv(1 << 20)):
                got.extend(data)
        except BlockingIOError:
            pass
        return len(got) >= count

    await until(some)
    return bytes(got)


async def accepted(server: FastServer, count: int = 1) -> Any:
    """
    The newest protocol of a server, once it has that many.
    """
    await until(lambda: len(server.made) == count)
    return server.made[-1]


async def closed(protocol: Any) -> None:
    """
    End a connection, and wait for its loss.
    """
    protocol.transport.abortConnection()
    await protocol.whenLost()


class Pusher:
    """
    A push producer that remembers the calls to it.
    """

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        """
        Remember it.
        """
        self.told.append("pause")

    def resumeProducing(self) -> None:
        """
        Remember it.
        """
        self.told.append("resume")

    def stopProducing(self) -> None:
        """
        Remember it.
        """
        self.told.append("stop")


class FailingOnce:
    """
    A listening socket whose accept(2) fails for the first client alone.
    """

    def __init__(self, real: Any, number: int) -> None:
        self._real = real
        self._number = number
        self._failed = False

    def _accept(self) -> Any:
        if not self._failed:
            self._failed = True
            raise OSError(self._number, "for this one")
        return self._real._accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def openFiles() -> int:
    """
    How many descriptors this process has.
    """
    return len(os.listdir("/proc/self/fd"))
