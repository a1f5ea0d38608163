"""
Coroutines at work: what they wait for, and who wakes them.

Here a coroutine that waits for a L{Answer} is resumed with its value, without the
callbacks of a Deferred.  It may wait for every other Deferred, too.

Where an asyncio loop runs, the coroutine is one of its tasks, see C{tasks}.
"""

from __future__ import annotations

from asyncio import CancelledError as TaskCancelledError
from asyncio.events import _get_running_loop as runningLoop
from collections.abc import Coroutine, Generator
from contextvars import copy_context
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from twisted_tcpdemo.connection.tasks import Ended, TaskRun, Wakening, taskLoop
from twisted_tcpdemo.transports.layers import failQuietly, isWatched

T = TypeVar("T")

CANCELLED = (CancelledError, TaskCancelledError)
"""What a coroutine that has been cancelled raises, in Twisted and in asyncio."""


class Answer(Deferred[T]):
    """
    A Deferred that any coroutine can await, also one that is a task of asyncio.

    @ivar waiter: is resumed in place of a callback, by the value.
    """

    waiter: _Run | Wakening | None = None

    def __await__(self) -> Generator[Any, Any, T]:
        if not self.called or self.paused:
            loop = taskLoop()
            if loop is not None:
                wakening = Wakening(self, loop)
                if self.called or self.waiter is not None:
                    self.addCallbacks(wakening.resume, wakening.fail)
                else:
                    self.waiter = wakening
                yield wakening
                value: T = wakening.value
                return value
            yield self
        result = self.result
        if isinstance(result, Failure) or not self.called or self.paused:
            return (yield from super().__await__())
        return result  # type: ignore[return-value]  # it is a Deferred's while that is awaited

    def fire(self, value: T) -> None:
        """
        Give the value.  Nothing happens if it was cancelled.
        """
        waiter = self.waiter
        if waiter is None or isWatched(self):
            self.becomePlain()
            if not self.called:
                self.callback(value)
            return
        self.waiter = None
        self.called = True
        self.result = value
        waiter.resume(value)

    def failWith(self, error: Exception | Failure) -> None:
        """
        Fail.  Nothing is logged if nobody looks at it, nor does anything happen if it was
        cancelled.
        """
        self.becomePlain()
        if not self.called:
            failQuietly(self, error)

    def cancel(self) -> None:
        """
        See L{Deferred}.
        """
        self.becomePlain()
        super().cancel()

    @classmethod
    def following(cls, deferred: Deferred[T]) -> Answer[T]:
        """
        The outcome of another Deferred, which is cancelled with it.
        """
        answer = cls(lambda _: deferred.cancel())
        deferred.addCallbacks(answer.fire, answer.failWith)
        return answer

    def becomePlain(self) -> None:
        """
        Wake by a callback, as any Deferred does.
        """
        waiter, self.waiter = self.waiter, None
        if waiter is not None:
            self.addCallbacks(waiter.resume, waiter.fail)


class Ready(Answer[T]):
    """
    An answer that has fired already.  This takes a third of the time of a C{callback}.
    """

    called = True

    def __init__(self, value: T) -> None:
        self._callbacks = []
        self.result = value

    def __await__(self) -> Generator[Any, Any, T]:
        result = self.result
        if self.paused or isinstance(result, Failure):
            return (yield from super().__await__())
        return result  # type: ignore[return-value]  # as above


class Running(Protocol):
    """
    A coroutine at work.
    """

    def begin(self) -> None:
        """
        Begin.
        """

    def cancel(self) -> object:
        """
        Cancel what it waits for.
        """


def runner(coroutine: Coroutine[Any, Any, object], ended: Ended) -> Running:
    """
    What runs a coroutine to its end, from its C{begin()} on.
    """
    loop = runningLoop()
    return _Run(coroutine, ended) if loop is None else TaskRun(coroutine, ended, loop)


class _Run:
    """
    Runs a coroutine on Deferreds, in a context of its own.
    """

    __slots__ = ("_awaited", "_coroutine", "_ended", "_isCancelled", "_run", "_send")

    def __init__(self, coroutine: Coroutine[Any, Any, object], ended: Ended) -> None:
        self._coroutine = coroutine
        self._ended = ended
        self._run = copy_context().run
        self._send = coroutine.send
        self._awaited: Deferred[Any] | None = None  # also while it runs, and after its end
        self._isCancelled = False

    def begin(self) -> None:
        """
        Begin, and run until it waits.
        """
        self.resume(None)

    def cancel(self) -> None:
        """
        Cancel what it waits for.  While it runs, that is what it waits for next.
        """
        if self._awaited is None:
            self._isCancelled = True
        else:
            self._awaited.cancel()

    def resume(self, value: object) -> None:
        """
        Resume the coroutine with what it has waited for.
        """
        self._awaited = None
        try:
            awaited = self._run(self._send, value)
        except BaseException as error:
            self._finish(error)
            return
        # Only an answer has a waiter.
        if getattr(awaited, "waiter", self) is None and not (awaited.called or self._isCancelled):
            awaited.waiter = self
            self._awaited = awaited
        else:
            self._wait(awaited)

    def fail(self, failure: Failure) -> None:
        """
        Resume the coroutine with the failure of what it has waited for.
        """
        self._awaited = None
        try:
            awaited = self._run(failure.throwExceptionIntoGenerator, self._coroutine)
        except BaseException as error:
            self._finish(error)
        else:
            self._wait(awaited)

    def _wait(self, awaited: object) -> None:
        if not isinstance(awaited, Deferred):
            error = TypeError(f"only Deferreds can be awaited on this reactor, not {awaited!r}")
            self.fail(Failure(error))
            return
        self._awaited = awaited
        awaited.addCallbacks(self.resume, self.fail)
        if self._isCancelled:
            self._isCancelled = False
            awaited.cancel()

    def _finish(self, error: BaseException) -> None:
        self._ended(None if isinstance(error, StopIteration) else error)
