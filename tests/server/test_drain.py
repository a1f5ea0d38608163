"""
Draining: no byte is lost, and the drain always ends.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from tests.support.peers import rawConnection, serving
from tests.support.waiting import until
from twisted_tcpdemo import CloseReason, TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.server.drain import IDLE_AFTER
from twisted_tcpdemo.server.observers import ConnectionObserver
from twisted_tcpdemo.twistd.programs import Discard, Echo

ADDRESS = IPv4Address("TCP", "127.0.0.1", 1)


class Memory(StringTransport):
    """
    A transport in memory that ends when it is closed.
    """

    protocol: Any = None

    def loseConnection(self) -> None:
        """
        End in order.
        """
        self._end(ConnectionDone())

    def abortConnection(self) -> None:
        """
        End at once.
        """
        self._end(ConnectionAborted())

    def _end(self, reason: Exception) -> None:
        if not self.disconnected:
            self.disconnected = True
            self.protocol.connectionLost(Failure(reason))


def connected(factory: TCPDemoFactory) -> Any:
    """
    Connect another client in memory.
    """
    protocol, transport = factory.buildProtocol(ADDRESS), Memory()
    transport.protocol = protocol
    protocol.makeConnection(transport)
    return protocol


def test_nobodyThere() -> None:
    """
    A drain without connections is over at once, and can be repeated.
    """
    factory = TCPDemoFactory(clock=Clock())
    for _ in range(2):
        fired: list[Any] = []
        factory.drain(10).addCallback(fired.append)
        assert [(r.finished, r.aborted, r.bytesUnsent) for r in fired] == [(0, 0, 0)]


def test_protocolsAreTold() -> None:
    """
    Each protocol hears drainStarted, and may end its connection.
    """
    told: list[int] = []

    class Told(TCPDemoProtocol):
        def drainStarted(self) -> None:
            told.append(self.connectionID)
            self.transport.loseConnection()

    factory = TCPDemoFactory(Told, clock=Clock())
    connections = [connected(factory) for _ in range(3)]
    fired: list[Any] = []
    factory.drain(10).addCallback(fired.append)
    assert told == [c.connectionID for c in connections]
    assert [(r.finished, r.aborted) for r in fired] == [(3, 0)]


def test_hookRaises(loggedErrors: Any) -> None:
    """
    A protocol whose drainStarted raises is ended, and the drain goes on.
    """

    class Broken(TCPDemoProtocol):
        def drainStarted(self) -> None:
            raise ZeroDivisionError

    factory = TCPDemoFactory(Broken, clock=Clock())
    connection = connected(factory)
    fired: list[Any] = []
    factory.drain(10).addCallback(fired.append)
    assert len(fired) == 1
    assert connection.closeReason is CloseReason.ERROR
    loggedErrors.take(ZeroDivisionError)


@pytest.mark.parametrize("hookRaises", [False, True])
def test_transportRaises(hookRaises: bool, loggedErrors: Any) -> None:
    """
    A transport that cannot be ended keeps a drain from no other connection.
    """

    class Broken(TCPDemoProtocol):
        def drainStarted(self) -> None:
            if hookRaises:
                raise ZeroDivisionError

    def fail() -> None:
        raise ArithmeticError

    clock = Clock()
    factory = TCPDemoFactory(Broken, clock=clock)
    broken, other = connected(factory), connected(factory)
    broken.transport.loseConnection = broken.transport.abortConnection = fail
    clock.advance(IDLE_AFTER)
    factory.drain(10)
    assert (broken.closeReason, other.closeReason is None) == (None, False)
    assert factory.drainProgress is not None
    broken.connectionLost(Failure(ConnectionAborted()))
    assert factory.drainProgress is None
    loggedErrors.take(ZeroDivisionError, ArithmeticError)


def test_withoutDeadline() -> None:
    """
    Without a deadline no connection is closed by force, however long it takes.
    """
    clock = Clock()
    factory = TCPDemoFactory(clock=clock)
    connection = connected(factory)
    fired: list[Any] = []
    factory.close().addCallback(fired.append)
    clock.advance(10_000)
    assert not fired and factory.connectionCount == 1
    connection.transport.loseConnection()
    assert [(r.finished, r.aborted, r.duration) for r in fired] == [(1, 0, 10_000)]


def test_idleIsClosed() -> None:
    """
    With a deadline, an idle connection is closed at once, and a busy one as soon as
    it becomes idle.
    """
    clock = Clock()
    factory = TCPDemoFactory(clock=clock)
    idle, busy = connected(factory), connected(factory)
    clock.advance(5)
    busy.dataReceived(b"x")
    factory.drain(60)
    assert idle.closeReason is CloseReason.LOCAL_CLOSE
    assert busy.closeReason is None
    for _ in range(5):
        clock.advance(0.5)
        busy.dataReceived(b"x")
    assert busy.closeReason is None
    clock.pump([0.1] * 15)
    assert busy.closeReason is CloseReason.LOCAL_CLOSE
    assert clock.getDelayedCalls() == []


def test_deadline() -> None:
    """
    Connections that are busy at the deadline are aborted, and counted apart.
    """
    clock = Clock()
    factory = TCPDemoFactory(clock=clock)
    connection = connected(factory)
    fired: list[Any] = []
    factory.drain(2).addCallback(fired.append)
    for _ in range(22):
        connection.dataReceived(b"x") if connection.closeReason is None else None
        clock.advance(0.1)
    assert connection.closeReason is CloseReason.DRAIN
    assert [(r.finished, r.aborted) for r in fired] == [(0, 1)]
    assert fired[0].duration <= 2.05 + 0.1
    assert clock.getDelayedCalls() == []


def test_spread() -> None:
    """
    Idle connections are closed one by one, spread over the given time.
    """
    clock = Clock()
    factory = TCPDemoFactory(clock=clock)
    for _ in range(100):
        connected(factory)
    clock.advance(5)
    factory.drain(60, spread=10)
    counts = []
    for _ in range(5):
        counts.append(factory.connectionCount)
        clock.pump([0.1] * 20)
    clock.pump([0.1] * 2)
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[2] > counts[4] > 0
    assert factory.connectionCount == 0


def test_secondCallBringsTheEnd() -> None:
    """
    A second drain may bring the deadline forward; both fire.
    """
    clock = Clock()
    factory = TCPDemoFactory(clock=clock)
    connection = connected(factory)
    connection.dataReceived(b"x")
    fired: list[Any] = []
    factory.close().addCallback(fired.append)
    factory.drain(0).addCallback(fired.append)
    assert connection.closeReason is CloseReason.DRAIN
    assert [r.aborted for r in fired] == [1, 1]
    assert clock.getDelayedCalls() == []


async def test_transfersFinish() -> None:
    """
    A drain under way delivers every byte of the transfers that finish.
    """
    size = 5_000_000
    async with serving(TCPDemoFactory(Discard)) as server:
        peers = [await server.connect() for _ in range(5)]
        await until(lambda: server.factory.connectionCount == 5)
        for protocol in server.factory.connections:
            protocol.transport.write(bytes(size))
            protocol.transport.loseConnection()
        drained = server.factory.drain(5)
        for peer in peers:
            await peer.whenReceived(size)
            peer.transport.loseConnection()
        report = await drained
        assert (report.finished, report.aborted, report.bytesUnsent) == (5, 0, 0)


async def test_queueIsServed() -> None:
    """
    A drain serves clients that the kernel had connected before it.
    """
    async with serving(TCPDemoFactory(Echo)) as server:
        server.factory.suspend()
        peers = [await server.connect() for _ in range(10)]
        for peer in peers:
            peer.transport.write(b"hello")
        drained = server.factory.drain(5)
        assert server.factory.acceptedCount == 10
        for peer in peers:
            await peer.whenReceived(5)
            peer.transport.loseConnection()
        report = await drained
        assert (report.finished, report.aborted) == (10, 0)


@pytest.mark.parametrize("endpoint", ["tcp:0:interface=127.0.0.1", "fasttcp:0:interface=127.0.0.1"])
async def test_abortedAtTheLastMoment(endpoint: str) -> None:
    """
    A client that connects while C{drain(0)} closes the port is aborted too, even if
    it is busy.
    """
    async with serving(TCPDemoFactory(Discard), endpoint) as server:
        drained = server.factory.drain(0)
        # The port closes in the next turn; until then the kernel connects.
        raw = rawConnection(server.port)
        raw.send(b"x")
        report = await drained
        raw.close()
        assert (report.finished, report.aborted) == (0, 1)


def test_abortedAgain() -> None:
    """
    C{drain(0)} aborts all connections made since the last drain, by whatever way.
    """
    factory = TCPDemoFactory(clock=Clock())
    first = connected(factory)
    first.transport.abortConnection = first.transport.loseConnection = lambda: None
    first.dataReceived(b"x")
    drained = factory.drain(0)
    late = connected(factory)
    late.dataReceived(b"x")
    factory.drain(0)
    assert late.closeReason is CloseReason.DRAIN
    first.connectionLost(Failure(ConnectionAborted()))
    assert drained.called


@pytest.mark.parametrize("ask", ["drain", "close"])
def test_hookDrains(ask: str) -> None:
    """
    A protocol whose drainStarted drains the factory, with another deadline, joins
    the drain under way, and hears of it once.
    """
    told: list[bool] = []

    class Asking(TCPDemoProtocol):
        factory: TCPDemoFactory

        def drainStarted(self) -> None:
            told.append(self.factory.draining)
            getattr(self.factory, ask)()

    factory = TCPDemoFactory(Asking, clock=Clock())
    connections = [connected(factory) for _ in range(2)]
    factory.close()
    assert told == [True, True]
    assert [c.closeReason for c in connections] == [None, None]


def test_hookEndsAnother() -> None:
    """
    A connection that another one's drainStarted ends hears nothing more.
    """
    told: list[TCPDemoProtocol] = []

    class Jealous(TCPDemoProtocol):
        factory: TCPDemoFactory

        def drainStarted(self) -> None:
            told.append(self)
            for other in self.factory.connections:
                if other is not self:
                    other.transport.loseConnection()

    factory = TCPDemoFactory(Jealous, clock=Clock())
    first, second = connected(factory), connected(factory)
    factory.close()
    assert told == [first]
    assert second.closeReason is CloseReason.LOCAL_CLOSE


def test_observerDrains() -> None:
    """
    When an observer of listeningStopped drains the factory too, there is one drain,
    and protocols hear of it once.
    """
    told: list[bool] = []

    class Told(TCPDemoProtocol):
        def drainStarted(self) -> None:
            told.append(factory.draining)

    class Draining(ConnectionObserver):
        def listeningStopped(self, address: object) -> None:
            factory.drain()

    reactor = MemoryReactorClock()
    factory = TCPDemoFactory(Told, clock=reactor)
    factory.addObserver(Draining())
    factory.listen(serverFromString(reactor, "tcp:1"))
    connection = connected(factory)
    drained = factory.close()
    assert told == [True]
    connection.transport.loseConnection()
    assert drained.called and not factory.draining


def test_drainedBeforeItIsMade() -> None:
    """
    A connection whose opening makes an observer drain hears drainStarted after
    connectionMade.
    """
    heard: list[str] = []

    class Hearing(TCPDemoProtocol):
        def connectionMade(self) -> None:
            heard.append("made")

        def drainStarted(self) -> None:
            heard.append("drain")

    class Draining(ConnectionObserver):
        def connectionOpened(self, report: object) -> None:
            factory.drain(5)

    clock = Clock()
    factory = TCPDemoFactory(Hearing, clock=clock)
    factory.addObserver(Draining())
    connection = connected(factory)
    clock.pump([0.1] * 20)
    assert heard == ["made", "drain"]
    assert connection.closeReason is CloseReason.LOCAL_CLOSE
    assert not factory.draining and not clock.getDelayedCalls()


def test_listensAgain() -> None:
    """
    After a factory listens again, its former drain leaves new connections alone,
    and ends without them.
    """
    reactor = MemoryReactorClock()
    factory = TCPDemoFactory(clock=reactor)
    old = connected(factory)
    old.dataReceived(b"x")
    drained = factory.drain(0.5)
    assert factory.draining
    factory.listen(serverFromString(reactor, "tcp:1"))
    assert not factory.draining
    new = connected(factory)
    reactor.pump([0.1] * 20)
    assert old.closeReason is CloseReason.DRAIN
    assert drained.called
    assert new.closeReason is None and factory.listening


async def test_drainedOnceMore() -> None:
    """
    A second drain of a factory that listens again closes the new listeners, and
    waits for their connections too.
    """
    factory = TCPDemoFactory(Discard)
    async with serving(factory) as server:
        await server.connect()
        await until(lambda: factory.connectionCount == 1)
        first = factory.close()
        await until(lambda: not factory.listening)
        async with serving(factory) as other:
            await other.connect()
            await until(lambda: factory.connectionCount == 2)
            second = factory.close()
            assert factory.draining
            server.peers[0].transport.loseConnection()
            await until(lambda: factory.connectionCount == 1 and not factory.listening)
            assert not second.called
            other.peers[0].transport.loseConnection()
            report = await second
        assert report.finished == 2
        assert await first == report


async def test_waitsForWhoHasComeOtherwise() -> None:
    """
    Without a new listener, a drain also waits for connections made past its
    listeners.
    """
    factory = TCPDemoFactory(clock=Clock())
    first = connected(factory)
    drained = factory.close()
    second = connected(factory)
    first.transport.loseConnection()
    assert not drained.called
    second.transport.loseConnection()
    assert (await drained).finished == 2


@pytest.mark.parametrize("value", [float("inf"), float("nan"), "5", -1, True])
@pytest.mark.parametrize("option", ["deadline", "spread"])
def test_badTime(option: str, value: Any) -> None:
    """
    A time out of range is refused before a listener is closed, and the error names
    it.
    """
    reactor = MemoryReactorClock()
    factory = TCPDemoFactory(clock=reactor)
    factory.listen(serverFromString(reactor, "tcp:1"))
    connection = connected(factory)
    with pytest.raises((TypeError, ValueError), match=option):
        factory.drain(**{"deadline": 1, option: value})
    assert factory.listening and not factory.draining
    assert connection.closeReason is None


def test_abortedOnce() -> None:
    """
    C{drain(0)} aborts each connection once, even one that takes its time.
    """
    factory = TCPDemoFactory(clock=Clock())
    connection = connected(factory)
    aborts: list[bool] = []
    connection.transport.abortConnection = lambda: aborts.append(True)
    factory.drain(0)
    assert aborts == [True]
    connection.connectionLost(Failure(ConnectionAborted()))
