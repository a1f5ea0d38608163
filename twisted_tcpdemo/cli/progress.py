"""
How a long transfer goes, on standard error.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

from twisted.internet.task import LoopingCall

from twisted_tcpdemo.cli.pipe import Pipe
from twisted_tcpdemo.cli.table import duration, size

ON_TERMINAL, IN_FILE = 0.5, 5.0
"""Seconds between two lines: on a terminal, where one replaces the other, and
elsewhere."""


class Progress:
    """
    Tells how much has moved, and how fast.
    """

    def __init__(self, pipe: Pipe, reactor: Any) -> None:
        """
        @param pipe: whose progress.
        @param reactor: whose time.
        """
        self._pipe = pipe
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
        now, pipe = self._reactor.seconds(), self._pipe
        sent = pipe.bytesWritten - pipe.bytesPending
        then, readThen, sentThen = self._last
        self._last = (now, pipe.bytesRead, sent)
        passed = max(now - then, 0.001)
        inRate, outRate = (pipe.bytesRead - readThen) / passed, (sent - sentThen) / passed
        line = (
            f"{duration(pipe.age)}: {size(pipe.bytesRead)} read ({size(inRate)}/s), "
            f"{size(sent)} sent ({size(outRate)}/s)"
        )
        total = pipe.source.size
        if total:
            line += f", {min(100, 100 * sent // total)} % of the input"
            if outRate and total > sent:
                line += f", {duration((total - sent) / outRate)} left"
        return line


def _write(text: str) -> None:
    with suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()
