"""
The status page, as programs see it: what it says, and to whom it says it.
"""

from __future__ import annotations

import configparser
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from twisted.internet.endpoints import (
    serverFromString,
)
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from tests.support.examples import portOf, running
from tests.support.peers import rawConnection, serving
from tests.support.places import PACKAGE, PROJECT
from tests.support.status import ask, connected, showing
from tests.support.waiting import turn, until
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.service.startup import StartError
from twisted_tcpdemo.status import StatusService, query
from twisted_tcpdemo.status import site as statusSite
from twisted_tcpdemo.status.history import History
from twisted_tcpdemo.status.query import Query, QueryError
from twisted_tcpdemo.twistd.programs import Echo
from twisted_tcpdemo.twistd.tap import Options, makeService

# What it says.


async def test_schema() -> None:
    """
    status.json says all that it promises, about a server with one client.
    """
    factory = TCPDemoFactory(Echo, maxConnections=3)
    async with serving(factory) as server, showing(factory) as port:
        peer = await server.connect()
        peer.transport.write(b"12345")
        await peer.whenReceived(5)
        answer = await ask(port)
        status = answer.data
        [row] = status.pop("connections")
        history = status.pop("history")
        own = peer.transport.getHost()
        assert answer.headers["content-type"] == "application/json"
        assert {key: status.pop(key) > 0 for key in ("time", "uptime", "pid")}
        assert status == {
            "version": 1,
            "state": "accepting",
            "listeners": [{"address": "127.0.0.1", "port": server.port, "family": "IPv4"}],
            "connectionCount": 1,
            "maxConnections": 3,
            "effectiveLimit": 3,
            "overflow": "refuse",
            "acceptedCount": 1,
            "refusedCount": 0,
            "closedCount": 0,
            "bytesRead": 5,
            "bytesWritten": 5,
            "bytesPending": 0,
            "refusedBy": {},
            "wouldRefuseBy": {},
            "closedBy": {},
            "connectionsShown": 1,
            "connectionsMatching": 1,
        }
        assert history == {"interval": 1.0, "connections": [], "bytesRead": [], "bytesWritten": []}
        assert row.pop("id") == factory.connections[0].connectionID
        assert row.pop("age") >= row.pop("idle") >= 0
        row.pop("roundTripTime")
        assert row == {
            "peer": f"127.0.0.1:{own.port}",
            "host": f"127.0.0.1:{server.port}",
            "bytesRead": 5,
            "bytesWritten": 5,
            "bytesPending": 0,
        }


async def test_reasons() -> None:
    """
    Ends and refusals are told by their reasons.
    """
    factory = TCPDemoFactory(Echo, maxConnections=1)
    async with serving(factory) as server, showing(factory) as port:
        first = await server.connect()
        second = await server.connect()
        await second.whenEnded()
        first.transport.loseConnection()
        await factory.whenEmpty()
        status = (await ask(port)).data
        assert status["refusedBy"] == {"maxConnections": 1}
        assert status["closedBy"] == {"peer closed": 1}
        assert (status["closedCount"], status["refusedCount"], status["connections"]) == (1, 1, [])


async def test_states() -> None:
    """
    The health check passes while clients are accepted, and fails while the
    server is suspended, drains, or has stopped.
    """
    factory = TCPDemoFactory(Echo)
    async with showing(factory) as port:
        seen = []

        async def look() -> None:
            answer = await ask(port, "/healthz", version="1.0", host=None)
            assert (await ask(port)).data["state"] == answer.body.decode().strip()
            seen.append((answer.code, answer.body))

        await look()
        async with serving(factory) as server:
            await look()
            factory.suspend()
            await look()
            factory.resume()
            await server.connect()
            await server.protocol()
            drained = factory.drain()
            await look()
            server.peers[0].transport.loseConnection()
            await drained
        await look()
    assert seen == [
        (503, b"stopped\n"),
        (200, b"accepting\n"),
        (503, b"suspended\n"),
        (503, b"draining\n"),
        (503, b"stopped\n"),
    ]


