"""
Ports: the kernel's queue of clients, pauses, and stops.
"""

from __future__ import annotations

import re
from pathlib import Path
from traceback import walk_tb
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError, ConnectionAborted
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.support.crowds import Greeter, Highest, endpointFor
from tests.support.descriptors import noFreeDescriptor
from tests.support.hygiene import LoggedErrors
from tests.support.peers import Events, hasEnded, rawConnection, serving
from tests.support.waiting import failureOf, turn, until
from twisted_tcpdemo import ServerEndpoint, TCPDemoFactory
from twisted_tcpdemo.errors import ListeningStoppedError
from twisted_tcpdemo.fast.endpoint import hasIPv6
from twisted_tcpdemo.fast.port import WriteThroughPort
from twisted_tcpdemo.twistd.programs import Discard, Echo
from twisted_tcpdemo.values.addresses import canonicalAddress, endpointOf

ENDPOINTS = ("tcp:0:interface=127.0.0.1", "fasttcp:0:interface=127.0.0.1")
"""Of Twisted, and of ours."""


@pytest.mark.parametrize("transport", ["tcp", "tls", "unix", "fast"])
@pytest.mark.deadline(30)
async def test_waves(transport: str, tmp_path: Path) -> None:
    """
    In waves of twice the limit it is never exceeded, no client is refused, and each
    is served as slots free.
    """
    limit = 5
    factory = TCPDemoFactory(Greeter, maxConnections=limit, overflow="wait")
    highest = Highest(factory)
    async with serving(factory, **endpointFor(transport, tmp_path)) as server:
        for wave in range(1, 4):
            peers = [await server.connect() for _ in range(2 * limit)]
            await until(lambda: factory.connectionCount == limit)
            for peer in peers:  # a served client leaves, and frees its slot
                await peer.whenReceived(5)
                peer.transport.loseConnection()
            await until(lambda wave=wave: factory.closedCount == 2 * limit * wave)
        assert highest.count == limit
        assert factory.refusedCount == 0
        assert factory.acceptedCount == 6 * limit


async def test_fullLeavesThemWaiting() -> None:
    """
    A full server leaves a client in the queue without a byte, a release serves it,
    and the count returns to zero.
    """
    factory = TCPDemoFactory(Greeter, maxConnections=1, overflow="wait")
    async with serving(factory) as server:
        first = await server.connect()
        await first.whenReceived(5)
        second = await server.connect()
        for _ in range(20):
            await turn()
        assert second.received == b"" and not second.ended
        assert (factory.connectionCount, factory.refusedCount) == (1, 0)
        first.transport.loseConnection()
        await second.whenReceived(5)
        second.transport.loseConnection()
        await factory.whenEmpty()


async def test_idlePortCostsNothing() -> None:
    """
    A full server that lets clients wait does not read its port at all.
    """
    from twisted.internet import reactor

    factory = TCPDemoFactory(Discard, maxConnections=1, overflow="wait")
    readers = set(reactor.getReaders())  # type: ignore[attr-defined]
    async with serving(factory) as server:
        [port] = set(reactor.getReaders()) - readers  # type: ignore[attr-defined]
        await server.connect()
        waiting = rawConnection(server.port)
        await until(lambda: factory.connectionCount == 1)
        await turn()
        assert port not in reactor.getReaders()  # type: ignore[attr-defined]
        waiting.close()


async def test_limitRaised() -> None:
    """
    A raised limit admits as many waiting clients as it has new slots.
    """
    factory = TCPDemoFactory(Greeter, maxConnections=0, overflow="wait")
    async with serving(factory) as server:
        peers = [await server.connect() for _ in range(4)]
        await turn()
        assert factory.acceptedCount == 0
        factory.maxConnections = 3
        for peer in peers[:3]:
            await peer.whenReceived(5)
        assert factory.connectionCount == 3
        factory.maxConnections = None
        await peers[3].whenReceived(5)


async def test_overflowChanged() -> None:
    """
    Waiting clients are refused when the overflow changes from waiting.
    """
    factory = TCPDemoFactory(Greeter, maxConnections=0, overflow="wait")
    async with serving(factory) as server:
        peer = await server.connect()
        await turn()
        factory.overflow = "refuse"
        await peer.whenEnded()
        assert factory.refusedCount == 1


