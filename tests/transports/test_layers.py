"""
The layers under a transport, over all that Twisted puts there.
"""

from __future__ import annotations

import socket
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.endpoints import _WrapperEndpoint, clientFromString, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.protocols.policies import WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.test.iosim import FakeTransport, IOPump

from tests.support.contexts import PythonContexts, TwistedContexts
from tests.support.engines import shaken
from tests.support.metering import Counting, wrapped
from tests.support.peers import Peer
from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.interfaces import ICountingTransport
from twisted_tcpdemo.tls.context import engineMaker
from twisted_tcpdemo.transports.layers import (
    accepts,
    bottomOf,
    clockOf,
    countsItself,
    hasLateAddresses,
    isHandshaking,
    queuedBytes,
    replaceProtocol,
    tlsOf,
    withHosts,
    withoutTLS,
)


def encrypted(transport: Any, protocol: Any = None) -> Any:
    """
    The server's side of TLS on a transport, with its handshake begun.
    """
    layer = unconnected(TwistedContexts.server(), False, protocol)
    layer.makeConnection(transport)
    return layer


def unconnected(context: Any, isClient: bool, protocol: Any = None) -> Any:
    """
    The side of TLS without a transport yet.
    """
    factory = Factory[Any]()
    factory.noisy = False
    factory.protocol = lambda: protocol or Peer()
    return TLSMemoryBIOFactory(context, isClient, factory).buildProtocol(None)


class Accepted(Connection):
    """
    The transport that a port of Twisted's makes of a client, without the port.
    """

    _tlsClientDefault = False


