"""
The command line client as its user sees it (output, one line on standard error,
exit status), and servers for it that Twisted would not make.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from tests.support.processes import Child, running
from twisted_tcpdemo import TCPDemoProtocol
from twisted_tcpdemo.cli import main


@asynccontextmanager
async def client(*arguments: object, via: str = "") -> AsyncGenerator[Child]:
    """
    Run a client in a process of its own.

    @param via: a line for the shell in which C{"$@"} is the client.
    """
    command: list[Any] = [sys.executable, "-W", "error", "-m", "twisted_tcpdemo", *arguments]
    if via:
        command = ["/bin/sh", "-c", via, "sh", *command]
    async with running(command) as child:
        yield child


def unanswered(folder: Path) -> str:
    """
    A line for the shell, with which the system never answers a look-up of the client's.

    @param folder: an empty one.
    """
    lines = "import socket, threading", "socket.getaddrinfo = lambda *_: threading.Event().wait()"
    (folder / "sitecustomize.py").write_text("\n".join(lines))
    return f'PYTHONPATH={folder} "$@"'


@contextmanager
def terminal() -> Generator[tuple[int, str]]:
    """
    A terminal: the descriptor from which one reads what it shows, and its path for a
    command.
    """
    ours, theirs = os.openpty()
    try:
        yield ours, os.ttyname(theirs)
    finally:
        os.close(ours)
        os.close(theirs)


@contextmanager
def rawServer() -> Generator[tuple[socket.socket, int]]:
    """
    A plain listening socket, for behaviour that Twisted's own does not have.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server, server.getsockname()[1]


async def accepted(server: socket.socket) -> socket.socket:
    """
    The next client of a listening socket.
    """
    connection, _ = await deferToThread(server.accept)
    return connection


async def ended(child: Child) -> tuple[int, str, str]:
    """
    The exit status and the output; a traceback fails the test.
    """
    status = await child.whenEnded()
    assert "Traceback" not in child.err
    return status, child.out, child.err


class Greeter(TCPDemoProtocol):
    """
    Says something, and ends.
    """

    def connectionMade(self) -> None:
        """
        Send a greeting, and close.
        """
        self.write("hello\n")
        self.transport.loseConnection()


async def command(*arguments: object) -> int:
    """
    Run a command in a thread, while the server goes on in this one.
    """
    status: int = await deferToThread(main, [str(a) for a in arguments])
    return status


@contextmanager
def answering(*answers: bytes) -> Generator[str]:
    """
    A server that gives its clients some answers in turn, whatever they ask.
    """

    def serve() -> None:
        for answer in answers:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

    with rawServer() as (server, port):
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            thread.join()


def response(value: object, status: str = "200 OK") -> bytes:
    """
    An answer in HTTP.
    """
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return f"HTTP/1.0 {status}\r\n\r\n".encode() + body


HOSTILE = "\x1b]0;owned\x07\u202e\n"
