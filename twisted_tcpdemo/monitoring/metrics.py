"""
A server's figures for Prometheus (extra: C{metrics}).

Each scrape reads them from the factory.  Between two scrapes only the histogram
costs anything: one look-up for each connection that ends.

No figure is labelled by peer.  A peer that could choose the value of a label could
make any number of time series.  Rules, reasons and listeners are few.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate
from math import inf
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from twisted_tcpdemo.admission.policy import wouldRefuseBy
from twisted_tcpdemo.interfaces import IHandOver
from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.server.observers import ConnectionObserver
from twisted_tcpdemo.transports.tcpinfo import acceptQueueOf
from twisted_tcpdemo.values.addresses import endpointOf
from twisted_tcpdemo.values.report import CloseReason, ConnectionReport, Totals

DURATIONS: Final = (0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400)
"""Upper bounds of the histogram's buckets, in seconds: from a health check to
a connection that is kept for a day."""


def collectorFor(
    factory: TCPDemoFactory, durations: Iterable[float] = DURATIONS
) -> TCPDemoCollector:
    """
    Build a collector for a registry of prometheus_client, and begin to measure how
    long connections last.  A registry takes one collector of this kind.

    @param durations: upper bounds of the histogram's buckets, in seconds.
    @raise ValueError: if these are not positive and rising.
    """
    return TCPDemoCollector(factory, durations)


class Durations(ConnectionObserver):
    """
    The durations of ended connections, in buckets.
    """

    def __init__(self, bounds: Iterable[float]) -> None:
        """
        @param bounds: upper bounds of the buckets, in seconds; a last bucket
            without a bound comes after them.
        @raise ValueError: if they are not positive and rising.
        """
        self._bounds = tuple(bounds)
        rising = all(a < b for a, b in zip((0, *self._bounds), self._bounds, strict=False))
        if not self._bounds or not rising or self._bounds[-1] == inf:
            raise ValueError(f"durations must be positive and rising, not {self._bounds!r}")
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def connectionClosed(self, report: ConnectionReport) -> None:
        """
        Count the duration of a connection that has ended.
        """
        self._counts[bisect_left(self._bounds, report.age)] += 1
        self._sum += report.age

    def family(self, name: str, text: str) -> HistogramMetricFamily:
        """
        The histogram in the form of Prometheus: each bucket includes those below
        it.
        """
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        return HistogramMetricFamily(name, text, buckets=buckets, sum_value=self._sum)


class TCPDemoCollector(Collector):
    """
    The figures of one factory.
    """

    def __init__(self, factory: TCPDemoFactory, durations: Iterable[float] = DURATIONS) -> None:
        """
        @param durations: see L{collectorFor}.
        """
        self._factory = factory
        self._durations = Durations(durations)
        factory.addObserver(self._durations)

    def detach(self) -> None:
        """
        Stop measuring durations.
        """
        self._factory.removeObserver(self._durations)

    def collect(self) -> Iterator[Metric]:
        """
        The figures of this moment.
        """
        totalling = self._factory.totalling()
        while True:
            try:
                next(totalling)
            except StopIteration as ended:
                return self.figures(ended.value)

    def figures(self, totals: Totals) -> Iterator[Metric]:
        """
        The figures of this moment.

        @param totals: the bytes of all connections.
        """
        yield from self._connections(totals)
        yield from self._bytes(totals)
        yield from self._queues()
        yield from self._states()
        if self._factory.handOver is not None:
            yield from self._workers(self._factory.handOver)

    def _connections(self, totals: Totals) -> Iterator[Metric]:
        report, limit = self._factory.report(totals), self._factory.effectiveLimit
        yield _gauge("connections_open", "Connections that are open now.", report.connectionCount)
        yield _gauge(
            "connections_limit",
            "How many may be open, by the limit given or the process's descriptors; +Inf: any.",
            inf if limit is None else limit,
        )
        yield _counter(
            "connections_accepted", "Connections admitted since the start.", report.acceptedCount
        )
        refused = _counter("connections_refused", "Connections refused, by rule.", label="rule")
        # From the first scrape on: a series that begins at one has no rate.
        for rule, count in {"maxConnections": 0, **report.refusedBy}.items():
            refused.add_metric([rule], count)
        yield refused
        tried = _counter(
            "connections_would_refuse",
            "Connections admitted only because of a dry run, by rule.",
            label="rule",
        )
        for rule, count in wouldRefuseBy(self._factory.admission).items():
            tried.add_metric([rule], count)
        yield tried
        closed = _counter("connections_closed", "Connections ended, by reason.", label="reason")
        for reason in CloseReason:
            closed.add_metric([reason.value], report.closedBy.get(reason, 0))
        yield closed
        yield self._durations.family(
            "tcpdemo_connection_duration_seconds",
            "How long connections that have ended had lasted, since this is measured.",
        )

    def _bytes(self, totals: Totals) -> Iterator[Metric]:
        total = _counter(
            "bytes",
            "Bytes that connections have delivered (read) and accepted (written).",
            label="direction",
        )
        total.add_metric(["read"], totals.bytesRead)
        total.add_metric(["written"], totals.bytesWritten)
        yield total
        yield _gauge(
            "pending_bytes",
            "Bytes written that the operating system has not taken yet.",
            totals.bytesPending,
        )

    def _queues(self) -> Iterator[Metric]:
        depth = _gauge(
            "accept_queue_connections",
            "Clients that the kernel has connected and nobody has accepted.",
            label="listener",
        )
        limit = _gauge(
            "accept_queue_limit", "How many clients that queue may hold.", label="listener"
        )
        for port in self._factory.ports:
            queue = acceptQueueOf(port)
            if queue is not None:
                listener = str(endpointOf(port.getHost()))
                depth.add_metric([listener], queue[0])
                limit.add_metric([listener], queue[1])
        yield depth
        yield limit

    def _workers(self, handOver: IHandOver) -> Iterator[Metric]:
        """
        The figures of each worker, by its number: a process number would make a new time
        series with each restart.
        """
        cpu = time.process_time()
        yield _counter("parent_cpu_seconds", "CPU time of the process that accepts.", cpu)
        reports = handOver.reports(isTotal=True)
        for metric, name, fold in (
            (_gauge("worker_connections", "Open connections.", label="worker"),
             "connectionCount", sum),
            (_counter("worker_bytes_read", "Bytes that connections have delivered.",
                      label="worker"), "bytesRead", sum),
            (_counter("worker_bytes_written", "Bytes that connections have accepted.",
                      label="worker"), "bytesWritten", sum),
            (_counter("worker_cpu_seconds", "CPU time.", label="worker"), "cpuSeconds", sum),
            (_gauge("worker_lateness_seconds", "How late its reactor is.", label="worker"),
             "lateness", max),
            (_counter("worker_starts", "Processes that have had this number.", label="worker"),
             "startCount", max),
        ):  # fmt: skip
            for number in sorted({report.number for report in reports}):
                own = [getattr(r, name) for r in reports if r.number == number]
                metric.add_metric([str(number)], fold(own))
            yield metric

    def _states(self) -> Iterator[Metric]:
        factory = self._factory
        yield _gauge("listening", "1 while it listens, suspended or not.", factory.listening)
        yield _gauge("suspended", "1 while it was told to accept nobody.", factory.suspended)
        yield _gauge("draining", "1 while it waits for connections to end.", factory.draining)


def _gauge(
    name: str, text: str, value: float | None = None, label: str | None = None
) -> GaugeMetricFamily:
    """
    A family for a figure that rises and falls.
    """
    labels = [label] if label else None
    return GaugeMetricFamily(f"tcpdemo_{name}", text, value=value, labels=labels)


def _counter(
    name: str, text: str, value: float | None = None, label: str | None = None
) -> CounterMetricFamily:
    """
    A family for a figure that only rises; its name gets C{_total}.
    """
    labels = [label] if label else None
    return CounterMetricFamily(f"tcpdemo_{name}", text, value=value, labels=labels)
