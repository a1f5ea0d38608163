"""
The factory: slots that never leak, totals that add up, events in order.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.protocols.basic import LineReceiver
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from tests.support.certificates import pemFile
from tests.support.memory import ADDRESS, connected
from tests.support.peers import Events, rawConnection, reset, serving
from tests.support.waiting import turn, until
from twisted_tcpdemo import CloseReason, TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.connection.hosting import Hosted
from twisted_tcpdemo.connection.record import ISlots
from twisted_tcpdemo.interfaces import IConnectionObserver
from twisted_tcpdemo.server.observers import ConnectionObserver
from twisted_tcpdemo.twistd.programs import Discard, Echo


def test_interfaces() -> None:
    """
    The factory and the observers provide their interfaces.
    """
    verifyObject(IProtocolFactory, TCPDemoFactory())
    verifyObject(ISlots, TCPDemoFactory())
    verifyObject(IConnectionObserver, ConnectionObserver())


@pytest.mark.parametrize("limit", [-1, True, 1.5, "3"])
def test_badLimit(limit: Any) -> None:
    """
    An invalid limit is refused when it is given, and changes nothing.
    """
    with pytest.raises((TypeError, ValueError), match="maxConnections"):
        TCPDemoFactory(maxConnections=limit)
    factory = TCPDemoFactory(maxConnections=2)
    with pytest.raises((TypeError, ValueError), match="maxConnections"):
        factory.maxConnections = limit
    assert factory.maxConnections == 2


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("overflow", "queue"),
        ("refusalMessage", "text"),
        ("resumeAfter", -1),
        ("keepAliveInitialDelay", float("nan")),
        ("budgets", 30),
        ("watermarks", (0.8, 0.6)),
        ("clock", 5),
        ("clock", time),
        ("allowHalfOpen", "no"),
        ("pauseOnConnect", 1),
        ("protocol", TCPDemoProtocol()),
        ("protocol", "examples.Echo"),
        ("protocol", dict),
        ("protocol", TCPDemoFactory),
        ("protocol", TCPDemoFactory()),
    ],
)
def test_badOption(option: str, value: Any) -> None:
    """
    Every option is checked when it is given, and the error names it.
    """
    with pytest.raises((TypeError, ValueError), match=option):
        TCPDemoFactory(**{option: value})


def test_cannotBuild() -> None:
    """
    When a protocol cannot be built, observers hear of the error, the listener
    closes the connection, and no slot is taken.
    """

    class Broken(TCPDemoProtocol):
        def __init__(self) -> None:
            raise ZeroDivisionError("no database")

    factory, events = TCPDemoFactory(Broken), Events()
    factory.addObserver(events)
    with pytest.raises(ZeroDivisionError):
        factory.buildProtocol(ADDRESS)
    assert [(name, str(fact.value)) for name, fact in events.all] == [
        ("serverError", "no database")
    ]
    assert factory.connectionCount == 0


def test_subclassWithoutSuper() -> None:
    """
    A factory whose __init__ does not call ours works with the defaults, and its
    limit can be set.
    """

    class Own(TCPDemoFactory):
        protocol = Discard

        def __init__(self, limit: int) -> None:
            self.maxConnections = limit

    factory = Own(1)
    connected(factory)
    _, refused = connected(factory)
    assert refused.disconnecting
    assert factory.report().refusedBy == {"maxConnections": 1}


def test_forProtocol() -> None:
    """
    Twisted's short way to a factory takes our options.
    """
    factory: Any = TCPDemoFactory.forProtocol(Echo, maxConnections=3)
    assert isinstance(connected(factory)[0], Echo)
    assert factory.maxConnections == 3


def test_badClassAttribute() -> None:
    """
    A protocol that cannot be built is refused wherever it is given.
    """

    class Wrong(TCPDemoFactory):
        protocol = TCPDemoProtocol()  # type: ignore[assignment]

    with pytest.raises(TypeError, match="protocol must be a protocol class"):
        Wrong()
    with pytest.raises(TypeError, match="protocol must be a protocol class"):
        TCPDemoFactory.forProtocol("examples.Echo")  # type: ignore[arg-type]
    factory: Any = TCPDemoFactory()
    factory.protocol = None
    with pytest.raises(TypeError, match="protocol must be a protocol class"):
        factory.buildProtocol(ADDRESS)


def test_builtNoProtocol() -> None:
    """
    A callable that builds anything but a protocol is an error that names both.
    """
    factory = TCPDemoFactory(lambda: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match="built None, which is no protocol"):
        factory.buildProtocol(ADDRESS)


class Foreign(Protocol):
    """
    A protocol that knows nothing of its factory.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Send the bytes back.
        """
        assert self.transport is not None
        self.transport.write(data)


class Overriding(TCPDemoFactory):
    """
    Builds foreign protocols by itself.
    """

    def buildProtocol(self, addr: object) -> Any:
        """
        Build one, without asking for a slot.
        """
        return Foreign()


class Assigned(TCPDemoFactory):
    """
    Has a C{buildProtocol} on the instance.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        vars(self)["own"] = self.buildProtocol
        self.buildProtocol = lambda addr: Foreign()  # type: ignore[method-assign]


