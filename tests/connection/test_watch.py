"""
Time budgets: when a connection must go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from twisted.internet.task import Clock, LoopingCall
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tests.support.crowds import endpointFor
from tests.support.peers import serving
from twisted_tcpdemo import CloseReason, TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.connection.watch import CLOSE_RATE, BudgetWatch
from twisted_tcpdemo.transports.counts import FinalCounts
from twisted_tcpdemo.transports.deadlines import Deadlines
from twisted_tcpdemo.transports.layers import tlsOf
from twisted_tcpdemo.values.budgets import DEFAULT_BUDGETS, Budgets
from twisted_tcpdemo.values.checks import nonNegative

NAMES = [
    "firstByte",
    "idle",
    "lifetime",
    "lifetimeJitter",
    "writeStall",
    "closeFlush",
    "handshake",
    "maxPending",
]


# What may be given.


@pytest.mark.parametrize("value", [None, 0, 0.0])
def test_off(value: float | None) -> None:
    """
    None and 0 both switch a budget off.
    """
    budgets = Budgets(**dict.fromkeys(NAMES, value))  # type: ignore[arg-type]
    assert nonNegative("it", value) is None
    assert budgets.lifetimeJitter == 0.0
    assert all(getattr(budgets, name) is None for name in NAMES if name != "lifetimeJitter")
    assert not budgets.fromTheStart


@given(some.floats(min_value=1e-9, allow_infinity=False) | some.integers(1))
def test_positive(value: float) -> None:
    """
    A number of seconds is kept as it is.
    """
    try:
        assert nonNegative("it", value) == value
    except OverflowError:
        assert isinstance(value, int)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-1, -0.001, float("inf"), float("nan")])
def test_outOfRange(name: str, value: float) -> None:
    """
    A negative or endless time is refused when it is given, by its name.
    """
    with pytest.raises(ValueError, match=f"{name} must be a finite number"):
        Budgets(**{name: value})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["1", True, [1]])
def test_noNumber(name: str, value: Any) -> None:
    """
    What is no number is refused when it is given, by its name.
    """
    with pytest.raises(TypeError, match=f"{name} must be a number or None"):
        Budgets(**{name: value})


def test_jitterIsAShare() -> None:
    """
    The jitter of the lifetime is a share of it.
    """
    assert Budgets(lifetimeJitter=1).lifetimeJitter == 1
    with pytest.raises(ValueError, match="lifetimeJitter must be from 0 to 1"):
        Budgets(lifetimeJitter=1.1)


def test_defaults() -> None:
    """
    Only what can hold back a dead connection ends by itself.
    """
    assert not DEFAULT_BUDGETS.fromTheStart
    assert DEFAULT_BUDGETS.closeFlush and DEFAULT_BUDGETS.handshake
    with pytest.raises(FrozenInstanceError):
        DEFAULT_BUDGETS.idle = 1  # type: ignore[misc]


@pytest.mark.parametrize("name", ["firstByte", "idle", "lifetime", "writeStall"])
def test_fromTheStart(name: str) -> None:
    """
    These run as soon as there is a connection.
    """
    assert Budgets(**{name: 1}).fromTheStart


# How they are used up.


class Connection:
    """
    As much of a connection as a watch needs, driven by the test.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.openedAt = clock.seconds()
        self.closingAt: float | None = None
        self.counts = FinalCounts(0, 0, 0, clock.seconds())
        self.handshaking = False
        self.producing = False
        self.used: list[tuple[CloseReason, float]] = []
        self.answer: Callable[[CloseReason], object] = lambda reason: None

    def exceeded(self, reason: CloseReason) -> None:
        """
        Remember it, and do what the test wants.
        """
        self.used.append((reason, self._clock.seconds()))
        self.answer(reason)

    @property
    def reasons(self) -> list[CloseReason]:
        """
        What has been used up.
        """
        return [reason for reason, _ in self.used]

    def read(self) -> None:
        """
        A byte comes.
        """
        now = self._clock.seconds()
        self.counts = self.counts._replace(bytesRead=self.counts.bytesRead + 1, lastActivity=now)

    def pending(self, pending: int, written: int | None = None) -> None:
        """
        So many bytes wait.
        """
        counts = self.counts
        total = counts.bytesWritten if written is None else written
        self.counts = counts._replace(bytesWritten=total, bytesPending=pending)


