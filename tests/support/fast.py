"""
Servers on the fast lane, with plain protocols of Twisted's.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet.protocol import Factory

from tests.support.peers import Peer
from twisted_tcpdemo.fast.endpoint import ServerEndpoint
from twisted_tcpdemo.fast.poller import Poller


class Remembering(Peer):
    """
    A server's protocol that remembers, and tells its server that it is there.
    """

    def connectionMade(self) -> None:
        """
        Be found in C{server.made}.
        """
        factory: Any = self.factory
        factory.made.append(self)
        super().connectionMade()


class FastServer(Factory[Any]):
    """
    A listening factory.

    @ivar made: its protocols, in the order in which they were connected.
    """

    noisy = False

    def __init__(self, protocol: Callable[[], Any]) -> None:
        self.protocol = protocol
        self.made: list[Any] = []
        self.listening: Any = None

    @property
    def port(self) -> int:
        """
        Where to connect.
        """
        port: int = self.listening.getHost().port
        return port


@asynccontextmanager
async def fastServer(
    protocol: Callable[[], Any] = Remembering, **options: Any
) -> AsyncGenerator[FastServer]:
    """
    Listen as long as the block lasts.

    @param options: those of L{ServerEndpoint}.
    """
    from twisted.internet import reactor

    server = FastServer(protocol)
    options.setdefault("interface", "127.0.0.1")
    server.listening = await ServerEndpoint(reactor, 0, **options).listen(server)
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
