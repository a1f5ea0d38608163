"""
The figures for Prometheus, read back with prometheus_client's own parser.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition, parser
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from tests.support.peers import rawConnection, serving
from tests.support.waiting import until
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.admission.policy import Admission
from twisted_tcpdemo.admission.rate import PeerRate
from twisted_tcpdemo.admission.rules import DeniedNetworks, PerPeerLimit
from twisted_tcpdemo.monitoring.metrics import TCPDemoCollector, collectorFor
from twisted_tcpdemo.twistd.programs import Discard, Echo
from twisted_tcpdemo.values.report import CloseReason


class Scraper:
    """
    A registry with a factory's collector, and a way to read it.
    """

    def __init__(self, factory: TCPDemoFactory, **options: Any) -> None:
        self.collector = collectorFor(factory, **options)
        self.registry = CollectorRegistry()
        self.registry.register(self.collector)

    @property
    def text(self) -> str:
        """
        The text that Prometheus gets.
        """
        return generate_latest(self.registry).decode()

    def __call__(self, name: str, **labels: str) -> float | None:
        """
        One figure as Prometheus would read it, or L{None}.
        """
        for family in text_string_to_metric_families(self.text):
            for sample in family.samples:
                if sample.name == f"tcpdemo_{name}" and sample.labels == labels:
                    return float(sample.value)
        return None


@pytest.fixture
def idle() -> Scraper:
    """
    The figures of an unused server.
    """
    return Scraper(TCPDemoFactory(Discard))


async def test_connections() -> None:
    """
    Open, accepted, refused and closed connections are those of the factory, by rule
    and by reason.
    """
    factory = TCPDemoFactory(Discard, maxConnections=2)
    scrape = Scraper(factory)
    async with serving(factory) as server:
        first, _, third = [await server.connect() for _ in range(3)]
        await third.whenEnded()
        assert scrape("connections_open") == scrape("connections_limit") == 2
        assert scrape("connections_refused_total", rule="maxConnections") == 1
        first.transport.write(b"hello")
        first.transport.loseConnection()
        await until(lambda: factory.closedCount)
        assert scrape("connections_open") == 1
        assert scrape("connections_accepted_total") == 2
        assert scrape("connections_closed_total", reason="peer closed") == 1
        assert scrape("connections_closed_total", reason="reset") == 0


async def test_dryRun() -> None:
    """
    Clients that a dry run has let in are counted by rule.
    """
    factory = TCPDemoFactory(Discard, admission=Admission(PerPeerLimit(1), dryRun=True))
    scrape = Scraper(factory)
    assert scrape("connections_would_refuse_total", rule="perPeerLimit") == 0
    async with serving(factory) as server:
        for _ in range(3):
            await server.connect()
        await until(lambda: factory.connectionCount == 3)
        assert scrape("connections_would_refuse_total", rule="perPeerLimit") == 2


async def test_bytes() -> None:
    """
    Bytes are counted by direction.
    """
    factory = TCPDemoFactory(Echo)
    scrape = Scraper(factory)
    async with serving(factory) as server:
        peer = await server.connect()
        peer.transport.write(b"hello")
        await peer.whenReceived(5)
        assert scrape("bytes_total", direction="read") == 5
        assert scrape("bytes_total", direction="written") == 5
        assert scrape("pending_bytes") == 0


async def test_pending() -> None:
    """
    Bytes that wait for a client that does not read are shown.
    """
    factory = TCPDemoFactory(Discard)
    scrape = Scraper(factory)
    async with serving(factory) as server:
        with rawConnection(server.port, receiveBuffer=4096):
            protocol = await server.protocol()
            protocol.transport.write(bytes(20_000_000))
            assert 0 < (scrape("pending_bytes") or 0) <= 20_000_000
            assert scrape("pending_bytes") == protocol.bytesPending


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of the queue")
async def test_acceptQueue() -> None:
    """
    Clients in the kernel's queue are shown for each listener.
    """
    factory = TCPDemoFactory(Discard)
    scrape = Scraper(factory)
    async with serving(factory, "tcp:0:backlog=9:interface=127.0.0.1") as server:
        listener = f"127.0.0.1:{server.port}"
        assert scrape("accept_queue_connections", listener=listener) == 0
        assert scrape("accept_queue_limit", listener=listener) == 9
        factory.suspend()
        with rawConnection(server.port), rawConnection(server.port):
            await until(lambda: scrape("accept_queue_connections", listener=listener) == 2)
            assert scrape("suspended") == 1
            factory.resume()
            await until(lambda: scrape("accept_queue_connections", listener=listener) == 0)
        await factory.whenEmpty()


async def test_noQueue(tmp_path: Path) -> None:
    """
    A UNIX socket does not tell of its queue, and has no sample.
    """
    factory = TCPDemoFactory(Discard)
    scrape = Scraper(factory)
    path = tmp_path / "socket"
    async with serving(factory, f"unix:{path}", f"unix:{path}"):
        assert "tcpdemo_accept_queue_connections{" not in scrape.text
        assert scrape("listening") == 1


async def test_states() -> None:
    """
    A draining server is shown as draining, and then as not listening.
    """
    factory = TCPDemoFactory(Discard)
    scrape = Scraper(factory)
    async with serving(factory) as server:
        await server.connect()
        await until(lambda: factory.connectionCount)
        assert [scrape(name) for name in ("listening", "suspended", "draining")] == [1, 0, 0]
        drained = factory.drain(60)
        await until(lambda: not factory.listening)
        assert scrape("draining") == 1
        await factory.drain(0)
        await drained
        assert [scrape(name) for name in ("listening", "draining")] == [0, 0]


def test_noLimit(idle: Scraper) -> None:
    """
    No limit is shown as infinity, so that a share of it can be computed.
    """
    assert idle("connections_limit") == float("inf")


def test_zeros(idle: Scraper) -> None:
    """
    Each reason has its series before anything has happened, so that the first event
    counts in a rate.
    """
    for reason in CloseReason:
        assert idle("connections_closed_total", reason=reason.value) == 0
    assert idle("connections_refused_total", rule="maxConnections") == 0


def test_configuredRules() -> None:
    """
    Each rule of the policy, in any depth, has its series before it has refused anybody.
    """
    inner = Admission(PerPeerLimit(1, name="few"), dryRun=True)
    policy = Admission(PeerRate(1.0), DeniedNetworks("10.0.0.0/8"), inner)
    scrape = Scraper(TCPDemoFactory(Discard, admission=policy))
    for rule in ("peerRate", "deniedNetworks", "few", "maxConnections"):
        assert scrape("connections_refused_total", rule=rule) == 0
    alone = Scraper(TCPDemoFactory(Discard, admission=PeerRate(1.0)))
    assert alone("connections_refused_total", rule="peerRate") == 0


def test_build(idle: Scraper) -> None:
    """
    The versions of what runs are told.
    """
    assert re.search(r'tcpdemo_build_info\{.*twisted="\d.*version="\d', idle.text)


async def test_roundTripTimes() -> None:
    """
    Each scrape asks the kernel about open connections.
    """
    factory = TCPDemoFactory(Echo)
    scrape = Scraper(factory)
    async with serving(factory) as server:
        await server.connect()
        await until(lambda: factory.connectionCount)
        before = scrape("round_trip_time_seconds_count") or 0
        assert (scrape("round_trip_time_seconds_count") or 0) > before
        assert scrape("round_trip_time_seconds_bucket", le="1.0")


def test_drainDeadline() -> None:
    """
    The time that a drain has left is told; infinity if there is none.
    """
    clock = Clock()
    factory = TCPDemoFactory(Discard, clock=clock)
    scrape = Scraper(factory)
    factory.buildProtocol(None).makeConnection(StringTransport())
    assert scrape("drain_deadline_seconds") == float("inf")
    factory.drain(30)
    clock.advance(10)
    assert scrape("drain_deadline_seconds") == 20
    factory.connections[0].connectionLost()
    assert scrape("drain_deadline_seconds") == float("inf")


def test_durations() -> None:
    """
    A duration is counted in its bucket and all above; a bound belongs to its
    bucket.
    """
    factory = TCPDemoFactory(Discard)
    scrape = Scraper(factory, durations=(1, 60))
    for seconds in (0.5, 1.0, 59.0, 3600.0):
        observer: Any = scrape.collector.distributions
        observer.connectionClosed(Lasted(seconds))
    name = "connection_duration_seconds"
    assert [scrape(f"{name}_bucket", le=le) for le in ("1.0", "60.0", "+Inf")] == [2, 3, 4]
    assert (scrape(f"{name}_count"), scrape(f"{name}_sum")) == (4, 3660.5)


class Lasted:
    """
    The part of a report that the histogram reads.
    """

    def __init__(self, age: float) -> None:
        self.age = age


async def test_durationOfAConnection() -> None:
    """
    Each connection that ends is in the histogram, until the collector is detached.
    """
    factory = TCPDemoFactory(Discard)
    scrape = Scraper(factory)
    async with serving(factory) as server:
        peer = await server.connect()
        peer.transport.loseConnection()
        await until(lambda: factory.closedCount == 1)
        assert scrape("connection_duration_seconds_count") == 1
        scrape.collector.detach()
        peer = await server.connect()
        peer.transport.loseConnection()
        await until(lambda: factory.closedCount == 2)
        assert scrape("connection_duration_seconds_count") == 1


@pytest.mark.parametrize("bounds", [(), (0, 1), (1, 1), (2, 1), (1, float("inf"))])
def test_badDurations(bounds: tuple[float, ...]) -> None:
    """
    Malformed buckets are refused, and leave no observer behind.
    """
    factory = TCPDemoFactory(Discard)
    with pytest.raises(ValueError, match="rising"):
        TCPDemoCollector(factory, bounds)
    assert not factory._observers.present


def test_conventions(idle: Scraper) -> None:
    """
    Names and help texts follow the conventions of Prometheus.
    """
    families = list(text_string_to_metric_families(idle.text))
    assert len(families) == len({family.name for family in families}) >= 12
    for family in families:
        assert re.fullmatch(r"tcpdemo(_[a-z]+)+", family.name)
        assert family.documentation.endswith(".")
        assert family.type not in family.name
        if family.name == "tcpdemo_build_info":
            continue  # facts as labels, and a value that is always 1
        assert not re.search(r"_(count|sum|bucket|info|total)$", family.name)
        for sample in family.samples:
            assert set(sample.labels) <= {"rule", "reason", "direction", "listener", "le"}
            assert sample.name.endswith("_total") == (family.type == "counter")


def test_openMetrics(idle: Scraper) -> None:
    """
    The figures are valid in the OpenMetrics format too, which is stricter.
    """
    text = exposition.generate_latest(idle.registry).decode()
    names = {family.name for family in parser.text_string_to_metric_families(text)}
    assert "tcpdemo_connections_accepted" in names


async def test_neverByPeer() -> None:
    """
    The number of series stays the same, however many clients there have been.
    """
    factory = TCPDemoFactory(Discard)
    scrape = Scraper(factory)
    async with serving(factory) as server:
        before = scrape.text.count("\n")
        for number in range(3):
            peer = await server.connect()
            port = peer.transport.getHost().port
            peer.transport.loseConnection()
            await until(lambda number=number: factory.closedCount == number + 1)
        assert scrape.text.count("\n") == before
        assert f":{port}" not in scrape.text


def test_importedWhenAskedFor() -> None:
    """
    Neither the package nor its command line needs prometheus_client.
    """
    program = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "import twisted_tcpdemo.twistd.tap\n"
        "try:\n    import twisted_tcpdemo.monitoring.metrics\n"
        "except ImportError as error:\n    print('needs', error.name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout.startswith("needs prometheus_client")
