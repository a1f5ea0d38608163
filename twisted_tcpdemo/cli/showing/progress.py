"""
A line on standard error that shows how something goes on, such as a long transfer.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from twisted_tcpdemo.cli.showing.display import displayOn
from twisted_tcpdemo.cli.showing.words import duration, size
from twisted_tcpdemo.clock import steady

REPLACED, ADDED = 0.5, 5.0
"""Seconds between two lines: where each replaces the last, and elsewhere."""


class Transfer(Protocol):
    """
    The figures of a transfer.

    @ivar inputSize: bytes of the whole input; L{None} if the size is unknown.
    """

    inputSize: int | None

    @property
    def bytesRead(self) -> int:
        """
        Bytes received.
        """

    @property
    def bytesWritten(self) -> int:
        """
        Bytes given to the connection.
        """

    @property
    def bytesPending(self) -> int:
        """
        Of C{bytesWritten}, bytes that wait to be sent.
        """

    @property
    def age(self) -> float:
        """
        Seconds since the transfer began.
        """


class LiveLine:
    """
    Prints a line at intervals.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        """
        @param reactor: the source of time.
        """
        self._display = displayOn(sys.stderr)
        self._clock = steady(reactor)
        self._loop = LoopingCall(self._tell)
        self._loop.clock = self._clock

    def start(self) -> None:
        """
        Begin.  The first line comes after one interval.
        """
        self._loop.start(REPLACED if self._display.replaces else ADDED, now=False)

    def stop(self) -> None:
        """
        Stop, and clear a line that others have replaced.
        """
        if self._loop.running:
            self._loop.stop()
            with suppress(OSError):
                self._display.close(keep=False)

    def _tell(self) -> None:
        with suppress(OSError):
            self._display.update([self.line()])

    def line(self) -> str:
        """
        The line of this moment.
        """
        raise NotImplementedError


class Progress(LiveLine):
    """
    Prints the bytes moved and their rates.
    """

    def __init__(self, transfer: Transfer, reactor: IReactorTime) -> None:
        """
        @param transfer: the transfer.
        """
        super().__init__(reactor)
        self._transfer = transfer
        self._last = (self._clock.seconds(), 0, 0)

    def start(self) -> None:
        """
        Begin, from now on.
        """
        self._last = (self._clock.seconds(), 0, 0)
        super().start()

    def line(self) -> str:
        """
        A line of totals, and of rates since the last call.
        """
        now, transfer = self._clock.seconds(), self._transfer
        sent = transfer.bytesWritten - transfer.bytesPending
        then, readThen, sentThen = self._last
        self._last = (now, transfer.bytesRead, sent)
        passed = max(now - then, 0.001)
        inRate, outRate = (transfer.bytesRead - readThen) / passed, (sent - sentThen) / passed
        line = (
            f"{duration(transfer.age)}: {size(transfer.bytesRead)} read ({size(inRate)}/s), "
            f"{size(sent)} sent ({size(outRate)}/s)"
        )
        total = transfer.inputSize
        if total:
            line += f", {min(100, 100 * sent // total)} % of the input"
            if outRate and total > sent:
                line += f", {duration((total - sent) / outRate)} left"
        return line
