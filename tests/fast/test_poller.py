"""
L{twisted_tcpdemo.fast.poller}: one reader of the reactor for many connections.
"""

from __future__ import annotations

import os
import socket
import threading
import warnings
from errno import ENOSPC
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionAborted, ConnectionFdescWentAway
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import globalLogPublisher
from twisted.python import log
from twisted.python.failure import Failure
from twisted.web.server import Site

from tests.support.fast import Remembering, accepted, closed, drainPeer, fastServer, pollerReads
from tests.support.peers import Peer, hasEnded, rawConnection
from tests.support.waiting import turn, until, within
from tests.support.wall import HOUR, settableWall
from twisted_tcpdemo import Proxy, ServerEndpoint, TCPDemoProtocol, fastReactor
from twisted_tcpdemo.fast.poller import ROUNDS, pollerOf


async def test_cleanReactor() -> None:
    """
    The poller is a reader of the reactor only while a connection waits for an
    event.
    """
    async with fastServer() as server:
        assert not pollerReads()
        peer = rawConnection(server.port)
        await until(lambda: server.made)
        assert pollerReads()
        peer.close()
        await server.made[0].whenEnded()
        server.made[0].transport.loseConnection()
        await server.made[0].whenLost()
        assert not pollerReads()


async def test_cleanReactorWhenHalfClosed() -> None:
    """
    A half-closed connection that waits for nothing leaves the reactor clean, as
    Twisted's connections do.
    """
    async with fastServer() as server:
        with rawConnection(server.port) as peer:
            await until(lambda: server.made)
            peer.shutdown(1)
            await server.made[0].whenEnded()
            await until(lambda: not pollerReads())
            server.made[0].transport.loseConnection()
            await server.made[0].whenLost()


@pytest.mark.deadline(3 * HOUR)  # the deadline is the reactor's, too
async def test_clockSetBack() -> None:
    """
    A connection that is aborted ends in the next turn, though the system's clock is set
    back meanwhile, and nothing else happens.
    """
    async with fastServer() as server:
        with rawConnection(server.port), settableWall() as wall:
            await until(lambda: server.made)
            server.made[0].transport.abortConnection()
            wall.set(-HOUR)
            assert await within(5, lambda: server.made[0].whenLost().called)


async def test_endsBeforeItsTurn() -> None:
    """
    A connection that ends while it waits for the next turn leaves no call behind, and
    takes away none of another's.
    """
    from twisted.internet import reactor

    async with fastServer() as server:
        with rawConnection(server.port), rawConnection(server.port):
            await until(lambda: len(server.made) == 2)
            first, second = server.made
            before = reactor.getDelayedCalls()  # type: ignore[attr-defined]
            first.transport.abortConnection()
            during = reactor.getDelayedCalls()  # type: ignore[attr-defined]
            second.transport.abortConnection()
            second.transport.connectionLost(Failure(ConnectionAborted()))
            assert reactor.getDelayedCalls() == during != before  # type: ignore[attr-defined]
            first.transport.connectionLost(Failure(ConnectionAborted()))
            assert reactor.getDelayedCalls() == before  # type: ignore[attr-defined]
            await gatherResults([first.whenLost(), second.whenLost()])


async def test_forgottenByReactor() -> None:
    """
    Connections are served even after a test runner has removed all readers of the
    reactor.
    """
    from twisted.internet import reactor

    async with fastServer() as server:
        with rawConnection(server.port), rawConnection(server.port) as second:
            await until(lambda: len(server.made) == 2)
            reactor.removeReader(pollerOf(reactor))  # type: ignore[attr-defined]
            with rawConnection(server.port):
                await until(lambda: len(server.made) == 3)
                second.send(b"hello")
                await until(lambda: any(p.received for p in server.made))
                for protocol in server.made:
                    protocol.transport.loseConnection()
                    await protocol.whenLost()


