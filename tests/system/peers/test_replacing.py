"""
Servers behind HAProxy, replaced one after the other: HAProxy asks for their health, and no
call of a client fails.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from tests.support.clients import freePort
from tests.support.peers import connectTo
from tests.support.places import DOCS
from tests.support.processes import Child, running, twistd
from tests.support.waiting import until
from tests.system.peers.support import listens, needs, program

pytestmark = [needs("haproxy"), pytest.mark.deadline(120)]

PAGE = (DOCS / "draining.md").read_text()


def recipe(ports: dict[str, int]) -> str:
    """
    The configuration on the page, with ports that are free here and checks that are faster.
    """
    text = PAGE.partition("```haproxy\n")[2].partition("```")[0]
    for there, here in ports.items():
        assert f":{there}" in text or f" {there}" in text, there
        text = text.replace(there, str(here))
    # Without another attempt, so that nothing hides a call that fails.
    return text.replace("inter 1s", "inter 100ms").replace("mode tcp", "mode tcp\n    retries 0")


class Callers:
    """
    Clients that call all the time, each call on a connection of its own.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.calls = 0
        self.failures: list[str] = []
        self.areDone = False

    def call(self) -> None:
        """
        Call until all are done.
        """
        while not self.areDone:
            try:
                with connectTo(self._port) as client:
                    client.sendall(b"hello")
                    got = client.recv(5)
                if got != b"hello":
                    self.failures.append(f"got {got!r}")
            except OSError as error:
                self.failures.append(str(error))
            self.calls += 1


@asynccontextmanager
async def calling(port: int) -> AsyncGenerator[Callers]:
    """
    Four clients that call, as long as the block lasts.
    """
    callers = Callers(port)
    threads = gatherResults([deferToThread(callers.call) for _ in range(4)])
    try:
        yield callers
        before = callers.calls
        await until(lambda: callers.calls > before + 100)
    finally:
        callers.areDone = True
        await threads


def server(port: int, page: int, *options: str) -> list[str]:
    """
    A server as on the page.
    """
    where = ("--port", str(port), "--interface", "127.0.0.1", "--protocol", "echo")
    return twistd(*where, "--status", f"tcp:{page}:interface=127.0.0.1", *options)


@pytest.mark.parametrize("options", [(), ("--workers", "1")], ids=["one process", "workers"])
async def test_noCallFails(options: tuple[str, ...], tmp_path: Path) -> None:
    """
    With a delay before its drain, a server is stopped and started again under load, and no
    call fails.
    """
    there = ("18001", "18101", "18102", "18181", "18182")
    ports = {name: freePort() for name in there}
    file = tmp_path / "haproxy.cfg"
    file.write_text(recipe(ports))
    leaving = ("--drain-delay", "2", "--drain", "5")
    first = server(ports["18101"], ports["18181"], *leaving, *options)
    second = server(ports["18102"], ports["18182"])

    async def whenServing(child: Child) -> None:
        await child.whenPrinted("the status page on")
        if "--workers" in options and child is not other:
            await child.whenPrinted("worker 1 is process")

    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(running(second))
        child = await stack.enter_async_context(running(first))
        await whenServing(other)
        await whenServing(child)
        proxy = await stack.enter_async_context(
            running([program("haproxy"), "-db", "-f", str(file)])
        )
        await until(lambda: proxy.status is not None or listens(ports["18001"]))
        assert proxy.status is None, proxy.err
        async with calling(ports["18001"]) as callers:
            await until(lambda: callers.calls > 200)
            for _ in range(2):
                child.signal(signal.SIGTERM)
                await child.whenEnded()
                child = await stack.enter_async_context(running(first))
                await whenServing(child)
                before = child.out.count("connection ")
                await until(lambda c=child, b=before: c.out.count("connection ") > b + 20)
        assert not callers.failures, callers.failures[:5]
