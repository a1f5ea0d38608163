"""
Tests against Node's C{net}: our client with its server, and its client with our
server under C{twistd}.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from tests.support.peers import Peer
from tests.support.places import PROJECT
from tests.support.waiting import failureOf
from twisted_tcpdemo import ClientEndpoint, CloseReason, TCPDemoProtocol
from twisted_tcpdemo.errors import WriteFailedError

NODE = shutil.which("node")
SCRIPTS = Path(__file__).parent / "node"
TWISTD = "import sys; from twisted.scripts.twistd import run; sys.exit(run())"

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="there is no node on this machine"),
    pytest.mark.deadline(30),
]


def installedReactor() -> Any:
    """
    The reactor that runs the tests.
    """
    from twisted.internet import reactor

    return reactor


class Program(ProcessProtocol):
    """
    A program that reports events in lines.
    """

    transport: Any

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.ended: Deferred[None] = Deferred()
        self.reason: Any = None
        self._partial = ""
        self._waiting: list[tuple[Callable[[str], bool], Deferred[str]]] = []

    def outReceived(self, data: bytes) -> None:
        """
        Split it into lines.
        """
        *lines, self._partial = (self._partial + data.decode()).split("\n")
        for line in lines:
            self.lines.append(line)
            self._look()

    errReceived = outReceived

    def _look(self) -> None:
        waiting, self._waiting = self._waiting, []
        for wanted, waiter in waiting:
            found = next(filter(wanted, self.lines), None)
            if found is not None:
                waiter.callback(found)
            elif self.reason is not None:
                waiter.errback(AssertionError("it ended after\n" + "\n".join(self.lines)))
            else:
                self._waiting.append((wanted, waiter))

    def processEnded(self, reason: Failure) -> None:
        """
        Remember the end.
        """
        self.reason = reason.value
        self._look()
        self.ended.callback(None)

    def line(self, *parts: str) -> Deferred[str]:
        """
        Wait for a line that has all these parts.
        """
        waiter: Deferred[str] = Deferred()
        self._waiting.append((lambda line: all(part in line for part in parts), waiter))
        self._look()
        return waiter

    async def event(self, name: str) -> dict[str, Any]:
        """
        Wait for an event of one of the Node scripts.
        """
        facts: dict[str, Any] = json.loads(await self.line(f'"event":"{name}"'))
        return facts


@asynccontextmanager
async def running(*command: str, cwd: Path | None = None) -> AsyncGenerator[Program]:
    """
    Run a program as long as the block lasts.
    """
    program = Program()
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    installedReactor().spawnProcess(
        program, command[0], command, environment, str(cwd) if cwd is not None else None
    )
    try:
        yield program
    finally:
        if program.reason is None:
            program.transport.signalProcess("KILL")
        await program.ended


def node(script: str, *arguments: object) -> Any:
    """
    Run one of our scripts with Node.
    """
    assert NODE is not None
    return running(NODE, str(SCRIPTS / script), *map(str, arguments))


@asynccontextmanager
async def twistd(folder: Path, *options: str) -> AsyncGenerator[tuple[Program, int]]:
    """
    Run C{twistd -n tcpdemo} on a port of its own choice.
    """
    command = [sys.executable, "-c", TWISTD, "-n", "--pidfile=", "tcpdemo", "--port", "0"]
    command += ["--interface", "127.0.0.1", *options]
    async with running(*command, cwd=folder) as program:
        line = await program.line("listening on 127.0.0.1:")
        yield program, int(line.partition("127.0.0.1:")[2].split()[0])


class Client(Peer, TCPDemoProtocol):
    """
    A counted protocol that remembers its events.
    """


# Node's server and our client.


async def test_echo() -> None:
    """
    Both sides have the same counts and each other's addresses, and all bytes come
    back over a half-closed connection.
    """
    size = 5_000_000
    async with node("server.js", "echo") as server:
        address = (await server.event("listening"))["address"]
        endpoint = ClientEndpoint(installedReactor(), "127.0.0.1", address["port"])
        client = await endpoint.connectProtocol(Client())
        seen = await server.event("connection")
        assert (seen["remoteAddress"], seen["remotePort"], seen["remoteFamily"]) == (
            client.localAddress,
            client.localPort,
            client.localFamily,
        )
        assert (seen["localAddress"], seen["localPort"]) == (
            client.remoteAddress,
            client.remotePort,
        )
        client.transport.write(bytes(size))
        client.transport.loseWriteConnection()
        await client.whenLost()
        gone = await server.event("close")
        assert client.received == bytes(size)
        assert gone["bytesRead"] == client.bytesWritten == size
        assert gone["bytesWritten"] == client.bytesRead == size
        assert gone["hadError"] is False


async def test_echoOverUNIX(tmp_path: Path) -> None:
    """
    Both sides have the same counts over a UNIX socket.
    """
    async with node("server.js", "echo", tmp_path / "s") as server:
        await server.event("listening")
        endpoint = ClientEndpoint(installedReactor(), path=tmp_path / "s")
        client = await endpoint.connectProtocol(Client())
        await client.write("hello")
        await client.whenReceived(5)
        client.transport.loseConnection()
        await client.whenLost()
        gone = await server.event("close")
        assert (gone["bytesRead"], gone["bytesWritten"]) == (5, 5)


@pytest.mark.parametrize("half", [False, True])
async def test_serverEnds(half: bool) -> None:
    """
    At the server's FIN the client flushes and closes, or goes on writing if it
    allows half-open connections.
    """
    size = 5_000_000
    async with node("server.js", "speak") as server:
        address = (await server.event("listening"))["address"]
        endpoint = ClientEndpoint(
            installedReactor(), "127.0.0.1", address["port"], allowHalfOpen=half
        )
        client = await endpoint.connectProtocol(Client())
        client.transport.write(bytes(size))
        await client.whenEnded()
        assert len(client.received) == size
        if half:
            await client.write(b"afterwards")
            client.transport.loseConnection()
        await client.whenLost()
        gone = await server.event("close")
        assert gone["bytesRead"] == client.bytesWritten == size + 10 * half
        assert client.closeReason is CloseReason.PEER_CLOSED
        assert client.bytesPending == 0


async def test_serverResets() -> None:
    """
    Node's resetAndDestroy() is a reset, and a write that it overtakes fails.
    """
    async with node("server.js", "reset") as server:
        address = (await server.event("listening"))["address"]
        endpoint = ClientEndpoint(installedReactor(), "127.0.0.1", address["port"])
        client = await endpoint.connectProtocol(Client())
        error = await failureOf(client.write(bytes(30_000_000)))
        assert isinstance(error, WriteFailedError)
        assert error.reason is client.closeReason is CloseReason.RESET
        assert client.remotePort == address["port"]


# Node's client and our server.


async def test_report(tmp_path: Path) -> None:
    """
    The tutorial's exchange: the client is greeted with the server's address, and
    the log has every event.
    """
    async with twistd(tmp_path) as (server, port), node("client.js", port, "hi\n\x1b[2J") as client:
        here = await client.event("connect")
        where = f"{here['localAddress']}:{here['localPort']}"
        gone = await client.event("close")
        received = json.loads(client.lines[-3])["received"]
        greeting = 'client, the server address is {"address": "127.0.0.1", "family": "IPv4", '
        assert received == f'{greeting}"port": {port}}}\n'
        assert gone == {
            "event": "close",
            "hadError": False,
            "bytesRead": len(received),
            "bytesWritten": 7,
        }
        await server.line("connection 1:", where, "(IPv4)", f"127.0.0.1:{port}", "1 connected")
        await server.line("sent 1:", f"({len(received)} bytes written)")
        await server.line("data 1:", r"hi\n\x1b[2J", "(7 bytes read)")
        await server.line("end 1:")
        await server.line("close 1: peer closed", f"7 bytes read, {len(received)} written", where)
        assert not any("\x1b" in line for line in server.lines)


async def test_echoServer(tmp_path: Path) -> None:
    """
    A client that sends 5 MB, ends its side and reads gets all of it back.
    """
    size = 5_000_000
    async with twistd(tmp_path, "--protocol", "echo") as (server, port):
        async with node("client.js", port, "size", size) as client:
            assert (await client.event("end"))["count"] == size
            gone = await client.event("close")
            assert (gone["bytesRead"], gone["bytesWritten"]) == (size, size)
        await server.line("close 1: peer closed", f"{size} bytes read, {size} written, 0 unsent")


async def test_limit(tmp_path: Path) -> None:
    """
    A client over the limit gets a FIN and not a byte; when another one has left,
    there is room again.
    """
    async with twistd(tmp_path, "--max-connections", "1") as (server, port):
        async with node("client.js", port) as first:
            await first.event("data")
            async with node("client.js", port) as second:
                here = await second.event("connect")
                assert (await second.event("end"))["count"] == 0
                await second.event("close")
                await server.line("refused:", f"{here['localAddress']}:{here['localPort']}")
        await server.line("close 1:")
        async with node("client.js", port) as third:
            await third.event("data")


async def test_stop(tmp_path: Path) -> None:
    """
    A connected client gets a FIN when the server stops, and the server ends.
    """
    async with twistd(tmp_path) as (server, port), node("client.js", port) as client:
        await client.event("data")
        server.transport.signalProcess("TERM")
        assert (await client.event("close"))["hadError"] is False
        await server.ended
        assert not any("Traceback" in line for line in server.lines)
