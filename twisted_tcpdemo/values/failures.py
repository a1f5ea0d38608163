"""
Failures in a log: in full, in a line, and of which kind they are.

What an exception says may be what a peer has sent, and code that calls itself has a
thousand frames.  So both are escaped and bounded.
"""

from __future__ import annotations

import os
from linecache import getline
from typing import Any, Final

from twisted.logger import LogEvent, formatEvent
from twisted.python.failure import Failure
from twisted.python.reflect import qual, safe_str

from twisted_tcpdemo.values.text import printable

MOST_FRAMES: Final = 32
"""Frames of a traceback that are shown: the outermost and, most of them, the innermost."""

LONGEST_MESSAGE: Final = 1000
"""Characters of an exception's text, and of any field of an event that is text."""

LONGEST_PREFIX: Final = 200
"""Characters of the prefix of a line, and of the name of a kind."""


class ToldFailure(Failure):
    """
    A failure with a traceback that is fit for a log.  All else is the failure's.

    @ivar told: its traceback.
    """

    told: str

    @classmethod
    def of(cls, failure: Failure) -> ToldFailure:
        """
        Make one of a failure, which stays as it is.
        """
        self = cls.__new__(cls)
        self.__dict__.update(failure.__dict__)
        frames = _someOf(failure.frames)
        self.__dict__["_frames"] = frames  # where Failure keeps them, for JSON
        self.told = "\n".join(
            ["Traceback (most recent call last):", *map(_frame, frames), messageOf(failure)]
        )
        return self

    def getTraceback(self, elideFrameworkCode: int = 0, detail: str = "default") -> str:
        """
        The traceback, whatever the detail.
        """
        return self.told

    def getErrorMessage(self) -> str:
        """
        The text of the exception.
        """
        return printable(super().getErrorMessage(), LONGEST_MESSAGE)


def messageOf(failure: Failure) -> str:
    """
    The class and the text of an exception, in a line.
    """
    return printable(f"{classOf(failure)}: {safe_str(failure.value)}", LONGEST_MESSAGE)


def classOf(failure: Failure) -> str:
    """
    The full name of the class of an exception.
    """
    return qual(failure.type) if failure.type is not None else "unknown"


def _someOf(frames: list[Any]) -> list[Any]:
    outer = MOST_FRAMES // 4
    if len(frames) <= MOST_FRAMES:
        return frames
    left = len(frames) - MOST_FRAMES
    return [*frames[:outer], (f"({left} more)", "", 0, (), ()), *frames[outer - MOST_FRAMES :]]


def _frame(frame: tuple[str, str, int, object, object]) -> str:
    function, path, number = frame[:3]
    source = getline(path, number).strip()
    where = f'  File "{path}", line {number}, in {function}'
    return f"{where}\n    {source}" if source else where


def kindOf(failure: Failure) -> object:
    """
    The kind of a failure: the class of the exception, and the place that has raised it.
    """
    return failure.type, placeOf(failure)


def nameOfKind(failure: Failure) -> str:
    """
    The kind of a failure in words.
    """
    name = failure.type.__name__ if failure.type is not None else "unknown"
    return printable(f"{name} at {placeOf(failure)}", LONGEST_PREFIX)


def placeOf(failure: Failure) -> str:
    """
    The place that has raised: a file and a line.
    """
    frames = failure.frames
    return f"{os.path.basename(frames[-1][1])}:{frames[-1][2]}" if frames else "no place"


def failureIn(event: LogEvent) -> Failure | None:
    """
    The failure of an event of either kind of log; L{None} if it has none.
    """
    failure = event.get("log_failure") or event.get("failure")
    return failure if isinstance(failure, Failure) else None


def headOf(event: LogEvent) -> str:
    """
    What an event says beside its failure; neither escaped nor bounded.
    """
    if "log_failure" in event:
        return formatEvent(event) or "Unhandled Error"
    return safe_str(event.get("why") or "Unhandled Error")  # by log.err()


def briefOf(event: LogEvent, failure: Failure) -> str:
    """
    An event whose failure is not the first one of its kind, in a line; what L{headOf} says
    is neither escaped nor bounded.
    """
    return f"{headOf(event)}: {messageOf(failure)} (at {placeOf(failure)}, as before)"
