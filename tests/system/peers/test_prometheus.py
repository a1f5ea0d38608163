"""
A real Prometheus, which reads the figures of a real server for the dashboard and the alert
rules.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.clients import freePort
from tests.support.peers import connectTo
from tests.support.places import DOCS
from tests.support.processes import portOf, running, twistd
from tests.support.status import ask
from tests.support.waiting import until
from tests.system.peers.support import listens, needs, program

pytestmark = [needs("prometheus"), pytest.mark.deadline(120)]

CONFIGURATION = """
global: {{scrape_interval: 200ms, evaluation_interval: 200ms}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: tcpdemo
    authorization: {{credentials_file: "{token}"}}
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""

VARIABLES = {"$job": ".*", "$instance": ".*", "$__rate_interval": "5s", "$__interval": "1s"}
"""What Grafana puts in place of the variables of the dashboard."""


UNMOVED = "would_refuse|refused|closed|drain"
"""Of what the client does not move, a query may find nothing."""


class Prometheus:
    """
    A running Prometheus.
    """

    def __init__(self, port: int) -> None:
        self._port = port

    async def get(self, path: str) -> Any:
        """
        The data of an answer of its API.
        """
        answer = await ask(self._port, f"/api/v1/{path}")
        data = json.loads(answer.body)
        assert data["status"] == "success", (path, data)
        return data["data"]

    async def find(self, expression: str) -> list[Any]:
        """
        The series that an expression finds.
        """
        found = await self.get(f"query?query={quote(expression)}")
        result: list[Any] = found["result"]
        return result


def expressions() -> list[str]:
    """
    The queries of the dashboard, as Grafana sends them.
    """
    dashboard = json.loads((DOCS / "grafana.json").read_text())
    found = []
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            found.append(expression)
    return found


async def test_dashboardAndRules(tmp_path: Path) -> None:
    """
    Prometheus reads the figures with the token, finds no fault with them, answers every query
    of the dashboard, finds something for all of what a served client moves, and no rule of
    the alerts fails.
    """
    token, status, port = tmp_path / "token", freePort(), freePort()
    token.write_text("s3cret")
    token.chmod(0o600)
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text(
        CONFIGURATION.format(rules=DOCS / "deploy" / "alerts.yml", token=token, port=status)
    )
    server = twistd(
        *("--port", "0", "--interface", "127.0.0.1", "--protocol", "echo", "--workers", "2"),
        *("--status", f"tcp:{status}:interface=127.0.0.1", "--status-token-file", str(token)),
    )
    command = [
        *(program("prometheus"), "--config.file", str(configuration)),
        *("--storage.tsdb.path", str(tmp_path / "data"), "--log.level", "warn"),
        *("--web.listen-address", f"127.0.0.1:{port}"),
    ]
    async with running(server) as child, running(command, tmp_path) as child2:
        await child.whenPrinted("worker 2 is process")
        await until(lambda: child2.status is not None or listens(port))
        assert child2.status is None, child2.err
        prometheus = Prometheus(port)
        with connectTo(await portOf(child)) as client:
            client.sendall(b"hello")
            assert client.recv(10) == b"hello"
            while not await prometheus.find("tcpdemo_bytes_total > 0"):
                pass
            for expression in (
                "up == 1",
                "tcpdemo_connections_open == 1",
                'tcpdemo_worker_connections{job="tcpdemo"} == 1',
            ):
                assert await prometheus.find(expression), expression
            # Two looks, for rates.
            while not await prometheus.find("rate(tcpdemo_bytes_total[5s])"):
                pass
            for query in expressions():
                assert await prometheus.find(query) or re.search(UNMOVED, query), query
        rules = await prometheus.get("rules")
        found = [rule for group in rules["groups"] for rule in group["rules"]]
        assert len(found) >= 9
        assert {rule["health"] for rule in found} <= {"ok", "unknown"}, found
        metrics = await ask(status, "/metrics", headers="Authorization: Bearer s3cret\r\n")
    done = subprocess.run(
        [program("promtool"), "check", "metrics"],
        input=metrics.body,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b""), done.stderr
    assert re.search(rb"^tcpdemo_connections_open ", metrics.body, re.MULTILINE)
