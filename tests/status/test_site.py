"""
The status page, as programs see it: its answers, and who gets them.
"""

from __future__ import annotations

import configparser
import csv
import subprocess
import sys
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import (
    serverFromString,
)
from twisted.internet.testing import StringTransport

from tests.support.examples import portOf, running
from tests.support.peers import rawConnection, serving
from tests.support.places import PACKAGE, PROJECT
from tests.support.status import ask, connected, showing
from tests.support.waiting import turn
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.monitoring.distributions import Distributions
from twisted_tcpdemo.service.startup import StartError
from twisted_tcpdemo.status import StatusService
from twisted_tcpdemo.status import site as statusSite
from twisted_tcpdemo.twistd.programs import Echo
from twisted_tcpdemo.twistd.tap import Options, makeService
from twisted_tcpdemo.values.report import Totals
from twisted_tcpdemo.web.visit import Visit, Visitor

# Health.


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


# Who gets an answer.


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
    On loopback, a request for a name that is not this machine's is refused, so that
    no web site can read the page under a name of its own.
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
    A request for a name of this machine is answered with any port, as a tunnel has
    another one.
    """
    async with showing(TCPDemoFactory(Echo)) as port:
        assert (await ask(port, host=host)).code == 200


async def test_dualStack() -> None:
    """
    The names of loopback hold on a dual-stack listener, too.
    """
    async with showing(TCPDemoFactory(Echo), r"tcp:0:interface=\:\:") as port:
        assert (await ask(port, host="evil.example")).code == 421
        assert (await ask(port, host="localhost")).code == 200


async def test_unixSocket(tmp_path: Path) -> None:
    """
    On a UNIX socket any name is answered: browsers cannot reach it.
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
    Every answer forbids framing, guessing of types and caching, and allows no
    scripts and styles but the page's own files.
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
    The page answers GET and HEAD, and no other method.
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
    Only the pages are served, and no other file of the package.
    """
    async with showing(TCPDemoFactory(Echo)) as port:
        answer = await ask(port, path)
        assert (answer.code, answer.headers["content-type"]) == (404, "text/plain; charset=utf-8")


async def test_bodyIsDropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The body of a request is discarded as it comes, so no client fills the disk.
    """
    monkeypatch.setattr("tempfile.TemporaryFile", lambda *_: pytest.fail("a file was made"))
    kept = []

    class Seen(Visit):
        def requestReceived(self, *arguments: Any) -> None:
            """
            Note the size of the body.
            """
            kept.append(self.content.seek(0, 2))  # type: ignore[union-attr]
            super().requestReceived(*arguments)

    monkeypatch.setattr(Visitor, "requestFactory", Seen)
    async with showing(TCPDemoFactory(Echo)) as port:
        length = "Content-Length: 200000\r\n"
        assert (await ask(port, method="POST", headers=length, body=bytes(200000))).code == 405
        chunked = "Transfer-Encoding: chunked\r\n"
        body = b"5\r\n12345\r\n0\r\n\r\n"
        assert (await ask(port, method="POST", headers=chunked, body=body)).code == 405
    assert kept == [0, 0]


# Metrics.


async def test_noMetrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without prometheus_client, /metrics tells what is missing, and the rest works.
    """
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    async with showing(TCPDemoFactory(Echo)) as port:
        answer = await ask(port, "/metrics")
        assert answer.code == 404 and b"prometheus_client" in answer.body
        assert (await ask(port)).code == 200


async def test_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    /metrics has the figures of this factory's collector, from the start on, and no
    others.
    """
    core = pytest.importorskip("prometheus_client.core")
    asked = []

    class Collector:
        distributions = Distributions(TCPDemoFactory(Echo))

        def figures(self, totals: Totals) -> Any:
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
        assert b"\nprocess_cpu_seconds_total " in answer.body
        accept = "Accept: application/openmetrics-text\r\n"
        answer = await ask(port, "/metrics", headers=accept)
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert answer.body.endswith(b"# EOF\n")


