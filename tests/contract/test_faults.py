"""
A system that fails: over every transport, a connection that cannot be served ends with a
reason, is counted, and no other is touched.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from errno import ENFILE, ENOBUFS, ENOMEM, ENOSPC
from itertools import repeat
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IFileDescriptorReceiver
from zope.interface import implementer

from tests.contract.test_contract import Serve
from tests.contract.test_sockets import rest
from tests.support.clients import Client, installedReactor
from tests.support.fast import fastServer
from tests.support.hygiene import LoggedErrors
from tests.support.peers import Server, rawConnection, serving
from tests.support.waiting import failureOf, until
from twisted_tcpdemo import (
    ClientEndpoint,
    CloseReason,
    ServerEndpoint,
    TCPDemoFactory,
    TCPDemoProtocol,
)
from twisted_tcpdemo.fast.accepting import REST
from twisted_tcpdemo.fast.poller import pollerOf
from twisted_tcpdemo.transports.layers import bottomOf
from twisted_tcpdemo.twistd.programs import Echo


class Failing:
    """
    A socket, or an epoll object, whose next calls fail.

    @ivar failed: how many have failed.
    """

    def __init__(self, real: Any, calls: str | tuple[str, ...], numbers: Iterable[int]) -> None:
        """
        @param calls: how their names begin.
        @param numbers: the errors.
        """
        self.real = real
        self._calls = calls
        self._numbers: Iterator[int] = iter(numbers)
        self.failed = 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.real, name)
        return (lambda *given: self._call(real, given)) if name.startswith(self._calls) else real

    def _call(self, real: Any, given: tuple[Any, ...]) -> Any:
        number = next(self._numbers, 0)
        if not number:
            return real(*given)
        self.failed += 1
        raise OSError(number, os.strerror(number))


def spoil(transport: Any, calls: str, numbers: Iterable[int]) -> None:
    """
    Let the next calls of a connection's socket fail, that below TLS.
    """
    bottom = bottomOf(transport)
    encrypting = hasattr(bottom.socket, "engine")
    holder, name = (bottom.socket, "_socket") if encrypting else (bottom, "socket")
    setattr(holder, name, Failing(getattr(holder, name), calls, numbers))


@contextmanager
def poorKernel(calls: str, numbers: Iterable[int]) -> Generator[Failing]:
    """
    Let the next calls of the poller's epoll object fail.
    """
    poller: Any = pollerOf(installedReactor())
    poller._epoll = failing = Failing(poller._epoll, calls, numbers)
    try:
        yield failing
    finally:
        poller._epoll = failing.real


async def goesOn(server: Server, index: int) -> None:
    """
    Check that a peer is served, by an echo.
    """
    peer = server.peers[index]
    before = len(peer.received)
    peer.transport.write(b"hello")
    await peer.whenReceived(before + 5)


# epoll_ctl(2).


@pytest.mark.parametrize("number", [ENOMEM, ENOSPC])
async def test_watch(number: int, serve: Serve, transport: str) -> None:
    """
    A connection that the kernel cannot watch any more is ended, and not deaf for ever.
    """
    if not transport.startswith("fast"):
        pytest.skip("the poller is the fast lane's")

    class Flooding(Echo):
        def dataReceived(self, data: bytes) -> None:
            if data != b"x":
                super().dataReceived(data)
                return
            with poorKernel("modify", [number]):
                self.transport.write(bytes(50_000_000))

    async with serve(Flooding) as server:
        peer, _ = await server.connect(), await server.connect()
        peer.transport.write(b"x")
        await until(lambda: server.factory.closedCount)
        [report] = server.events.of("connectionClosed")
        assert report.closeReason is CloseReason.ERROR
        await peer.whenEnded()
        await goesOn(server, 1)
        server.peers[1].transport.loseConnection()
        peer.transport.loseConnection()
        await rest(server, 2)


@pytest.mark.parametrize("number", [ENOMEM, ENOSPC])
async def test_watchNewClient(number: int, serve: Serve, transport: str) -> None:
    """
    A client that the kernel cannot watch from the start is refused, and counted; the
    others are served, and so is the next one.
    """
    if not transport.startswith("fast"):
        pytest.skip("the poller is the fast lane's")
    async with serve(Echo, maxConnections=2) as server:
        await server.connect()
        await until(lambda: server.factory.connectionCount == 1)
        with poorKernel("register", [number]) as kernel:
            # The client is not one of the poller's.
            if transport == "fast-unix":
                refused = await server.connect()
                await refused.whenEnded()
                refused.transport.loseConnection()
            else:
                with rawConnection(server.port):
                    await until(lambda: kernel.failed)
        assert server.factory.report().refusedBy == {"descriptorLimit": 1}
        [refusal] = server.events.of("connectionRefused")
        assert refusal.detail == os.strerror(number)
        await goesOn(server, 0)
        await server.connect()
        await goesOn(server, -1)
        for peer in server.peers:
            peer.transport.loseConnection()
        await rest(server, 2)


@pytest.mark.parametrize("number", [ENOMEM, ENOSPC])
@pytest.mark.parametrize("door", ["tcp", "unix"])
async def test_watchConnecting(number: int, door: str, tmp_path: Path) -> None:
    """
    A client whose socket the kernel cannot watch fails to connect, or ends with an error
    when it has just connected; another one connects.
    """
    path = str(tmp_path / "socket")
    where = f"unix:{path}" if door == "unix" else "tcp:0:interface=127.0.0.1"
    async with serving(TCPDemoFactory(Echo), where, f"unix:{path}") as server:
        reactor = installedReactor()
        endpoint = (
            ClientEndpoint(reactor, path=path)
            if door == "unix"
            else ClientEndpoint(reactor, "127.0.0.1", server.port)
        )
        good = await endpoint.connectProtocol(Client())
        with poorKernel("register", [number]):
            error = await failureOf(endpoint.connectProtocol(Client()))
        assert isinstance(error, ConnectError) and error.osError == number
        with poorKernel("modify", [number]) as kernel:
            second = Client()
            await endpoint.connectProtocol(second)
            # A socket that is connected at once is only registered.
            if kernel.failed:
                await second.whenLost()
                assert second.closeReason is CloseReason.ERROR
        good.transport.write(b"hello")
        await good.whenReceived(5)
        for client in (good, second):
            client.transport.loseConnection()
            await client.whenLost()
        await until(lambda: not server.factory.connectionCount)
        assert server.factory.conservation() == []


# recv(2), send(2).


@pytest.mark.parametrize("number", [ENOMEM, ENOBUFS])
async def test_receive(number: int, serve: Serve, transport: str) -> None:
    """
    A connection that cannot be read, as no memory is free, ends with an error; its slot is
    free, and the others go on.
    """

    class Poor(Echo):
        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            if data == b"break":
                spoil(self.transport, "recv", [number])

    async with serve(Poor, maxConnections=2) as server:
        peer, _ = await server.connect(), await server.connect()
        peer.transport.write(b"break")
        await peer.whenReceived(5)
        peer.transport.write(b"again")
        await until(lambda: server.factory.closedCount == 1)
        [report] = server.events.of("connectionClosed")
        # Twisted's own transport tells no errors apart.
        wanted = CloseReason.ERROR if transport.startswith("fast") else CloseReason.RESET
        assert report.closeReason is wanted
        await goesOn(server, 1)
        await peer.whenEnded()
        peer.transport.loseConnection()
        await server.connect()
        await goesOn(server, 2)
        for other in server.peers[1:]:
            other.transport.loseConnection()
        await rest(server, 3)


async def test_receiveDescriptors(tmp_path: Path) -> None:
    """
    So does one that takes descriptors.
    """

    @implementer(IFileDescriptorReceiver)
    class Taking(Echo):
        def fileDescriptorReceived(self, descriptor: int) -> None:
            os.close(descriptor)

        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            spoil(self.transport, "recv", [ENOMEM])

    path = str(tmp_path / "socket")
    endpoint = ServerEndpoint(installedReactor(), path=path)
    async with serving(TCPDemoFactory(Taking), endpoint, f"unix:{path}") as server:
        peer = await server.connect()
        peer.transport.write(b"break")
        await peer.whenReceived(5)
        peer.transport.write(b"again")
        await until(lambda: server.factory.closedCount == 1)
        [report] = server.events.of("connectionClosed")
        assert report.closeReason is CloseReason.ERROR
        await peer.whenEnded()
        peer.transport.loseConnection()


async def test_sendAgain(serve: Serve, transport: str) -> None:
    """
    A send for which the kernel has no memory is tried again.
    """
    if not transport.startswith("fast"):
        pytest.skip("others send elsewhere")

    class Answering(TCPDemoProtocol):
        def dataReceived(self, data: bytes) -> None:
            spoil(self.transport, "send", [ENOMEM, ENOBUFS])
            self.transport.write(b"hello")

    async with serve(Answering) as server:
        peer = await server.connect()
        peer.transport.write(b"x")
        await peer.whenReceived(5)
        peer.transport.loseConnection()
        await rest(server, 1)


# accept(2).


@pytest.mark.parametrize("number", [ENOMEM, ENFILE])
async def test_accept(number: int, serve: Serve, transport: str) -> None:
    """
    A port that cannot accept, as no memory is free, does not spin: it looks again later,
    and serves its clients when it can; connections go on meanwhile.
    """
    if not transport.startswith("fast"):
        pytest.skip("the port is the fast lane's")
    async with serve(Echo, maxConnections=5) as server:
        await server.connect()
        await until(lambda: server.factory.connectionCount == 1)
        [port] = server.factory._listeners
        port.socket = failing = Failing(port.socket, ("_accept", "accept"), repeat(number))
        waiting = Deferred.fromCoroutine(server.connect())
        await until(lambda: failing.failed)
        began, before = monotonic(), failing.failed
        await goesOn(server, 0)
        await until(lambda: failing.failed > before)
        assert monotonic() - began > REST / 2
        assert failing.failed < 20
        port.socket = failing.real
        await waiting
        await goesOn(server, -1)
        for peer in server.peers:
            peer.transport.loseConnection()
        await rest(server, 2)


async def test_acceptForeign(loggedErrors: LoggedErrors) -> None:
    """
    So does one with a factory of somebody else's.
    """
    async with fastServer() as server:
        real = server.listening.socket
        server.listening.socket = failing = Failing(real, ("_accept", "accept"), repeat(ENOMEM))
        with rawConnection(server.port):
            await until(lambda: failing.failed)
            began, before = monotonic(), failing.failed
            await until(lambda: failing.failed > before)
            assert monotonic() - began > REST / 2
            server.listening.socket = real
            await until(lambda: server.made)
            server.made[0].transport.loseConnection()
            await server.made[0].whenLost()
