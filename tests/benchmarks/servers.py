"""
The compared servers: each echoes, and prints the port it listens on.

C{python -m tests.benchmarks.servers NAME} runs one of the servers in Python.
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
"""The names of all servers, and their titles."""


def commandOf(name: str, folder: Path) -> list[str] | None:
    """
    The command that runs a server, or L{None} for a server that is not available.

    @param folder: the folder for a build.
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
    The path of a program in C from this folder, built at the first call, or L{None}
    without a compiler.

    @param folder: the folder for the build.
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
    Run one of the servers under Twisted.
    """
    from twisted.internet import reactor
    from twisted.internet.endpoints import TCP4ServerEndpoint
    from twisted.internet.protocol import Factory, Protocol

    from twisted_tcpdemo import TCPDemoFactory, TCPDemoProtocol
    from twisted_tcpdemo.fast.endpoint import ServerEndpoint

    class Plain(Protocol):
        """
        The shortest possible echo.
        """

        transport: Any

        def dataReceived(self, data: bytes) -> None:
            self.transport.write(data)

    class Counted(TCPDemoProtocol):
        """
        The same echo as an application's protocol.
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
        Keep the transport.
        """
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """
        Echo the bytes.
        """
        self.transport.write(data)


async def serveAsyncio() -> None:
    """
    Serve on the running loop.
    """
    loop = asyncio.get_running_loop()
    server = await loop.create_server(AsyncioEcho, "127.0.0.1", 0, backlog=511)
    tell(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def tell(port: int) -> None:
    """
    Print the port.
    """
    print(port, flush=True)


def main(name: str) -> None:
    """
    Run one server.
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
