"""
A server as systemd starts it, and what it tells systemd.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.support.processes import Child, running, twistd


@asynccontextmanager
async def notified(
    path: Path, *options: str, **environment: str
) -> AsyncGenerator[tuple[Child, list[str]]]:
    """
    A server that systemd has started, and what it tells.
    """
    from twisted.internet import reactor
    from twisted.internet.task import LoopingCall

    said: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.setblocking(False)
        notices.bind(str(path))

        def hear() -> None:
            with suppress(BlockingIOError):
                while True:
                    said.append(notices.recv(4096).decode())

        hearing = LoopingCall(hear)
        hearing.clock = reactor
        hearing.start(0.005)
        try:
            async with running(twistd(*options), NOTIFY_SOCKET=str(path), **environment) as child:
                yield child, said
        finally:
            hearing.stop()
            hear()


def position(said: list[str], start: str) -> int:
    """
    The place of a notice; -1 as long as there is none.
    """
    return next((n for n, text in enumerate(said) if text.startswith(start)), -1)
