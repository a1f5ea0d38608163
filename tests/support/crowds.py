"""
The common parts of the tests of limits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.error import ConnectError

from tests.support.certificates import pemFile
from tests.support.peers import Peer
from twisted_tcpdemo import TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.server.observers import ConnectionObserver


class Greeter(TCPDemoProtocol):
    """
    Says hello at once.
    """

    def connectionMade(self) -> None:
        """
        Say it.
        """
        self.transport.write(b"hello")


class Highest(ConnectionObserver):
    """
    Remembers the highest number of connections at a time.
    """

    def __init__(self, factory: TCPDemoFactory) -> None:
        self.factory = factory
        self.count = 0
        factory.addObserver(self)

    def connectionOpened(self, report: object) -> None:
        """
        Compare the present number.
        """
        self.count = max(self.count, self.factory.connectionCount)


async def wave(
    peers: list[Peer], connect: Callable[[], Awaitable[object]], count: int, overflow: str
) -> Counter[str]:
    """
    Connect many clients to a L{Greeter}, wait until each is served or has seen an end, and
    let all leave.

    @param peers: a list to which C{connect} adds each client.
    @param overflow: with C{"wait"}, each client leaves as soon as it is served, so that
        the next one is.
    @return: how many were C{"served"} and C{"refused"}.
    """
    peers.clear()
    for _ in range(count):
        with suppress(ConnectError):  # it was reset at once
            await connect()
    crowd, seen = list(peers), Counter[str]()
    for peer in crowd:
        await peer.when(lambda peer=peer: peer.received or peer.ended or peer.reason)
        seen["served" if peer.received else "refused"] += 1
        if overflow == "wait":
            peer.transport.loseConnection()
    for peer in crowd:
        peer.transport.loseConnection()
    for peer in crowd:
        await peer.whenLost()
    return seen


def endpointFor(transport: str, folder: Path) -> dict[str, Any]:
    """
    The arguments of L{serving<tests.support.peers.serving>} for a transport, with a
    queue for a wave of clients.
    """
    if transport == "tls":
        endpoint = f"ssl:0:interface=127.0.0.1:backlog=200:privateKey={pemFile()}"
        return {"endpoint": endpoint, "tls": True}
    if transport == "unix":
        path = folder / "socket"
        return {"endpoint": f"unix:{path}:backlog=200", "client": f"unix:{path}"}
    scheme = "fasttcp" if transport == "fast" else "tcp"
    return {"endpoint": f"{scheme}:0:interface=127.0.0.1:backlog=200"}
