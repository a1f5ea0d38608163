"""
Coroutines as tasks of asyncio, where its loop runs: under Twisted, on the asyncio reactor.

Only in a task asyncio's own functions work (C{asyncio.timeout}, C{asyncio.current_task}).
A L{_Bridge} lets it wait for Deferreds, and a L{Wakening} is what it then waits for.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, Task, current_task
from asyncio import CancelledError as TaskCancelledError
from asyncio.events import _get_running_loop as runningLoop
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from functools import partial
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from sys import _getframe as frameAt
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")

_AWAITING = CO_COROUTINE | CO_GENERATOR | CO_ASYNC_GENERATOR


Ended = Callable[["BaseException | None"], object]
"""Is told once how a coroutine has ended: L{None}, or what it raised."""


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


class TaskRun:
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
