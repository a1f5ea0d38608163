"""
Time budgets of connections that are closing.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet.task import Clock, LoopingCall
from twisted.python.failure import Failure

from tests.support.crowds import endpointFor
from tests.support.peers import serving
from tests.support.watched import Connection, begin, close, connected, wait
from twisted_tcpdemo import CloseReason, TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.transports.layers import tlsOf
from twisted_tcpdemo.values.budgets import CLOSE_RATE, Budgets


def test_closeFlush(connection: Connection, clock: Clock) -> None:
    """
    After the close the budgets of an open connection do not run, and a peer that
    does not read is ended by the close budget.
    """
    watch = begin(connection, clock, closeFlush=2, idle=0.5, lifetime=0.6, writeStall=0.1)
    connection.pending(10_000_000, written=10_000_000)
    close(connection, watch, clock)
    wait(clock, 1.9)
    assert connection.used == []
    wait(clock, 0.2)
    assert connection.reasons == [CloseReason.CLOSE_FLUSH]


@pytest.mark.parametrize(("rate", "patience"), [(CLOSE_RATE, True), (CLOSE_RATE - 1, False)])
def test_closeFlushProgress(
    connection: Connection, clock: Clock, rate: int, patience: bool
) -> None:
    """
    A peer that reads slowly gets another period; one that takes a drip does not.
    """
    watch = begin(connection, clock, closeFlush=1)
    connection.pending(10_000_000, written=10_000_000)
    close(connection, watch, clock)
    for period in range(1, 5):
        wait(clock, 0.5)
        connection.pending(10_000_000 - period * rate)
        wait(clock, 0.6)
    assert (connection.used == []) is patience


@pytest.mark.parametrize(("rate", "patience"), [(CLOSE_RATE, True), (CLOSE_RATE - 1, False)])
def test_closeFlushQueue(connection: Connection, clock: Clock, rate: int, patience: bool) -> None:
    """
    What the peer takes of the kernel's queue counts, though the kernel has no room for
    more yet.
    """
    watch = begin(connection, clock, closeFlush=1)
    connection.queued = 4_000_000
    connection.pending(10_000_000, written=14_000_000)
    close(connection, watch, clock)
    for _ in range(1, 5):
        wait(clock, 0.5)
        connection.queued -= rate
        wait(clock, 0.6)
    assert (connection.used == []) is patience


def test_closeFlushLingering(connection: Connection, clock: Clock) -> None:
    """
    A peer that has taken all, and is only waited for, does not use up the close budget.
    """
    watch = begin(connection, clock, closeFlush=1)
    connection.pending(10, written=10)
    close(connection, watch, clock)
    connection.pending(0)
    connection.lingering = True
    wait(clock, 3)
    assert connection.used == []


def produce(connection: Connection, clock: Clock, seconds: float) -> None:
    """
    Let a producer write a few bytes now and then, which the peer takes later.
    """
    for _ in range(round(seconds * 10)):
        connection.pending(5, written=connection.counts.bytesWritten + 5)
        wait(clock, 0.05)
        connection.pending(0)
        wait(clock, 0.05)


def test_closeFlushProducer(connection: Connection, clock: Clock) -> None:
    """
    A peer that takes all bytes does not use up the close budget, even if the
    producer is slow; after the producer, the peer has a period for the rest.
    """
    watch = begin(connection, clock, closeFlush=1)
    connection.producing = True
    close(connection, watch, clock)
    produce(connection, clock, 5)
    connection.producing = False
    connection.pending(5, written=connection.counts.bytesWritten + 5)  # the last bytes
    ended = clock.seconds()
    wait(clock, 0.9)
    assert connection.used == []
    wait(clock, 1.2)
    [(reason, at)] = connection.used
    assert reason is CloseReason.CLOSE_FLUSH
    assert 1 <= at - ended <= 2.1


@pytest.mark.parametrize("taken", [0, 1])
def test_closeFlushProducerInVain(connection: Connection, clock: Clock, taken: int) -> None:
    """
    A peer that takes no bytes of the producer, or a drip of them, uses up the
    budget.
    """
    watch = begin(connection, clock, closeFlush=1)
    connection.producing = True
    close(connection, watch, clock)
    produce(connection, clock, 2)
    began = clock.seconds()
    connection.pending(50_000, written=connection.counts.bytesWritten + 50_000)
    while not connection.used and clock.seconds() < began + 5:
        connection.pending(50_000, written=connection.counts.bytesWritten + taken)
        wait(clock, 0.1)
    [(reason, at)] = connection.used
    assert reason is CloseReason.CLOSE_FLUSH
    assert 1 <= at - began <= 2.1


def test_closeFlushProducerBeforeHandshake(connection: Connection, clock: Clock) -> None:
    """
    A handshake that does not end uses up the budget even if there is a producer.
    """
    connection.producing = connection.handshaking = True
    watch = begin(connection, clock, closeFlush=1)
    close(connection, watch, clock)
    wait(clock, 1.1)
    assert connection.reasons == [CloseReason.CLOSE_FLUSH]


def test_closeFlushEndlessProducer(connection: Connection, clock: Clock) -> None:
    """
    The lifetime bounds an endless producer.
    """
    watch = begin(connection, clock, closeFlush=1, lifetime=5)
    connection.producing = True
    close(connection, watch, clock)
    produce(connection, clock, 4.9)
    assert connection.used == []
    produce(connection, clock, 2.2)
    assert connection.reasons == [CloseReason.CLOSE_FLUSH]


def test_closeFlushOff(connection: Connection, clock: Clock) -> None:
    """
    Without a close budget a closing connection is left alone.
    """
    watch = begin(connection, clock, idle=1)
    close(connection, watch, clock)
    wait(clock, 3)
    assert connection.used == []


def test_handshakeWhileClosing(connection: Connection, clock: Clock) -> None:
    """
    A close that waits for the handshake waits no longer than the handshake's
    budget, counted from its beginning.
    """
    connection.handshaking = True
    watch = begin(connection, clock, handshake=1)
    wait(clock, 0.5)
    connection.pending(3, written=3)
    close(connection, watch, clock)
    wait(clock, 0.4)
    assert connection.used == []
    wait(clock, 0.2)
    assert connection.reasons == [CloseReason.HANDSHAKE]


def test_closeFlushAfterStall(connection: Connection, clock: Clock) -> None:
    """
    The close budget counts from the close, whatever was measured before.
    """
    watch = begin(connection, clock, closeFlush=1, writeStall=8)
    connection.pending(1000, written=1000)
    wait(clock, 4)
    close(connection, watch, clock)
    wait(clock, 0.9)
    assert connection.used == []
    wait(clock, 0.2)
    assert connection.reasons == [CloseReason.CLOSE_FLUSH]


def test_closesWhenUsedUp(connection: Connection, clock: Clock) -> None:
    """
    A connection that closes in order when a budget is used up goes on to its close
    budget, and the other budgets end.
    """
    watch = begin(connection, clock, lifetime=1, idle=1, closeFlush=1)
    connection.answer = lambda reason: (
        None if connection.closingAt else close(connection, watch, clock)
    )
    wait(clock, 1.1)
    assert connection.reasons == [CloseReason.LIFETIME]
    wait(clock, 1)
    assert connection.reasons[1] is CloseReason.CLOSE_FLUSH
    watch.stop()


# With a protocol.


class Producer:
    """
    A producer that neither writes nor ends.
    """

    def pauseProducing(self) -> None:
        """
        Do nothing.
        """

    resumeProducing = stopProducing = pauseProducing


def test_closedWithProducer(clock: Clock) -> None:
    """
    A close by the application waits for its producer; any other close waits for
    none.
    """
    factory = TCPDemoFactory(clock=clock, budgets=Budgets(closeFlush=1, firstByte=10))
    closing, open_ = connected(factory), connected(factory)
    for _, transport in (closing, open_):
        transport.registerProducer(Producer(), True)
    closing[0].transport.loseConnection()
    wait(clock, 10.1)
    assert [transport.disconnecting for _, transport in (closing, open_)] == [True, True]
    wait(clock, 1.1)
    assert [transport.disconnected for _, transport in (closing, open_)] == [False, True]
    for protocol, _ in (closing, open_):
        protocol.connectionLost()
    assert clock.getDelayedCalls() == []


class Slow(TCPDemoProtocol):
    """
    Writes a few bytes now and then, and closes after the last.
    """

    def connectionMade(self) -> None:
        """
        Begin to write.
        """
        self.loop = LoopingCall(self.transport.write, b"x")
        self.loop.start(0.05)
        # Under TLS Twisted waits for any producer, else only for one that it asks for
        # more.
        self.transport.registerProducer(Producer(), tlsOf(self.transport) is not None)
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """
        Stop writing.
        """
        self.loop.stop()


@pytest.mark.parametrize("transport", ["tcp", "fast", "tls", "unix"])
async def test_slowProducer(transport: str, tmp_path: Path) -> None:
    """
    A peer that reads all bytes of a slow producer after the close gets them, for
    longer than the close budget.
    """
    factory = TCPDemoFactory(Slow, budgets=Budgets(closeFlush=0.2))
    async with serving(factory, **endpointFor(transport, tmp_path)) as server:
        peer = await server.connect()
        await peer.whenReceived(20)
        [protocol] = factory.connections
        protocol.transport.unregisterProducer()
        await peer.whenEnded()
