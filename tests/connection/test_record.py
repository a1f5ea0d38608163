"""
The record of a connection: its writes, and its halves.
"""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from tests.support.metering import Counting
from tests.support.records import (
    ABORTED,
    HOST,
    LOST,
    PEER,
    Held,
    Slots,
    Told,
    begin,
    lose,
)
from tests.support.waiting import failureOf
from twisted_tcpdemo import CloseReason
from twisted_tcpdemo.connection.record import AT_ONCE, Connection, ISlots
from twisted_tcpdemo.connection.writes import LOW_WATER
from twisted_tcpdemo.errors import WriteFailedError
from twisted_tcpdemo.interfaces import ITransportWatcher


def test_interfaces() -> None:
    """
    The record provides the interface of a watcher, and the slots of these tests
    that of slots.
    """
    connection = begin()
    verifyObject(ITransportWatcher, connection)
    verifyObject(ISlots, Slots(Clock()))
    assert connection.transport.watcher is connection


# Writing.


async def test_write() -> None:
    """
    write() fires with the count when the system has taken its bytes, at once if it
    already has.
    """
    connection = begin(transport := Held(HOST, PEER))
    first, second = connection.write(b"hello"), connection.write(b"you")
    transport.take(4)
    assert not first.called
    transport.take(1)
    assert await first == 8
    assert not second.called
    transport.take(3)
    assert await second == 8

    class Taking(Counting):
        def write(self, data: bytes) -> None:
            self.bytesWritten += len(data)

    assert await begin(Taking(HOST, PEER)).write(b"hello") == 5


async def test_writeAndLoss() -> None:
    """
    At the loss, pending writes fail with its reason after the slot is given back;
    earlier ones fire.
    """
    slots = Slots(Clock())
    connection = begin(transport := Held(HOST, PEER), slots=slots)
    taken, left = connection.write(b"hello"), connection.write(b"you")
    free: list[int] = []
    left.addErrback(lambda failure: (free.append(len(slots.released)), failure)[1])
    transport.bytesPending = 2
    lose(connection, LOST)
    assert await taken == 8
    error = await failureOf(left)
    assert isinstance(error, WriteFailedError) and error.reason is CloseReason.RESET
    assert free == [1]


async def test_writeAfterTheLoss() -> None:
    """
    After the loss no byte reaches the transport, and the failure has the reason.
    """
    connection = begin(transport := Held(HOST, PEER))
    lose(connection)
    for waiting in connection.write(b"late"), connection.write(b""), connection.whenWritable():
        error = await failureOf(waiting)
        assert isinstance(error, WriteFailedError)
        assert error.reason is CloseReason.PEER_CLOSED
    assert transport.value() == b""


async def test_writeNotAccepted() -> None:
    """
    A write that the transport does not accept fails, though the connection is open.
    """
    error = await failureOf(begin(Counting(HOST, PEER)).write(b"hello"))
    assert isinstance(error, WriteFailedError) and error.reason is None


async def test_whenWritable() -> None:
    """
    whenWritable() fires when few bytes are pending, at once if few are, and fails
    at the loss.
    """
    connection = begin(transport := Held(HOST, PEER))
    transport.write(bytes(LOW_WATER))
    assert await connection.whenWritable() is None
    transport.write(b"x")
    first, second = connection.whenWritable(), connection.whenWritable()
    assert first is not second and not first.called
    transport.take(1)
    assert (await first, await second) == (None, None)
    transport.write(b"x")
    waiting = connection.whenWritable()
    connection.abort(CloseReason.DRAIN)
    lose(connection, ABORTED)
    error = await failureOf(waiting)
    assert isinstance(error, WriteFailedError) and error.reason is CloseReason.DRAIN


@pytest.mark.parametrize("reason", [CloseReason.ABORTED, CloseReason.DRAIN])
async def test_afterAnAbort(reason: CloseReason) -> None:
    """
    Between an abort and the loss nothing can be written, for the reason of the abort.
    """
    connection = begin()
    if reason is CloseReason.ABORTED:
        connection.transport.abortConnection()
    else:
        connection.abort(reason)
    for waiting in connection.write(b"late"), connection.whenWritable():
        error = await failureOf(waiting)
        assert isinstance(error, WriteFailedError) and error.reason is reason


