"""
The common parts of the tests of limits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.certificates import pemFile
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
