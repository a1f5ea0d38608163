"""
Hosting: protocols and factories that do not know their host.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IFileDescriptorReceiver
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

from tests.support.certificates import pemFile
from tests.support.hygiene import LoggedErrors
from tests.support.peers import Peer, Server, serving
from tests.support.waiting import failureOf, turn, until
from twisted_tcpdemo import CloseReason, TCPDemoFactory, hosted
from twisted_tcpdemo.fast.endpoint import ServerEndpoint

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Inner(Protocol):
    """
    A protocol that remembers its events.
    """

    def __init__(self) -> None:
        self.heard: list[object] = []

    def connectionMade(self) -> None:
        """
        Remember it.
        """
        self.heard.append("made")

    def connectionLost(self, reason: object = None) -> None:
        """
        Remember it.
        """
        self.heard.append("lost")


class InnerFactory(Factory[Any]):
    """
    A factory that remembers its events.
    """

    noisy = False
    wanted = True

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.built: list[Inner] = []

    def startFactory(self) -> None:
        """
        Remember it.
        """
        self.heard.append("start")

    def stopFactory(self) -> None:
        """
        Remember it.
        """
        self.heard.append("stop")

    def buildProtocol(self, addr: object) -> Any:
        """
        Build a protocol, or none if the test wants none.
        """
        self.heard.append(addr)
        if not self.wanted:
            return None
        inner = Inner()
        inner.factory = self
        self.built.append(inner)
        return inner


def connect(factory: TCPDemoFactory) -> StringTransport:
    """
    Connect a client in memory.
    """
    transport = StringTransport()
    factory.buildProtocol(None).makeConnection(transport)
    return transport


# Building.


def test_keepsItsFactory() -> None:
    """
    A protocol that has a factory keeps it, and any other gets its host's.
    """
    inner = InnerFactory()
    connect(TCPDemoFactory(hosted(inner)))
    assert inner.built[0].factory is inner

    alone = Inner()
    factory = TCPDemoFactory(hosted(lambda: alone))
    connect(factory)
    assert alone.factory is factory


def test_builtForAdmitted() -> None:
    """
    A factory is asked with the client's address, and only for clients that have a
    slot.
    """
    inner = InnerFactory()
    factory = TCPDemoFactory(hosted(inner), maxConnections=1)
    first = factory.buildProtocol(None)
    late = factory.buildProtocol(None)
    assert inner.heard == []
    transport = StringTransport()
    first.makeConnection(transport)
    late.makeConnection(StringTransport())
    factory.buildProtocol(None).makeConnection(StringTransport())
    assert inner.heard == [transport.getPeer()]
    assert (factory.connectionCount, factory.refusedCount) == (1, 2)
    assert inner.built[0].heard == ["made"]


def test_buildsNone() -> None:
    """
    A client for whom the factory builds no protocol is refused, and its slot is
    free again.
    """
    inner = InnerFactory()
    inner.wanted = False
    factory = TCPDemoFactory(hosted(inner))
    outer = factory.buildProtocol(None)
    transport = StringTransport()
    outer.makeConnection(transport)
    assert transport.disconnecting
    outer.dataReceived(b"early")
    outer.connectionLost()
    assert (factory.connectionCount, factory.acceptedCount) == (0, 1)
    assert factory.conservation() == []


async def test_cannotBuild(loggedErrors: LoggedErrors) -> None:
    """
    A client for whom the factory raises is aborted, and its slot is free again.
    """

    class Broken(InnerFactory):
        def buildProtocol(self, addr: object) -> Any:
            raise ZeroDivisionError

    async with serving(TCPDemoFactory(hosted(Broken()))) as server:
        peer = await server.connect()
        await peer.whenEnded()
        assert server.factory.report().closedBy == {CloseReason.ERROR: 1}
        assert server.factory.connectionCount == 0
    loggedErrors.take(ZeroDivisionError)


def test_asClassAttribute() -> None:
    """
    A subclass can host a factory as its C{protocol}.
    """
    inner = InnerFactory()

    class Sites(TCPDemoFactory):
        protocol = hosted(inner)

    factory = Sites()
    connect(factory)
    assert (factory.connectionCount, len(inner.built)) == (1, 1)


def test_neither() -> None:
    """
    An object that is neither a factory nor callable cannot be hosted.
    """
    with pytest.raises(TypeError, match="3 is no factory"):
        hosted(3)  # type: ignore[arg-type]


def test_descriptors() -> None:
    """
    The host of a protocol that takes file descriptors takes them for it.
    """

    @implementer(IFileDescriptorReceiver)
    class Taking(Inner):
        def fileDescriptorReceived(self, descriptor: int) -> None:
            self.heard.append(descriptor)

    outer = hosted(Taking)()
    assert IFileDescriptorReceiver.providedBy(outer)
    outer.fileDescriptorReceived(7)
    assert outer.inner.heard == [7]
    assert not IFileDescriptorReceiver.providedBy(hosted(Inner)())


@pytest.mark.parametrize("pauses", [False, True])
@pytest.mark.parametrize("isFactory", [False, True])
@pytest.mark.parametrize("lane", ["twisted", "fast"])
async def test_descriptorsOverUNIX(
    tmp_path: Path, lane: str, isFactory: bool, pauses: bool
) -> None:
    """
    A hosted protocol gets the descriptors that its client sends, also one that a hosted
    factory builds.
    """
    from twisted.internet import reactor

    taken: list[int] = []

    @implementer(IFileDescriptorReceiver)
    class Taking(Protocol):
        def fileDescriptorReceived(self, descriptor: int) -> None:
            taken.append(descriptor)

    path = str(tmp_path / "socket")
    endpoint = ServerEndpoint(reactor, path=path) if lane == "fast" else f"unix:{path}"
    what = Factory.forProtocol(Taking) if isFactory else Taking
    factory = TCPDemoFactory(hosted(what), pauseOnConnect=pauses)
    async with serving(factory, endpoint, f"unix:{path}") as server:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            outer = await server.protocol()
            socket.send_fds(client, [b"x"], [client.fileno()])
            if pauses:
                await turn()
                assert outer.bytesRead == 0
                outer.resume()
            await until(lambda: factory.bytesRead)
            [descriptor] = taken
            os.close(descriptor)
        await factory.whenEmpty()


# Starting and stopping.


async def test_startsAndStops() -> None:
    """
    A hosted factory starts with the first port and stops with the last one, over
    and over.
    """
    from twisted.internet import reactor

    inner = InnerFactory()
    factory = TCPDemoFactory(hosted(inner))
    for _ in range(2):
        for count in (1, 2):
            await factory.listen(serverFromString(reactor, "tcp:0:interface=127.0.0.1"))
            assert (inner.numPorts, inner.heard) == (count, ["start"])
        await factory.stopListening()
        assert (inner.numPorts, inner.heard) == (0, ["start", "stop"])
        inner.heard.clear()


def test_cannotStart(tmp_path: Path) -> None:
    """
    A port whose hosted factory cannot start is not counted.
    """
    site = Site(Resource(), logPath=str(tmp_path / "nowhere" / "log"))
    factory = TCPDemoFactory(hosted(site))
    with pytest.raises(FileNotFoundError):
        factory.doStart()
    assert (factory.numPorts, site.numPorts) == (0, 0)
    site.stopFactory()  # the site has started a timer


# A site of twisted.web.


class Page(Resource):
    """
    One page.
    """

    isLeaf = True
    body: Any = b"seen"

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    def render_GET(self, request: Any) -> Any:
        """
        Answer.
        """
        self.asked.append(request)
        return self.body


Serve = Callable[..., AbstractAsyncContextManager[Server]]


@pytest.fixture(params=["tcp", "tls", "unix", "fast"])
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Serve:
    """
    Host a site over each transport.
    """

    def start(site: Site, **options: Any) -> AbstractAsyncContextManager[Server]:
        factory = TCPDemoFactory(hosted(site), **options)
        if request.param == "tls":
            endpoint = f"ssl:0:interface=127.0.0.1:privateKey={pemFile()}"
            return serving(factory, endpoint, tls=True)
        if request.param == "unix":
            path = f"unix:{tmp_path / 'socket'}"
            return serving(factory, path, path)
        kind = "fasttcp" if request.param == "fast" else "tcp"
        return serving(factory, f"{kind}:0:interface=127.0.0.1")

    return start


async def test_site(serve: Serve) -> None:
    """
    A site answers one request after another on a connection, and its bytes are
    counted.
    """
    page = Page()
    site = Site(page)
    async with serve(site, maxConnections=1) as server:
        peer = await server.connect()
        for count in (1, 2, 3):
            peer.transport.write(REQUEST)
            await peer.when(lambda count=count: peer.received.count(b"\r\n\r\nseen") == count)
        outer = await server.protocol()
        assert outer.inner.factory is site
        assert outer.bytesRead == 3 * len(REQUEST)
        assert outer.bytesWritten == len(peer.received)
        peer.transport.loseConnection()
        await server.factory.whenEmpty()
        assert server.factory.conservation() == []


@pytest.mark.parametrize("size", [4, 8_000_000])
async def test_siteCloses(serve: Serve, size: int) -> None:
    """
    When a site closes after its answer, all of the answer is sent first.
    """
    page = Page()
    page.body = bytes(size)
    async with serve(Site(page)) as server:
        peer = await server.connect()
        peer.transport.write(b"GET / HTTP/1.0\r\n\r\n")
        await peer.whenEnded()
        assert peer.received.endswith(b"\r\n\r\n" + page.body)
        peer.transport.loseConnection()
        await server.factory.whenEmpty()
        assert server.factory.report().closedBy == {CloseReason.LOCAL_CLOSE: 1}


@pytest.mark.parametrize("size", [4, 8_000_000])
@pytest.mark.parametrize("serve", ["tcp", "unix", "fast"], indirect=True)
async def test_siteHalfClosed(serve: Serve, size: int) -> None:
    """
    A client that ends its side after the request gets all of the answer, and then
    the connection ends.
    """
    page = Page()
    page.body = bytes(size)
    async with serve(Site(page, timeout=1)) as server:
        peer = await server.connect()
        peer.transport.write(REQUEST)
        peer.transport.loseWriteConnection()
        await peer.whenEnded()
        assert peer.received.endswith(b"\r\n\r\n" + page.body)
        await server.factory.whenEmpty()


async def test_siteTimesOut(serve: Serve) -> None:
    """
    The time-out of a site ends a connection without a whole request.
    """
    clock = Clock()
    async with serve(Site(Page(), timeout=10, reactor=clock)) as server:
        peer = await server.connect()
        # Twisted's TLS aborts a connection that is closed during the handshake.
        peer.transport.write(REQUEST[:1])
        await until(lambda: [each.bytesRead for each in server.factory.connections] == [1])
        clock.advance(10)
        await peer.whenEnded()
        await server.factory.whenEmpty()
        assert server.factory.report().closedBy == {CloseReason.LOCAL_CLOSE: 1}


async def test_siteHearsOfTheEnd(serve: Serve) -> None:
    """
    A request hears of the end of its client.
    """
    page = Page()
    page.body = NOT_DONE_YET
    async with serve(Site(page)) as server:
        peer = await server.connect()
        peer.transport.write(REQUEST)
        await until(lambda: page.asked)
        told: Deferred[Any] = page.asked[0].notifyFinish()
        peer.transport.abortConnection()
        await failureOf(told)
        await server.factory.whenEmpty()


async def test_siteWaitsForItsClient(serve: Serve) -> None:
    """
    A client that pauses its requests gets all of the answers to them.
    """
    page = Page()
    page.body = bytes(500_000)
    async with serve(Site(page)) as server:
        peer = await server.connect()
        peer.transport.write(REQUEST)
        await peer.whenReceived(1)
        peer.transport.pauseProducing()
        peer.transport.write(REQUEST * 49)
        await until(lambda: server.factory.connections[0].bytesPending)
        peer.transport.resumeProducing()
        await peer.whenReceived(50 * len(page.body))
        await until(lambda: peer.received.count(b"HTTP/1.1 200 OK") == 50)
        await until(lambda: peer.received.endswith(page.body))


async def test_allowHalfOpen() -> None:
    """
    A hosted protocol that allows half-open connections can answer after its client's
    FIN.
    """
    made: list[Peer] = []

    class Answering(Peer):
        allowHalfOpen = True

        def connectionMade(self) -> None:
            made.append(self)

    async with serving(TCPDemoFactory(hosted(Answering))) as server:
        client = await server.connect()
        client.transport.loseWriteConnection()
        await until(lambda: made and made[0].ended)
        await turn()
        made[0].transport.write(b"late")
        made[0].transport.loseConnection()
        await client.whenEnded()
        assert client.received == b"late"
