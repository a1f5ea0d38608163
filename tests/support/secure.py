"""
Both sides of TLS on the fast lane, with contexts of both kinds.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tests.support.certificates import pemFile
from tests.support.clients import Client, to
from tests.support.contexts import PythonContexts, TwistedContexts
from tests.support.engines import Far, encrypted, engine
from tests.support.peers import Server, rawConnection, serving
from tests.support.waiting import until
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.fast.endpoint import ServerEndpoint

CONTEXTS: dict[str, Any] = {"options": TwistedContexts, "standard": PythonContexts}
"""C{CertificateOptions} and C{optionsForClientTLS}, or an C{ssl.SSLContext}."""


def serverOf(kind: str) -> Any:
    """
    A server's context of one kind.
    """
    return CONTEXTS[kind].server()


def clientOf(kind: str, host: str = "localhost", trusting: bool = True) -> Any:
    """
    A client's context of one kind.

    @param host: the name to expect; with an C{SSLContext} the endpoint knows it.
    """
    return CONTEXTS[kind].client(trusts=pemFile("localhost" if trusting else "stranger"), name=host)


class Sides:
    """
    A kind of context for each side.
    """

    def __init__(self, server: str, client: str) -> None:
        self.server = server
        self.client = client

    @asynccontextmanager
    async def connected(
        self,
        protocol: Callable[[], Any] = Client,
        calling: Callable[[], Any] = Client,
        **options: Any,
    ) -> AsyncGenerator[Connected]:
        """
        A server, and a client that has connected to it.

        @param calling: makes the client's protocol.
        @param options: the options of the server's factory.
        """
        async with listening(self.server, protocol, **options) as server:
            client = await to(server.port, "localhost", tls=clientOf(self.client)).connectProtocol(
                calling()
            )
            try:
                yield Connected(server, await server.protocol(), client)
            finally:
                if client.reason is None:
                    client.transport.abortConnection()
                await client.whenLost()


class Connected:
    """
    Both sides of a connection.

    @ivar near: the server's protocol.
    @ivar far: the client's.
    """

    def __init__(self, server: Server, near: Any, far: Any) -> None:
        self.server = server
        self.near = near
        self.far = far

    def bothWays(self) -> tuple[tuple[Any, Any], ...]:
        """
        Each side with the other.
        """
        return (self.near, self.far), (self.far, self.near)

    async def report(self) -> Any:
        """
        The final report of the server's connection.
        """
        return await ended(self.server)


@asynccontextmanager
async def listening(
    kind: str,
    protocol: Callable[[], Any] = Client,
    interface: str = "127.0.0.1",
    **options: Any,
) -> AsyncGenerator[Server]:
    """
    A server with TLS on the fast lane.
    """
    from twisted.internet import reactor

    endpoint = ServerEndpoint(reactor, 0, interface, tls=serverOf(kind))
    async with serving(TCPDemoFactory(protocol, **options), endpoint) as server:
        yield server


async def ended(server: Server) -> Any:
    """
    The final report of a server's only connection.
    """
    await until(lambda: server.factory.closedCount)
    [report] = server.events.of("connectionClosed")
    return report


@asynccontextmanager
async def stranger(port: int, receiveBuffer: int = 0, shake: bool = True) -> AsyncGenerator[Far]:
    """
    A client that is none of Twisted's, and does only what it is told.

    @param shake: whether it ends its handshake.
    """
    raw = rawConnection(port, receiveBuffer)
    far = Far(raw, engine("standard", True))
    try:
        if shake:
            await until(far.handshake)
        yield far
    finally:
        raw.close()


async def lastFlight(far: Far, data: bytes, ending: bool = False) -> None:
    """
    Send the last bytes of a stranger's handshake together with its first data.

    @param ending: whether its C{close_notify} comes with them, too.
    """
    far.engine.shake(b"")
    far.flush()

    def shaken() -> bool:
        try:
            return far.engine.shake(far.socket.recv(1 << 20))
        except BlockingIOError:
            return False

    await until(shaken)
    far.ready = True
    flight = far.engine.take(0) + (encrypted(far.engine, data) if data else b"")
    if ending:
        far.engine.end()
        flight += far.engine.take(0)
    far.socket.sendall(flight)


def isClosed(raw: socket.socket) -> bool:
    """
    Whether the other side has sent its FIN.
    """
    try:
        return not raw.recv(1 << 20)
    except BlockingIOError:
        return False
