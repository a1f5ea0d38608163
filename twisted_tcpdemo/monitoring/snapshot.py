"""
A server in plain values, for the JSON of its status page and its control.

The names are a contract with the programs that read them.  Names may be added;
none changes its meaning as long as L{VERSION} stays the same.
"""

from __future__ import annotations

import os
import socket
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from twisted_tcpdemo.admission.policy import wouldRefuseBy
from twisted_tcpdemo.connection.record import Connection
from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.shapes import ListeningPort
from twisted_tcpdemo.transports.tcpinfo import acceptQueueOf
from twisted_tcpdemo.values.addresses import Endpoint, endpointOf
from twisted_tcpdemo.values.report import Totals

VERSION: Final = 1


@cache
def packageVersion() -> str:
    """
    The version of this package, as it is installed.
    """
    try:
        return version("twisted-tcpdemo")
    except PackageNotFoundError:
        return "unknown"


def stateOf(factory: TCPDemoFactory) -> str:
    """
    The state of a server: C{"accepting"}, C{"leaving"} (it accepts, and is about to drain),
    C{"suspended"}, C{"waiting"} (no worker can take a client), C{"draining"} or C{"stopped"}.
    """
    if factory.draining:
        return "draining"
    if not factory.listening:
        return "stopped"
    if factory.suspended:
        return "suspended"
    if factory.handOver is not None and not factory.handOver.isOpen:
        return "waiting"
    return "leaving" if factory.leaving else "accepting"


def statusOf(
    factory: TCPDemoFactory, now: float, uptime: float, totals: Totals
) -> dict[str, object]:
    """
    The counters of a server.

    @param now: the time, in seconds since the epoch.
    @param uptime: seconds since the server was started.
    @param totals: the bytes of its connections.
    """
    report = factory.report(totals)
    return {
        **_workersOf(factory),
        "version": VERSION,
        "time": round(now, 3),
        "uptime": round(uptime, 3),
        "pid": os.getpid(),
        "hostName": socket.gethostname(),
        "packageVersion": packageVersion(),
        "state": stateOf(factory),
        "drain": _drainOf(factory),
        "listeners": [
            _listenerOf(port, end)
            for port, end in zip(factory.ports, factory.addresses(), strict=False)
        ],
        "connectionCount": report.connectionCount,
        "peakCount": factory.peakCount,
        "maxConnections": report.maxConnections,
        "effectiveLimit": factory.effectiveLimit,
        "overflow": factory.overflow,
        "acceptedCount": report.acceptedCount,
        "refusedCount": report.refusedCount,
        "closedCount": report.closedCount,
        "bytesRead": report.bytesRead,
        "bytesWritten": report.bytesWritten,
        "bytesPending": totals.bytesPending,
        "refusedBy": dict(report.refusedBy),
        "wouldRefuseBy": wouldRefuseBy(factory.admission),
        "closedBy": {reason.value: count for reason, count in report.closedBy.items()},
    }


def _drainOf(factory: TCPDemoFactory) -> dict[str, object] | None:
    """
    The drain under way.
    """
    progress = factory.drainProgress
    if progress is None:
        return None
    rounded = {"age": round(progress.age, 3)}
    if progress.timeLeft is not None:
        rounded["timeLeft"] = round(progress.timeLeft, 3)
    return {**asdict(progress), **rounded}


_TLS: Final = "twisted.protocols.tls"
_PROXY: Final = "twisted.protocols.haproxy"


def _listenerOf(port: ListeningPort, end: Endpoint) -> dict[str, object]:
    """
    A listener: its address, the kernel's queue of clients that nobody has accepted, and what
    its clients begin with.
    """
    queue = acceptQueueOf(port)
    wrappers = _wrappersOf(port)
    return {
        **end._asdict(),
        "queue": None if queue is None else queue[0],
        "backlog": None if queue is None else queue[1],
        "tls": getattr(port, "engineMaker", None) is not None or _TLS in wrappers,
        "proxy": getattr(port, "stage", None) is not None or _PROXY in wrappers,
    }


def _wrappersOf(port: ListeningPort) -> set[str]:
    """
    The modules of the factories that wrap the server's own, such as Twisted's for TLS.  To
    import these modules, for C{isinstance}, would take pyOpenSSL.
    """
    modules = set()
    factory = getattr(port, "factory", None)
    while factory is not None:
        modules.add(type(factory).__module__.removesuffix("._wrapper"))
        factory = getattr(factory, "wrappedFactory", None)
    return modules


def _workersOf(factory: TCPDemoFactory) -> dict[str, object]:
    """
    The workers of a server, and the share of a processor that their parent has; nothing for
    a server without workers.
    """
    handOver = factory.handOver
    if handOver is None:
        return {}
    reports, total = handOver.reports(), factory.connectionCount
    workers = [
        {
            **asdict(report),
            "share": round(report.connectionCount / total, 4) if total else 0.0,
            "cpu": round(report.cpu, 4),
            "cpuSeconds": round(report.cpuSeconds, 3),
            "lateness": round(report.lateness, 4),
            "age": round(report.age, 3),
        }
        for report in reports
    ]
    return {"parentCPU": round(handOver.parentCPU, 4), "workers": workers}


def connectionOf(connection: Connection) -> dict[str, object]:
    """
    The facts of an open connection.
    """
    counts, time = connection.counts, connection.roundTripTime
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