@pytest.fixture
def clock() -> Clock:
    """
    The time.
    """
    clock = Clock()
    clock.advance(1000)
    return clock


@pytest.fixture
def connection(clock: Clock) -> Connection:
    """
    A connection that has just been made.
    """
    return Connection(clock)


def begin(connection: Connection, clock: Clock, **budgets: float | None) -> BudgetWatch:
    """
    Watch a connection, with these budgets and no others; when one is used up,
    the connection is over, as most of them have it.
    """
    allowed = Budgets(**{"closeFlush": None, "handshake": None, **budgets})  # type: ignore[arg-type]
    watch = BudgetWatch(connection, allowed, Deadlines(clock))
    connection.answer = lambda reason: watch.stop()
    watch.visit(clock.seconds())
    return watch


def wait(clock: Clock, seconds: float) -> None:
    """
    Let time pass in small steps.
    """
    for _ in range(round(seconds * 100)):
        clock.advance(0.01)


def test_nothingToWatch(connection: Connection, clock: Clock) -> None:
    """
    Without a budget nothing is ever visited.
    """
    begin(connection, clock)
    assert clock.getDelayedCalls() == []


def test_firstByte(connection: Connection, clock: Clock) -> None:
    """
    A peer that sends nothing at all has used up its time.
    """
    begin(connection, clock, firstByte=2)
    wait(clock, 1.9)
    assert connection.used == []
    wait(clock, 0.2)
    assert connection.reasons == [CloseReason.FIRST_BYTE]
    assert clock.getDelayedCalls() == []


def test_firstByteCame(connection: Connection, clock: Clock) -> None:
    """
    After the first byte, that budget does not apply any more.
    """
    begin(connection, clock, firstByte=2)
    wait(clock, 1)
    connection.read()
    wait(clock, 3)
    assert connection.used == []
    assert clock.getDelayedCalls() == []


def test_lifetime(connection: Connection, clock: Clock) -> None:
    """
    A connection lives so long, however busy it is.
    """
    begin(connection, clock, lifetime=3)
    for _ in range(29):
        wait(clock, 0.1)
        connection.read()
    assert connection.used == []
    wait(clock, 0.2)
    assert connection.reasons == [CloseReason.LIFETIME]


def test_lifetimeJitter(clock: Clock) -> None:
    """
    Connections made together do not end together; none lives longer than the
    lifetime, none shorter than the jitter allows.
    """
    connections = [Connection(clock) for _ in range(100)]
    for connection in connections:
        begin(connection, clock, lifetime=10, lifetimeJitter=0.5)
    wait(clock, 11)
    ends = [at - connection.openedAt for connection in connections for _, at in connection.used]
    assert len(ends) == 100
    assert 5 <= min(ends) < 6.5 and 8.5 < max(ends) <= 10.1


def test_idle(connection: Connection, clock: Clock) -> None:
    """
    Every byte that moves begins the idle time anew.
    """
    begin(connection, clock, idle=1)
    for _ in range(5):
        wait(clock, 0.9)
        connection.read()
    assert connection.used == []
    wait(clock, 1.1)
    assert connection.reasons == [CloseReason.IDLE]


def test_idleOncePerPeriod(connection: Connection, clock: Clock) -> None:
    """
    Who does not close at the idle timeout is not told again until something has
    moved.
    """
    begin(connection, clock, idle=1)
    connection.answer = lambda reason: None
    wait(clock, 5)
    assert connection.reasons == [CloseReason.IDLE]
    connection.read()
    wait(clock, 2.1)
    assert connection.reasons == [CloseReason.IDLE] * 2


