"""
What control answers: the state of a server as plain values for JSON.
"""

from __future__ import annotations

import os
from typing import Any

from twisted_tcpdemo.factory import TCPDemoFactory

VERSION = 1
"""Of the answers: higher when a field goes away or changes its meaning."""


def stateOf(factory: TCPDemoFactory) -> str:
    """
    What a server is doing, in a word.
    """
    if factory.draining:
        return "draining"
    if not factory.listening:
        return "stopped"
    return "suspended" if factory.suspended else "accepting"


def statusOf(factory: TCPDemoFactory, now: float, startedAt: float) -> dict[str, Any]:
    """
    The counters of a server.

    @param now: the time, in seconds since the epoch.
    @param startedAt: when it started, on the same clock.
    """
    report = factory.report()
    return {
        "version": VERSION,
        "time": now,
        "uptime": now - startedAt,
        "pid": os.getpid(),
        "state": stateOf(factory),
        "listeners": [address._asdict() for address in factory.addresses()],
        "connectionCount": report.connectionCount,
        "maxConnections": report.maxConnections,
        "overflow": factory.overflow,
        "acceptedCount": report.acceptedCount,
        "refusedCount": report.refusedCount,
        "closedCount": report.closedCount,
        "bytesRead": report.bytesRead,
        "bytesWritten": report.bytesWritten,
        "refusedBy": dict(report.refusedBy),
        "closedBy": {reason.value: count for reason, count in report.closedBy.items()},
    }


def connectionsOf(factory: TCPDemoFactory) -> list[dict[str, Any]]:
    """
    Every connection that is open, the oldest first.
    """
    return [
        {
            "id": report.connectionID,
            "peer": str(report.remote),
            "host": str(report.local),
            "age": report.age,
            "idle": report.idle,
            "bytesRead": report.bytesRead,
            "bytesWritten": report.bytesWritten,
            "bytesPending": report.bytesPending,
        }
        for report in (record.report() for record in factory.records)
    ]


def limitsOf(factory: TCPDemoFactory) -> dict[str, Any]:
    """
    The limits that can be changed.
    """
    return {"maxConnections": factory.maxConnections, "overflow": factory.overflow}
