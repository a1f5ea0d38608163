"""
How a long transfer goes, on standard error.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from twisted_tcpdemo.cli.table import duration, size

ON_TERMINAL, IN_FILE = 0.5, 5.0
"""Seconds between two lines: on a terminal, where one replaces the other, and
elsewhere."""


class Transfer(Protocol):
    """
    What is known of a transfer.

    @ivar inputSize: bytes of the whole input; L{None} where nobody knows.
    """

    inputSize: int | None

    @property
    def bytesRead(self) -> int:
        """
        Bytes that have come.
        """

    @property
    def bytesWritten(self) -> int:
        """
        Bytes given to the connection.
        """

    @property
    def bytesPending(self) -> int:
        """
        Of those, bytes that wait to be sent.
        """

    @property
    def age(self) -> float:
        """
        Seconds since it began.
        """


class Progress:
    """
    Tells how much has moved, and how fast.
    """

    def __init__(self, transfer: Transfer, reactor: IReactorTime) -> None:
        """
        @param transfer: what is told about.
        @param reactor: whose time.
        """
        self._transfer = transfer
        self._onTerminal = sys.stderr.isatty()
        self._reactor = reactor
        self._last = (reactor.seconds(), 0, 0)
        self._loop = LoopingCall(self._tell)
        self._loop.clock = reactor

    def start(self) -> None:
        """
        Begin.
        """
        self._last = (self._reactor.seconds(), 0, 0)
        self._loop.start(ON_TERMINAL if self._onTerminal else IN_FILE, now=False)

    def stop(self) -> None:
        """
        Tell no more, and leave a clean line.
        """
        if self._loop.running:
            self._loop.stop()
            if self._onTerminal:
                _write("\r\x1b[K")

    def _tell(self) -> None:
        line = self.line()
        _write(f"\r{line}\x1b[K" if self._onTerminal else f"{line}\n")

    def line(self) -> str:
        """
        How it goes: totals, and rates since the last time.
        """
        now, transfer = self._reactor.seconds(), self._transfer
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


def _write(text: str) -> None:
    with suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()
