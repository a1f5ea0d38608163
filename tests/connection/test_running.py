"""
Coroutines at work, on Deferreds and as tasks of asyncio.
"""

from __future__ import annotations

import gc
from contextvars import ContextVar
from types import coroutine
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from tests.support.waiting import failureOf
from twisted_tcpdemo.connection.running import Answer, Ready, runner

variable: ContextVar[int] = ContextVar("variable", default=0)


class Work:
    """
    A coroutine at work, and how it has ended.
    """

    def __init__(self, work: Any) -> None:
        self.ended: list[BaseException | None] = []
        self.runner = runner(work, self.ended.append)
        self.runner.begin()


def test_deferreds() -> None:
    """
    A coroutine waits for Deferreds of every kind, and gets their results and failures.
    """
    plain: Deferred[int] = Deferred()
    answer: Answer[int] = Answer()
    failing: Answer[int] = Answer()
    results: list[object] = []

    async def work() -> None:
        variable.set(1)
        results.append(await plain)
        results.append(await answer)
        results.append(await Ready(3))
        results.append(type(await failureOf(failing)))
        results.append(variable.get())

    at = Work(work())
    plain.callback(1)
    answer.fire(2)
    assert (results, at.ended) == ([1, 2, 3], [])
    failing.failWith(ZeroDivisionError())
    assert (results[3:], at.ended) == ([ZeroDivisionError, 1], [None])
    assert variable.get() == 0


def test_callbacks() -> None:
    """
    An answer for which a coroutine waits calls its callbacks, too, whenever they were
    added.
    """
    early: Answer[int] = Answer()
    late: Answer[int] = Answer()
    results: list[object] = []

    def note(value: int) -> int:
        results.append(value)
        return value

    async def work(*answers: Answer[int]) -> None:
        for answer in answers:
            results.append(await answer)

    early.addCallback(note)
    Work(work(early, late))
    Work(work(late))
    late.addCallback(note)
    early.fire(1)
    late.fire(2)
    assert results == [1, 1, 2, 2, None]  # Twisted's coroutines, too, leave nothing behind


def test_chained() -> None:
    """
    An answer whose callback waits for another Deferred is awaited until that has fired,
    also where it has fired itself already, or had its value from the beginning.
    """
    results: list[object] = []
    lasts: list[Deferred[int]] = [Deferred() for _ in range(3)]
    early, late = Answer[int](), Answer[int]()
    answers = [early, late, Ready(0)]
    for answer, last in zip(answers, lasts, strict=True):
        answer.addCallback(lambda _, last=last: last)  # type: ignore[misc]

    async def work() -> None:
        for answer in answers:
            results.append(await answer)

    early.fire(0)
    at = Work(work())
    lasts[0].callback(1)
    late.fire(0)
    lasts[1].callback(2)
    assert (results, at.ended) == ([1, 2], [])
    lasts[2].callback(3)
    assert (results, at.ended) == ([1, 2, 3], [None])


def test_cancel() -> None:
    """
    A cancelled coroutine gets a C{CancelledError} where it waits, also when it is
    cancelled while it runs, and may go on.
    """
    caught: list[BaseException] = []

    async def work() -> None:
        for answer in (Deferred[None](), Answer[None]()):
            caught.append(await failureOf(answer))
        at.runner.cancel()
        caught.append(await failureOf(Answer[None]()))

    at = Work(work())
    at.runner.cancel()
    at.runner.cancel()
    assert [type(error) for error in caught] == [CancelledError] * 3
    assert at.ended == [None]
    at.runner.cancel()


def test_cancelledAnswer() -> None:
    """
    Whoever cancels an answer wakes the coroutine that waits for it; what comes later is
    ignored.
    """
    answer: Answer[None] = Answer()
    at = Work(answer.__await__())  # a generator will do
    answer.cancel()
    assert isinstance(at.ended[0], CancelledError)
    answer.fire(None)
    answer.failWith(ValueError())


def test_notAwaitable() -> None:
    """
    What only another loop could await is an error in the coroutine.
    """

    @coroutine
    def future() -> Any:
        yield 3

    async def work() -> None:
        await future()

    [error] = Work(work()).ended
    assert isinstance(error, TypeError) and "only Deferreds" in str(error)


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_raises(error: type[BaseException]) -> None:
    """
    Whatever a coroutine raises is its end, and goes no further.
    """

    async def work() -> None:
        raise error

    assert isinstance(Work(work()).ended[0], error)


def test_quiet() -> None:
    """
    A failed answer at which nobody looks is not logged.
    """
    Answer[None]().failWith(ValueError())
    gc.collect()


def test_following() -> None:
    """
    An answer that follows a Deferred has its outcome, and cancels it.
    """
    first: Deferred[int] = Deferred()
    answer = Answer.following(first)
    first.callback(1)
    assert answer.result == 1
    second: Deferred[int] = Deferred()
    answer = Answer.following(second)
    answer.addErrback(lambda failure: failure.type)
    answer.cancel()
    assert answer.result is CancelledError  # type: ignore[comparison-overlap]
