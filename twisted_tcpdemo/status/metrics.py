"""
C{/metrics} of the status page (extra: C{metrics}).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import cache
from typing import TYPE_CHECKING

from twisted_tcpdemo.server.factory import TCPDemoFactory

if TYPE_CHECKING:
    from prometheus_client import ProcessCollector
    from prometheus_client.core import Metric

    from twisted_tcpdemo.monitoring.distributions import Distributions
    from twisted_tcpdemo.monitoring.metrics import TCPDemoCollector


class Metrics:
    """
    The figures of a server and of its process in a format of Prometheus.
    """

    def __init__(self, factory: TCPDemoFactory, collector: TCPDemoCollector) -> None:
        self._factory = factory
        self._collector = collector

    @property
    def distributions(self) -> Distributions:
        """
        The distributions of the server.
        """
        return self._collector.distributions

    def exposed(self, accept: str) -> Generator[None, None, tuple[bytes, bytes]]:
        """
        The figures of this moment.

        @param accept: the C{Accept} of the client.  What makes no sense counts as none.
        @return: the text, and its media type.
        """
        from prometheus_client.exposition import choose_encoder

        totals = yield from self._factory.totalling()
        metrics = list(self._collector.figures(totals))
        yield
        metrics += _process().collect()
        yield
        try:
            encode, contentType = choose_encoder(accept)
        except Exception:
            # It believes every version to be a number.
            encode, contentType = choose_encoder("")
        text: bytes = encode(_Collected(metrics))
        return text, contentType.encode()


@cache
def _process() -> ProcessCollector:
    """
    CPU time, memory and descriptors of this process, under the names that all programs have
    for them.
    """
    from prometheus_client import ProcessCollector

    return ProcessCollector(registry=None)


class _Collected:
    """
    Metrics in the place of a registry.
    """

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """
        The metrics.
        """
        return iter(self._metrics)


def metricsOf(factory: TCPDemoFactory) -> Metrics | None:
    """
    Begin to measure; L{None} without prometheus_client.
    """
    try:
        import prometheus_client  # noqa: F401

        from twisted_tcpdemo.monitoring.metrics import collectorFor
    except ImportError:
        return None
    return Metrics(factory, collectorFor(factory))
