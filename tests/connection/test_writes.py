"""
Deferreds that fire when written bytes reach the operating system.
"""

from __future__ import annotations

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as some
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from tests.support.hygiene import LoggedErrors
from tests.support.waiting import failureOf
from twisted_tcpdemo import CloseReason
from twisted_tcpdemo.connection.writes import LOW_WATER, PendingWrites, refused
from twisted_tcpdemo.errors import TCPDemoError, WriteFailedError


def outcome(waiting: Deferred[object]) -> list[object]:
    """
    The results of a Deferred, in a list that is empty until it fires.
    """
    results: list[object] = []
    waiting.addBoth(results.append)
    return results


def test_taken() -> None:
    """
    A write fires when the system has taken all of its bytes, and not before.
    """
    waiters = PendingWrites()
    first, second = outcome(waiters.whenTaken(10)), outcome(waiters.whenTaken(20))
    waiters.settle(20, 11)
    assert (first, second) == ([], [])
    waiters.settle(20, 10)
    assert (first, second) == ([20], [])
    waiters.settle(25, 5)
    assert (first, second) == ([20], [25])


def test_low() -> None:
    """
    A Deferred that waits for room fires when the buffer is low, and only once.
    """
    waiters = PendingWrites()
    room = outcome(waiters.whenLow())
    waiters.settle(200_000, LOW_WATER + 1)
    assert room == []
    waiters.settle(200_000, LOW_WATER)
    waiters.settle(200_000, 0)
    assert room == [None]


def test_fail() -> None:
    """
    When no more bytes will be taken, every Deferred fails with the reason, once.
    """
    waiters = PendingWrites()
    results = [outcome(waiters.whenTaken(1)), outcome(waiters.whenLow())]
    error = WriteFailedError(CloseReason.RESET)
    waiters.end(0, 0, error)
    waiters.end(10, 0, WriteFailedError(CloseReason.IDLE))
    waiters.settle(10, 0)
    for [failure] in results:
        assert isinstance(failure, Failure) and failure.value is error


def test_endTaken() -> None:
    """
    At the end, writes that were taken fire, and nothing waits for room any more.
    """
    waiters = PendingWrites()
    taken, left = outcome(waiters.whenTaken(1)), outcome(waiters.whenTaken(2))
    room = outcome(waiters.whenLow())
    waiters.end(2, 1, WriteFailedError(CloseReason.RESET))
    assert taken == [2]
    for [failure] in left, room:
        assert isinstance(failure, Failure) and failure.check(WriteFailedError)


@pytest.mark.parametrize("kept", [False, True])
def test_notLookedAt(kept: bool) -> None:
    """
    A failure that nobody has asked for is not logged; who keeps the Deferred and
    looks later gets it.
    """
    error = WriteFailedError(CloseReason.RESET)
    waiters = PendingWrites()
    made = [waiters.whenTaken(1), waiters.whenLow(), refused(error)]
    waiters.end(0, 0, error)
    if kept:
        for [failure] in map(outcome, made):
            assert isinstance(failure, Failure) and failure.value is error
    del made
    gc.collect()


def test_lookedAt(loggedErrors: LoggedErrors) -> None:
    """
    A failure at which a program has looked, without handling it, is logged.
    """
    error = WriteFailedError(CloseReason.RESET)
    waiters = PendingWrites()
    waiters.whenTaken(1).addCallback(print)
    waiters.end(0, 0, error)
    refused(error).addCallback(print)
    gc.collect()
    assert len(loggedErrors.take(WriteFailedError)) == 2


async def test_returned() -> None:
    """
    A callback that returns such a Deferred passes its failure on.
    """
    refusal: Deferred[None] = refused(WriteFailedError(CloseReason.IDLE))
    chained: Deferred[None] = succeed(None).addCallback(lambda _: refusal)
    error = await failureOf(chained)
    assert isinstance(error, WriteFailedError)


def test_writeInCallback() -> None:
    """
    A callback may write or wait again, for the next time.
    """
    waiters = PendingWrites()
    again: list[list[object]] = []
    waiters.whenTaken(1).addCallback(lambda _: again.append(outcome(waiters.whenTaken(2))))
    waiters.whenLow().addCallback(lambda _: again.append(outcome(waiters.whenLow())))
    waiters.settle(1, 0)
    assert again == [[], []]
    waiters.settle(2, 0)
    assert again == [[2], [None]]


def test_waitInErrback() -> None:
    """
    A Deferred made in an errback does not fail for the same reason again.
    """
    waiters = PendingWrites()
    again: list[list[object]] = []
    waiters.whenTaken(1).addErrback(lambda _: again.append(outcome(waiters.whenTaken(2))))
    waiters.end(0, 0, WriteFailedError(CloseReason.RESET))
    assert again == [[]]


def test_cancelled() -> None:
    """
    A cancelled Deferred does not fire, and holds up no other.
    """
    waiters = PendingWrites()
    cancelled, other = waiters.whenTaken(1), outcome(waiters.whenTaken(2))
    result = outcome(cancelled)
    cancelled.cancel()
    waiters.settle(2, 0)
    assert isinstance(result[0], Failure) and len(result) == 1
    assert other == [2]


@given(some.lists(some.integers(1, 50), max_size=20), some.data())
def test_order(sizes: list[int], data: some.DataObject) -> None:
    """
    Writes fire in their order, each exactly once, and never before their bytes are
    taken.
    """
    waiters, fired, offsets, written = PendingWrites(), [], [], 0
    for size in sizes:
        written += size
        offsets.append(written)
        waiters.whenTaken(written).addBoth(lambda _, at=written: fired.append(at))
    taken = 0
    while taken < written and data.draw(some.booleans()):
        taken = data.draw(some.integers(taken, written))
        waiters.settle(written, written - taken)
        assert fired == [offset for offset in offsets if offset <= taken]
    waiters.end(written, written - taken, WriteFailedError(CloseReason.RESET))
    assert fired == offsets


def test_error() -> None:
    """
    The error has the reason in its words and as an attribute.
    """
    error = WriteFailedError(CloseReason.CLOSE_FLUSH)
    assert error.reason is CloseReason.CLOSE_FLUSH
    assert str(error) == "the bytes were not sent: close timeout"
    halfClosed = WriteFailedError(None)
    assert str(halfClosed) == "the bytes were not sent: the write side was closed"
    assert isinstance(halfClosed, TCPDemoError)
