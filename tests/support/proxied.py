"""
Servers behind a proxy, and raw clients of theirs.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from struct import pack
from typing import Any

from tests.support.peers import Server, rawConnection, serving
from tests.support.proxies import block
from tests.support.waiting import until
from twisted_tcpdemo import (
    Proxy,
    ServerEndpoint,
    TCPDemoFactory,
    TCPDemoProtocol,
)
from twisted_tcpdemo.fast.accepting import AcceptingPort
from twisted_tcpdemo.fast.proxied import HeaderStage

LOOPBACK = Proxy(trusted=["127.0.0.0/8", "::1"])

V2 = block(
    0x21,
    0x11,
    socket.inet_aton("192.0.2.7") + socket.inet_aton("192.0.2.1") + pack("!HH", 4711, 80),
)
V6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 80\r\n"
LOCAL = block(0x20, 0x00, b"")


def line(host: str, port: int = 4711) -> bytes:
    """
    A header for a client.
    """
    return f"PROXY TCP4 {host} 192.0.2.1 {port} 80\r\n".encode()


def behind(proxy: Proxy = LOOPBACK, interface: str = "127.0.0.1", **options: Any) -> ServerEndpoint:
    """
    An endpoint behind a proxy.
    """
    from twisted.internet import reactor

    return ServerEndpoint(reactor, 0, interface, proxy=proxy, **options)


def stageOf(server: Server) -> HeaderStage:
    """
    The stage of a server's only port.
    """
    [port] = server.factory.ports
    assert isinstance(port, AcceptingPort) and isinstance(port.stage, HeaderStage)
    return port.stage


@asynccontextmanager
async def proxiedServer(
    factory: TCPDemoFactory, endpoint: ServerEndpoint | None = None
) -> AsyncGenerator[tuple[Server, Any]]:
    """
    A server, and a function that connects a raw client and sends its first bytes.
    The accounts add up at the end.
    """
    raws: list[socket.socket] = []

    async with serving(factory, endpoint or behind()) as server:

        def client(data: bytes = b"") -> socket.socket:
            raw = rawConnection(server.port)
            raws.append(raw)
            if data:
                raw.send(data)
            return raw

        try:
            yield server, client
        finally:
            for raw in raws:
                raw.close()
    assert factory.conservation() == []
    assert factory.connectionCount == 0


async def received(raw: socket.socket, count: int) -> bytes:
    """
    Wait for a number of bytes.
    """
    got = bytearray()

    def some() -> bool:
        with suppress(BlockingIOError):
            got.extend(raw.recv(count - len(got)))
        return len(got) == count

    await until(some)
    return bytes(got)


def isOver(raw: socket.socket) -> bool:
    """
    Whether the server has closed, in order or by RST.
    """
    try:
        return raw.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


class Noting(TCPDemoProtocol):
    """
    Remembers what it knows of its client in each hook.
    """

    built: Any = None

    def connectionMade(self) -> None:
        """
        Remember the addresses.
        """
        self.known = (self.peer, self.host, self.transport.getPeer(), self.transport.getHost())

    def dataReceived(self, data: bytes) -> None:
        """
        Answer with the client's address.
        """
        self.transport.write(data + f" from {self.remoteAddress}".encode())


class NotingFactory(TCPDemoFactory):
    """
    Remembers the addresses for which protocols are built.
    """

    def buildProtocol(self, addr: Any) -> Any:
        """
        Remember the address.
        """
        self.builtFor = addr
        self.built = super().buildProtocol(addr)
        return self.built
