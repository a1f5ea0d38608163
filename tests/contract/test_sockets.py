"""
A slot belongs to a socket, over every transport: it is free when the socket is closed, and
not before, whatever a program does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.protocol import Factory, Protocol

from tests.contract.test_contract import Serve
from tests.support.hygiene import LoggedErrors
from tests.support.peers import Server
from tests.support.waiting import until
from twisted_tcpdemo import CloseReason, ConnectionObserver, TCPDemoFactory, TCPDemoProtocol

EXITS = [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError]
"""What is no C{Exception}, and reaches a hook all the same."""


async def rest(server: Server, closed: int) -> None:
    """
    Check that all connections have ended, and are accounted for.
    """
    factory = server.factory
    await until(lambda: factory.closedCount == closed)
    assert (factory.connectionCount, factory.conservation()) == (0, [])
    assert [e.closeReason is None for e in server.events.of("connectionClosed")] == [False] * closed


# Another protocol for the same socket.


class Upgraded(TCPDemoProtocol):
    """
    Answers in upper case.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Answer.
        """
        self.transport.write(data.upper())


class Foreign(Protocol):
    """
    Answers in upper case, and knows nothing of us.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Answer.
        """
        assert self.transport is not None
        self.transport.write(data.upper())


def ofFactory(old: TCPDemoProtocol) -> Any:
    """
    A protocol of the same factory.
    """
    new = Upgraded()
    new.factory = old.factory
    return new


def ofAnother(old: TCPDemoProtocol) -> Any:
    """
    A protocol of another factory, which has a limit of its own.
    """
    return TCPDemoFactory(Upgraded, maxConnections=1).buildProtocol(old.peer)


def ofNone(old: TCPDemoProtocol) -> Any:
    """
    A protocol without a factory.
    """
    return Upgraded()


def foreign(old: TCPDemoProtocol) -> Any:
    """
    A protocol of somebody else's.
    """
    return Factory.forProtocol(Foreign).buildProtocol(old.peer)


@pytest.mark.parametrize(
    ("make", "isLate"),
    [
        *((make, isLate) for make in (ofFactory, ofNone, foreign) for isLate in (False, True)),
        # One that is connected before the transport delivers to it could also be carried.
        (ofAnother, False),
    ],
)
async def test_switch(
    make: Callable[[TCPDemoProtocol], Any], isLate: bool, serve: Serve, transport: str
) -> None:
    """
    A protocol that gives its transport to another one keeps its slot, its number and its
    counts, and the slot is free at the end.
    """
    successors: list[Any] = []

    class Switching(TCPDemoProtocol):
        def dataReceived(self, data: bytes) -> None:
            new = make(self)
            place = "wrappedProtocol" if transport == "tls" else "protocol"
            if isLate:
                new.makeConnection(self.transport)
            setattr(self.transport, place, new)
            if not isLate:
                new.makeConnection(self.transport)
            successors.append((self.connectionID, new))
            new.transport.write(b"switched")

    async with serve(Switching, maxConnections=2) as server:
        for count in (1, 2, 3):
            peer = await server.connect()
            peer.transport.write(b"upgrade")
            await peer.whenReceived(8)
            peer.transport.write(b"hello")
            await peer.whenReceived(13)
            assert peer.received == b"switchedHELLO"
            number, new = successors.pop()
            assert server.factory.connectionCount == 1
            if isinstance(new, TCPDemoProtocol):
                assert new.connectionID == number
                assert server.factory.connections == [new]
            [record] = server.factory.records
            assert record.connectionID == number
            assert record.counts.bytesWritten == 13
            assert record.counts.bytesRead == 12
            peer.transport.loseConnection()
            await rest(server, count)
        assert (await server.factory.drain(5)).aborted == 0


async def test_switchAtTheEnd(serve: Serve) -> None:
    """
    A protocol that gives its transport away when the socket is closed takes no slot.
    """

    class Late(TCPDemoProtocol):
        def connectionLost(self, reason: Any = None) -> None:
            ofFactory(self).makeConnection(self.transport)

    async with serve(Late, maxConnections=1) as server:
        for count in (1, 2):
            peer = await server.connect()
            peer.transport.loseConnection()
            await rest(server, count)


async def test_ownConnectionLost(serve: Serve) -> None:
    """
    A protocol that calls its own connectionLost keeps its slot while it is connected.
    """

    class Tidy(TCPDemoProtocol):
        def dataReceived(self, data: bytes) -> None:
            self.connectionLost()
            self.transport.write(data)

    async with serve(Tidy, maxConnections=1) as server:
        peer = await server.connect()
        peer.transport.write(b"hello")
        await peer.whenReceived(5)
        assert (server.factory.connectionCount, server.factory.closedCount) == (1, 0)
        second = await server.connect()
        await second.whenEnded()
        second.transport.loseConnection()
        assert server.factory.refusedCount == 1
        peer.transport.loseConnection()
        await rest(server, 1)


# Whatever is raised.


def raising(kind: type[BaseException]) -> Callable[..., Any]:
    """
    A function that raises.
    """

    def call(*_: object, **__: object) -> Any:
        raise kind

    return call


@pytest.mark.parametrize("kind", EXITS)
@pytest.mark.parametrize("hook", ["connectionMade", "dataReceived", "timeoutConnection"])
async def test_exits(
    hook: str, kind: type[BaseException], serve: Serve, loggedErrors: LoggedErrors
) -> None:
    """
    A hook that raises what is no Exception ends its own connection, and no other.
    """

    class Exits(TCPDemoProtocol):
        def connectionMade(self) -> None:
            if server.factory.acceptedCount == 1:
                setattr(self, hook, raising(kind))
                if hook == "timeoutConnection":
                    self.setTimeout(0.05)
                if hook == "connectionMade":
                    raise kind

    async with serve(Exits) as server:
        first = await server.connect()
        await until(lambda: server.factory.acceptedCount == 1)
        second = await server.connect()
        first.transport.write(b"hello")
        await until(lambda: server.factory.closedCount == 1)
        [report] = server.events.of("connectionClosed")
        assert report.closeReason is CloseReason.ERROR
        await until(lambda: server.factory.acceptedCount == 2)
        assert server.factory.connectionCount == 1
        second.transport.loseConnection()
        await rest(server, 2)
        await first.whenEnded()
        first.transport.loseConnection()
    loggedErrors.take(kind)


@pytest.mark.parametrize("kind", EXITS)
async def test_exitsInTheDrain(
    kind: type[BaseException], serve: Serve, loggedErrors: LoggedErrors
) -> None:
    """
    A drain goes on when drainStarted raises what is no Exception, and ends.
    """

    class Exits(TCPDemoProtocol):
        drainStarted = raising(kind)

    async with serve(Exits) as server:
        peers = [await server.connect() for _ in range(2)]
        await until(lambda: server.factory.acceptedCount == 2)
        await server.factory.drain(5)
        assert not server.factory.draining
        await rest(server, 2)
        for peer in peers:
            await peer.whenEnded()
            peer.transport.loseConnection()
    loggedErrors.take(kind)


@pytest.mark.parametrize("kind", EXITS)
@pytest.mark.parametrize("event", ["connectionOpened", "connectionClosed"])
async def test_exitsInAnObserver(
    event: str, kind: type[BaseException], serve: Serve, loggedErrors: LoggedErrors
) -> None:
    """
    An observer that raises what is no Exception delays no connection and no drain.
    """
    async with serve(Upgraded) as server:
        observer = ConnectionObserver()
        setattr(observer, event, raising(kind))
        server.factory.addObserver(observer)
        peer = await server.connect()
        peer.transport.write(b"hello")
        await peer.whenReceived(5)
        await server.factory.drain(0)
        await rest(server, 1)
        await peer.whenEnded()
        peer.transport.loseConnection()
    loggedErrors.take(kind)


PREFIXES = {
    "raises": raising(ZeroDivisionError),
    "exits": raising(SystemExit),
    "cannot be formatted": lambda _: type("Odd", (), {"__str__": raising(ValueError)})(),
}


@pytest.mark.parametrize("how", PREFIXES)
async def test_logPrefix(how: str, serve: Serve, loggedErrors: LoggedErrors) -> None:
    """
    A logPrefix that raises, or returns what is no text, costs no slot.
    """

    class Odd(TCPDemoProtocol):
        def logPrefix(self) -> str:
            # Twisted's own transports cannot be made without one.
            return PREFIXES[how](self) if self.connected else "Odd"  # type: ignore[no-any-return]

    async with serve(Odd, maxConnections=1) as server:
        for count in (1, 2):
            peer = await server.connect()
            await until(lambda: server.factory.connectionCount == 1)
            peer.transport.abortConnection()
            await rest(server, count)
    loggedErrors.take(ZeroDivisionError, SystemExit, ValueError)


@pytest.mark.parametrize("kind", EXITS)
async def test_producer(
    kind: type[BaseException], serve: Serve, loggedErrors: LoggedErrors
) -> None:
    """
    A producer that raises when it is stopped costs no slot, and finds the slot free.
    """
    found: list[int] = []

    class Producing(TCPDemoProtocol):
        def connectionMade(self) -> None:
            self.transport.registerProducer(self, True)

        def pauseProducing(self) -> None:
            pass

        resumeProducing = pauseProducing

        def stopProducing(self) -> None:
            found.append(server.factory.connectionCount)
            raise kind

    async with serve(Producing, maxConnections=1) as server:
        for count in (1, 2):
            peer = await server.connect()
            await until(lambda: server.factory.connectionCount == 1)
            peer.transport.abortConnection()
            await rest(server, count)
        await until(lambda: len(found) == 2)
    loggedErrors.take(kind)
