"""
The reason of a connection's end, after all that happened to it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import Clock

from tests.support.records import (
    ABORTED,
    DONE,
    HOST,
    LOST,
    PEER,
    Ours,
    Slots,
    Told,
    begin,
    lose,
)
from twisted_tcpdemo import CloseReason
from twisted_tcpdemo.connection.ending import MOMENT
from twisted_tcpdemo.connection.record import Connection


def closing(connection: Any) -> None:
    """
    Close from this side.
    """
    connection.transportClosing()


def ended(connection: Any) -> None:
    """
    End the peer's side.
    """
    connection.transportReadEnded(lambda: None)


def aborting(connection: Any) -> None:
    """
    Abort from this side.
    """
    connection.transportAborting()


def failed(connection: Any) -> None:
    """
    Let the protocol raise.
    """
    connection.deliveryFailed()


def pending(connection: Any) -> None:
    """
    Let a byte be pending.
    """
    connection.transport.bytesPending = 1


def closes(cause: CloseReason) -> Callable[[Any], None]:
    """
    Close in order, for a reason.
    """
    return lambda connection: connection.close(cause)


def aborts(cause: CloseReason) -> Callable[[Any], None]:
    """
    Abort, for a reason.
    """
    return lambda connection: connection.abort(cause)


ENDS: dict[str, tuple[list[Any], BaseException, CloseReason]] = {
    # Nothing has happened on this side.
    "done": ([], DONE, CloseReason.PEER_CLOSED),
    "lost": ([], LOST, CloseReason.RESET),
    "aborted": ([], ABORTED, CloseReason.ABORTED),
    "raised": ([], ZeroDivisionError(), CloseReason.ERROR),
    # The side that began.
    "closed": ([closing], DONE, CloseReason.LOCAL_CLOSE),
    "peer ended": ([ended], DONE, CloseReason.PEER_CLOSED),
    "peer, then we": ([ended, closing], DONE, CloseReason.PEER_CLOSED),
    "we, then the peer": ([closing, ended], DONE, CloseReason.LOCAL_CLOSE),
    # A later event that counts for more.
    "closed and reset": ([closing], LOST, CloseReason.RESET),
    "closed and aborted": ([closing, aborting], ABORTED, CloseReason.ABORTED),
    "closed in vain": ([closing, pending], DONE, CloseReason.CLOSE_FLUSH),
    "ended and told late": ([ended], LOST, CloseReason.PEER_CLOSED),
    "ended and cut short": ([ended, pending], LOST, CloseReason.RESET),
    "closed and overdue": (
        [closing, aborts(CloseReason.CLOSE_FLUSH)],
        ABORTED,
        CloseReason.CLOSE_FLUSH,
    ),
    "ended and overdue": ([ended, aborts(CloseReason.WRITE_STALL)], LOST, CloseReason.WRITE_STALL),
    # The first cause counts.
    "budget": ([closes(CloseReason.LIFETIME)], DONE, CloseReason.LIFETIME),
    "budget and reset": ([closes(CloseReason.LIFETIME)], LOST, CloseReason.LIFETIME),
    "budget, then peer": ([closes(CloseReason.LIFETIME), ended], DONE, CloseReason.LIFETIME),
    "two budgets": (
        [closes(CloseReason.LIFETIME), aborts(CloseReason.CLOSE_FLUSH)],
        ABORTED,
        CloseReason.LIFETIME,
    ),
    "hook, then abort": ([failed, aborting], ABORTED, CloseReason.ERROR),
    "abort, then hook": ([aborting, failed], ABORTED, CloseReason.ABORTED),
    "drain": ([aborts(CloseReason.DRAIN), aborting], ABORTED, CloseReason.DRAIN),
}


@pytest.mark.parametrize("name", ENDS)
def test_reason(name: str) -> None:
    """
    The reason is the side that began to close, or a later event that counts for
    more; the first cause counts.
    """
    happens, reason, expected = ENDS[name]
    connection = begin()
    for event in happens:
        event(connection)
        assert connection.closeReason is None
    assert lose(connection, reason) is expected


def test_reasonOfTLS() -> None:
    """
    An exception of the TLS packages means that TLS has failed.
    """
    from OpenSSL.SSL import Error
    from service_identity import VerificationError

    assert lose(begin(), Error([])) is CloseReason.TLS_FAILED
    assert lose(begin(), VerificationError(errors=[])) is CloseReason.TLS_FAILED


def test_lostOnce() -> None:
    """
    The first loss counts: the slot is given back once, and the reason stays.
    """
    slots = Slots(Clock())
    connection = begin(slots=slots)
    assert repr(connection) == f"<Connection {connection.connectionID} open>"
    assert lose(connection) is CloseReason.PEER_CLOSED
    assert lose(connection, LOST) is CloseReason.PEER_CLOSED
    assert slots.released == [connection]
    assert connection.protocol is None and connection.transport.watcher is None
    assert repr(connection) == f"<Connection {connection.connectionID} peer closed>"


def test_closedAlready() -> None:
    """
    An ended connection cannot be closed or aborted, and its halves do not end
    again.
    """
    connection = begin()
    lose(connection)
    connection.close(CloseReason.LIFETIME)
    connection.abort(CloseReason.DRAIN)
    connection.transportReadEnded(lambda: pytest.fail("it is over"))
    connection.transportWriteEnded(lambda: pytest.fail("it is over"))
    connection.transportClosing()
    assert not connection.transport.disconnecting
    assert connection.closingAt is None
    assert connection.closeReason is CloseReason.PEER_CLOSED


def test_withoutAbort() -> None:
    """
    A transport that cannot be aborted is closed.
    """

    class Gentle:
        closed = 0

        def getHost(self) -> None:
            """Nobody knows."""

        def getPeer(self) -> None:
            """Nobody knows."""

        def loseConnection(self) -> None:
            self.closed += 1

    connection = Connection(Told(), transport := Gentle())  # type: ignore[arg-type]
    connection.abort(CloseReason.DRAIN)
    assert transport.closed == 1


@pytest.mark.parametrize("half", ["Read", "Write"])
def test_hookRaises(half: str) -> None:
    """
    A hook that raises gives the reason of the end, and its exception goes on.
    """
    connection = begin(slots=Slots(Clock(), allowHalfOpen=True))
    with pytest.raises(ZeroDivisionError):
        getattr(connection, f"transport{half}Ended")(lambda: 1 / 0)
    assert lose(connection, LOST) is CloseReason.ERROR


# Budgets and hooks.


@pytest.mark.parametrize(
    "reason",
    [
        CloseReason.FIRST_BYTE,
        CloseReason.IDLE,
        CloseReason.LIFETIME,
        CloseReason.WRITE_STALL,
        CloseReason.CLOSE_FLUSH,
        CloseReason.HANDSHAKE,
        CloseReason.MAX_PENDING,
    ],
)
def test_exceeded(reason: CloseReason) -> None:
    """
    A budget that may have caught a live peer closes in order; the others abort, and
    an idle timeout is left to the protocol.
    """
    protocol = Told()
    connection = begin(protocol=protocol)
    connection.exceeded(reason)
    graceful = reason in (CloseReason.FIRST_BYTE, CloseReason.LIFETIME)
    idle = reason is CloseReason.IDLE
    assert connection.transport.disconnecting is not idle
    assert connection.transport.disconnected is not (idle or graceful)
    assert protocol.told == (["timeout"] if idle else [])
    expected = CloseReason.PEER_CLOSED if idle else reason
    assert lose(connection) is expected


def test_idleTimeout() -> None:
    """
    If the hook closes, the reason is the idle timeout.
    """

    class Closing(Told):
        def timeoutConnection(self) -> None:
            closing(connection)

    connection = begin(protocol=Closing())
    connection.exceeded(CloseReason.IDLE)
    assert lose(connection) is CloseReason.IDLE


@pytest.mark.parametrize("hook", ["timeoutConnection", "drainStarted"])
def test_hookOfOursRaises(hook: str, loggedErrors: Any) -> None:
    """
    An exception of a hook that no transport calls is logged, and the connection is
    aborted.
    """

    class Broken(Told):
        def timeoutConnection(self) -> None:
            raise ZeroDivisionError

        drainStarted = timeoutConnection

    connection = begin(protocol=Broken())
    if hook == "drainStarted":
        connection.drainStarted()
    else:
        connection.exceeded(CloseReason.IDLE)
    assert connection.transport.disconnected
    assert lose(connection, ABORTED) is CloseReason.ERROR
    assert len(loggedErrors.take(ZeroDivisionError)) == 1


def probing(connection: Any) -> None:
    """
    Let the client have sent nothing.
    """
    connection.transport.bytesRead = 0


def greeted(connection: Any) -> None:
    """
    Let the client have taken a greeting.
    """
    connection.transport.bytesWritten = 10


def untaken(connection: Any) -> None:
    """
    Let a greeting have come too late.
    """
    connection.transport.bytesWritten = connection.transport.bytesPending = 10


def cut(connection: Any) -> None:
    """
    Let a client leave in the midst of an answer.
    """
    connection.transport.bytesWritten, connection.transport.bytesPending = 10, 3


PROBES: dict[str, tuple[list[Any], BaseException, CloseReason]] = {
    "FIN": ([], DONE, CloseReason.PROBE),
    "RST": ([], LOST, CloseReason.PROBE),
    "half-close": ([ended], DONE, CloseReason.PROBE),
    "greeted": ([greeted, ended], LOST, CloseReason.PROBE),
    "RST before the greeting": ([untaken], LOST, CloseReason.PROBE),
    "cut": ([cut], LOST, CloseReason.RESET),
    "we began": ([closing, ended], DONE, CloseReason.LOCAL_CLOSE),
    "we began, then RST": ([closing], LOST, CloseReason.RESET),
    "we aborted": ([aborting], ABORTED, CloseReason.ABORTED),
    "a hook raised": ([failed], DONE, CloseReason.ERROR),
    "drained": ([closes(CloseReason.DRAIN), ended], DONE, CloseReason.DRAIN),
    "wrong TLS": ([], ssl.SSLError(), CloseReason.TLS_FAILED),
}


@pytest.mark.parametrize("name", PROBES)
def test_probe(name: str) -> None:
    """
    A client that has sent nothing and leaves at once is a probe, unless this side has ended
    the connection.
    """
    events, error, reason = PROBES[name]
    connection = begin()
    for event in [probing, *events]:
        event(connection)
    assert lose(connection, error) is reason


@pytest.mark.parametrize(
    ("seconds", "reason"), [(MOMENT - 0.01, CloseReason.PROBE), (MOMENT, CloseReason.PEER_CLOSED)]
)
def test_moment(seconds: float, reason: CloseReason) -> None:
    """
    A client that stays for longer than a moment is no probe.
    """
    clock = Clock()
    connection = begin(slots=Slots(clock))
    probing(connection)
    clock.advance(seconds)
    assert lose(connection) is reason


def test_clientIsNoProbe() -> None:
    """
    A connection of this side to a server that closes at once is none.
    """
    connection = Connection(Told(), Ours(HOST, PEER))
    connection.attach()
    probing(connection)
    assert lose(connection) is CloseReason.PEER_CLOSED