async def test_eofDoesNotSpin() -> None:
    """
    A half-closed connection costs nothing while its EOF stays readable.
    """
    from twisted.internet import reactor

    async with fastServer() as server:
        with rawConnection(server.port) as peer:
            await until(lambda: server.made)
            [protocol] = server.made
            peer.shutdown(1)
            await protocol.whenEnded()
            protocol.transport.loseWriteConnection()
            await turn()
            protocol.transport.resumeProducing()
            before = _servings(reactor)
            await deferLater(reactor, 0.05, lambda: None)
            assert _servings(reactor) - before <= 2
            protocol.transport.loseConnection()
            await protocol.whenLost()


def _servings(reactor: Any) -> int:
    """
    How often the poller has served its connections, counted from the first call on.
    """
    poller: Any = pollerOf(reactor)
    if not hasattr(poller, "servings"):
        poller.servings = 0
        serve = poller._serve

        def counted(rounds: int, contexts: list[object]) -> None:
            poller.servings += 1
            serve(rounds, contexts)

        poller._serve = counted
    count: int = poller.servings
    return count


async def test_pausedDoesNotSpin() -> None:
    """
    A paused connection with data to read costs nothing.
    """
    from twisted.internet import reactor

    async with fastServer() as server:
        with rawConnection(server.port) as peer:
            await until(lambda: server.made)
            [protocol] = server.made
            protocol.transport.pauseProducing()
            peer.send(b"waiting")
            before = _servings(reactor)
            await deferLater(reactor, 0.05, lambda: None)
            assert _servings(reactor) - before <= 2
            assert not protocol.received
            protocol.transport.resumeProducing()
            await protocol.whenReceived(7)
            protocol.transport.loseConnection()
            await protocol.whenLost()


async def test_exceptionEndsOne(loggedErrors: Any) -> None:
    """
    An exception in one connection ends that one, and no other.
    """

    class Broken(Remembering):
        def dataReceived(self, data: bytes) -> None:
            if data == b"fail":
                raise ZeroDivisionError(data)
            super().dataReceived(data)

    async with fastServer(Broken) as server:
        with rawConnection(server.port) as bad, rawConnection(server.port) as good:
            await until(lambda: len(server.made) == 2)
            bad.send(b"fail")
            good.send(b"fine")
            first, second = server.made
            await first.whenLost()
            await second.whenReceived(4)
            assert isinstance(first.reason, ZeroDivisionError)
            assert second.reason is None
            assert len(loggedErrors.take(ZeroDivisionError)) == 1
            second.transport.loseConnection()
            await second.whenLost()