async def test_ownMetrics() -> None:
    """
    /metrics has the figures of this server.
    """
    pytest.importorskip("prometheus_client")
    factory = TCPDemoFactory(Echo, maxConnections=7)
    connected(factory, 3)
    async with showing(factory) as port:
        lines = (await ask(port, "/metrics")).body.decode().splitlines()
    values = [line.split()[-1] for line in lines if not line.startswith("#")]
    assert "3.0" in values and "7.0" in values


# Tables.


async def test_connectionsTable() -> None:
    """
    /connections.csv has the connections that a query chooses, a line each.
    """
    factory = TCPDemoFactory(Echo)
    protocols = connected(factory, 120)
    protocols[7].dataReceived(b"hello")
    async with showing(factory) as port:
        answer = await ask(port, "/connections.csv?sort=-bytesRead&limit=100")
        wrong = await ask(port, "/connections.csv?sort=beauty")
    head, first, *rest = csv.reader(answer.body.decode().splitlines())
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="connections.csv"'
    assert len(rest) == 99
    row = dict(zip(head, first, strict=True))
    assert row["id"] == str(protocols[7].connectionID)
    assert (row["bytesRead"], row["bytesWritten"], row["roundTripTime"]) == ("5", "5", "")
    assert wrong.code == 400


async def test_formula() -> None:
    """
    A peer that has chosen a formula for its address, in a header that Twisted believes, runs
    nothing in a spreadsheet.
    """
    factory = TCPDemoFactory(Echo)
    peer = IPv4Address("TCP", '=HYPERLINK("http://x","y")', 1)
    factory.buildProtocol(peer).makeConnection(StringTransport(peerAddress=peer))
    async with showing(factory) as port:
        answer = await ask(port, "/connections.csv")
    _, row = csv.reader(answer.body.decode().splitlines())
    assert row[1] == '\'=HYPERLINK("http://x","y"):1'


async def test_historyTable() -> None:
    """
    /history.csv has what was measured, a moment a line.
    """
    factory = TCPDemoFactory(Echo, maxConnections=9)
    connected(factory, 4)
    async with showing(factory) as port:
        await ask(port)
        answer = await ask(port, "/history.csv?range=300")
        wrong = await ask(port, "/history.csv?range=1")
    head, first, *_ = csv.reader(answer.body.decode().splitlines())
    row = dict(zip(head, first, strict=True))
    assert datetime.fromisoformat(row["time"]).tzinfo is not None
    assert (row["connections"], row["peak"], row["limit"]) == ("4", "4", "9")
    assert wrong.code == 400


# Starting and stopping.


async def test_startsAgain() -> None:
    """
    The service can be stopped before its start, twice, and started again.
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
    A page that cannot listen ends the start with one line.
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
    --status with a malformed endpoint ends with one line.
    """
    options = Options()
    options.parseOptions(["--port", "0", "--status", "nonsense:1"])
    with pytest.raises(StartError, match="--status 'nonsense:1': it is no endpoint"):
        makeService(options)


def test_importedOnDemand() -> None:
    """
    Without --status neither the page nor a web server is imported.
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
    Every file that the page needs is installed and served.
    """
    config = configparser.ConfigParser()
    config.read(PROJECT / "setup.cfg")
    patterns = config["options.package_data"]["twisted_tcpdemo.status"].split()
    folder = PACKAGE / "status"
    files = {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert all(any(fnmatch(name, pattern) for pattern in patterns) for name in files)
    assert {name for name, _ in statusSite._FILES.values()} == files


def test_nothingFromElsewhere() -> None:
    """
    The page names no resource from elsewhere, has no inline script or style, and
    never makes markup of text.
    """
    folder = PACKAGE / "status"
    for path in [*folder.glob("*.html"), *folder.rglob("*.js"), *folder.rglob("*.css")]:
        text = path.read_text().replace("https://github.com/leeoniya/uPlot", "")
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
