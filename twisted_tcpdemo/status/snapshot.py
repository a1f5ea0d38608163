"""
A server at one moment, as the data of C{/status.json}.
"""

from __future__ import annotations

import time

from twisted.internet.interfaces import IReactorTime

from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.connection.record import Connection
from twisted_tcpdemo.monitoring.snapshot import connectionOf, statusOf
from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.status.history import History
from twisted_tcpdemo.status.query import Query, roundTripTime


class Snapshots:
    """
    Takes snapshots of a server.
    """

    def __init__(self, factory: TCPDemoFactory, clock: IReactorTime) -> None:
        """
        @param factory: the server.
        @param clock: the source of time; the uptime begins now.
        """
        self.factory = factory
        self.history = History(factory, clock)
        self._clock = steady(clock)
        self._startedAt = self._clock.seconds()

    def take(self, query: Query) -> dict[str, object]:
        """
        The figures of this moment, and the connections that a query chooses.
        """
        factory = self.factory
        records = factory.records
        chosen, matching = query.choose(records)
        connections = [_row(connection) for connection in chosen]
        status = statusOf(factory, time.time(), self._clock.seconds() - self._startedAt)
        return {
            **status,
            "bytesPending": sum(c.counts.bytesPending for c in records),
            "history": self.history.look(),
            "connections": connections,
            "connectionsShown": len(connections),
            "connectionsMatching": matching,
        }


def _row(connection: Connection) -> dict[str, object]:
    time = roundTripTime(connection)
    shown = None if time is None else round(time, 6)
    return {**connectionOf(connection), "roundTripTime": shown}