async def test_severalPorts() -> None:
    """
    Several ports share one limit, and together never exceed it.
    """
    from twisted.internet import reactor

    factory = TCPDemoFactory(Greeter, maxConnections=3, overflow="wait")
    highest = Highest(factory)
    async with serving(factory) as server:
        other = await factory.listen(serverFromString(reactor, "tcp:0:interface=127.0.0.1"))
        raws = []
        for port in (server.port, other.getHost().port) * 4:
            raws.append(rawConnection(port))
        await until(lambda: factory.connectionCount == 3)
        for raw in raws:
            raw.close()
        await until(lambda: factory.closedCount == 8)
        assert (highest.count, factory.refusedCount) == (3, 0)


async def test_queueOfTheGone() -> None:
    """
    A queue full of clients that have left does not keep a live client waiting.
    """
    factory = TCPDemoFactory(Greeter, maxConnections=1, overflow="wait")
    async with serving(factory, "tcp:0:interface=127.0.0.1:backlog=200") as server:
        first = await server.connect()
        await first.whenReceived(5)
        for _ in range(100):
            rawConnection(server.port).close()
        live = await server.connect()
        first.transport.loseConnection()
        await live.whenReceived(5)
        assert factory.refusedCount == 0


async def test_suspend() -> None:
    """
    A suspended server stays bound, queues clients, and leaves connections alone;
    resumed, it serves the queue.
    """
    factory = TCPDemoFactory(Greeter)
    async with serving(factory) as server:
        early = await server.connect()
        await early.whenReceived(5)
        factory.suspend()
        late = await server.connect()
        for _ in range(20):
            await turn()
        assert factory.suspended and factory.listening
        assert late.received == b"" and factory.connectionCount == 1
        factory.resume()
        await late.whenReceived(5)
        assert not factory.suspended


async def test_drainServesTheQueue() -> None:
    """
    A drain serves clients that the kernel has already connected, and visibly
    refuses those without a slot.
    """
    factory = TCPDemoFactory(Greeter, maxConnections=2, overflow="wait")
    async with serving(factory) as server:
        factory.suspend()
        peers = [await server.connect() for _ in range(3)]
        drained = factory.drain(5)
        for peer in peers[:2]:
            await peer.whenReceived(5)
            peer.transport.loseConnection()
        await peers[2].whenEnded()
        assert peers[2].received == b""
        report = await drained
        assert (report.finished, report.aborted) == (2, 0)
        assert factory.refusedCount == 1


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("first", ["port", "factory", "drain"])
async def test_stoppedTwice(endpoint: str, first: str) -> None:
    """
    A port that is stopped twice in one turn closes once, and both callers hear when
    it has.
    """
    from twisted.internet import reactor

    factory, events = TCPDemoFactory(Greeter), Events()
    factory.addObserver(events)
    port = await factory.listen(serverFromString(reactor, endpoint))
    stops = {"port": port.stopListening, "factory": factory.stopListening, "drain": factory.drain}
    once, again = stops.pop(first)(), factory.drain(5)
    await again
    assert not factory.listening and once.called
    assert events.names == ["listening", "listeningStopped"]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_unbuilt(endpoint: str, loggedErrors: LoggedErrors) -> None:
    """
    A protocol that cannot be built keeps no other client of the queue from being served,
    when the port closes.
    """
    from twisted.internet import reactor

    class Picky(Echo):
        def __init__(self) -> None:
            tried.append(self)
            if len(tried) <= 3:
                raise ZeroDivisionError

    tried: list[Any] = []
    factory = TCPDemoFactory(Picky)
    async with serving(factory, serverFromString(reactor, endpoint)) as server:
        peers = [rawConnection(server.port) for _ in range(6)]
        for peer in peers[3:]:
            peer.send(b"hello")
        drained = factory.drain(5)
        await until(lambda: factory.bytesWritten == 15)
        for peer in peers:
            peer.close()
        assert (factory.acceptedCount, (await drained).finished) == (3, 3)
    errors = loggedErrors.take(ZeroDivisionError)
    assert len(errors) == 3
    for error in errors:
        for frame, _ in walk_tb(error.__traceback__):
            if "skt" in frame.f_locals:
                frame.f_locals["skt"].close()  # Twisted's port leaves it to its error


