"""
The meter: counting beside transports that do not count.
"""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from tests.support.metering import Counting, Watcher, inMemory, metered, overTCP, wrapped
from tests.support.peers import Peer
from tests.support.waiting import until
from twisted_tcpdemo.interfaces import ITransportWatcher
from twisted_tcpdemo.transports.meter import Meter

DONE = Failure(ConnectionDone())

kinds = pytest.mark.parametrize("kind", ["memory", "tcp"])


def test_watcher() -> None:
    """
    The watcher of these tests provides the interface.
    """
    verifyObject(ITransportWatcher, Watcher())


# Counts.


@kinds
async def test_reads(kind: str) -> None:
    """
    Delivered bytes are counted, and still delivered.
    """
    async with metered(kind) as over:
        over.clock.advance(3)
        await over.send(b"hello")
        await over.send(b", peer")
        assert over.protocol.received == b"hello, peer"
        assert (over.meter.bytesRead, over.meter.bytesWritten) == (11, 0)
        assert over.meter.lastActivity == 3


@kinds
async def test_writes(kind: str) -> None:
    """
    Written bytes are counted, and still written.
    """
    async with metered(kind) as over:
        over.transport.write(b"hello")
        assert over.meter.bytesWritten == 5
        assert await over.taken(5) == b"hello"
        assert (over.meter.bytesRead, over.meter.bytesPending) == (0, 0)


@kinds
@pytest.mark.parametrize("kindOfSequence", [list, tuple, iter])
async def test_writeSequence(kind: str, kindOfSequence: Any) -> None:
    """
    Each byte of a sequence is counted once, even if one method of the transport
    calls another, and though the sequence can be read only once.
    """
    async with metered(kind) as over:
        over.transport.writeSequence(kindOfSequence([b"ab", b"", b"cde"]))
        assert over.meter.bytesWritten == 5
        assert await over.taken(5) == b"abcde"