class Unwilling:
    """
    An epoll object that refuses the next descriptor, as the kernel does when a
    user watches too many.
    """

    def __init__(self, real: Any) -> None:
        self._real = real
        self._refused = False

    def register(self, *arguments: Any) -> None:
        """
        Watch a descriptor, unless it is the first.
        """
        if not self._refused:
            self._refused = True
            raise OSError(ENOSPC, "too many watches")
        self._real.register(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


async def test_unwatchable(loggedErrors: Any) -> None:
    """
    A connection that the kernel will not watch is closed and logged, and leaves
    nothing behind.
    """
    from twisted.internet import reactor

    async with fastServer() as server:
        poller: Any = pollerOf(reactor)
        before, epoll = poller.connectionCount, poller._epoll
        poller._epoll = Unwilling(epoll)
        try:
            with rawConnection(server.port) as refused, rawConnection(server.port) as served:
                await until(lambda: len(server.made) == 1)
                await until(partial(hasEnded, refused))
                served.send(b"fine")
                await server.made[0].whenReceived(4)
                assert poller.connectionCount == before + 1
                assert len(loggedErrors.take(OSError)) == 1
                server.made[0].transport.loseConnection()
                await server.made[0].whenLost()
        finally:
            poller._epoll = epoll


async def test_logPrefix(loggedErrors: Any) -> None:
    """
    Log lines and exceptions of a connection bear its prefix, even when that
    changes; later lines do not.
    """
    events: list[Any] = []

    class Talker(Remembering):
        def dataReceived(self, data: bytes) -> None:
            log.msg("one")  # type: ignore[no-untyped-call]
            self.transport.logstr = "renamed"
            log.msg("two")  # type: ignore[no-untyped-call]
            raise ZeroDivisionError

    globalLogPublisher.addObserver(events.append)
    try:
        async with fastServer(Talker) as server:
            with rawConnection(server.port) as peer:
                await until(lambda: server.made)
                peer.send(b"x")
                await server.made[0].whenLost()
                await turn()
                log.msg("three")  # type: ignore[no-untyped-call]
    finally:
        globalLogPublisher.removeObserver(events.append)
    loggedErrors.take(ZeroDivisionError)
    told = {str(e.get("message", "")): e.get("system") for e in events if "system" in e}
    assert told["('one',)"] == "Talker,0,127.0.0.1"
    assert told["('two',)"] == "renamed"
    assert told["('three',)"] == "-"
    [failed] = [e for e in events if e.get("isError")]
    assert failed["system"] == "renamed"


async def test_logPrefixInThread() -> None:
    """
    Log lines of a thread bear the prefix of the connection that started it,
    whichever connection is served meanwhile.
    """
    events: list[Any] = []
    proceed = threading.Event()

    def work() -> None:
        proceed.wait(10)
        log.msg("in the thread")  # type: ignore[no-untyped-call]

    class Beginning(Remembering):
        finished: Any = None

        def dataReceived(self, data: bytes) -> None:
            if data == b"begin":
                self.finished = deferToThread(work)
            else:
                proceed.set()

    globalLogPublisher.addObserver(events.append)
    try:
        async with fastServer(Beginning) as server:
            with rawConnection(server.port) as first, rawConnection(server.port) as second:
                await until(lambda: len(server.made) == 2)
                first.send(b"begin")
                await until(lambda: server.made[0].finished)
                second.send(b"other")
                await server.made[0].finished
                for protocol in server.made:
                    protocol.transport.abortConnection()
                    await protocol.whenLost()
    finally:
        globalLogPublisher.removeObserver(events.append)
    [told] = [e for e in events if "in the thread" in str(e.get("message", ""))]
    assert told["system"] == "Beginning,0,127.0.0.1"


async def test_logPrefixRaises(loggedErrors: Any) -> None:
    """
    A logPrefix that raises harms no other connection, and its own ends as it
    should.
    """

    class Unnamed(Remembering):
        def logPrefix(self) -> str:
            raise LookupError

        def dataReceived(self, data: bytes) -> None:
            raise ZeroDivisionError

    async with fastServer() as others, fastServer(Unnamed) as server:
        with rawConnection(others.port), rawConnection(server.port) as leaving:
            await until(lambda: others.made and server.made)
            leaving.close()
            await server.made[0].whenEnded()
            server.made[0].transport.loseConnection()
            await server.made[0].whenLost()
            with rawConnection(server.port) as failing:
                failing.send(b"x")
                await until(lambda: len(server.made) == 2)
                await server.made[1].whenLost()
            assert len(loggedErrors.take(ZeroDivisionError)) == 1
            assert server.made[1].transport.logstr == "Unnamed (its logPrefix raises),1,127.0.0.1"
            assert others.made[0].reason is None
            others.made[0].transport.abortConnection()
            await others.made[0].whenLost()


async def test_logPrefixAtTheEnd() -> None:
    """
    Log lines of connectionLost bear the prefix that the protocol has chosen.
    """
    events: list[Any] = []

    class Named(Remembering):
        def logPrefix(self) -> str:
            return "chosen"

        def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
            log.msg("bye")  # type: ignore[no-untyped-call]
            super().connectionLost(reason)

    globalLogPublisher.addObserver(events.append)
    try:
        async with fastServer(Named) as server:
            with rawConnection(server.port):
                await until(lambda: server.made)
                server.made[0].transport.loseConnection()
                await server.made[0].whenLost()
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert [e["system"] for e in events if e.get("message") == ("bye",)] == ["chosen,0,127.0.0.1"]


async def test_lostInBatch() -> None:
    """
    A connection gets no more data after another one of the same batch has ended it.
    """

    class Killer(Remembering):
        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            for other in server.made:
                if other is not self and other.reason is None:
                    other.transport.connectionLost(_gone())
                    other.received.clear()

    async with fastServer(Killer) as server:
        peers = [rawConnection(server.port) for _ in range(3)]
        await until(lambda: len(server.made) == 3)
        for peer in peers:
            peer.send(b"hello")
        await until(lambda: sum(p.reason is None for p in server.made) == 1)
        for _ in range(3):
            await turn()
        assert sorted(len(p.received) for p in server.made) == [0, 0, 5]
        for peer, protocol in zip(peers, server.made, strict=True):
            peer.close()
            protocol.transport and protocol.transport.loseConnection()
            await protocol.whenLost()


def _gone() -> Any:
    from twisted.internet.error import ConnectionLost
    from twisted.python.failure import Failure

    return Failure(ConnectionLost())


async def test_closedUnderPoller() -> None:
    """
    A descriptor that is closed under the poller leaves nothing behind: its
    number may come back, and the transport still ends.
    """
    from twisted.internet import reactor

    async with fastServer() as server:
        with rawConnection(server.port):
            await until(lambda: server.made)
            [first] = server.made
            os.close(first.transport.socket.detach())
            with rawConnection(server.port) as peer:
                await until(lambda: len(server.made) == 2)
                second = server.made[1]
                peer.send(b"hello")
                await second.whenReceived(5)
                first.transport.loseConnection()
                await first.whenLost()
                peer.send(b"again")
                await second.whenReceived(10)
                second.transport.loseConnection()
                await second.whenLost()
    assert pollerOf(reactor).connectionCount == 0


@pytest.mark.parametrize("how", ["closed", "detached"])
@pytest.mark.parametrize("isServed", [True, False])
async def test_numberComesBack(isServed: bool, how: str) -> None:
    """
    A connection whose descriptor is closed under the poller is lost when the number comes
    back, with a protocol or still without, and leaves the newcomer alone.
    """
    from twisted.internet import reactor

    proxy = None if isServed else Proxy(trusted=["127.0.0.1"])
    async with fastServer(proxy=proxy) as first, fastServer() as second:
        with rawConnection(first.port) as peer, socket.socket() as newcomer:
            peer.send(b"PROXY")
            await until(lambda: pollerOf(reactor).connectionCount)
            [connection] = filter(None, pollerOf(reactor)._connections)
            number = connection.descriptor
            os.close(connection.socket.detach() if how == "detached" else number)
            newcomer.connect(("127.0.0.1", second.port))
            protocol = await accepted(second)
            assert protocol.transport.descriptor == number
            if isServed:
                await first.made[0].whenLost()
                assert isinstance(first.made[0].reason, ConnectionFdescWentAway)
            else:
                await until(lambda: not connection.isHeld)
            assert pollerOf(reactor).connectionCount == 1
            newcomer.send(b"hello")
            await protocol.whenReceived(5)
            await closed(protocol)


class Sorting:
    """
    An epoll object that tells of the newest connection first.
    """

    def __init__(self, real: Any) -> None:
        self._real = real

    def poll(self, *arguments: Any) -> list[tuple[int, int]]:
        """
        Poll.
        """
        return sorted(self._real.poll(*arguments), reverse=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


async def test_endAmongOthers() -> None:
    """
    A peer's FIN is told, though something is written to its connection in each turn of the
    reactor before it is looked at, as in a relay.
    """
    from twisted.internet import reactor

    poller: Any = pollerOf(reactor)
    async with fastServer() as server:
        with rawConnection(server.port) as listener, rawConnection(server.port) as talker:
            await accepted(server, 2)
            first, talking = server.made
            talking.transport.doRead = lambda: first.transport.write(b"news")
            poller._epoll, epoll = Sorting(poller._epoll), poller._epoll
            try:
                talker.send(b"for ever")
                listener.shutdown(socket.SHUT_WR)
                assert await within(5, lambda: first.ended)
            finally:
                poller._epoll = epoll
            for protocol in server.made:
                await closed(protocol)


async def test_fairShare() -> None:
    """
    A connection that always has data starves neither another connection nor the
    reactor's timers.
    """
    from twisted.internet import reactor

    class Endless(Remembering):
        """
        A pull producer that writes whenever it is asked.
        """

        asked = 0

        def connectionMade(self) -> None:
            super().connectionMade()
            if len(server.made) == 1:
                self.transport.registerProducer(self, False)

        def resumeProducing(self) -> None:
            self.asked += 1
            self.transport.write(b"x")

        def stopProducing(self) -> None:
            pass

    async with fastServer(Endless) as server:
        with rawConnection(server.port), rawConnection(server.port) as quiet:
            await until(lambda: len(server.made) == 2)
            greedy, other = server.made
            before = greedy.asked
            quiet.send(b"hello")
            await other.whenReceived(5)
            fired: Deferred[None] = deferLater(reactor, 0.01, lambda: None)
            await fired
            turns = 20
            before = greedy.asked
            for _ in range(turns):
                await turn()
            assert 0 < greedy.asked - before <= (turns + 2) * 2 * ROUNDS
            for protocol in server.made:
                protocol.transport.abortConnection()
                await protocol.whenLost()


async def test_consequencesAreEvents() -> None:
    """
    What follows from a call of the application is an event of its own: delayed calls
    that are due come before it.
    """
    from twisted.internet import reactor

    told: list[str] = []

    class Telling(Remembering):
        def connectionLost(self, reason: Any) -> None:
            told.append("server")
            super().connectionLost(reason)

    async with fastServer(Telling) as server:
        where = TCP4ClientEndpoint(fastReactor(reactor), "127.0.0.1", server.port)
        client = await connectProtocol(where, Peer())
        protocol = await accepted(server)
        await turn()
        client.transport.abortConnection()
        later = deferLater(reactor, 0, told.append, "call")
        await protocol.whenLost()
        await later
    assert told == ["call", "server"]


# What the reactor owes between data and a FIN.


class Answering(Protocol):
    """
    Answers by way of the reactor, and closes.
    """

    transport: Any
    how = ""

    def dataReceived(self, data: bytes) -> None:
        """
        Have the answer called.
        """
        from twisted.internet import reactor

        later: Any = partial(reactor.callLater, 0)  # type: ignore[attr-defined]
        thread: Any = reactor.callFromThread  # type: ignore[attr-defined]
        if self.how == "deferLater":
            deferLater(reactor, 0, self.answer)
        elif self.how == "later":
            later(self.answer)
        elif self.how == "later, and later":
            later(later, self.answer)
        elif self.how == "thread":
            thread(self.answer)
        else:
            thread(thread, self.answer)

    def answer(self) -> None:
        """
        Answer, and close.
        """
        self.transport.write(b"answer")
        self.transport.loseConnection()


class Counted(Answering, TCPDemoProtocol):
    """
    The same, counted.
    """


@pytest.mark.parametrize("protocol", [Answering, Counted])
@pytest.mark.parametrize(
    "how", ["later", "later, and later", "deferLater", "thread", "thread, and thread"]
)
async def test_owed(how: str, protocol: type[Answering]) -> None:
    """
    A client that sends a request and its FIN at once gets the answer, though it comes in
    a delayed call or in a call from a thread, and though another client has just ended.
    """

    class Chosen(protocol):  # type: ignore[valid-type, misc]
        """
        Answers as the test says.
        """

    Chosen.how = how

    async with fastServer(Chosen) as server:
        for _ in range(20):
            with rawConnection(server.port) as raw:
                # Both before the reactor looks.
                raw.sendall(b"request")
                raw.shutdown(socket.SHUT_WR)
                assert await drainPeer(raw, 6) == b"answer"


async def test_staticFile(tmp_path: Path) -> None:
    """
    A client of HTTP/1.0 that ends its side with its request gets all of a file.
    """
    from twisted.internet import reactor

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the module makes its own error pages
        from twisted.web.static import File

    content = bytes(1_000_000)
    (tmp_path / "file").write_bytes(content)

    def get(port: int) -> list[int]:
        sizes = []
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", port), 5) as raw:
                raw.sendall(b"GET /file HTTP/1.0\r\n\r\n")
                raw.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda: raw.recv(1 << 18), b""))
                sizes.append(len(answer.partition(b"\r\n\r\n")[2]))
        return sizes

    site = Site(File(str(tmp_path)))
    port = await ServerEndpoint(reactor, 0, "127.0.0.1").listen(site)
    try:
        assert await deferToThread(get, port.getHost().port) == [len(content)] * 5
    finally:
        await port.stopListening()
