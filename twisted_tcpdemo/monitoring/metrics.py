"""
A server's figures for Prometheus (extra: C{metrics}).

Each scrape reads them from the factory.  Between two scrapes only the histogram of
durations costs anything: one look-up for each connection that ends.

No figure is labelled by peer.  A peer that could choose the value of a label could
make any number of time series.  Rules, reasons and listeners are few.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Iterator
from itertools import accumulate
from math import inf

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from twisted import __version__ as twistedVersion
from twisted_tcpdemo.admission.policy import ruleNames, wouldRefuseBy
from twisted_tcpdemo.interfaces import IHandOver
from twisted_tcpdemo.monitoring.distributions import DURATIONS, Distribution, Distributions
from twisted_tcpdemo.monitoring.snapshot import packageVersion
from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.transports.tcpinfo import acceptQueueOf
from twisted_tcpdemo.values.addresses import endpointOf
from twisted_tcpdemo.values.report import CloseReason, Totals


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


class TCPDemoCollector(Collector):
    """
    The figures of one factory.
    """

    def __init__(self, factory: TCPDemoFactory, durations: Iterable[float] = DURATIONS) -> None:
        """
        @param durations: see L{collectorFor}.
        """
        self._factory = factory
        self.distributions = Distributions(factory, durations)

    def detach(self) -> None:
        """
        Measure no more.
        """
        self.distributions.detach()

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
        yield from self._distributions()
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
        known = dict.fromkeys(["maxConnections", *ruleNames(self._factory.admission)], 0)
        for rule, count in {**known, **report.refusedBy}.items():
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

    def _distributions(self) -> Iterator[Metric]:
        self.distributions.ask()
        yield _histogram(
            "connection_duration_seconds",
            "How long connections that have ended had lasted, since this is measured.",
            self.distributions.durations,
        )
        yield _histogram(
            "round_trip_time_seconds",
            "The kernel's round trip times of open connections, a few of them asked at a time.",
            self.distributions.roundTripTimes,
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
        progress = factory.drainProgress
        left = None if progress is None else progress.timeLeft
        yield _gauge(
            "drain_deadline_seconds",
            "Seconds until a drain aborts what is left; +Inf: no drain, or none with a deadline.",
            inf if left is None else left,
        )
        versions = {
            "version": packageVersion(),
            "twisted": twistedVersion,
            "python": platform.python_version(),
        }
        yield InfoMetricFamily("tcpdemo_build", "What runs here.", value=versions)


def _histogram(name: str, text: str, values: Distribution) -> HistogramMetricFamily:
    """
    A distribution in the form of Prometheus: each bucket includes those below it.
    """
    bounds = [*map(floatToGoString, values.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(values.counts), strict=True))
    return HistogramMetricFamily(f"tcpdemo_{name}", text, buckets=buckets, sum_value=values.sum)


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
