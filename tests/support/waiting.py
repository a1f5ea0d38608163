"""
Waiting, never for long.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from inspect import signature
from time import monotonic
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

T = TypeVar("T")


def withDeadline(
    test: Callable[..., Coroutine[Any, Any, None]], seconds: float
) -> Callable[..., Deferred[None]]:
    """
    Turn an C{async def} test into one that returns a Deferred and fails at a
    deadline.
    """

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> Deferred[None]:
        from twisted.internet import reactor

        late: list[bool] = []
        running = Deferred.fromCoroutine(test(*args, **kwargs))

        def cancel() -> None:
            late.append(True)
            running.cancel()

        timer = reactor.callLater(seconds, cancel)  # type: ignore[attr-defined]

        def ended(result: Any) -> Any:
            if timer.active():
                timer.cancel()
            if late and getattr(result, "check", lambda _: False)(CancelledError):
                raise AssertionError(f"did not finish within {seconds} s") from result.value
            return result

        return running.addBoth(ended)

    # pytest-twisted and pytest must not find the coroutine function.
    del run.__wrapped__  # type: ignore[attr-defined]
    run.__signature__ = signature(test)  # type: ignore[attr-defined]
    return run


def turn() -> Deferred[None]:
    """
    One turn of the reactor.
    """
    from twisted.internet import reactor

    return deferLater(reactor, 0, lambda: None)


async def until(condition: Callable[[], T]) -> T:
    """
    Let the reactor run until a condition holds that no event announces.  The test's
    deadline bounds the wait.
    """
    from twisted.internet import reactor

    while not (value := condition()):
        await deferLater(reactor, 0.001, lambda: None)
    return value


async def within(seconds: float, condition: Callable[[], object]) -> bool:
    """
    Wait until a condition holds, or a real time is over.

    @return: whether it holds.
    """
    end = monotonic() + seconds
    await until(lambda: condition() or monotonic() > end)
    return bool(condition())


async def failureOf(waiting: Awaitable[Any]) -> BaseException:
    """
    The exception with which an awaitable fails; it must fail.
    """
    try:
        result = await waiting
    except Exception as error:
        return error
    raise AssertionError(f"it gave {result!r} where a failure was expected")
