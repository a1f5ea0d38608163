"""
Companions: which visitors they take, how visits end, when they listen.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import (
    clientFromString,
    connectProtocol,
    serverFromString,
    wrapClientTLS,
)
from twisted.internet.error import CannotListenError, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer
from zope.interface.verify import verifyClass

from tests.support.certificates import pemFile
from tests.support.contexts import TwistedContexts
from tests.support.peers import Peer
from tests.support.waiting import failureOf, until
from twisted_tcpdemo import CloseReason
from twisted_tcpdemo.service import companion as companions
from twisted_tcpdemo.service.companion import (
    MAX_VISITORS,
    NEWCOMERS,
    PATIENCE,
    Accompanied,
    Companion,
)
from twisted_tcpdemo.service.startup import StartError

ENDPOINTS = {
    "tcp": "tcp:0:interface=127.0.0.1",
    "tls": f"ssl:0:interface=127.0.0.1:privateKey={pemFile()}",
    "unix": "unix:{folder}/socket",
    "fast": "fasttcp:0:interface=127.0.0.1",
}

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Page(Resource):
    """
    A page that does something before it answers.
    """

    isLeaf = True

    def __init__(self, body: bytes = b"seen") -> None:
        super().__init__()
        self.body = body
        self.asked: Callable[[], object] = lambda: None

    def render_GET(self, request: Any) -> bytes:
        """
        Answer.
        """
        self.asked()
        return self.body


class Visited:
    """
    A companion, and a way to visit it.
    """

    def __init__(self, companion: Companion, site: Site, folder: Path, tls: bool) -> None:
        self.companion = companion
        self.site = site
        self.visitors = companion.visitors
        host: Any = companion.port and companion.port.getHost()
        self._client = f"tcp:127.0.0.1:{getattr(host, 'port', 0)}"
        if not hasattr(host, "port"):
            self._client = f"unix:{folder}/socket"
        self._tls = tls
        self.peers: list[Peer] = []

    async def connect(self) -> Peer:
        """
        Connect another visitor.
        """
        from twisted.internet import reactor

        peer = Peer()
        endpoint: Any = clientFromString(reactor, self._client)
        if self._tls:
            endpoint = wrapClientTLS(TwistedContexts.client(), endpoint)
        await connectProtocol(endpoint, peer)
        self.peers.append(peer)
        return peer

    async def ask(self, peer: Peer, body: bytes = b"seen") -> None:
        """
        Send a request, and wait for the answer; the connection stays open.
        """
        before = len(peer.received)
        peer.transport.write(REQUEST)
        await peer.when(lambda: peer.received[before:].endswith(b"\r\n\r\n" + body))


Visit = Callable[[Resource], AbstractAsyncContextManager[Visited]]


@pytest.fixture(params=ENDPOINTS)
def visit(request: pytest.FixtureRequest, tmp_path: Path) -> Visit:
    """
    Run a companion over each transport as long as the block lasts.
    """
    from twisted.internet import reactor

    @asynccontextmanager
    async def run(page: Resource) -> AsyncGenerator[Visited]:
        where = ENDPOINTS[request.param].format(folder=tmp_path)
        site = Site(page)
        endpoint = serverFromString(reactor, where)
        companion = Companion("a page", where, endpoint, site, reactor)
        companion.startService()
        visited = Visited(companion, site, tmp_path, request.param == "tls")
        try:
            yield visited
        finally:
            await companion.stopService()
            for peer in visited.peers:
                if peer.reason is None:
                    peer.transport.abortConnection()
                await peer.whenLost()
        assert visited.visitors.connectionCount == 0
        assert visited.visitors.conservation() == []

    return run


# Visitors.


async def test_limit(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A visitor over the limit is reset at once where nobody can be sent away, an end
    admits another, and the count returns to zero.
    """
    assert MAX_VISITORS == 64
    monkeypatch.setattr(companions, "MAX_VISITORS", 1)
    monkeypatch.setattr(companions, "NEWCOMERS", 2)
    async with visit(Page()) as visited:
        monkeypatch.setattr(companions, "_isKnown", lambda record: True)
        peers = [await visited.connect() for _ in range(3)]
        await until(lambda: visited.visitors.connectionCount == 3)
        over = await visited.connect()
        await over.whenEnded()
        if "unix" not in str(over.transport.getPeer()).lower():
            assert isinstance(over.reason, ConnectionLost)
        assert not over.received
        for peer in peers:
            await visited.ask(peer)
        assert (visited.visitors.connectionCount, visited.visitors.refusedCount) == (3, 1)
        peers[0].transport.loseConnection()
        await peers[0].whenLost()
        await until(lambda: visited.visitors.connectionCount == 2)
        await visited.ask(await visited.connect())
        assert (visited.visitors.connectionCount, visited.visitors.refusedCount) == (3, 1)
        for peer in visited.peers:
            peer.transport.loseConnection()
        await visited.visitors.whenEmpty()


