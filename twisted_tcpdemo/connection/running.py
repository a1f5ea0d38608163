"""
Coroutines at work: what they wait for, and who wakes them.

Here a coroutine that waits for a L{Answer} is resumed with its value, without the
callbacks of a Deferred.  It may wait for every other Deferred, too.

Where an asyncio loop runs, which under Twisted is that of the asyncio reactor, the
coroutine is a task of the loop: only in a task asyncio's own functions work
(C{asyncio.timeout}, C{asyncio.current_task}).  A L{_Bridge} lets it wait for Deferreds.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, Task, current_task
from asyncio import CancelledError as TaskCancelledError
from asyncio.events import _get_running_loop as runningLoop
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from functools import partial
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from sys import _getframe as frameAt
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from twisted_tcpdemo.transports.layers import failQuietly, isWatched

T = TypeVar("T")

CANCELLED = (CancelledError, TaskCancelledError)
"""What a coroutine that has been cancelled raises, in Twisted and in asyncio."""

_AWAITING = CO_COROUTINE | CO_GENERATOR | CO_ASYNC_GENERATOR


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

    @staticmethod
    def having(value: T) -> Answer[T]:
        """
        An answer that has fired.  This takes a third of the time of a C{callback}.
        """
        return Ready(value)

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
    An answer that has fired already.
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


def taskLoop() -> AbstractEventLoop | None:
    """
    The running loop of asyncio, if a task resumes the coroutine that is about to wait,
    itself or by a L{_Bridge}.  Between them may be another that takes Deferreds, such as
    Twisted's.

    It is asked by the C{__await__} of what the coroutine waits for.
    """
    loop = runningLoop()
    task = None if loop is None else current_task(loop)
    if task is None:
        return None
    frame: Any = frameAt(2)
    while frame.f_back is not None and frame.f_back.f_code.co_flags & _AWAITING:
        frame = frame.f_back
    coroutine: Any = task.get_coro()
    if isinstance(coroutine, _Bridge):
        coroutine = coroutine.coroutine
    outermost = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
    return loop if frame is outermost else None


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


Ended = Callable[["BaseException | None"], object]
"""Is told once how a coroutine has ended: L{None}, or what it raised."""


def runner(coroutine: Coroutine[Any, Any, object], ended: Ended) -> Running:
    """
    What runs a coroutine to its end, from its C{begin()} on.
    """
    loop = runningLoop()
    return _Run(coroutine, ended) if loop is None else _TaskRun(coroutine, ended, loop)


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


class _TaskRun:
    """
    Runs a coroutine as a task of an asyncio loop.
    """

    __slots__ = ("_coroutine", "_ended", "_loop", "_task")

    def __init__(
        self, coroutine: Coroutine[Any, Any, object], ended: Ended, loop: AbstractEventLoop
    ) -> None:
        self._coroutine = coroutine
        self._ended = ended
        self._loop = loop
        self._task: Task[object] | None = None

    def begin(self) -> None:
        """
        Begin in the next turn of the loop.
        """
        bridge = _Bridge(self._coroutine, self._loop)
        self._task = self._loop.create_task(bridge)
        self._task.add_done_callback(lambda _: self._ended(bridge.error))

    def cancel(self) -> None:
        """
        Cancel the task.
        """
        if self._task is not None:
            self._task.cancel()


class _Bridge(Coroutine[Any, Any, object]):
    """
    A coroutine as a task sees it: Deferreds that it waits for become futures.  What the
    coroutine raises is kept: a task lets some exceptions out into the loop, which end it.

    @ivar coroutine: the coroutine.
    @ivar error: what it has raised.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, object], loop: AbstractEventLoop) -> None:
        self.coroutine = coroutine
        self._loop = loop
        self.error: BaseException | None = None

    def send(self, value: object) -> Any:
        """
        Resume the coroutine, which finds the result in the Deferred itself.
        """
        try:
            awaited = self.coroutine.send(value)
        except StopIteration:
            raise
        except BaseException as error:
            self.error = error
            raise StopIteration from None
        return awaited if awaited.__class__ is Wakening else self._future(awaited)

    def throw(self, *raised: Any) -> Any:
        """
        Resume the coroutine with an exception.
        """
        try:
            awaited = self.coroutine.throw(*raised)
        except StopIteration:
            raise
        except BaseException as error:
            self.error = error
            raise StopIteration from None
        return self._future(awaited)

    def close(self) -> None:
        """
        End the coroutine: its task is no more.
        """
        self.coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise NotImplementedError("only a task can run this")

    def _future(self, awaited: object) -> object:
        if not isinstance(awaited, Deferred):
            return awaited
        wakening = Wakening(awaited, self._loop)
        awaited.addCallbacks(wakening.resume, wakening.fail)
        return wakening


class Wakening:
    """
    What a task waits for, in the shape of a future: the outcome of a Deferred.  A future
    would resume the task in a later turn of the loop, and so take half as long again; and
    a task that is cancelled between loses the outcome.  This resumes it at once, unless
    another task is at work.

    @ivar value: the Deferred's.
    """

    __slots__ = (
        "_asyncio_future_blocking",
        "_call",
        "_context",
        "_deferred",
        "_error",
        "_isDone",
        "_loop",
        "value",
    )

    def __init__(self, deferred: Deferred[Any], loop: AbstractEventLoop) -> None:
        self._asyncio_future_blocking = True  # as a future's own __await__ does
        self._deferred = deferred
        self._loop = loop
        self._isDone = False
        self._error: Callable[[], object] | None = None
        self.value: Any = None

    def resume(self, value: T) -> T:
        """
        Resume the task.  The Deferred keeps its value.
        """
        if not self._isDone:
            self.value = value
            self._wake()
        return value

    def fail(self, failure: Failure) -> None:
        """
        Resume the task with a failure.
        """
        if not self._isDone:
            self._error = failure.raiseException
            self._wake()

    def _wake(self) -> None:
        self._isDone = True
        if self.mustWait():
            self._loop.call_soon(self._call, self, context=self._context)
            return
        try:
            self._context.run(self._call, self)
        except BaseException as error:  # what ends a loop, such as SystemExit
            self._loop.call_soon(_raise, error)

    def mustWait(self) -> bool:
        """
        Whether the task cannot be resumed now, as another is at work.
        """
        return current_task(self._loop) is not None

    # What a task asks of a future, beside its C{_loop}.

    def add_done_callback(self, call: Callable[[object], object], *, context: Context) -> None:
        """
        Have the task resumed by a call.
        """
        self._call = call
        self._context = context

    def result(self) -> None:
        """
        Raise what the task is to get, if anything.
        """
        if self._error is not None:
            self._error()

    def cancel(self, msg: object = None) -> bool:
        """
        Cancel the Deferred; the task is resumed in the next turn.
        """
        if self._isDone:
            return False
        self._isDone = True
        self._error = partial(_raise, TaskCancelledError(*([] if msg is None else [msg])))
        self._deferred.cancel()
        self._loop.call_soon(self._call, self, context=self._context)
        return True


def _raise(error: BaseException) -> None:
    raise error
