"""
A server whose status is shown, and a client of the status page.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

from twisted.internet.endpoints import clientFromString, connectProtocol, serverFromString
from twisted.internet.testing import StringTransport

from tests.support.peers import Peer
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.status import StatusService

T = TypeVar("T")


class Answer(NamedTuple):
    """
    An answer of the status page.
    """

    code: int
    headers: dict[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        """
        The body, parsed as JSON.
        """
        return json.loads(self.body)


async def ask(
    port: int,
    path: str = "/status.json",
    *,
    method: str = "GET",
    host: str | None = "localhost",
    version: str = "1.1",
    headers: str = "",
    body: bytes = b"",
    client: str = "tcp:127.0.0.1:{port}",
) -> Answer:
    """
    Send one request, exactly as it is given.
    """
    from twisted.internet import reactor

    peer = Peer()
    await connectProtocol(clientFromString(reactor, client.format(port=port)), peer)
    hostLine = "" if host is None else f"Host: {host}\r\n"
    head = f"{method} {path} HTTP/{version}\r\n{hostLine}Connection: close\r\n{headers}\r\n"
    peer.transport.write(head.encode() + body)
    await peer.whenEnded()
    peer.transport.loseConnection()
    await peer.whenLost()
    answer, _, content = bytes(peer.received).partition(b"\r\n\r\n")
    first, *lines = answer.decode().split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines)
    if fields.get("transfer-encoding") == "chunked":
        content = _unchunked(content)
    return Answer(int(first.split()[1]), fields, content)


def _unchunked(content: bytes) -> bytes:
    whole = b""
    while content:
        size, _, content = content.partition(b"\r\n")
        length = int(size, 16)
        whole, content = whole + content[:length], content[length + 2 :]
    return whole


@asynccontextmanager
async def showing(
    factory: TCPDemoFactory, endpoint: str = "tcp:0:interface=127.0.0.1", **options: Any
) -> AsyncGenerator[int]:
    """
    Show a factory's status as long as the block lasts.

    @param options: those of the service.
    @return: the port of the page.
    """
    from twisted.internet import reactor

    where = serverFromString(reactor, endpoint)
    service = StatusService(factory, endpoint, where, reactor, **options)
    service.startService()
    try:
        yield getattr(service.address, "port", 0)
    finally:
        await service.stopService()


def connected(factory: TCPDemoFactory, count: int = 1) -> list[Any]:
    """
    Protocols of the factory on transports in memory.
    """
    protocols = []
    for _ in range(count):
        protocol = factory.buildProtocol(None)
        protocol.makeConnection(StringTransport())
        protocols.append(protocol)
    return protocols


def finished(steps: Generator[None, None, T]) -> T:
    """
    Take all steps.
    """
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            return ended.value  # type: ignore[no-any-return]