async def test_manyVisitors(visit: Visit) -> None:
    """
    A companion takes and answers as many visitors as it promises; one more gets the
    place of the visitor that came first.
    """
    async with visit(Page()) as visited:
        for _ in range(MAX_VISITORS):
            await visited.ask(await visited.connect())
        assert visited.visitors.connectionCount == MAX_VISITORS
        await visited.ask(await visited.connect())
        await visited.peers[0].whenEnded()
        await until(lambda: visited.visitors.connectionCount == MAX_VISITORS)
        assert [peer.reason for peer in visited.peers[1:]] == [None] * MAX_VISITORS
        assert visited.visitors.refusedCount == 0


async def test_quiet(visit: Visit, log: list[str]) -> None:
    """
    A companion logs nothing of its visitors, and takes no descriptor limit.
    """
    async with visit(Page()) as visited:
        [line] = log
        assert line.startswith("a page on ")
        peer = await visited.connect()
        await visited.ask(peer)
        peer.transport.loseConnection()
        await visited.visitors.whenEmpty()
        assert log == [line]
        assert visited.visitors.effectiveLimit == MAX_VISITORS + NEWCOMERS


# The stop.


async def test_stopIsOrderly(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A stop ends visitors that read in order, and waits for no other event.
    """
    monkeypatch.setattr(companions, "PATIENCE", 3600.0)
    async with visit(Page()) as visited:
        peer, silent = await visited.connect(), await visited.connect()
        await visited.ask(peer)
        await until(lambda: visited.visitors.connectionCount == 2)
        await visited.companion.stopService()
        for one in (peer, silent):
            await one.whenEnded()
            assert one.reason is None or isinstance(one.reason, ConnectionDone)


@pytest.mark.parametrize("size", [4, 4_000_000])
async def test_stopIsAnswered(visit: Visit, size: int) -> None:
    """
    A request for the stop gets all of its answer.
    """
    page = Page(bytes(size))
    stopped: list[Deferred[None]] = []
    async with visit(page) as visited:
        page.asked = lambda: stopped.append(visited.companion.stopService())
        peer = await visited.connect()
        await visited.ask(peer, page.body)
        await stopped[0]
        await peer.whenEnded()
        assert visited.visitors.report().closedBy.keys() == {CloseReason.LOCAL_CLOSE}


async def test_stopEndsThoseThatNeverRead(visit: Visit) -> None:
    """
    A stop waits no longer than its budget for a visitor that does not read.
    """
    from twisted.internet import reactor

    async with visit(Page(bytes(20_000_000))) as visited:
        stuck = await visited.connect()
        stuck.transport.write(REQUEST)
        await stuck.whenReceived(1)
        stuck.transport.pauseProducing()
        before = reactor.seconds()
        await visited.companion.stopService()
        took = reactor.seconds() - before
        assert PATIENCE <= took < PATIENCE + 1
        assert visited.visitors.report().closedBy.keys() == {CloseReason.DRAIN}
        stuck.transport.resumeProducing()
        await stuck.whenEnded()


async def test_stopEndsUnansweredRequests(visit: Visit) -> None:
    """
    A stop does not wait for a request that is never answered.
    """
    page = Page()
    requests: list[bool] = []
    page.asked = lambda: requests.append(True)
    page.body = NOT_DONE_YET  # type: ignore[assignment]
    async with visit(page) as visited:
        peer = await visited.connect()
        peer.transport.write(REQUEST)
        await until(lambda: requests)
        await visited.companion.stopService()
        await peer.whenEnded()
        assert not peer.received


async def test_stopClosesThePort(visit: Visit, tmp_path: Path) -> None:
    """
    After a stop nobody can connect to a companion, and its site is stopped too.
    """
    async with visit(Page()) as visited:
        assert visited.site.numPorts == 1
        await visited.companion.stopService()
        await failureOf(visited.connect())
        assert visited.companion.port is None
        assert visited.site.numPorts == 0
        assert not (tmp_path / "socket").exists()


async def test_again(visit: Visit) -> None:
    """
    A companion can be stopped twice, and started again.
    """
    async with visit(Page()) as visited:
        await visited.companion.stopService()
        await visited.companion.stopService()
        visited.companion.startService()
        visited.companion.startService()
        assert visited.site.numPorts == 1


# Listening.


@implementer(IStreamServerEndpoint)
class Slow:
    """
    An endpoint that listens when the test tells it to.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[IProtocolFactory, Deferred[IListeningPort]]] = []

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        Listen later.
        """
        self.asked.append((factory, Deferred()))
        return self.asked[-1][1]


verifyClass(IStreamServerEndpoint, Slow)


@implementer(IStreamServerEndpoint)
class Failing:
    """
    An endpoint that cannot listen.
    """

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        Fail.
        """
        return fail(CannotListenError("here", 1, OSError("taken")))


