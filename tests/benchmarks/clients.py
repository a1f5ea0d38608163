"""
The compared clients in Python: each sends a message on all of its connections, and
again when it has come back.

C{python -m tests.benchmarks.clients NAME PORT CONNECTIONS SIZE} runs one of them.
The server counts.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from tests.benchmarks.load import HOST
from tests.benchmarks.servers import failed, newLoop


def runTwisted(name: str, port: int, connections: int, message: bytes) -> None:
    """
    Run one of the clients under Twisted.
    """
    from twisted.internet import reactor
    from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
    from twisted.internet.protocol import Protocol

    from twisted_tcpdemo import ClientEndpoint, TCPDemoProtocol

    class Plain(Protocol):
        """
        Sends again what has come back.
        """

        transport: Any
        left = len(message)

        def connectionMade(self) -> None:
            self.transport.setTcpNoDelay(True)
            self.transport.write(message)

        def dataReceived(self, data: bytes) -> None:
            self.left -= len(data)
            if not self.left:
                self.left = len(message)
                self.transport.write(message)

    class Counted(Plain, TCPDemoProtocol):
        """
        The same as an application's protocol.
        """

    endpoint: Any = (
        ClientEndpoint(reactor, HOST, port)
        if name.startswith("fast")
        else TCP4ClientEndpoint(reactor, HOST, port)
    )
    for _ in range(connections):
        protocol = Counted() if name == "fast" else Plain()
        connectProtocol(endpoint, protocol).addErrback(failed)
    reactor.run()  # type: ignore[attr-defined]


class AsyncioClient(asyncio.Protocol):
    """
    The same for asyncio, uvloop and aiofastnet.
    """

    transport: Any

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._left = len(message)

    def connection_made(self, transport: Any) -> None:
        """
        Send the first message.
        """
        self.transport = transport
        transport.write(self._message)

    def data_received(self, data: bytes) -> None:
        """
        Send again when all has come back.
        """
        self._left -= len(data)
        if not self._left:
            self._left = len(self._message)
            self.transport.write(self._message)


async def runAsyncio(name: str, port: int, connections: int, message: bytes) -> None:
    """
    Connect, and stay.
    """
    loop: Any = asyncio.get_running_loop()
    if name.startswith("aiofastnet"):
        import aiofastnet

        aiofastnet.patch_loop(loop)
    kept = [
        await loop.create_connection(lambda: AsyncioClient(message), HOST, port)
        for _ in range(connections)
    ]
    await loop.create_future()
    del kept


def main(name: str, port: str, connections: str, size: str) -> None:
    """
    Run one client.
    """
    arguments = (name, int(port), int(connections), bytes(int(size)))
    if name.startswith(("asyncio", "aiofastnet", "uvloop")):
        newLoop(name).run_until_complete(runAsyncio(*arguments))
    else:
        runTwisted(*arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