@pytest.mark.parametrize(
    "make",
    [
        partial(TCPDemoFactory, Foreign),
        partial(TCPDemoFactory, lambda: Foreign()),  # noqa: PLW0108
        Overriding,
        Assigned,
    ],
)
def test_foreignProtocol(make: Callable[..., TCPDemoFactory]) -> None:
    """
    A foreign protocol is hosted and counted, in whatever way a program builds it.
    """
    factory = make(maxConnections=1)
    protocol, transport = connected(factory)
    _, refused = connected(factory)
    protocol.dataReceived(b"hello")
    assert isinstance(protocol, Hosted) and protocol.inner.factory is factory
    assert transport.value() == b"hello" and refused.disconnecting
    assert (factory.bytesRead, factory.bytesWritten) == (5, 5)
    assert factory.report().refusedBy == {"maxConnections": 1}
    protocol.connectionLost(Failure(ConnectionDone()))
    assert (factory.connectionCount, factory.closedCount) == (0, 1)
    assert factory.conservation() == []


@pytest.mark.parametrize("own", [None, Factory()])
def test_otherFactory(own: Any) -> None:
    """
    A protocol that a program builds counts here, whether it has no factory or
    another one, and keeps that.
    """

    class Careless(TCPDemoFactory):
        def buildProtocol(self, addr: object) -> Any:
            protocol = Echo()
            protocol.factory = own
            return protocol

    factory = Careless(maxConnections=1)
    protocol, _ = connected(factory)
    _, refused = connected(factory)
    assert protocol.factory is (own or factory)
    assert (factory.connectionCount, factory.refusedCount) == (1, 1)
    assert refused.disconnecting


@pytest.mark.parametrize("counts", [False, True])
def test_factoryReplaced(counts: bool) -> None:
    """
    A protocol whose factory is replaced before it connects counts where it was built,
    unless the other one counts too.
    """
    factory, other = TCPDemoFactory(Echo), TCPDemoFactory() if counts else Factory()
    protocol = factory.buildProtocol(ADDRESS)
    protocol.factory = other
    protocol.makeConnection(StringTransport())
    assert factory.connectionCount == (not counts)
    assert not counts or other.connectionCount == 1


@pytest.mark.parametrize("depth", [1, 2])
def test_wrapped(depth: int) -> None:
    """
    A program that wraps our protocol is counted once, and refused clients are
    refused behind the wrapper.
    """

    class Wrapping(TCPDemoFactory):
        def buildProtocol(self, addr: object) -> Any:
            protocol: Any = super().buildProtocol(addr)  # type: ignore[arg-type]
            for _ in range(depth):
                protocol = ProtocolWrapper(WrappingFactory(self), protocol)
            return protocol

    factory = Wrapping(Echo, maxConnections=1)
    wrapper, transport = connected(factory)
    wrapper.dataReceived(b"hello")
    assert transport.value() == b"hello"
    assert [type(protocol).__name__ for protocol in factory.connections] == ["Echo"]
    _, refused = connected(factory)
    assert refused.disconnecting
    assert (factory.connectionCount, factory.refusedCount, factory.bytesRead) == (1, 1, 5)


def test_foreignWithUpstream() -> None:
    """
    A foreign protocol that holds a client's protocol of ours is no wrapper of it.
    """

    class Proxying(TCPDemoFactory):
        def buildProtocol(self, addr: object) -> Any:
            protocol: Any = Foreign()
            protocol.upstream = TCPDemoProtocol()
            return protocol

    factory = Proxying()
    protocol, _ = connected(factory)
    assert isinstance(protocol, Hosted) and factory.connectionCount == 1


