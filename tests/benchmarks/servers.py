"""
The servers that are compared: each echoes, and prints the port it listens on.

C{python -m tests.benchmarks.servers NAME} runs one of those in Python.
"""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

NAMES = {
    "fast": "fast lane, counted, with a limit",
    "fast-bare": "fast lane, plain protocol",
    "over-twisted": "Twisted's transport, counted, with a limit",
    "twisted": "plain Twisted",
    "asyncio": "asyncio",
    "uvloop": "uvloop",
    "node": "Node net",
    "c": "C, epoll",
}
"""All servers, and what they are."""


def commandOf(name: str, folder: Path) -> list[str] | None:
    """
    The command that runs a server, or L{None} where it cannot be had.

    @param folder: where something may be built.
    """
    if name == "node":
        node = shutil.which("node")
        return node and [node, str(HERE / "echo.js")]  # type: ignore[return-value]
    if name == "c":
        program = compiled("echo", folder)
        return program and [program]  # type: ignore[return-value]
    if name == "uvloop" and importlib.util.find_spec("uvloop") is None:
        return None
    return [sys.executable, "-m", "tests.benchmarks.servers", name]


def compiled(name: str, folder: Path) -> str | None:
    """
    The path of a program in C from this folder, built at the first call, or
    L{None} where there is no compiler.

    @param folder: where it is built.
    """
    program, compiler = folder / name, shutil.which("cc")
    if compiler is None:
        return None
    if not program.exists():
        build = [compiler, "-O2", "-o", str(program), str(HERE / f"{name}.c")]
        if subprocess.run(build, check=False).returncode:
            return None
    return str(program)


def serveTwisted(name: str) -> None:
    """
    Any of those that run under Twisted.
    """
    from twisted.internet import reactor
    from twisted.internet.endpoints import TCP4ServerEndpoint
    from twisted.internet.protocol import Factory, Protocol

    from twisted_tcpdemo import TCPDemoFactory, TCPDemoProtocol
    from twisted_tcpdemo.fast.endpoint import ServerEndpoint

    class Plain(Protocol):
        """
        As short as it can be.
        """

        transport: Any

        def dataReceived(self, data: bytes) -> None:
            self.transport.write(data)

    class Counted(TCPDemoProtocol):
        """
        The same for an application.
        """

        def dataReceived(self, data: bytes) -> None:
            self.transport.write(data)

    Factory.noisy = False
    counted = name in ("fast", "over-twisted")
    factory: Any = (
        TCPDemoFactory(Counted, maxConnections=100_000) if counted else Factory.forProtocol(Plain)
    )
    endpoint: Any = (
        ServerEndpoint(reactor, 0, "127.0.0.1", noDelay=True)
        if name.startswith("fast")
        else TCP4ServerEndpoint(reactor, 0, 511, "127.0.0.1")
    )
    endpoint.listen(factory).addCallback(lambda port: tell(port.getHost().port))
    reactor.run()  # type: ignore[attr-defined]


class AsyncioEcho(asyncio.Protocol):
    """
    Echo for asyncio and uvloop.
    """

    transport: Any

    def connection_made(self, transport: Any) -> None:
        """
        Keep it.
        """
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """
        Send it back.
        """
        self.transport.write(data)


async def serveAsyncio() -> None:
    """
    Serve on whatever loop runs.
    """
    loop = asyncio.get_running_loop()
    server = await loop.create_server(AsyncioEcho, "127.0.0.1", 0, backlog=511)
    tell(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def tell(port: int) -> None:
    """
    Say where.
    """
    print(port, flush=True)


def main(name: str) -> None:
    """
    Run one.
    """
    if name == "asyncio":
        asyncio.run(serveAsyncio())
    elif name == "uvloop":
        import uvloop

        loop = uvloop.new_event_loop()
        loop.run_until_complete(serveAsyncio())
    else:
        serveTwisted(name)


if __name__ == "__main__":
    main(sys.argv[1])