def test_idleChanged(connection: Connection, clock: Clock) -> None:
    """
    The idle budget may be changed at any time; off, it leaves nothing behind.
    """
    watch = begin(connection, clock, idle=10)
    wait(clock, 1)
    watch.setIdle(2, clock.seconds())
    wait(clock, 1.9)
    assert connection.used == []
    wait(clock, 0.2)
    assert connection.reasons == [CloseReason.IDLE]
    other = Connection(clock)
    watch = begin(other, clock, idle=1)
    watch.setIdle(None, clock.seconds())
    wait(clock, 3)
    assert other.used == []
    assert clock.getDelayedCalls() == []


def test_idleCosts(connection: Connection, clock: Clock) -> None:
    """
    A busy connection is visited about once in each idle period, not at every
    byte.
    """
    visits: list[float] = []
    watch = begin(connection, clock, idle=1)
    deadlines = watch._deadlines
    watched, deadlines.watch = deadlines.watch, lambda w, at: (visits.append(at), watched(w, at))[1]  # type: ignore
    for _ in range(1000):
        clock.advance(0.01)
        connection.read()
    assert len(visits) <= 11


def test_writeStall(connection: Connection, clock: Clock) -> None:
    """
    Bytes that wait while the peer takes none use up the stall budget, within a
    quarter of it.
    """
    begin(connection, clock, writeStall=2)
    wait(clock, 3)
    connection.pending(1000, written=1000)
    began = clock.seconds()
    wait(clock, 1.9)
    assert connection.used == []
    wait(clock, 1)
    [(reason, at)] = connection.used
    assert reason is CloseReason.WRITE_STALL
    assert 2 <= at - began <= 2.6


def test_writeStallProgress(connection: Connection, clock: Clock) -> None:
    """
    As long as the peer takes some, however little, it is no stall; nor is it
    when nothing is pending.
    """
    begin(connection, clock, writeStall=1)
    connection.pending(1000, written=1000)
    for left in range(999, 990, -1):
        wait(clock, 0.9)
        connection.pending(left)
    connection.pending(0)
    wait(clock, 3)
    connection.pending(10, written=1010)
    wait(clock, 0.9)
    assert connection.used == []


def test_handshake(connection: Connection, clock: Clock) -> None:
    """
    A handshake that does not end has its own budget.
    """
    connection.handshaking = True
    begin(connection, clock, handshake=1)
    wait(clock, 1.1)
    assert connection.reasons == [CloseReason.HANDSHAKE]


def test_handshakeEnds(connection: Connection, clock: Clock) -> None:
    """
    One that ends in time is no concern any more.
    """
    connection.handshaking = True
    begin(connection, clock, handshake=1)
    wait(clock, 0.5)
    connection.handshaking = False
    wait(clock, 1)
    assert connection.used == []
    assert clock.getDelayedCalls() == []


def test_handshakeBeginsLate(connection: Connection, clock: Clock) -> None:
    """
    With startTLS the budget begins with the handshake, not with the connection.
    """
    watch = begin(connection, clock, handshake=1)
    wait(clock, 5)
    connection.handshaking = True
    watch.visitSoon()
    wait(clock, 0.9)
    assert connection.used == []
    wait(clock, 0.3)
    assert connection.reasons == [CloseReason.HANDSHAKE]


def test_handshakeHeld(connection: Connection, clock: Clock) -> None:
    """
    Where nothing is read, the handshake cannot begin, and neither does its
    budget, unless the connection is closing already.
    """
    connection.handshaking = True
    watch = begin(connection, clock, handshake=1)
    watch.hold()
    wait(clock, 3)
    watch.release(clock.seconds())
    wait(clock, 0.9)
    assert connection.used == []
    watch.hold()
    close(connection, watch, clock)
    wait(clock, 0.2)
    assert connection.reasons == [CloseReason.HANDSHAKE]