def test_overriddenAsBefore() -> None:
    """
    A program's own buildProtocol may add to what this one builds, build nothing, or
    raise.
    """

    class Own(TCPDemoFactory):
        result: Any = ...

        def buildProtocol(self, addr: object) -> Any:
            protocol: Any = super().buildProtocol(addr)  # type: ignore[arg-type]
            protocol.named = "own"
            return protocol if self.result is ... else self.result

    factory = Own(Echo)
    assert connected(factory)[0].named == "own"
    factory.result = None
    assert factory.buildProtocol(ADDRESS) is None
    factory.result = 3
    assert factory.buildProtocol(ADDRESS) == 3


async def test_closeBeforeListen() -> None:
    """
    close() before listen(), and a second close(), are no errors, unlike in Node.
    """
    factory = TCPDemoFactory()
    await factory.close()
    await factory.close()


async def test_closeWaits() -> None:
    """
    close() closes no connection, and fires when the last one has ended.
    """
    async with serving(TCPDemoFactory(Echo)) as server:
        peer = await server.connect()
        await until(lambda: server.factory.connectionCount)
        closed = server.factory.close()
        await until(lambda: not server.factory.listening)
        peer.transport.write(b"still here")
        await peer.whenReceived(10)
        assert not closed.called
        peer.transport.loseConnection()
        report = await closed
        assert (report.finished, report.aborted) == (1, 0)


async def test_resetBeforeAccept() -> None:
    """
    Connections that were reset before their accept are counted like any other, and
    give their slots back.
    """
    async with serving(TCPDemoFactory(Echo, maxConnections=50)) as server:
        for _ in range(20):
            reset(rawConnection(server.port))
        good = await server.connect()
        good.transport.write(b"hello")
        await good.whenReceived(5)
        await until(lambda: server.factory.connectionCount == 1)
        assert server.factory.acceptedCount == server.factory.closedCount + 1
        reasons = {report.closeReason for report in server.events.of("connectionClosed")}
        assert reasons <= {CloseReason.PROBE}


async def test_failedHandshake() -> None:
    """
    A client that does not speak TLS takes its slot for a moment only.
    """
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={pemFile()}"
    async with serving(TCPDemoFactory(Echo, maxConnections=1), endpoint) as server:
        for number in range(1, 4):
            peer = await server.connect()
            peer.transport.write(b"GET / HTTP/1.0\r\n\r\n")
            await until(lambda number=number: server.factory.closedCount == number)
            peer.transport.loseConnection()
            await peer.whenLost()
        reasons = {report.closeReason for report in server.events.of("connectionClosed")}
        assert reasons == {CloseReason.TLS_FAILED}
        assert (server.factory.connectionCount, server.factory.refusedCount) == (0, 0)


async def test_proxyHeader() -> None:
    """
    Behind a PROXY header the client's own address is reported, and the limit holds.
    """
    header = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n"
    endpoint = "haproxy:tcp:0:interface=127.0.0.1"
    async with serving(TCPDemoFactory(Echo, maxConnections=1), endpoint) as server:
        peer = await server.connect()
        peer.transport.write(header + b"hello")
        await peer.whenReceived(5)
        [protocol] = server.factory.connections
        assert (protocol.remoteAddress, protocol.remotePort) == ("192.0.2.7", 4711)
        assert protocol.bytesRead == 5
        refused = await server.connect()
        refused.transport.write(header)
        await refused.whenEnded()
        assert refused.received == b""
        peer.transport.loseConnection()
        await server.factory.whenEmpty()
        again = await server.connect()
        again.transport.write(header + b"again")
        await again.whenReceived(5)


@pytest.mark.parametrize("ending", ["loseConnection", "abortConnection"])
async def test_proxiedPeerAtTheEnd(ending: str) -> None:
    """
    The event of a connection's end names the client behind the PROXY header, even
    if its address was never read before.
    """
    async with serving(TCPDemoFactory(Discard), "haproxy:tcp:0:interface=127.0.0.1") as server:
        peer = await server.connect()
        peer.transport.write(b"PROXY TCP4 192.0.2.7 192.0.2.1 5555 18001\r\nhello")
        await until(lambda: server.factory.bytesRead == 5)
        getattr(peer.transport, ending)()
        await until(lambda: server.factory.closedCount)
        [report] = server.events.of("connectionClosed")
        assert (str(report.remote), str(report.local)) == ("192.0.2.7:5555", "192.0.2.1:18001")