class FeedingBack(Peer):
    """
    Feeds the bytes after a line back to its own C{dataReceived}, as C{LineReceiver}
    does, and remembers the pieces.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        """
        Take a line, and feed the rest back.
        """
        line, newline, rest = data.partition(b"\n")
        self.pieces.append(line)
        if newline:
            self.dataReceived(rest)


@kinds
async def test_fedBack(kind: str) -> None:
    """
    Bytes that a protocol feeds back to itself are counted once; later bytes are
    counted again.
    """
    async with metered(kind, FeedingBack()) as over:
        await over.send(b"one\ntwo\nthree")
        assert over.protocol.pieces == [b"one", b"two", b"three"]
        assert over.meter.bytesRead == 13
        await over.send(b"four")
        assert over.meter.bytesRead == 17


def test_dataReceivedRaises() -> None:
    """
    An exception in dataReceived goes on to the transport after the watcher has
    heard of it; its bytes are counted, and so are later ones.
    """

    class Broken(Peer):
        def dataReceived(self, data: bytes) -> None:
            raise ZeroDivisionError

    over = inMemory(Broken())
    for times in (1, 2):
        with pytest.raises(ZeroDivisionError):
            over.protocol.dataReceived(b"abc")
        assert over.meter.bytesRead == 3 * times
        assert over.watcher.told == ["failed"] * times


async def test_pending() -> None:
    """
    Bytes that do not fit into the socket are pending until the peer reads; the
    watcher hears that they wait, and whenever some are taken.
    """
    size = 20_000_000
    async with overTCP() as over:
        over.transport.write(bytes(size))
        assert (over.meter.bytesWritten, over.meter.bytesPending) == (size, size)
        assert over.watcher.told == ["waiting"]
        await until(lambda: "flushed" in over.watcher.told)
        before = over.meter.bytesPending
        assert 0 < before < size
        over.clock.advance(7)
        await over.taken(size)
        assert over.meter.bytesPending == 0
        assert set(over.watcher.told[1:]) == {"flushed"}
        assert over.meter.lastActivity == 7
        over.transport.write(b"more")
        assert over.meter.bytesPending == 4


def test_nothingPendingInMemory() -> None:
    """
    A transport in memory takes all bytes at once.
    """
    over = inMemory()
    over.transport.write(bytes(1000))
    assert (over.meter.bytesWritten, over.meter.bytesPending) == (1000, 0)


async def test_notAccepted() -> None:
    """
    Bytes written after this side's FIN are lost, and not counted.
    """
    async with overTCP() as over:
        over.transport.write(b"last")
        over.transport.loseWriteConnection()
        await until(lambda: "writeEnded" in over.watcher.told)
        over.transport.write(b"too late")
        assert (over.meter.bytesWritten, over.meter.bytesPending) == (4, 0)


# Calls to the watcher.


@kinds
async def test_abortDrops(kind: str) -> None:
    """
    After abortConnection() no byte is accepted or counted.
    """
    async with metered(kind) as over:
        over.transport.abortConnection()
        over.transport.write(b"too late")
        over.transport.writeSequence([b"too", b"late"])
        assert over.watcher.told[0] == "aborting"
        assert "waiting" not in over.watcher.told
        assert over.meter.bytesWritten == 0
        if kind == "memory":
            assert over.transport.disconnected and over.transport.value() == b""


async def test_pendingAtTheEnd() -> None:
    """
    After the end, the bytes that the peer's system has not acknowledged are pending.
    """
    size = 20_000_000
    left: list[int] = []
    async with overTCP() as over:
        over.transport.write(bytes(size))
        await until(lambda: "flushed" in over.watcher.told)
        pending = over.meter.bytesPending
        over.watcher.asked = lambda: left.append(over.meter.bytesPending)
        over.transport.abortConnection()
        await over.protocol.whenLost()
        assert left and len(set(left)) == 1 and left[0] > pending
        assert len(await over.taken(size - left[0])) >= size - left[0]
        assert isinstance(over.watcher.reason, ConnectionAborted)


def test_takenApart() -> None:
    """
    The number of bytes never taken is known even if the transport drops them before
    it reports its end, as TLS does.
    """

    class Forgetful(Counting):
        def connectionLost(self, reason: Failure) -> None:
            self.bytesPending = 0
            over.protocol.connectionLost(reason)

    bottom = Forgetful()
    over = inMemory(transport=bottom)
    over.transport.write(b"hello")
    bottom.bytesPending = 4
    left: list[int] = []
    over.watcher.asked = lambda: left.append(over.meter.bytesPending)
    over.transport.connectionLost(DONE)
    assert set(left) == {4}


def test_lostBehindAnother() -> None:
    """
    The watcher hears of the loss even if the protocol has since replaced its
    connectionLost.
    """

    class Ending(StringTransport):
        def connectionLost(self, reason: Failure) -> None:
            over.protocol.connectionLost(reason)

    over = inMemory(transport=Ending())
    instead: list[Failure] = []
    over.protocol.connectionLost = instead.append
    over.transport.connectionLost(DONE)
    assert instead == [DONE]
    assert over.watcher.told == ["lost"]


def test_closing() -> None:
    """
    The watcher hears of the close before the transport does.
    """
    over = inMemory()
    seen: list[bool] = []
    over.watcher.asked = lambda: seen.append(over.transport.disconnecting)
    over.transport.loseConnection()
    assert over.watcher.told == ["closing"]
    assert (seen, over.transport.disconnecting) == ([False], True)


@kinds
async def test_lost(kind: str) -> None:
    """
    The watcher hears of the loss, and its reason, before the protocol does.
    """

    class Looking(Peer):
        def connectionLost(self, reason: Failure = DONE) -> None:
            told.append(list(over.watcher.told))
            super().connectionLost(reason)

    told: list[list[str]] = []
    async with metered(kind, Looking()) as over:
        if kind == "memory":
            over.protocol.connectionLost(Failure(ConnectionAborted()))
        else:
            over.transport.abortConnection()
            await over.protocol.whenLost()
        assert "lost" in told[0]
        assert isinstance(over.watcher.reason, ConnectionAborted)
        assert isinstance(over.protocol.reason, ConnectionAborted)


def test_halves() -> None:
    """
    The watcher decides when the protocol hears of the end of a half.
    """
    over = inMemory()
    over.protocol.readConnectionLost()
    assert over.watcher.told == ["readEnded"] and over.protocol.ended
    over.protocol.writeConnectionLost()
    assert over.watcher.told == ["readEnded", "writeEnded"]


def test_startTLS() -> None:
    """
    The watcher hears of startTLS before there is any ciphertext, and the transport
    gets all arguments.
    """

    class Starting(StringTransport):
        def startTLS(self, *arguments: object) -> str:
            self.write(b"ciphertext")
            given.append(arguments)
            return "its answer"

    given: list[tuple[object, ...]] = []
    over = inMemory(transport=Starting())
    assert over.transport.startTLS("context", False) == "its answer"
    assert given == [("context", False)]
    assert over.watcher.told[0] == "encrypting"


# Over a transport that counts.


def test_counted() -> None:
    """
    Below wrappers, a transport that counts is asked for its pending bytes and its
    last activity, and reports bytes that have left.
    """
    bottom = Counting()
    over = inMemory(transport=wrapped(bottom))
    over.transport.write(b"hello")
    assert (bottom.value(), bottom.soon, over.meter.bytesWritten) == (b"hello", 1, 5)
    bottom.bytesPending, bottom.lastActivity = 2, 9.0
    assert (over.meter.bytesPending, over.meter.lastActivity) == (2, 9.0)
    over.clock.advance(11)
    bottom.watcher.transportFlushed()
    assert over.watcher.told[-1] == "flushed"
    assert over.meter.lastActivity == 11
    over.meter.detach()
    assert bottom.watcher is None
    assert "write" not in vars(bottom)


def test_bottomWatcher() -> None:
    """
    The watcher of the transport below provides the interface; it passes the ends of
    halves on, and the topmost transport reports the rest.
    """
    bottom = Counting()
    over = inMemory(transport=wrapped(bottom))
    verifyObject(ITransportWatcher, bottom.watcher)
    passed: list[str] = []
    bottom.watcher.transportReadEnded(lambda: passed.append("read"))
    bottom.watcher.transportWriteEnded(lambda: passed.append("write"))
    assert passed == ["read", "write"]
    for name in ("Waiting", "Closing", "Aborting", "Encrypting"):
        getattr(bottom.watcher, f"transport{name}")()
    bottom.watcher.deliveryFailed()
    bottom.watcher.transportLost(DONE)
    assert over.watcher.told == []


# Release.


def attributes(protocol: object, transport: Any) -> list[dict[str, Any]]:
    """
    The instance attributes of protocol and transport, and of everything below.
    """
    layers = [protocol, transport]
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
        layers.append(transport)
    return [dict(vars(layer)) for layer in layers]


@pytest.mark.parametrize("make", [StringTransport, Counting], ids=["plain", "counting"])
@pytest.mark.parametrize("isWrapped", [False, True], ids=["bare", "wrapped"])
def test_detach(make: Any, isWrapped: bool) -> None:
    """
    Afterwards protocol and transport have their former attributes.
    """
    protocol, bottom = Peer(), make()
    transport = wrapped(bottom) if isWrapped else bottom
    protocol.makeConnection(transport)
    protocol.dataReceived = lambda data: None  # type: ignore[method-assign]
    before = attributes(protocol, transport)
    meter = Meter(transport, Watcher(), Clock())
    meter.attach(protocol)
    assert attributes(protocol, transport) != before
    meter.detach()
    assert attributes(protocol, transport) == before


async def test_detachOverTCP() -> None:
    """
    Twisted's TCP transport has its own methods again, and works.
    """
    async with overTCP() as over:
        own = {"write", "writeSequence", "loseConnection", "abortConnection", "doWrite"}
        own |= {"connectionLost", "startTLS"}
        assert own <= vars(over.transport).keys()
        over.meter.detach()
        assert not own & vars(over.transport).keys()
        assert "dataReceived" not in vars(over.protocol)
        over.transport.write(b"uncounted")
        assert await over.taken(9) == b"uncounted"
        assert over.meter.bytesWritten == 0


def test_leave() -> None:
    """
    The protocol may get its hooks back while the transport is still counted.
    """
    over = inMemory()
    over.meter.leave()
    hooks = {"connectionLost", "readConnectionLost", "writeConnectionLost"}
    assert not hooks & vars(over.protocol).keys()
    over.transport.write(b"hello")
    assert over.meter.bytesWritten == 5


def test_nothingInACycle() -> None:
    """
    Released objects are freed at once, without the garbage collector.
    """
    protocol, transport, watcher = Peer(), StringTransport(), Watcher()
    protocol.makeConnection(transport)
    meter = Meter(transport, watcher, Clock())
    meter.attach(protocol)
    protocol.dataReceived(b"hello")
    transport.write(b"hello")
    transport.loseConnection()
    meter.detach()
    left = [weakref.ref(thing) for thing in (protocol, transport, watcher)]
    gc.disable()
    try:
        del protocol, transport, watcher, meter
        assert [thing() for thing in left] == [None, None, None]
    finally:
        gc.enable()