async def test_drainWithoutDescriptors() -> None:
    """
    When the process has no descriptor left, a drain refuses each client in the queue, and
    resets none.
    """
    factory = TCPDemoFactory(Discard)
    async with serving(factory, "fasttcp:0:interface=127.0.0.1") as server:
        first = await server.connect()
        await until(lambda: factory.connectionCount)
        factory.suspend()
        waiting = [rawConnection(server.port) for _ in range(50)]
        with noFreeDescriptor():
            drained = factory.drain()
            await until(lambda: not factory.listening)
        first.transport.loseConnection()
        await drained
        for raw in waiting:
            with raw:
                await until(lambda raw=raw: hasEnded(raw))
        assert factory.report().refusedBy == {"descriptorLimit": len(waiting)}


async def test_stopCancelled() -> None:
    """
    Who no longer waits for the listeners to close keeps nobody else from waiting.
    """
    factory = TCPDemoFactory()
    async with serving(factory):
        before, cancelled, after = (factory.stopListening() for _ in range(3))
        drained = factory.drain()
        cancelled.cancel()
        assert isinstance(await failureOf(cancelled), CancelledError)
        await before
        await after
        assert (await drained).finished == 0
        assert not factory.listening


async def test_stopsWithItsPorts() -> None:
    """
    Another caller that stops a closing port waits for the same end.
    """
    factory = TCPDemoFactory(Greeter)
    async with serving(factory) as server:
        [port] = factory.ports
        drained = factory.drain(5)
        await port.stopListening()
        await drained
        assert not factory.listening
        assert server.events.names == ["listening", "listeningStopped"]


@pytest.mark.parametrize("stop", ["stopListening", "close"])
async def test_opensAfterTheStop(stop: str) -> None:
    """
    A listener that opens after the server's stop is closed, and its Deferred fails
    with the reason; the next listener works.
    """
    from twisted.internet import reactor

    endpoint = serverFromString(reactor, "tcp:0:interface=127.0.0.1")
    waiting: Deferred[None] = Deferred()

    @implementer(IStreamServerEndpoint)
    class Slow:
        def listen(self, factory: Any) -> Any:
            return waiting.addCallback(lambda _: endpoint.listen(factory))

    factory, events = TCPDemoFactory(Greeter), Events()
    factory.addObserver(events)
    listening = factory.listen(Slow())
    await getattr(factory, stop)()
    waiting.callback(None)
    assert isinstance(await failureOf(listening), ListeningStoppedError)
    await until(lambda: not factory.numPorts)
    assert not factory.listening and events.names == []
    port = await factory.listen(endpoint)
    assert factory.ports == [port]
    await factory.close()


async def test_listensNowhere() -> None:
    """
    An endpoint like C{stdio:}, which connects at once and has no port, is served
    and drained, and not listed.
    """

    @implementer(IStreamServerEndpoint)
    class Standard:
        def listen(self, factory: Any) -> Deferred[Any]:
            transport = StringTransport()
            protocol = factory.buildProtocol(transport.getPeer())
            transport.abortConnection = lambda: protocol.connectionLost(  # type: ignore[attr-defined]
                Failure(ConnectionAborted())
            )
            protocol.makeConnection(transport)
            return succeed(transport)

    factory, events = TCPDemoFactory(Discard), Events()
    factory.addObserver(events)
    await factory.listen(Standard())
    assert factory.connectionCount == 1
    assert not factory.listening and factory.address() is None
    report = await factory.drain(0)
    assert report.aborted == 1
    assert events.names == ["connectionOpened", "connectionClosed"]


async def test_listening() -> None:
    """
    Several listeners, each with its real address, and events for each.
    """
    from twisted.internet import reactor

    factory, events = TCPDemoFactory(Discard), Events()
    factory.addObserver(events)
    assert factory.address() is None and factory.addresses() == [] and not factory.listening
    for text in ("tcp:0:interface=127.0.0.1", r"tcp6:0:interface=\:\:1"):
        await factory.listen(serverFromString(reactor, text))
    first, second = factory.addresses()
    assert factory.listening and factory.address() == first
    assert (first.address, first.family) == ("127.0.0.1", "IPv4") and first.port
    assert (second.address, second.family) == ("::1", "IPv6") and second.port
    assert await factory.getConnections() == 0
    report = await factory.close()
    assert (report.finished, report.aborted) == (0, 0)
    assert not factory.listening and factory.address() is None
    assert events.names == ["listening"] * 2 + ["listeningStopped"] * 2