async def test_underAnotherFactory() -> None:
    """
    A factory that wraps ours keeps working, and so does our limit (twisted
    #6640).
    """
    from twisted.internet import reactor

    factory = TCPDemoFactory(Echo, maxConnections=1)
    port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(
        WrappingFactory(factory)
    )
    first, second = rawConnection(port.getHost().port), rawConnection(port.getHost().port)
    await until(lambda: factory.refusedCount)
    assert factory.connectionCount == 1
    first.close()
    second.close()
    await factory.whenEmpty()
    await port.stopListening()
    await until(lambda: not factory._capacity.lingering)


async def test_echoHalfClose() -> None:
    """
    A client that sends 5 MB, ends its side and then reads gets all of it back,
    with half-open connections or without.
    """
    size = 5_000_000
    for allowHalfOpen in (False, True):
        factory = TCPDemoFactory(Echo, allowHalfOpen=allowHalfOpen)
        async with serving(factory) as server:
            peer = await server.connect()
            peer.transport.pauseProducing()
            peer.transport.write(bytes(size))
            peer.transport.loseWriteConnection()
            for _ in range(5):
                await turn()
            peer.transport.resumeProducing()
            await peer.whenReceived(size)
            if allowHalfOpen:
                [protocol] = factory.connections
                protocol.transport.loseConnection()
            await peer.whenEnded()
            assert len(peer.received) == size
            await factory.whenEmpty()
            [report] = server.events.of("connectionClosed")
            assert (report.bytesRead, report.bytesWritten) == (size, size)
            assert report.closeReason is CloseReason.PEER_CLOSED


async def test_halfOpen() -> None:
    """
    With allowHalfOpen the server may answer after the client's FIN.
    """
    ended: list[Any] = []

    class Late(TCPDemoProtocol):
        def readConnectionLost(self) -> None:
            ended.append(self)

    async with serving(TCPDemoFactory(Late, allowHalfOpen=True)) as server:
        peer = await server.connect()
        peer.transport.loseWriteConnection()
        await until(lambda: ended)
        for _ in range(5):
            await turn()
        assert server.factory.connectionCount == 1
        ended[0].transport.write(b"late")
        await peer.whenReceived(4)
        ended[0].transport.loseConnection()
        await peer.whenEnded()


async def test_halfOpenUntilWeEnd() -> None:
    """
    A connection is over when both sides have ended, whichever was last.
    """

    class Ending(TCPDemoProtocol):
        def readConnectionLost(self) -> None:
            self.transport.loseWriteConnection()

    async with serving(TCPDemoFactory(Ending, allowHalfOpen=True)) as server:
        peer = await server.connect()
        peer.transport.loseWriteConnection()
        await peer.whenEnded()
        await server.factory.whenEmpty()


async def test_lineReceiverOverTCP() -> None:
    """
    LineReceiver can be mixed in unchanged, and is counted.
    """

    class Lines(LineReceiver, TCPDemoProtocol):
        def lineReceived(self, line: bytes) -> None:
            self.sendLine(line.upper())

    async with serving(TCPDemoFactory(Lines)) as server:
        peer = await server.connect()
        peer.transport.write(b"one\r\ntw")
        peer.transport.write(b"o\r\n")
        await peer.whenReceived(10)
        [protocol] = server.factory.connections
        assert peer.received == b"ONE\r\nTWO\r\n"
        assert (protocol.bytesRead, protocol.bytesWritten) == (10, 10)


async def test_noDelay() -> None:
    """
    TCP_NODELAY is on unless an application turns it off.
    """
    for noDelay in (True, False):
        async with serving(TCPDemoFactory(Discard, noDelay=noDelay, keepAlive=True)) as server:
            await server.connect()
            protocol = await server.protocol()
            assert bool(protocol.transport.getTcpNoDelay()) is noDelay
            assert protocol.transport.getTcpKeepAlive()


def test_factoryInMemory() -> None:
    """
    A unit test may serve the factory on a reactor in memory.
    """
    reactor, factory = MemoryReactorClock(), TCPDemoFactory(Echo)
    serverFromString(reactor, "tcp:1").listen(factory)
    [(_, served, *_)] = reactor.tcpServers
    assert served is factory
    assert isinstance(factory, Factory)


async def test_draining() -> None:
    """
    A factory counts as draining from the call until its last connection has ended.
    """
    factory = TCPDemoFactory(Discard)
    async with serving(factory) as server:
        await server.connect()
        await server.protocol()
        assert not factory.draining
        drained = factory.drain()
        assert factory.draining
        server.peers[0].transport.loseConnection()
        await drained
        assert not factory.draining
