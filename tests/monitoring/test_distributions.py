"""
The distributions of durations and round trip times.
"""

from __future__ import annotations

import pytest

from tests.support.peers import serving
from tests.support.status import connected
from tests.support.waiting import until
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.monitoring.distributions import ASKED_AT_ONCE, Distribution, Distributions
from twisted_tcpdemo.twistd.programs import Discard, Echo


def test_buckets() -> None:
    """
    A value is in one bucket; a bound belongs to the bucket below it.
    """
    values = Distribution("values", (1, 10))
    for value in (0.5, 1.0, 1.5, 10.0, 99.0):
        values.add(value)
    assert (values.bounds, values.counts, values.sum) == ((1, 10), [2, 2, 1], 112.0)


@pytest.mark.parametrize("bounds", [(), (0, 1), (1, 1), (2, 1), (1, float("inf"))])
def test_badBounds(bounds: tuple[float, ...]) -> None:
    """
    Bounds that are not positive and rising are refused.
    """
    with pytest.raises(ValueError, match="values must be positive and rising"):
        Distribution("values", bounds)


async def test_durations() -> None:
    """
    The duration of a connection counts when it has ended.
    """
    factory = TCPDemoFactory(Discard)
    distributions = Distributions(factory, (60,))
    async with serving(factory) as server:
        peer = await server.connect()
        await until(lambda: factory.connectionCount)
        assert distributions.durations.counts == [0, 0]
        peer.transport.loseConnection()
        await until(lambda: factory.closedCount)
        assert distributions.durations.counts == [1, 0]


async def test_roundTripTimes() -> None:
    """
    The kernel is asked about open connections, each in its turn.
    """
    factory = TCPDemoFactory(Echo)
    distributions = Distributions(factory)
    async with serving(factory) as server:
        for _ in range(3):
            await server.connect()
        await until(lambda: factory.connectionCount == 3)
        distributions.ask()
        distributions.ask()
    assert sum(distributions.roundTripTimes.counts) == 6
    assert 0 < distributions.roundTripTimes.sum < 6
    recent = distributions.recentRoundTripTimes()
    assert recent.counts == distributions.roundTripTimes.counts


def test_askedInTurn() -> None:
    """
    However many connections there are, a few are asked at a time; those without a socket
    tell nothing.
    """
    factory = TCPDemoFactory(Echo)
    connected(factory, 3 * ASKED_AT_ONCE)
    distributions = Distributions(factory)
    asked = []
    distributions._rounds.next = asked.append  # type: ignore[method-assign,assignment]
    with pytest.raises(TypeError):
        distributions.ask()
    assert asked == [ASKED_AT_ONCE]
    assert sum(distributions.recentRoundTripTimes().counts) == 0