async def test_portStoppedByOthers() -> None:
    """
    A port that others stop is no longer listed, and observers hear of it.
    """
    from twisted.internet import reactor

    factory, events = TCPDemoFactory(), Events()
    factory.addObserver(events)
    port = await factory.listen(serverFromString(reactor, "tcp:0:interface=127.0.0.1"))
    await port.stopListening()
    assert not factory.listening
    assert events.names == ["listening", "listeningStopped"]


async def test_portInUse() -> None:
    """
    A failed listen fails the Deferred, tells observers, and lists nothing.
    """
    from twisted.internet import reactor

    async with serving(TCPDemoFactory()) as server:
        factory, events = TCPDemoFactory(), Events()
        factory.addObserver(events)
        endpoint = serverFromString(reactor, f"tcp:{server.port}:interface=127.0.0.1")
        assert isinstance(await failureOf(factory.listen(endpoint)), CannotListenError)
        assert events.names == ["serverError"]
        assert not factory.listening


@pytest.mark.parametrize("where", [0, "fasttcp:0:interface=127.0.0.1", "tcp:0:interface=127.0.0.1"])
async def test_listenWhere(where: int | str) -> None:
    """
    A factory listens on a port number and on a string, and tells where.
    """
    factory = TCPDemoFactory(Discard)
    port = await factory.listen(where)
    try:
        [address] = factory.addresses()
        assert address.port == port.getHost().port  # type: ignore[attr-defined]
        assert isinstance(port, WriteThroughPort)
        if where == 0:
            assert address.address in {"::", "0.0.0.0"}
        else:
            assert address.address == "127.0.0.1"
        with rawConnection(address.port or 0):
            await until(lambda: factory.connectionCount)
    finally:
        await factory.drain(0)


@pytest.mark.parametrize(
    ("where", "kind", "words"),
    [
        (-1, ValueError, "port must be from 0 to 65535, not -1"),
        (65536, ValueError, "port must be from 0 to 65535"),
        (True, TypeError, "a port number, an endpoint string or an endpoint, not True"),
        (None, TypeError, "a port number, an endpoint string or an endpoint, not None"),
        (80.0, TypeError, "not 80.0"),
        (b"tcp:80", TypeError, "not b'tcp:80'"),
        (Discard(), TypeError, "an endpoint, not <"),
        (ServerEndpoint, TypeError, "an endpoint, not <class"),
        ("18001", ValueError, "'18001' describes no endpoint"),
        ("nonsense:1", ValueError, "'nonsense:1' describes no endpoint"),
        ("tcp", ValueError, "'tcp' describes no endpoint"),
        ("tcp:http", ValueError, "'tcp:http' describes no endpoint"),
        ("fasttcp:70000", ValueError, "port must be from 0 to 65535"),
        ("systemd:domain=INET:index=9", ValueError, "describes no endpoint"),
        ("ssl:0:privateKey=/nowhere.pem", FileNotFoundError, "/nowhere.pem"),
    ],
)
def test_listenNowhere(where: Any, kind: type[Exception], words: str) -> None:
    """
    Anything else is refused at once, with what is wrong.
    """
    factory = TCPDemoFactory(Discard)
    with pytest.raises(kind, match=re.escape(words)):
        factory.listen(where)
    assert not factory.listening


@pytest.mark.skipif(not hasIPv6(), reason="there is no IPv6 here")
async def test_listenerOf() -> None:
    """
    The listener of a connection is the one with its address, else one with its port.
    """
    factory = TCPDemoFactory(Discard)
    async with serving(factory, r"tcp:0:interface=\:\:1") as server:
        await factory.listen(f"tcp:{server.port}:interface=127.0.0.1")
        for host in ("127.0.0.1", "0:0:0:0:0:ffff:7f00:1", "0:0:0:0:0:0:0:1"):
            own = canonicalAddress(IPv6Address("TCP", host, server.port))
            assert factory.listenerOf(own) == endpointOf(own)
        other = factory.listenerOf(IPv4Address("TCP", "192.0.2.1", server.port))
        assert other in factory.addresses()
