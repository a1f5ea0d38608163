"""
Time budgets of open connections.
"""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from tests.support.watched import Connection, begin, close, connected, wait
from twisted_tcpdemo import CloseReason, TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.connection.watch import GRACE, BudgetWatch
from twisted_tcpdemo.transports.deadlines import Deadlines
from twisted_tcpdemo.values.budgets import Budgets

# Their use.


def test_nothingToWatch(connection: Connection, clock: Clock) -> None:
    """
    Without a budget a connection is never visited.
    """
    begin(connection, clock)
    assert clock.getDelayedCalls() == []


def test_firstByte(connection: Connection, clock: Clock) -> None:
    """
    A peer that sends no byte at all uses up the budget for the first one.
    """
    begin(connection, clock, firstByte=2)
    wait(clock, 1.9)
    assert connection.used == []
    wait(clock, 0.2)
    assert connection.reasons == [CloseReason.FIRST_BYTE]
    assert clock.getDelayedCalls() == []


def test_firstByteCame(connection: Connection, clock: Clock) -> None:
    """
    After the first byte its budget does not apply any more.
    """
    begin(connection, clock, firstByte=2)
    wait(clock, 1)
    connection.read()
    wait(clock, 3)
    assert connection.used == []
    assert clock.getDelayedCalls() == []


def test_lifetime(connection: Connection, clock: Clock) -> None:
    """
    A connection is ended at its lifetime, even if it is busy.
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
    Connections made together end apart; none lives longer than the lifetime, and
    none shorter than the jitter allows.
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
    A protocol that does not close at the idle timeout hears of it again only after
    another byte.
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
    The idle budget may be changed at any time; when it is off, no timer is left.
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
    A busy connection is visited about once in each idle period, not at every byte.
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
    Bytes that wait while the peer takes none use up the stall budget, at most a
    quarter late.
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
    While the peer takes bytes, even a few, the write does not stall; nor does it
    when none are pending.
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


@pytest.mark.parametrize("taking", [True, False])
def test_writeStallQueue(connection: Connection, clock: Clock, taking: bool) -> None:
    """
    A peer that takes bytes of the kernel's queue is not stalled, though the kernel has
    no room for more yet.
    """
    begin(connection, clock, writeStall=1)
    connection.queued = 4_000_000
    connection.pending(1000, written=4_001_000)
    for _ in range(5):
        wait(clock, 0.9)
        connection.queued -= 100 * taking
    assert (connection.used == []) is taking


@pytest.mark.parametrize("taking", [True, False])
def test_idleQueue(connection: Connection, clock: Clock, taking: bool) -> None:
    """
    A peer that takes bytes of the kernel's queue is not idle, though none leaves this
    side.  When the queue is empty, it is.
    """
    begin(connection, clock, idle=1)
    wait(clock, 0.5)
    connection.queued = 500
    connection.read()
    for _ in range(5):
        wait(clock, 0.9)
        connection.queued -= 100 * taking
    assert (connection.used == []) is taking
    wait(clock, 2.1)
    assert connection.reasons == [CloseReason.IDLE]


# Bytes that wait to be read.


@pytest.mark.parametrize("budget", ["idle", "firstByte", "handshake"])
def test_input(connection: Connection, clock: Clock, budget: str) -> None:
    """
    Bytes that wait in the socket are read before a peer is judged.
    """
    connection.handshaking = budget == "handshake"
    begin(connection, clock, **{budget: 1.0})
    connection.hasInput = True
    clock.advance(5)  # something has held the reactor up
    wait(clock, 0.5)
    assert connection.used == []
    connection.hasInput = connection.handshaking = False
    connection.read()
    wait(clock, 0.5)
    assert connection.used == []


@pytest.mark.parametrize("budget", ["idle", "firstByte", "handshake"])
def test_inputInVain(connection: Connection, clock: Clock, budget: str) -> None:
    """
    A peer that sends a drip is judged all the same, at most some seconds late.
    """
    connection.handshaking = budget == "handshake"
    begin(connection, clock, **{budget: 1.0})
    connection.hasInput = True
    wait(clock, 1 + GRACE - 0.2)
    assert connection.used == []
    wait(clock, 0.4)
    assert len(connection.used) == 1


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
    The budget of a handshake does not apply after its end.
    """
    connection.handshaking = True
    begin(connection, clock, handshake=1)
    wait(clock, 0.5)
    connection.handshaking = False
    wait(clock, 1)
    assert connection.used == []
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize("ends", [False, True])
def test_handshakeAlone(connection: Connection, clock: Clock, ends: bool) -> None:
    """
    Where no other budget runs, that of the handshake needs one look, at its end.
    """
    connection.handshaking = True
    watch = BudgetWatch(connection, Budgets(handshake=1), Deadlines(clock))
    connection.answer = lambda reason: watch.stop()
    watch.beginHandshake(clock.seconds())
    [call] = clock.getDelayedCalls()
    assert 0.9 < call.getTime() - clock.seconds() < 1.1
    wait(clock, 0.9)
    assert connection.used == []
    connection.handshaking = not ends
    wait(clock, 0.3)
    assert connection.reasons == ([] if ends else [CloseReason.HANDSHAKE])
    assert clock.getDelayedCalls() == []


def test_handshakeWithoutEnd(connection: Connection, clock: Clock) -> None:
    """
    A handshake without a budget is not looked at.
    """
    connection.handshaking = True
    BudgetWatch(connection, Budgets(handshake=None), Deadlines(clock)).beginHandshake(5.0)
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
    While nothing is read, the handshake cannot begin, and its budget does not run,
    unless the connection is already closing.
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
    A second resume gives no more time.
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


def test_nearest(connection: Connection, clock: Clock) -> None:
    """
    Of several budgets, the one that is used up first counts.
    """
    begin(connection, clock, firstByte=3, idle=2, lifetime=1)
    wait(clock, 4)
    assert connection.reasons == [CloseReason.LIFETIME]


def test_stop(connection: Connection, clock: Clock) -> None:
    """
    A stopped watch does nothing more.
    """
    watch = begin(connection, clock, idle=1)
    watch.stop()
    watch.visit(clock.seconds() + 100)
    watch.stop()
    assert connection.used == []
    assert clock.getDelayedCalls() == []


# With a protocol.


@pytest.mark.parametrize("resumeAfter", [None, 5])
def test_pauseOnConnect(clock: Clock, resumeAfter: float | None) -> None:
    """
    With pauseOnConnect, the budget of the first byte begins when the transport
    reads.
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
    Remembers its timeouts, and sets a longer one each time.
    """

    def __init__(self) -> None:
        self.timeouts: list[float] = []

    def timeoutConnection(self) -> None:
        """
        Set another timeout.
        """
        self.timeouts.append(self.age)
        self.setTimeout(10 * len(self.timeouts))


def test_setTimeoutAgain(clock: Clock) -> None:
    """
    The hook may set another timeout, which counts from then on.
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
    A timeout set after a silence begins with the call.
    """
    protocol, transport = connected(TCPDemoFactory(clock=clock))
    wait(clock, 60)
    protocol.setTimeout(30)
    wait(clock, 29)
    assert not transport.disconnecting
    wait(clock, 1.1)
    assert transport.disconnecting
    protocol.connectionLost()


def test_clockSetBack(clock: Clock) -> None:
    """
    The age of a connection is never negative, even if the clock was set back.
    """
    protocol, _ = connected(TCPDemoFactory(clock=clock))
    clock.rightNow -= 100
    assert (protocol.age, protocol.idle) == (0, 0)