def test_roundTripTime() -> None:
    """
    The round trip time is what the report knows of TCP, where it does.
    """

    class Known:
        tcpInfo = type("", (), {"roundTripTime": 0.025})

    record = type("", (), {"report": lambda self: Known})()
    assert query.roundTripTime(record) == 0.025
    factory = TCPDemoFactory(Echo)
    connected(factory)
    assert query.roundTripTime(factory.records[0]) is None


# Which connections.


def chosen(factory: TCPDemoFactory, **arguments: str) -> list[int]:
    """
    The places, in the order of their coming, of the connections that a query
    chooses.
    """
    query = Query.fromArguments({k.encode(): [v.encode()] for k, v in arguments.items()})
    places = {record: place for place, record in enumerate(factory.records)}
    return [places[record] for record in query.choose(factory.records)[0]]


def test_order() -> None:
    """
    The newest come first; each column can be sorted by, both ways.
    """
    clock = Clock()
    factory = TCPDemoFactory(Echo, clock=clock)
    protocols = []
    for size in (20, 30, 10):
        protocols += connected(factory)
        protocols[-1].dataReceived(b"x" * size)
        clock.advance(1)
    clock.advance(1)
    protocols[1].dataReceived(b"x")
    assert chosen(factory) == [2, 1, 0]
    assert chosen(factory, sort="id") == chosen(factory, sort="-age") == [0, 1, 2]
    assert chosen(factory, sort="age") == [2, 1, 0]
    assert chosen(factory, sort="-bytesRead") == chosen(factory, sort="-bytesWritten") == [1, 0, 2]
    assert chosen(factory, sort="bytesRead") == [2, 0, 1]
    assert chosen(factory, sort="-idle") == [0, 2, 1]
    for column in ("peer", "host", "bytesPending", "roundTripTime"):
        assert sorted(chosen(factory, sort=column)) == [0, 1, 2]


