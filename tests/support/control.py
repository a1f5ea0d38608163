"""
A server that can be controlled, and a client that asks.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet.endpoints import clientFromString, connectProtocol
from twisted.logger import LogEvent, formatEvent

from tests.support.peers import Peer, Server, serving
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.control.routes import ControlSite
from twisted_tcpdemo.service.companion import Companion
from twisted_tcpdemo.twistd.programs import Echo
from twisted_tcpdemo.web.access import privateEndpoint


class Reply(NamedTuple):
    """
    An answer.
    """

    status: int
    head: str
    value: Any


class Control:
    """
    A server that can be controlled, and a client that asks.
    """

    def __init__(self, server: Server, client: str, token: str | None) -> None:
        self.server = server
        self.factory = server.factory
        self._client = client
        self._token = token

    async def connect(self) -> Peer:
        """
        A connection to the control socket.
        """
        from twisted.internet import reactor

        peer = Peer()
        await connectProtocol(clientFromString(reactor, self._client), peer)
        return peer

    async def ask(self, method: str, path: str, body: object = None) -> Reply:
        """
        Send one request.

        @param body: bytes, or an object to be sent as JSON.
        """
        if not isinstance(body, bytes):
            body = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.0\r\nContent-Length: {len(body)}\r\n"
        if self._token is not None:
            head += f"Authorization: {self._token}\r\n"
        peer = await self.connect()
        peer.transport.write(head.encode() + b"\r\n" + body)
        await gone(peer)
        answer, _, content = bytes(peer.received).decode().partition("\r\n\r\n")
        return Reply(int(answer.split(" ", 2)[1]), answer, json.loads(content))


async def gone(peer: Peer) -> None:
    """
    Wait for the other side's end, and end this one.
    """
    await peer.whenEnded()
    peer.transport.loseConnection()
    await peer.whenLost()


@asynccontextmanager
async def controlled(
    folder: Path,
    factory: TCPDemoFactory | None = None,
    *,
    token: bytes | None = None,
    given: str | None = None,
    text: str | None = None,
) -> AsyncGenerator[Control]:
    """
    Serve with a factory, and control it, as long as the block lasts.

    @param token: the token that control demands.
    @param given: the C{Authorization} that its client sends.
    @param text: the endpoint of the control socket.
    """
    from twisted.internet import reactor

    text = text or str(folder / "control")
    endpoint = privateEndpoint(reactor, text).endpoint
    async with serving(factory or TCPDemoFactory(Echo)) as server:
        companion = Companion(
            "control", text, endpoint, ControlSite(server.factory, reactor, token), reactor
        )
        companion.startService()
        port: Any = companion.port
        client = f"unix:{folder / 'control'}"
        if text.startswith("tcp"):
            client = f"tcp:127.0.0.1:{port.getHost().port}"
        try:
            yield Control(server, client, given)
        finally:
            await companion.stopService()


def said(events: list[LogEvent]) -> list[str]:
    """
    The lines that control has logged.
    """
    lines = [formatEvent(event) for event in events]
    return [line for line in lines if line.startswith("control: ")]
