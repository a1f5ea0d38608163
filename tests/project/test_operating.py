"""
The page on operating a server: its commands, units and dashboard.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from configparser import ConfigParser
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock

from tests.support.places import DOCS
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.admission.policy import Admission
from twisted_tcpdemo.admission.rules import PerPeerLimit
from twisted_tcpdemo.monitoring.metrics import collectorFor
from twisted_tcpdemo.twistd.reload import isLive
from twisted_tcpdemo.twistd.tap import Options
from twisted_tcpdemo.workers.workers import Workers

PAGE = (DOCS / "operating.md").read_text()
UNITS = {
    Path(name.group(1)).name: block
    for block in re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)
    if (name := re.match(r"# (\S+?):?\s", block))
}


@pytest.fixture
def dashboard() -> Any:
    """
    The dashboard for Grafana.
    """
    return json.loads((DOCS / "grafana.json").read_text())


@pytest.fixture
def samples() -> set[str]:
    """
    The names of all figures that a server gives Prometheus.
    """
    registry = CollectorRegistry()
    dryRun = Admission(PerPeerLimit(1), dryRun=True)
    factory = TCPDemoFactory(admission=dryRun)
    factory.handOver = Workers(factory, 2, reactor=Clock())
    registry.register(collectorFor(factory))
    families = list(text_string_to_metric_families(generate_latest(registry).decode()))
    # A family without a listener has a type and no sample.
    return {family.name for family in families} | {
        sample.name for family in families for sample in family.samples
    }


def expressions(dashboard: Any) -> list[str]:
    """
    The queries of all panels.
    """
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_dashboardQueries(dashboard: Any, samples: set[str]) -> None:
    """
    The dashboard asks only for existing figures.
    """
    asked = set(re.findall(r"tcpdemo_\w+", "".join(expressions(dashboard))))
    assert len(asked) >= 10
    assert asked <= samples


def test_dashboardIsComplete(dashboard: Any, samples: set[str]) -> None:
    """
    The dashboard has every figure.
    """
    text = "".join(expressions(dashboard))
    families = {re.sub("_(bucket|sum|count|total)$", "", name) for name in samples}
    assert [name for name in sorted(families) if name not in text] == []


def test_dashboardBalanced(dashboard: Any) -> None:
    """
    Every query closes its brackets, and uses only variables that are defined.
    """
    known = {variable["name"] for variable in dashboard["templating"]["list"]}
    for query in expressions(dashboard):
        assert all(query.count(a) == query.count(b) for a, b in ("()", "[]", "{}")), query
        assert set(re.findall(r"\$(\w+)", query)) <= known | {"__rate_interval"}


def test_dashboardLayout(dashboard: Any) -> None:
    """
    Panels have distinct numbers, stay on the grid, and do not overlap.
    """
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        aside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert aside or above


def test_metricsAreExplained(samples: set[str]) -> None:
    """
    The page explains every figure, and no other.
    """
    named = set(re.findall(r"`(tcpdemo_\w+)`", PAGE))
    families = {re.sub("_(bucket|sum|count|total)$", "", name) for name in samples}
    assert {re.sub("_total$", "", name) for name in named} == families


def commands() -> list[list[str]]:
    """
    The arguments that the page gives to C{twistd} or C{twist} after the name of the
    plugin.
    """
    lines = re.findall(r"^(?:    |ExecStart=)\S.*? tcpdemo (--.*)$", PAGE, re.MULTILINE)
    return [shlex.split(line) for line in lines]


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_commands(arguments: list[str], tmp_path: Path) -> None:
    """
    The command line takes the options of each command on the page, and its configuration
    file.
    """
    file = re.search(r"```toml\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)
    assert file
    (tmp_path / "file").write_text(file[2])
    options = Options()
    options.parseOptions([a.replace(file[1], str(tmp_path / "file")) for a in arguments])
    if "--config" in arguments:
        assert options["max-per-peer"] == 20 and options["log-format"] == "json"


def test_live() -> None:
    """
    The page names every option that can change while the server runs, or what it belongs
    to.
    """
    table = PAGE.partition("### While it runs")[2].partition("\n## ")[0]
    groups = ("-timeout", "keep-alive-", "linger-")
    live = [option.name for option in Options.table if isLive(option)]
    assert [n for n in live if f"`{n}`" not in table and not any(map(n.count, groups))] == []


def serviceOf(name: str) -> dict[str, str]:
    """
    The section of a unit about its service.
    """
    unit = ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(UNITS[name])
    return dict(unit["Service"])


def test_units() -> None:
    """
    The units exist, and drain for less time than systemd waits.
    """
    assert set(UNITS) == {"tcpdemo.service", "tcpdemo.socket", "socket.conf", "tcpdemo@.service"}
    for name in ("tcpdemo.service", "tcpdemo@.service"):
        service = serviceOf(name)
        drain = re.search(r"--drain (\d+)", service["ExecStart"])
        assert drain and int(drain[1]) < int(service["TimeoutStopSec"])


def test_instances() -> None:
    """
    Several instances are as hardened as the single one; they have one user, and folders of
    their own.
    """
    one, several = serviceOf("tcpdemo.service"), serviceOf("tcpdemo@.service")
    assert several.pop("User") == "tcpdemo"
    differing = {name for name in one.keys() | several.keys() if one.get(name) != several.get(name)}
    assert differing == {"ExecStart", "RuntimeDirectory"}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_unitsAreValid(tmp_path: Path) -> None:
    """
    Systemd finds no fault with the units.
    """
    program = tmp_path / "twistd"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    paths = []
    for name, text in UNITS.items():
        path = tmp_path / name
        if name == "socket.conf":
            path = tmp_path / "tcpdemo.service.d" / name
            path.parent.mkdir()
        path.write_text(text.replace("/opt/tcpdemo/bin/twistd", str(program)))
        paths.append(path)
    names = [str(path) for path in paths if path.suffix in (".service", ".socket")]
    names = [name.replace("@", "@1") for name in names]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if "tcpdemo" in line]
    assert complaints == []