def test_orderByRoundTripTime(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The slowest come first, and however many there are, the kernel is asked
    about a part of them at each look: after some looks the order is right.
    """
    factory = TCPDemoFactory(Echo)
    connected(factory, 5)
    times = dict(zip(factory.records, (0.3, 0.1, None, 0.5, 0.2), strict=True))
    asked = []

    def roundTripTime(record: Any) -> float | None:
        asked.append(record)
        return times[record]

    monkeypatch.setattr(query, "roundTripTime", roundTripTime)
    monkeypatch.setattr(query, "ASKED_AT_ONCE", 2)
    for look in range(1, 4):
        order = chosen(factory, sort="-roundTripTime")
        assert len(asked) == 2 * look
    assert order == [3, 0, 4, 1, 2]
    assert set(asked) == set(factory.records)


def test_addressOrder() -> None:
    """
    Addresses are sorted by their numbers, and those that are none come too.
    """
    from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

    factory = TCPDemoFactory(Echo)
    for peer in (
        IPv6Address("TCP", "fe80::1%eth0", 1),
        IPv4Address("TCP", "10.0.0.10", 1),
        IPv4Address("TCP", "10.0.0.9", 2),
        IPv4Address("TCP", "10.0.0.9", 1),
        UNIXAddress("/tmp/x"),
        UNIXAddress(None),
        IPv4Address("TCP", "\0", 1),  # as a PROXY header may say
    ):
        factory.buildProtocol(None).makeConnection(StringTransport(peerAddress=peer))
    assert chosen(factory, sort="peer") == [6, 3, 2, 1, 0, 5, 4]


def test_filter() -> None:
    """
    The filter looks for text in the addresses, and for the number of a
    connection.
    """
    from twisted.internet.address import IPv4Address, UNIXAddress

    factory = TCPDemoFactory(Echo)
    for peer in (IPv4Address("TCP", "10.0.0.10", 4711), UNIXAddress("/tmp/Somebody")):
        factory.buildProtocol(None).makeConnection(StringTransport(peerAddress=peer))
    assert chosen(factory, filter="0.10:47") == [0]
    assert chosen(factory, filter=" someBODY ") == [1]
    assert chosen(factory, filter=str(factory.records[0].connectionID)) == [0]
    assert chosen(factory, filter="nobody") == []
    assert chosen(factory, filter="") == [1, 0]


@pytest.mark.parametrize("order", ["id", "-id", "age", "-age", "bytesRead"])
def test_limit(order: str) -> None:
    """
    A limit shows the first of an order, and tells how many there would be.
    """
    factory = TCPDemoFactory(Echo)
    connected(factory, 5)
    whole = chosen(factory, sort=order)
    assert [chosen(factory, sort=order, limit=str(n)) for n in (0, 2, 5, 9)] == [
        [],
        whole[:2],
        whole,
        whole,
    ]
    assert Query(limit=2).choose(factory.records)[1] == 5


def test_limitHasALimit() -> None:
    """
    Nobody gets more than a thousand at a time.
    """
    assert Query.fromArguments({b"limit": [b"5000"]}).limit == 1000
    assert Query.fromArguments({}).limit == 200


@pytest.mark.parametrize(
    "query", ["limit=-1", "limit=x", "limit=", "limit=%b2", "sort=no", "sort="]
)
async def test_badQuery(query: str) -> None:
    """
    A query that makes no sense gets a clear answer in plain text.
    """
    async with showing(TCPDemoFactory(Echo)) as port:
        answer = await ask(port, f"/status.json?{query}")
        assert answer.code == 400
        assert answer.body.startswith(query.partition("=")[0].encode() + b" must be")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_queryError() -> None:
    """
    A bad query is a ValueError, and one of this package's own.
    """
    with pytest.raises(QueryError, match="limit must be a whole number, 0 to 1000"):
        Query.fromArguments({b"limit": [b"many"]})


# History.


def test_history() -> None:
    """
    Samples are taken from the first look on: how many were connected, and what
    moved in each interval.
    """
    clock = Clock()
    factory = TCPDemoFactory(Echo, clock=clock)
    history = History(factory, clock)
    [protocol] = connected(factory)
    protocol.dataReceived(b"before")
    assert history.look()["connections"] == []
    protocol.dataReceived(b"12345")
    clock.advance(1)
    connected(factory)
    clock.advance(1)
    assert history.look() == {
        "interval": 1.0,
        "connections": [1, 2],
        "bytesRead": [5, 0],
        "bytesWritten": [5, 0],
    }
    history.stop()


def test_historyEnds() -> None:
    """
    When nobody looks any more, sampling ends, nothing is left running, and the
    next look begins anew.
    """
    clock = Clock()
    history = History(TCPDemoFactory(Echo, clock=clock), clock)
    assert not clock.getDelayedCalls()
    history.look()
    for _ in range(40):
        clock.advance(1)
    assert len(history.look()["connections"]) == 40  # type: ignore[arg-type]
    for _ in range(62):
        clock.advance(1)
    assert not history.sampling
    assert not clock.getDelayedCalls()
    assert history.look()["connections"] == []
    history.stop()


def test_historyIsBounded() -> None:
    """
    Five minutes are kept, however long somebody looks.
    """
    clock = Clock()
    history = History(TCPDemoFactory(Echo, clock=clock), clock)
    for _ in range(400):
        samples = history.look()["connections"]
        clock.advance(1)
    assert len(samples) == History.LENGTH  # type: ignore[arg-type]
    history.stop()


def test_busyReactor() -> None:
    """
    What moved while the reactor was busy is spread over the seconds it took,
    and not a byte is lost.
    """
    clock = Clock()
    factory = TCPDemoFactory(Echo, clock=clock)
    history = History(factory, clock)
    [protocol] = connected(factory)
    history.look()
    protocol.dataReceived(b"x" * 10)
    clock.advance(3.5)
    assert history.look()["bytesRead"] == [3, 3, 4]
    protocol.dataReceived(b"x" * 10)
    clock.advance(30)
    assert sum(history.look()["bytesRead"]) == 20  # type: ignore[call-overload]
    history.stop()


async def test_costsNothing() -> None:
    """
    While nobody looks, the page has no timer; neither do the page itself and
    the health check start one.
    """
    from twisted.internet import reactor

    await turn()  # the test has a timer of its own
    async with showing(TCPDemoFactory(Echo)) as port:
        before = set(reactor.getDelayedCalls())  # type: ignore[attr-defined]
        for path in ("/", "/healthz"):
            assert (await ask(port, path)).headers
            await turn()
            assert set(reactor.getDelayedCalls()) <= before  # type: ignore[attr-defined]


# To whom.


HOSTILE = [
    "evil.example",
    "evil.example:18080",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "[::2]",
    "0.0.0.0",
    "10.0.0.1:80",
    "",
    "localhost\r\nHost: localhost",
]


@pytest.mark.parametrize("path", ["/", "/status.json", "/metrics", "/healthz", "/page.js", "/x"])
@pytest.mark.parametrize("host", HOSTILE)
async def test_rebinding(host: str, path: str) -> None:
    """
    On loopback, a request by a name that is not this machine's is refused, so
    that no web site can read the page by a name of its own.
    """
    async with showing(TCPDemoFactory(Echo)) as port:
        answer = await ask(port, path, host=host)
        assert answer.code in (400, 421)
        assert b"connectionCount" not in answer.body
        assert b"evil" not in answer.body


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:9", "127.9.9.9", "[::1]:9"]
)
async def test_ownNames(host: str) -> None:
    """
    The names of this machine are answered, whatever the port, as it is another
    one behind a tunnel.
    """
    async with showing(TCPDemoFactory(Echo)) as port:
        assert (await ask(port, host=host)).code == 200


async def test_dualStack() -> None:
    """
    Loopback is loopback on a dual-stack listener, too.
    """
    async with showing(TCPDemoFactory(Echo), r"tcp:0:interface=\:\:") as port:
        assert (await ask(port, host="evil.example")).code == 421
        assert (await ask(port, host="localhost")).code == 200


async def test_unixSocket(tmp_path: Path) -> None:
    """
    On a UNIX socket any name is answered: no browser comes that way.
    """
    path = tmp_path / "status"
    async with showing(TCPDemoFactory(Echo), f"unix:{path}:mode=600"):
        assert path.stat().st_mode & 0o777 == 0o600
        assert (await ask(0, host="whatever", client=f"unix:{path}")).code == 200


@pytest.mark.parametrize(
    "path", ["/", "/status.json", "/metrics", "/healthz", "/nothing", "/page.js"]
)
async def test_headers(path: str) -> None:
    """
    Every answer forbids framing, guessing of types, caching, and all scripts
    and styles but the page's own files.
    """
    async with showing(TCPDemoFactory(Echo)) as port:
        headers = (await ask(port, path)).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and "data:" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "deny"
        assert headers["cache-control"] == "no-store"
        assert headers["server"] == "tcpdemo"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get"])
async def test_readOnly(method: str) -> None:
    """
    There is GET and HEAD, and nothing else.
    """
    async with showing(TCPDemoFactory(Echo)) as port:
        answer = await ask(port, method=method)
        assert (answer.code, answer.headers["allow"]) == (405, "get, head")


async def test_head() -> None:
    """
    HEAD is GET without the body.
    """
    async with showing(TCPDemoFactory(Echo)) as port:
        answer = await ask(port, method="HEAD")
        assert (answer.code, answer.body) == (200, b"")
        assert int(answer.headers["content-length"]) > 100


@pytest.mark.parametrize("path", ["/x", "/status.json/x", "//", "/../setup.cfg", "/%2e%2e/site.py"])
async def test_notFound(path: str) -> None:
    """
    There is nothing but the pages, and the files of the package are not served.
    """
    async with showing(TCPDemoFactory(Echo)) as port:
        answer = await ask(port, path)
        assert (answer.code, answer.headers["content-type"]) == (404, "text/plain; charset=utf-8")


async def test_bodyIsDropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The body of a request is thrown away as it comes: no client fills the disk.
    """
    monkeypatch.setattr("tempfile.TemporaryFile", lambda *_: pytest.fail("a file was made"))
    kept = []

    class Seen(statusSite.StatusRequest):
        def requestReceived(self, *arguments: Any) -> None:
            """
            Look at what there is.
            """
            kept.append(self.content.seek(0, 2))
            super().requestReceived(*arguments)

    monkeypatch.setattr(statusSite, "StatusRequest", Seen)
    async with showing(TCPDemoFactory(Echo)) as port:
        length = "Content-Length: 200000\r\n"
        assert (await ask(port, method="POST", headers=length, body=bytes(200000))).code == 405
        chunked = "Transfer-Encoding: chunked\r\n"
        body = b"5\r\n12345\r\n0\r\n\r\n"
        assert (await ask(port, method="POST", headers=chunked, body=body)).code == 405
    assert kept == [0, 0]


async def test_hostilePeer(tmp_path: Path) -> None:
    """
    What a peer chooses stays a string of JSON, without control characters.
    """
    import socket

    path = str(tmp_path / "s")
    factory = TCPDemoFactory(Echo)
    async with serving(factory, f"unix:{path}", f"unix:{path}"), showing(factory) as port:
        with socket.socket(socket.AF_UNIX) as hostile:
            hostile.bind(b"\0</script><img src=x>\x1b[2J\n\xff")
            hostile.connect(path)
            await until(lambda: factory.connectionCount)
            answer = await ask(port)
        [row] = answer.data["connections"]
        assert "</script><img src=x>\\x1b[2J\\n" in row["peer"]
        assert row["peer"].isprintable() and answer.body.isascii()


# Metrics.


async def test_noMetrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without prometheus_client, /metrics says what is missing, and all else
    works.
    """
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    async with showing(TCPDemoFactory(Echo)) as port:
        answer = await ask(port, "/metrics")
        assert answer.code == 404 and b"prometheus_client" in answer.body
        assert (await ask(port)).code == 200


async def test_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    /metrics is what the collector of this factory says, and of nothing else,
    from the start on.
    """
    core = pytest.importorskip("prometheus_client.core")
    asked = []

    class Collector:
        def collect(self) -> Any:
            """
            One metric.
            """
            yield core.GaugeMetricFamily("tcpdemo_open", "Open.", value=3)

    def collectorFor(factory: TCPDemoFactory) -> Collector:
        asked.append(factory)
        return Collector()

    module = ModuleType("twisted_tcpdemo.monitoring.metrics")
    module.collectorFor = collectorFor  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "twisted_tcpdemo.monitoring.metrics", module)
    factory = TCPDemoFactory(Echo)
    async with showing(factory) as port:
        assert asked == [factory]
        answer = await ask(port, "/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        assert b"tcpdemo_open 3.0\n" in answer.body and b"python_info" not in answer.body
        accept = "Accept: application/openmetrics-text\r\n"
        answer = await ask(port, "/metrics", headers=accept)
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert answer.body.endswith(b"# EOF\n")


async def test_ownMetrics() -> None:
    """
    /metrics tells the figures of this server.
    """
    pytest.importorskip("prometheus_client")
    factory = TCPDemoFactory(Echo, maxConnections=7)
    connected(factory, 3)
    async with showing(factory) as port:
        lines = (await ask(port, "/metrics")).body.decode().splitlines()
    values = [line.split()[-1] for line in lines if not line.startswith("#")]
    assert "3.0" in values and "7.0" in values


# Starting and stopping.


async def test_startsAgain() -> None:
    """
    The service can be stopped before it was started, twice, and started again.
    """
    from twisted.internet import reactor

    endpoint = serverFromString(reactor, "tcp:0:interface=127.0.0.1")
    service = StatusService(TCPDemoFactory(Echo), "here", endpoint, reactor)
    await service.stopService()
    for _ in range(2):
        service.startService()
        assert (await ask(service.address.port)).code == 200  # type: ignore[union-attr]
        await service.stopService()
        assert service.address is None
    await service.stopService()


async def test_portTaken(capfd: pytest.CaptureFixture[str]) -> None:
    """
    A page that cannot be shown where it was asked for ends the start with one
    line.
    """
    from twisted.internet import reactor

    async with showing(TCPDemoFactory(Echo)) as port:
        name = f"tcp:{port}:interface=127.0.0.1"
        service = StatusService(TCPDemoFactory(), name, serverFromString(reactor, name), reactor)
        with pytest.raises(StartError, match="cannot listen on"):
            service.startService()
        assert capfd.readouterr().err.count("\n") == 1


async def test_optionShows(tmp_path: Path) -> None:
    """
    --status shows the server until its drain has ended.
    """
    options = Options()
    path = tmp_path / "status"
    options.parseOptions(
        ["--listen", "tcp:0:interface=127.0.0.1", "--status", f"unix:{path}", "--drain", "5"]
    )
    service: Any = makeService(options)
    service.privilegedStartService()
    service.startService()
    client = f"unix:{path}"
    status = (await ask(0, client=client)).data
    assert status["state"] == "accepting"
    raw = rawConnection(status["listeners"][0]["port"])
    while (await ask(0, client=client)).data["connectionCount"] == 0:
        await turn()
    stopped = service.stopService()
    assert (await ask(0, client=client)).data["state"] == "draining"
    raw.close()
    await stopped
    assert not path.exists()


def test_badEndpoint(capfd: pytest.CaptureFixture[str]) -> None:
    """
    --status with something that is no endpoint ends with one line.
    """
    options = Options()
    options.parseOptions(["--port", "0", "--status", "nonsense:1"])
    with pytest.raises(StartError, match="--status 'nonsense:1' is no endpoint"):
        makeService(options)


def test_importedOnDemand() -> None:
    """
    Without --status nothing of it is imported, and no web server.
    """
    script = (
        "import sys; from twisted_tcpdemo.twistd.tap import Options, makeService; o = Options(); "
        "o.parseOptions(['--port', '0']); makeService(o); "
        "print([m for m in sys.modules if m.startswith(('twisted.web', 'twisted_tcpdemo.status', "
        "'prometheus'))])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    assert result.stdout == "[]\n"


def test_packageData() -> None:
    """
    Every file that the page needs is installed, and every file is served.
    """
    config = configparser.ConfigParser()
    config.read(PROJECT / "setup.cfg")
    patterns = config["options.package_data"]["twisted_tcpdemo.status"].split()
    folder = PACKAGE / "status"
    files = {p.name for p in folder.iterdir() if p.is_file() and p.suffix not in (".py", ".pyc")}
    assert all(any(fnmatch(name, pattern) for pattern in patterns) for name in files)
    assert {name for name, _ in statusSite._FILES.values()} == files


def test_nothingFromElsewhere() -> None:
    """
    The page names no resource from elsewhere, has no inline script or style,
    and never makes markup of text.
    """
    folder = PACKAGE / "status"
    for path in [*folder.glob("*.html"), *folder.glob("*.js"), *folder.glob("*.css")]:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        for word in ("://", "innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "<style"):
            assert word not in text, (path.name, word)
        assert ' style="' not in text and " onclick" not in text, path.name


async def test_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The example of the page shows its server on a UNIX socket.
    """
    monkeypatch.chdir(tmp_path)
    with running("status.py") as process:
        port = portOf(process)
        status = (await ask(0, client=f"unix:{tmp_path / 'status.sock'}")).data
        assert [listener["port"] for listener in status["listeners"]] == [port]
