"""
The departure of a worker: its connections have some time to end.

They are not closed before that, not even idle ones: it is the worker that has to go, and the
server goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from twisted.internet.interfaces import IDelayedCall

from twisted_tcpdemo.connection.record import Connection
from twisted_tcpdemo.server.drain import IDLE_AFTER
from twisted_tcpdemo.shapes import Clock
from twisted_tcpdemo.values.report import CloseReason

LAST: Final = 1.0
"""Seconds that the connections of a leaving worker have to close at the deadline."""


class Departure:
    """
    The departure of one worker.
    """

    def __init__(self, connections: Mapping[int, Connection], clock: Clock) -> None:
        """
        @param connections: those of the worker at any moment.
        """
        self._connections = connections
        self._clock = clock
        self._call: IDelayedCall | None = None

    def begin(self, deadline: float | None) -> None:
        """
        Tell every protocol, and set the deadline, which replaces the one before.

        @param deadline: seconds, or L{None} for none.
        """
        self.end()
        for connection in list(self._connections.values()):
            connection.drainStarted()
        if deadline is not None:
            self._call = self._clock.callLater(deadline, self._close)

    def end(self) -> None:
        """
        Do no more: the worker is gone.
        """
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _close(self) -> None:
        """
        Close idle connections in order, and abort the others.
        """
        self._call = None
        for connection in list(self._connections.values()):
            if connection.idle < IDLE_AFTER or connection.counts.bytesPending:
                connection.abort(CloseReason.DRAIN)
            else:
                connection.close(CloseReason.LOCAL_CLOSE)
        if self._connections:
            self._call = self._clock.callLater(LAST, self._abort)

    def _abort(self) -> None:
        self._call = None
        for connection in list(self._connections.values()):
            connection.abort(CloseReason.DRAIN)