verifyClass(IStreamServerEndpoint, Failing)


@pytest.fixture
def log() -> Generator[list[str]]:
    """
    The lines that the package logs.
    """
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        if event.get("log_namespace", "").startswith("tcpdemo"):
            lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def companionOn(endpoint: IStreamServerEndpoint, **options: Any) -> Companion:
    """
    A companion with a clock of its own.
    """
    return Companion("a page", "here", endpoint, Factory(), Clock(), **options)


async def test_stopWithoutStart() -> None:
    """
    A companion that was never started can be stopped.
    """
    endpoint = Slow()
    await companionOn(endpoint).stopService()
    assert endpoint.asked == []


@pytest.mark.parametrize(("privileged", "asked"), [(True, 1), (False, 0)])
async def test_privileges(privileged: bool, asked: int) -> None:
    """
    A companion listens once, with or without the privileges of the process as it
    was told.
    """
    endpoint = Slow()
    companion = companionOn(endpoint, privileged=privileged)
    companion.privilegedStartService()
    assert len(endpoint.asked) == asked
    companion.startService()
    assert len(endpoint.asked) == 1
    await companion.stopService()


def test_cannotListen(capfd: pytest.CaptureFixture[str]) -> None:
    """
    A companion that cannot listen ends the start with one line.
    """
    with pytest.raises(StartError, match="cannot listen on here for a page"):
        companionOn(Failing()).startService()
    assert capfd.readouterr().err.count("\n") == 1


def test_cannotListenLater(log: list[str]) -> None:
    """
    An endpoint that fails while the server runs is logged, and the server goes on.
    """
    endpoint = Slow()
    companion = companionOn(endpoint)
    companion.startService()
    endpoint.asked[0][1].errback(CannotListenError("here", 1, OSError("taken")))
    assert companion.port is None
    assert [line.startswith("cannot listen on here for a page") for line in log] == [True]


async def test_stopWhileListening(log: list[str]) -> None:
    """
    A companion that stops before its endpoint listens does not wait for it; the
    late port is closed, and nothing is logged.
    """
    endpoint = Slow()
    companion = companionOn(endpoint)
    companion.startService()
    await companion.stopService()
    companion.startService()
    from twisted.internet import reactor

    factory, late = endpoint.asked[0]
    port = await serverFromString(reactor, ENDPOINTS["tcp"]).listen(factory)
    late.callback(port)
    await until(lambda: not port.connected)
    assert (companion.port, log) == (None, [])
    await companion.stopService()


async def test_stopLast() -> None:
    """
    Companions stop after the server has come to rest, not before.
    """
    order: list[str] = []
    rest: Deferred[None] = Deferred()

    class Recorded(Service):
        def __init__(self, name: str, stopping: Deferred[None] | None) -> None:
            self.called = name
            self.stopping = stopping

        def stopService(self) -> Any:
            order.append(self.called)
            return self.stopping

    both = Accompanied(Recorded("server", rest), Recorded("companion", None))
    both.startService()
    stopped = both.stopService()
    assert order == ["server"]
    rest.callback(None)
    await stopped
    assert order == ["server", "companion"]