def test_releasedTwice(connection: Connection, clock: Clock) -> None:
    """
    Who is resumed again has no more time for that.
    """
    watch = begin(connection, clock, firstByte=2)
    watch.hold()
    wait(clock, 3)
    watch.release(clock.seconds())
    wait(clock, 1)
    watch.release(clock.seconds())
    wait(clock, 0.9)
    assert connection.used == []
    wait(clock, 0.2)
    assert connection.reasons == [CloseReason.FIRST_BYTE]


def close(connection: Connection, watch: BudgetWatch, clock: Clock) -> None:
    """
    This side closes.
    """
    connection.closingAt = clock.seconds()
    watch.visit(clock.seconds())


def test_closeFlush(connection: Connection, clock: Clock) -> None:
    """
    After the close, those of an open connection do not run any more; a peer
    that does not read does not hold the connection back.
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
    A peer that reads slowly gets another period, one that takes a drip does
    not.
    """
    watch = begin(connection, clock, closeFlush=1)
    connection.pending(10_000_000, written=10_000_000)
    close(connection, watch, clock)
    for period in range(1, 5):
        wait(clock, 0.5)
        connection.pending(10_000_000 - period * rate)
        wait(clock, 0.6)
    assert (connection.used == []) is patience


def produce(connection: Connection, clock: Clock, seconds: float) -> None:
    """
    Let a producer write a little now and then, which the peer takes later.
    """
    for _ in range(round(seconds * 10)):
        connection.pending(5, written=connection.counts.bytesWritten + 5)
        wait(clock, 0.05)
        connection.pending(0)
        wait(clock, 0.05)


def test_closeFlushProducer(connection: Connection, clock: Clock) -> None:
    """
    A peer that takes all there is has not used up the close budget, however
    slow the producer is; when that is done, the peer has a period for the rest.
    """
    watch = begin(connection, clock, closeFlush=1)
    connection.producing = True
    close(connection, watch, clock)
    produce(connection, clock, 5)
    connection.producing = False
    connection.pending(5, written=connection.counts.bytesWritten + 5)  # the last
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
    A peer that does not take what the producer has written, or takes a drip,
    uses up the budget.
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
    Nor has the producer anything to do with a handshake that does not end.
    """
    connection.producing = connection.handshaking = True
    watch = begin(connection, clock, closeFlush=1)
    close(connection, watch, clock)
    wait(clock, 1.1)
    assert connection.reasons == [CloseReason.CLOSE_FLUSH]


def test_closeFlushEndlessProducer(connection: Connection, clock: Clock) -> None:
    """
    The lifetime bounds a producer that does not end.
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
    Without a close budget a closing connection is left to itself.
    """
    watch = begin(connection, clock, idle=1)
    close(connection, watch, clock)
    wait(clock, 3)
    assert connection.used == []


def test_handshakeWhileClosing(connection: Connection, clock: Clock) -> None:
    """
    A close that waits for the handshake waits no longer than that may take,
    from its beginning.
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
    A connection that closes in order when a budget is used up goes on to its
    close budget, and the other budgets are not asked.
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


def test_nearest(connection: Connection, clock: Clock) -> None:
    """
    Of several budgets the one that is used up first counts.
    """
    begin(connection, clock, firstByte=3, idle=2, lifetime=1)
    wait(clock, 4)
    assert connection.reasons == [CloseReason.LIFETIME]


def test_stop(connection: Connection, clock: Clock) -> None:
    """
    A watch that is stopped does nothing any more.
    """
    watch = begin(connection, clock, idle=1)
    watch.stop()
    watch.visit(clock.seconds() + 100)
    watch.stop()
    assert connection.used == []
    assert clock.getDelayedCalls() == []


# With a protocol.


def connected(factory: TCPDemoFactory) -> tuple[Any, StringTransport]:
    """
    A protocol of the factory on a transport in memory.
    """
    protocol, transport = factory.buildProtocol(None), StringTransport()
    protocol.makeConnection(transport)
    return protocol, transport