@pytest.fixture
def tcp() -> Generator[Accepted]:
    """
    A connected TCP transport of Twisted's, on a reactor that does nothing by
    itself.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        connection = Accepted(ours, Peer(), MemoryReactorClock())
        connection.connected = True
        yield connection


class Secured:
    """
    A client that shakes hands with the TLS layer of a server.
    """

    def __init__(self) -> None:
        self.server = unconnected(TwistedContexts.server(), False)
        self.client = unconnected(TwistedContexts.client(), True)
        below = FakeTransport(self.server, True), FakeTransport(self.client, False)
        self.server.makeConnection(below[0])
        self.client.makeConnection(below[1])
        self.pump = IOPump(self.client, self.server, below[1], below[0], False)


# The layers.


def test_bottomOf() -> None:
    """
    The bottom is the owner of the socket, below any number of layers.
    """
    plain = StringTransport()
    assert bottomOf(plain) is plain
    assert bottomOf(wrapped(wrapped(plain))) is plain
    assert bottomOf(wrapped(encrypted(wrapped(plain)))) is plain


def test_tlsOf() -> None:
    """
    The layer that encrypts is found at any place, and not where there is none.
    """
    plain = StringTransport()
    assert tlsOf(plain) is None
    assert tlsOf(wrapped(plain)) is None
    layer = encrypted(wrapped(plain))
    assert tlsOf(layer) is layer
    assert tlsOf(wrapped(wrapped(layer))) is layer


def test_tlsOfStarted(tcp: Any) -> None:
    """
    The layer that startTLS has put before the protocol is found from the transport.
    """
    assert tlsOf(tcp) is None
    tcp.startTLS(TwistedContexts.server(), True)
    assert tlsOf(tcp) is tcp.protocol is not None
    assert tlsOf(wrapped(tcp)) is tcp.protocol
    assert isHandshaking(tcp)
    tcp.protocol = None  # as at the loss of the connection
    assert tlsOf(tcp) is None and not isHandshaking(tcp)


def test_countsItself() -> None:
    """
    Only a bare transport counts for itself: a wrapper forwards to it, and below a
    layer of TLS it counts ciphertext.
    """
    counting = Counting()
    assert countsItself(counting)
    assert not countsItself(StringTransport())
    assert not countsItself(wrapped(counting))
    layer = encrypted(counting)
    assert ICountingTransport.providedBy(layer)
    assert not countsItself(layer)


def test_hasLateAddresses() -> None:
    """
    The addresses behind a wrapper may change, those of a bare transport do not.
    """
    assert not hasLateAddresses(StringTransport())
    assert hasLateAddresses(wrapped(StringTransport()))


def test_clockOf(tcp: Any) -> None:
    """
    A transport has the clock of its reactor, through all layers; in a unit test,
    that of the process.
    """
    from twisted.internet import reactor

    assert clockOf(tcp) is tcp.reactor
    assert clockOf(wrapped(wrapped(tcp))) is tcp.reactor
    assert clockOf(StringTransport()) is steady(reactor)
    transport: Any = StringTransport()
    transport.reactor = object()
    assert clockOf(transport) is steady(reactor)
    transport.reactor = clock = Clock()
    assert clockOf(transport) is clock


# Queued bytes.


def test_queuedInMemory() -> None:
    """
    A transport in memory queues nothing.
    """
    transport = StringTransport()
    transport.write(b"hello")
    assert queuedBytes(transport) == queuedBytes(wrapped(transport)) == 0


def test_queuedSmallWrites() -> None:
    """
    Small writes that TLS gathers are counted, and not one by one each time.
    """

    class Unread(list[bytes]):
        def __iter__(self) -> Any:
            raise AssertionError

    layer = encrypted(StringTransport())
    layer._aggregator._buffer = Unread()
    for number in range(1, 4):
        layer.write(b"small")
        assert queuedBytes(layer) == 5 * number
    layer._aggregator._scheduled.cancel()


def test_queuedBytes(tcp: Any) -> None:
    """
    All bytes in a TCP transport are counted: the latest ones, and the rest of those
    being sent.
    """
    assert queuedBytes(tcp) == 0
    size = 5_000_000
    tcp.write(bytes(size))
    assert queuedBytes(tcp) == size
    tcp.doWrite()
    left = queuedBytes(tcp)
    assert 0 < left < size
    tcp.write(b"12345")
    assert queuedBytes(tcp) == queuedBytes(wrapped(tcp)) == left + 5


def test_queuedBelow() -> None:
    """
    A transport that counts is asked for its pending bytes.
    """
    counting = Counting()
    counting.bytesPending = 7
    assert queuedBytes(counting) == queuedBytes(wrapped(counting)) == 7


def test_queuedUnderTLS() -> None:
    """
    TLS keeps bytes until the handshake is over, and small writes until the turn
    ends; then nothing is queued.
    """
    pair = Secured()
    pair.server.write(b"small")
    assert queuedBytes(pair.server) == queuedBytes(wrapped(pair.server)) == 5
    pair.server.write(bytes(70_000))
    assert queuedBytes(pair.server) == 70_005
    pair.pump.flush()
    assert len(pair.client.wrappedProtocol.received) == 70_005
    assert queuedBytes(pair.server) == 0


# Accepted bytes.


def test_accepts(tcp: Any) -> None:
    """
    A transport accepts bytes until it is lost, or its own half has ended.
    """
    assert accepts(StringTransport()) and accepts(wrapped(StringTransport()))
    assert accepts(tcp) and accepts(wrapped(tcp))
    tcp.loseConnection()
    assert accepts(tcp)  # while bytes are to be flushed
    tcp._writeDisconnected = True
    assert not accepts(tcp) and not accepts(wrapped(tcp))
    tcp._writeDisconnected, tcp.connected = False, False
    assert not accepts(tcp) and not accepts(wrapped(tcp))


def test_acceptsHalfClosed(tcp: Any) -> None:
    """
    A TCP transport accepts no bytes after its FIN.
    """
    tcp.loseWriteConnection()
    tcp.doWrite()
    assert not accepts(tcp)


def test_acceptsUnderTLS() -> None:
    """
    TLS accepts no bytes once it is closing, unless a producer is still at work.
    """
    layer = encrypted(StringTransport())
    above = wrapped(layer)
    assert accepts(layer) and accepts(above)
    layer.registerProducer(Producer(), True)
    above.loseConnection()
    assert accepts(layer) and accepts(above)
    layer.unregisterProducer()
    assert not accepts(layer) and not accepts(above)


def test_acceptsAboveClosingTLS() -> None:
    """
    A wrapper above TLS accepts no bytes when the TLS below is closing.
    """
    layer = encrypted(StringTransport())
    layer.loseConnection()
    assert not accepts(wrapped(layer))


class Producer:
    """
    A producer that produces nothing.
    """

    def pauseProducing(self) -> None:
        """
        Do nothing.
        """

    def resumeProducing(self) -> None:
        """
        Do nothing.
        """

    def stopProducing(self) -> None:
        """
        Do nothing.
        """


def test_isHandshaking() -> None:
    """
    The handshake lasts from the connection until both sides are done.
    """
    assert not isHandshaking(StringTransport())
    pair = Secured()
    assert isHandshaking(pair.server) and isHandshaking(wrapped(pair.server))
    pair.pump.flush()
    assert not isHandshaking(pair.server) and not isHandshaking(pair.client)


# The receiver.


def test_replaceProtocol(tcp: Any) -> None:
    """
    A bare transport delivers to the new protocol, if it delivered to the old one.
    """
    old, new = tcp.protocol, Peer()
    replaceProtocol(tcp, Peer(), new)
    assert tcp.protocol is old
    replaceProtocol(tcp, old, new)
    assert tcp.protocol is new


@pytest.mark.parametrize("layer", [wrapped, encrypted])
def test_replaceWrapped(layer: Any) -> None:
    """
    A wrapper delivers to the new protocol too, TLS among them; the transport below
    keeps the wrapper.
    """
    old, new = Peer(), Peer()
    transport = layer(StringTransport(), old)
    replaceProtocol(transport, Peer(), new)
    assert transport.wrappedProtocol is old
    replaceProtocol(transport, old, new)
    assert transport.wrappedProtocol is new


def test_replaceBehind(tcp: Any) -> None:
    """
    A wrapper that a client endpoint of Twisted's has put before the protocol is
    replaced with it.
    """
    old, new = Peer(), Peer()

    class Between(Protocol):
        _wrappedProtocol = old

    tcp.protocol = Between()
    replaceProtocol(tcp, Peer(), new)
    assert isinstance(tcp.protocol, Between)
    replaceProtocol(tcp, old, new)
    assert tcp.protocol is new


def test_replaceNowhere() -> None:
    """
    A transport without a protocol to deliver to gets none.
    """
    transport = StringTransport()
    replaceProtocol(transport, Peer(), Peer())
    assert not hasattr(transport, "protocol")


@pytest.mark.parametrize(
    ("description", "found"),
    [
        ("tcp:my_server:80:timeout=3", ("my_server", 80, 3, None)),
        ("tcp:example.org:80:bindAddress=127.0.0.2", ("example.org", 80, 30, "127.0.0.2")),
        ("tls:xn--bcher-kva.test:443", ("xn--bcher-kva.test", 443, 30, None)),
        ("ssl:example.org:443", None),
        ("unix:/run/it.sock", None),
    ],
)
def test_withHosts(description: str, found: Any) -> None:
    """
    An endpoint in place of Twisted's gets all that the string says of the connection,
    below TLS too; other endpoints are left alone.
    """
    asked: list[Any] = []
    endpoint = clientFromString(MemoryReactorClock(), description)
    replacement: Any = object()

    def replace(*facts: Any) -> Any:
        asked.append(facts)
        return replacement

    result = withHosts(endpoint, replace)
    assert asked == ([] if found is None else [found])
    expected = replacement if description.startswith("tcp") else endpoint
    assert result is expected
    assert withHosts(endpoint, lambda *_: None) is endpoint


@pytest.mark.parametrize("description", ["tcp:localhost:1", "tcp:127.0.0.1:1", "unix:/s"])
def test_withoutTLS(description: str) -> None:
    """
    A client's endpoint that wrapClientTLS has wrapped is taken out of its layer.
    """
    reactor = MemoryReactorClock()
    plain = clientFromString(reactor, description)
    endpoint, maker = withoutTLS(wrapClientTLS(TwistedContexts.client(), plain), reactor)
    assert endpoint is plain
    assert maker is not None
    client, server = maker(SimpleNamespace()), engineMaker(PythonContexts.server(), False)
    shaken(client, server(SimpleNamespace()))


def test_withTLS() -> None:
    """
    An endpoint that the reactor would not encrypt keeps its layer: it connects in
    another way, with another reactor, or the layer is another one.
    """
    reactor = MemoryReactorClock()
    plain = clientFromString(reactor, "tcp:localhost:1")
    encrypted = wrapClientTLS(TwistedContexts.client(), plain)
    for endpoint, view in (
        (plain, reactor),
        (encrypted, object()),
        (wrapClientTLS(TwistedContexts.client(), encrypted), reactor),
        (_WrapperEndpoint(plain, WrappingFactory), reactor),
    ):
        assert withoutTLS(endpoint, view) == (endpoint, None)
