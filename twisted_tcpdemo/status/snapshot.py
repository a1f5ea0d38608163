"""
A server at one moment, as data: what C{/status.json} says.

The names of the fields are a contract with whoever reads them: fields may be
added, and none changes its meaning as long as C{version} stays the same.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IReactorTime

from twisted_tcpdemo.addresses import endpointOf
from twisted_tcpdemo.connection import Connection
from twisted_tcpdemo.status.history import History
from twisted_tcpdemo.status.query import Query, roundTripTime

if TYPE_CHECKING:
    from twisted_tcpdemo.factory import TCPDemoFactory

VERSION: Final = 1


def stateOf(factory: TCPDemoFactory) -> str:
    """
    C{"accepting"}, C{"suspended"}, C{"draining"} or C{"stopped"}.
    """
    if factory.draining:
        return "draining"
    if not factory.listening:
        return "stopped"
    return "suspended" if factory.suspended else "accepting"


class Snapshots:
    """
    Takes snapshots of a factory.
    """

    def __init__(self, factory: TCPDemoFactory, clock: IReactorTime) -> None:
        """
        @param clock: what time is read from; the uptime begins now.
        """
        self.factory = factory
        self.history = History(factory, clock)
        self._clock = clock
        self._startedAt = clock.seconds()

    def take(self, query: Query) -> dict[str, Any]:
        """
        Everything, and those connections that the query asks for.
        """
        factory = self.factory
        report = factory.report()
        records = factory.records
        chosen, matching = query.choose(records)
        connections = [_row(connection) for connection in chosen]
        return {
            "version": VERSION,
            "time": round(time.time(), 3),
            "uptime": round(self._clock.seconds() - self._startedAt, 3),
            "pid": os.getpid(),
            "state": stateOf(factory),
            "listeners": [end._asdict() for end in factory.addresses()],
            "connectionCount": report.connectionCount,
            "maxConnections": report.maxConnections,
            "overflow": factory.overflow,
            "acceptedCount": report.acceptedCount,
            "refusedCount": report.refusedCount,
            "closedCount": report.closedCount,
            "bytesRead": report.bytesRead,
            "bytesWritten": report.bytesWritten,
            "bytesPending": sum(c.counts.bytesPending for c in records),
            "refusedBy": dict(report.refusedBy),
            "closedBy": {reason.value: count for reason, count in report.closedBy.items()},
            "history": self.history.look(),
            "connections": connections,
            "connectionsShown": len(connections),
            "connectionsMatching": matching,
        }


def _row(connection: Connection) -> dict[str, Any]:
    counts, time = connection.counts, roundTripTime(connection)
    return {
        "id": connection.connectionID,
        "peer": str(endpointOf(connection.peer)),
        "host": str(endpointOf(connection.host)),
        "age": round(connection.age, 3),
        "idle": round(connection.idle, 3),
        "bytesRead": counts.bytesRead,
        "bytesWritten": counts.bytesWritten,
        "bytesPending": counts.bytesPending,
        "roundTripTime": None if time is None else round(time, 6),
    }