async def test_vanishing() -> None:
    """
    A transport that has lost its connection and not told yet takes nothing; the
    Deferreds fail when it has told the reason.
    """
    connection = begin(transport := Held(HOST, PEER))
    transport.write(bytes(LOW_WATER + 1))
    room = connection.whenWritable()
    transport.connected = False
    transport.write = lambda data: None  # type: ignore[method-assign]
    waiting = [connection.write(b"late"), connection.whenWritable(), room]
    assert not any(waiter.called for waiter in waiting)
    transport.bytesPending = 0
    lose(connection, LOST)
    for waiter in waiting:
        error = await failureOf(waiter)
        assert isinstance(error, WriteFailedError) and error.reason is CloseReason.RESET


async def test_turns() -> None:
    """
    A loop on whenWritable() lets the reactor have its turn now and then.
    """
    connection = begin(slots=Slots(clock := Clock()))
    for _ in range(2):
        for _ in range(AT_ONCE):
            assert connection.whenWritable().called
        waiting = connection.whenWritable()
        assert not waiting.called
        clock.advance(0)
        assert waiting.called
    for _ in range(AT_ONCE):
        connection.whenWritable()
    waiting = connection.whenWritable()
    lose(connection)
    assert isinstance(await failureOf(waiting), WriteFailedError)
    clock.advance(0)


@pytest.mark.parametrize(("limit", "aborted"), [(None, False), (5, False), (4, True)])
def test_maxPending(limit: int | None, aborted: bool) -> None:
    """
    A connection with too many pending bytes is aborted.
    """
    connection = begin(transport := Held(HOST, PEER), slots=Slots(Clock(), maxPending=limit))
    transport.write(b"hello")
    assert transport.disconnected is aborted
    if aborted:
        assert lose(connection, ABORTED) is CloseReason.MAX_PENDING


# The halves.


@pytest.mark.parametrize("own", [None, False, True])
@pytest.mark.parametrize("factory", [False, True])
def test_halfOpen(own: bool | None, factory: bool) -> None:
    """
    At the peer's FIN the protocol hears of it, and the transport has to close unless
    the protocol, or else the factory, allows half-open connections.
    """
    protocol = Told()
    protocol.allowHalfOpen = own
    connection = begin(protocol=protocol, slots=Slots(Clock(), allowHalfOpen=factory))
    before: list[bool] = []

    def tell() -> None:
        before.append(connection.transport.disconnecting)
        protocol.readConnectionLost()

    stays = factory if own is None else own
    assert connection.transportReadEnded(tell) is not stays
    assert connection.transportReadEnded(tell) is False
    assert (protocol.told, before) == (["read"], [False])
    assert lose(connection) is CloseReason.PEER_CLOSED


def test_halfOpenWithoutSlots() -> None:
    """
    Without a factory of ours a FIN closes the connection.
    """
    connection = Connection(Told(), Counting(HOST, PEER))
    connection.attach()
    assert connection.transportReadEnded(lambda: None) is True


@pytest.mark.parametrize("first", ["read", "write"])
def test_bothHalves(first: str) -> None:
    """
    When both halves have ended the connection closes; the side that began is the
    reason.
    """
    protocol = Told()
    connection = begin(protocol=protocol, slots=Slots(Clock(), allowHalfOpen=True))
    events = [
        lambda: connection.transportReadEnded(protocol.readConnectionLost),
        lambda: connection.transportWriteEnded(protocol.writeConnectionLost),
    ]
    if first == "write":
        events.reverse()
    assert not (events[0]() or connection.transport.disconnecting)
    assert events[1]() or connection.transport.disconnecting
    assert not events[1]()
    assert sorted(protocol.told) == ["read", "write"]
    expected = {"read": CloseReason.PEER_CLOSED, "write": CloseReason.LOCAL_CLOSE}
    assert lose(connection) is expected[first]