@pytest.mark.parametrize("resumeAfter", [None, 5])
def test_pauseOnConnect(clock: Clock, resumeAfter: float | None) -> None:
    """
    With pauseOnConnect, a peer has its time for the first byte from when it is
    heard.
    """
    budgets = Budgets(firstByte=2)
    factory = TCPDemoFactory(
        clock=clock, budgets=budgets, pauseOnConnect=True, resumeAfter=resumeAfter
    )
    protocol, transport = connected(factory)
    wait(clock, 5.01)
    if resumeAfter is None:
        protocol.resume()
    wait(clock, 1.9)
    assert (transport.producerState, transport.disconnecting) == ("producing", False)
    wait(clock, 0.2)
    assert transport.disconnecting
    protocol.connectionLost()
    assert clock.getDelayedCalls() == []
    assert "resumeProducing" not in vars(transport)


class Patient(TCPDemoProtocol):
    """
    Remembers its timeouts, and asks for another one, longer each time.
    """

    def __init__(self) -> None:
        self.timeouts: list[float] = []

    def timeoutConnection(self) -> None:
        """
        Another chance.
        """
        self.timeouts.append(self.age)
        self.setTimeout(10 * len(self.timeouts))


def test_setTimeoutAgain(clock: Clock) -> None:
    """
    In the hook a timeout may be set again, and counts from there.
    """
    protocol, _ = connected(TCPDemoFactory(Patient, clock=clock))
    protocol.setTimeout(5)
    wait(clock, 36)
    protocol.setTimeout(None)
    assert [round(at) for at in protocol.timeouts] == [5, 15, 35]
    wait(clock, 100)
    assert len(protocol.timeouts) == 3


def test_setTimeoutAfterSilence(clock: Clock) -> None:
    """
    A timeout that is set after a silence begins with the call.
    """
    protocol, transport = connected(TCPDemoFactory(clock=clock))
    wait(clock, 60)
    protocol.setTimeout(30)
    wait(clock, 29)
    assert not transport.disconnecting
    wait(clock, 1.1)
    assert transport.disconnecting
    protocol.connectionLost()


class Producer:
    """
    One that never writes, nor ends.
    """

    def pauseProducing(self) -> None:
        """
        Nothing to pause.
        """

    resumeProducing = stopProducing = pauseProducing


def test_closedWithProducer(clock: Clock) -> None:
    """
    Who closes with a producer is waited for; a close that is not the
    application's waits for no producer.
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
    Says a little now and then, and closes when that is done.
    """

    def connectionMade(self) -> None:
        """
        Begin.
        """
        self.loop = LoopingCall(self.transport.write, b"x")
        self.loop.start(0.05)
        # Twisted waits for any producer under TLS, else only for one that it asks.
        self.transport.registerProducer(Producer(), tlsOf(self.transport) is not None)
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """
        Nobody listens.
        """
        self.loop.stop()


@pytest.mark.parametrize("transport", ["tcp", "fast", "tls", "unix"])
async def test_slowProducer(transport: str, tmp_path: Path) -> None:
    """
    A peer that reads all that a slow producer writes after the close gets it,
    for longer than the close budget.
    """
    factory = TCPDemoFactory(Slow, budgets=Budgets(closeFlush=0.2))
    async with serving(factory, **endpointFor(transport, tmp_path)) as server:
        peer = await server.connect()
        await peer.whenReceived(20)
        [protocol] = factory.connections
        protocol.transport.unregisterProducer()
        await peer.whenEnded()


def test_clockSetBack(clock: Clock) -> None:
    """
    No connection is younger than nothing, though the clock was set back.
    """
    protocol, _ = connected(TCPDemoFactory(clock=clock))
    clock.rightNow -= 100
    assert (protocol.age, protocol.idle) == (0, 0)
