"""
Hooks that raise anything, of servers and of clients, over every transport: the connection
ends, is counted, and no other hears of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

from tests.contract.test_contract import Serve
from tests.contract.test_sockets import raising, rest
from tests.support.certificates import pemFile
from tests.support.clients import installedReactor
from tests.support.contexts import PythonContexts, TwistedContexts
from tests.support.hygiene import LoggedErrors
from tests.support.peers import serving
from tests.support.waiting import until
from twisted_tcpdemo import ClientEndpoint, TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.twistd.programs import Echo

KINDS: list[type[BaseException]] = [
    *(ZeroDivisionError, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError)
]


def mayRaise(kind: type[BaseException], isOurs: bool) -> None:
    """
    Skip what would end the reactor of the tests: Twisted's own transports let it through
    to the main loop.
    """
    if kind is KeyboardInterrupt and not isOurs:
        pytest.skip("Twisted lets it through")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hook", ["readConnectionLost", "writeConnectionLost", "connectionLost"])
async def test_endOfServers(
    hook: str,
    kind: type[BaseException],
    serve: Serve,
    transport: str,
    loggedErrors: LoggedErrors,
) -> None:
    """
    A hook at the end of a connection that raises anything costs no slot.
    """
    mayRaise(kind, transport.startswith("fast"))

    class Exits(Echo):
        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            if data == b"end":
                setattr(self, hook, raising(kind))
                if hook == "writeConnectionLost" and hasattr(self.transport, "loseWriteConnection"):
                    self.transport.loseWriteConnection()

    async with serve(Exits, maxConnections=2) as server:
        for count in (1, 2):
            peer, other = await server.connect(), await server.connect()
            peer.transport.write(b"end")
            await peer.whenReceived(3)
            peer.transport.loseConnection()
            await until(lambda count=count: server.factory.closedCount == 2 * count - 1)  # type: ignore[misc]
            other.transport.write(b"hello")
            await other.whenReceived(5)
            other.transport.loseConnection()
            await rest(server, 2 * count)
    loggedErrors.take(kind)


async def test_attributes(serve: Serve, loggedErrors: LoggedErrors) -> None:
    """
    A protocol whose __getattr__ raises when its connection ends costs no slot.
    """

    class Strange(Echo):
        ended = False

        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            self.ended = True

        def __getattr__(self, name: str) -> Any:
            raise ZeroDivisionError if self.ended else AttributeError(name)

    async with serve(Strange, maxConnections=1) as server:
        for count in (1, 2):
            peer = await server.connect()
            peer.transport.write(b"hello")
            await peer.whenReceived(5)
            peer.transport.loseConnection()
            await rest(server, count)
    loggedErrors.take(ZeroDivisionError)


class Exiting(TCPDemoProtocol):
    """
    A client one of whose hooks raises.
    """

    def __init__(self, hook: str, kind: type[BaseException]) -> None:
        self.received = b""
        self.lost = False
        if hook == "connectionMade":
            self.connectionMade = raising(kind)  # type: ignore[method-assign]
        self.hook, self.kind = hook, kind

    def dataReceived(self, data: bytes) -> None:
        """
        Raise, or let the next hook raise.
        """
        self.received += data
        setattr(self, self.hook, raising(self.kind))
        if self.hook == "dataReceived":
            raise self.kind
        if self.hook == "timeoutConnection":
            self.setTimeout(0.05)
        elif self.hook != "readConnectionLost":
            self.transport.loseConnection()
        else:
            self.transport.write(b"leave")


class Leaving(Echo):
    """
    Echoes, and closes when it is told to.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Echo, or close.
        """
        if data == b"leave":
            self.transport.loseConnection()
        else:
            super().dataReceived(data)


DOORS: dict[str, Callable[[int, str], Any]] = {
    "fast": lambda port, path: ClientEndpoint(installedReactor(), "127.0.0.1", port),
    "fast-unix": lambda port, path: ClientEndpoint(installedReactor(), path=path),
    "fast-tls": lambda port, path: ClientEndpoint(
        installedReactor(), "127.0.0.1", port, tls=TwistedContexts.client()
    ),
    "fast-ssl": lambda port, path: ClientEndpoint(
        installedReactor(), "127.0.0.1", port, tls=PythonContexts.client()
    ),
    "tcp": lambda port, path: TCP4ClientEndpoint(installedReactor(), "127.0.0.1", port),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "hook",
    [
        *("connectionMade", "dataReceived", "timeoutConnection"),
        *("readConnectionLost", "connectionLost", "logPrefix"),
    ],
)
@pytest.mark.parametrize("door", DOORS)
async def test_clients(
    door: str, hook: str, kind: type[BaseException], tmp_path: Path, loggedErrors: LoggedErrors
) -> None:
    """
    A client whose hook raises anything ends with its own connection, with a reason, and
    another client of the process goes on.
    """
    mayRaise(kind, door != "tcp")
    path = str(tmp_path / "socket")
    where = "tcp:0:interface=127.0.0.1"
    if door == "fast-unix":
        where = f"unix:{path}"
    elif door in ("fast-tls", "fast-ssl"):
        where = f"ssl:0:interface=127.0.0.1:privateKey={pemFile()}"
    async with serving(TCPDemoFactory(Leaving), where, f"unix:{path}") as server:
        endpoint = DOORS[door](server.port, path)
        good, bad = Exiting("unused", kind), Exiting(hook, kind)
        good.dataReceived = lambda data: setattr(good, "received", good.received + data)  # type: ignore[method-assign]
        await connectProtocol(endpoint, good)
        connecting = connectProtocol(endpoint, bad)
        connecting.addErrback(lambda failure: None)
        if hook != "connectionMade":
            await connecting
            bad.transport.write(b"hello")
        await until(lambda: bad.closeReason is not None)
        await until(lambda: server.factory.connectionCount == 1)
        good.transport.write(b"hello")
        await until(lambda: good.received == b"hello")
        good.transport.loseConnection()
        await until(lambda: good.closeReason is not None)
        await until(lambda: server.factory.connectionCount == 0)
        assert server.factory.conservation() == []
    loggedErrors.take(kind)
