"""
What the tests with programs of others have in common: our side of a connection, and
the contexts of TLS.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from twisted.internet.interfaces import IHandshakeListener
from zope.interface import implementer

from tests.support.peers import Peer, Server, serving
from tests.support.processes import Child
from tests.support.waiting import until
from twisted_tcpdemo import CloseReason, ServerEndpoint, TCPDemoFactory, TCPDemoProtocol

LARGE = 10_000_000
"""Bytes of a large transfer: more than the buffers of all parties hold."""

BROKEN = (CloseReason.RESET, CloseReason.TLS_FAILED)
"""Reasons of an end that is not orderly."""

OTHER = "other.example"
"""The name in a certificate that nobody trusts."""


def program(name: str) -> str:
    """
    The path of a program, or an empty text if it is not installed.  Debian has some
    in a folder for the administrator.
    """
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin") or ""


def needs(name: str) -> pytest.MarkDecorator:
    """
    Skip a test where a program is missing.
    """
    return pytest.mark.skipif(not program(name), reason=f"there is no {name} on this machine")


@implementer(IHandshakeListener)
class Party(Peer, TCPDemoProtocol):
    """
    A counted protocol that remembers its events, and what its handshake has agreed
    on.
    """

    agreed: bytes | None = None
    certificate: Any = None
    handshakes = 0

    def handshakeCompleted(self) -> None:
        """
        Remember it.
        """
        self.handshakes += 1
        self.agreed = getattr(self.transport, "negotiatedProtocol", None)
        self.certificate = self.transport.getPeerCertificate()
        self._happened()


class Echo(Party):
    """
    Sends back what it gets.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Remember it, and send it back.
        """
        super().dataReceived(data)
        self.transport.write(data)


class Saying(Party):
    """
    Says something, and closes.
    """

    text = b"goodbye"

    def connectionMade(self) -> None:
        """
        Say it.
        """
        super().connectionMade()
        self.transport.write(self.text)
        self.transport.loseConnection()


class Serving:
    """
    A server of ours.

    @ivar made: its protocols, in the order of their connections.
    """

    def __init__(self, server: Server, made: list[Any]) -> None:
        self.server = server
        self.factory = server.factory
        self.port = server.port
        self.events = server.events
        self.made = made

    async def protocol(self, number: int = 1) -> Any:
        """
        The protocol of a connection, once there is one.
        """
        await until(lambda: len(self.made) >= number)
        return self.made[number - 1]

    async def report(self, number: int = 1) -> Any:
        """
        The last report of a connection, once it has ended.
        """
        await until(lambda: len(self.events.of("connectionClosed")) >= number)
        return self.events.of("connectionClosed")[number - 1]


@asynccontextmanager
async def ours(
    protocol: type[Party] = Echo,
    interface: str = "127.0.0.1",
    *,
    factory: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncGenerator[Serving]:
    """
    A server of ours as long as the block lasts.

    @param factory: options of L{TCPDemoFactory}.
    @param options: options of L{ServerEndpoint}.
    """
    from twisted.internet import reactor

    made: list[Any] = []

    def build() -> Party:
        made.append(protocol())
        return made[-1]  # type: ignore[no-any-return]

    endpoint = ServerEndpoint(reactor, 0, interface, **options)
    async with serving(TCPDemoFactory(build, **(factory or {})), endpoint) as server:
        yield Serving(server, made)


def pattern(size: int) -> bytes:
    """
    Bytes that show when a piece is missing, doubled or in another place, in lines.
    """
    line = b"%011d\n"
    return b"".join(line % number for number in range(size // 12 + 1))[:size]


async def printed(child: Child, text: str) -> None:
    """
    Wait for a text in either output of a program.
    """
    await until(lambda: text in child.out + child.err or child.status is not None)
    assert text in child.out + child.err, f"it ended after\n{child.out}\n{child.err}"


def listens(port: int) -> bool:
    """
    Whether a program listens on a port of loopback.
    """
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
