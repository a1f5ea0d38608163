"""
The files of C{docs/deploy}: each is what its program takes, and what the options promise.
"""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import freePort
from tests.support.places import DOCS, TESTS
from tests.support.processes import portOf, running, script
from tests.support.status import ask
from tests.system.peers.support import needs, program
from twisted_tcpdemo.twistd.options import Options

DEPLOY = DOCS / "deploy"
PAGE = (DOCS / "operating.md").read_text()


def test_unitsOfThePage() -> None:
    """
    The units on the page about operating are these files, word for word.
    """
    blocks = re.findall(r"```ini\n(# /etc/systemd/system/(\S+?):?\s.*?)```", PAGE, re.DOTALL)
    files = {path for path in DEPLOY.rglob("*") if path.suffix in {".service", ".socket", ".conf"}}
    assert {DEPLOY / name for _, name in blocks} == files
    for block, name in blocks:
        assert block == (DEPLOY / name).read_text(), name


def test_everyFile() -> None:
    """
    The page about scaling names every file.
    """
    text = (DOCS / "scaling.md").read_text()
    for path in DEPLOY.iterdir():
        assert f"(deploy/{path.name})" in text, path.name


@needs("haproxy")
def test_haproxyTakesIt() -> None:
    """
    HAProxy finds no fault with its configuration.
    """
    command = [program("haproxy"), "-c", "-f", str(DEPLOY / "haproxy.cfg")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


def test_haproxyCommand() -> None:
    """
    The server's command in it is right, and fits the ports and times of the file.
    """
    text = (DEPLOY / "haproxy.cfg").read_text()
    found = re.search(r"#   twistd .*? tcpdemo (.*?)\\\n#(.*)", text)
    assert found is not None
    options = Options()
    options.parseOptions((found[1] + found[2]).split())
    assert f":{options['port']}\n" in text
    assert options["agent"] == f"tcp:{re.search(r'agent-port (.*?) ', text)[1]}"  # type: ignore[index]
    assert re.search(rf"maxconn {options['max-connections']} ", text)
    assert options["idle-timeout"] < 600 and text.count(" 10m\n") == 2


# Kubernetes.


@pytest.fixture
def objects() -> dict[str, Any]:
    """
    The objects of the manifest, by their kinds.
    """
    yaml = pytest.importorskip("yaml")
    with open(DEPLOY / "kubernetes.yaml") as file:
        return {found["kind"]: found for found in yaml.safe_load_all(file)}


def container(objects: dict[str, Any]) -> Any:
    """
    The only container.
    """
    [found] = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    return found


@pytest.mark.parametrize("version", ["1.30", "1.34"])
def test_manifest(objects: dict[str, Any], version: str) -> None:
    """
    The manifest obeys the published schema, and has no key that Kubernetes does not know.
    """
    validator = pytest.importorskip("kubernetes_validate")
    assert set(objects) == {"Deployment", "Service", "PodDisruptionBudget"}
    for found in objects.values():
        validator.validate(found, version, strict=True)


def test_manifestFits(objects: dict[str, Any]) -> None:
    """
    The labels select the server, the ports have names, the mounted token is the one of the
    option, and the server has all its time to end.
    """
    spec = objects["Deployment"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == labels
    assert objects["Service"]["spec"]["selector"] == labels
    assert objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    server, pod = container(objects), spec["template"]["spec"]
    options = Options()
    options.parseOptions([*server["command"], *server["args"]][5:])
    ports = {port["name"]: port["containerPort"] for port in server["ports"]}
    assert options["port"] == ports["clients"]
    assert options["status"] == f"tcp:{ports['status']}"
    notes = spec["template"]["metadata"]["annotations"]
    assert notes["prometheus.io/port"] == str(ports["status"])
    for probe in ("readinessProbe", "livenessProbe"):
        (action,) = [value for key, value in server[probe].items() if isinstance(value, dict)]
        assert action["port"] == "status"
    [mount], [volume] = server["volumeMounts"], pod["volumes"]
    assert options["status-token-file"].startswith(mount["mountPath"] + "/")
    assert volume["secret"]["defaultMode"] == 0o440
    assert options["drain-delay"] > 0
    assert pod["terminationGracePeriodSeconds"] > options["drain-delay"] + options["hard-stop"]


@pytest.mark.deadline(30)
async def test_manifestRuns(objects: dict[str, Any], tmp_path: Path) -> None:
    """
    The program runs with the arguments of the manifest, is ready as its probe sees it, gives
    its figures to who has the token, and at SIGTERM is ready no more and ends.
    """
    server, status, token = container(objects), freePort(), tmp_path / "token"
    token.write_text("s3cret\n")
    token.chmod(0o440)
    instead = {
        "--port=18001": "--port=0",
        "--drain-delay=10": "--drain-delay=1",
        "--status=tcp:18080": f"--status=tcp:{status}",
        "--status-token-file=/etc/tcpdemo/token": f"--status-token-file={token}",
    }
    assert instead.keys() <= set(server["args"])
    arguments = [instead.get(argument, argument) for argument in server["args"]]
    assert server["command"][0] == "twistd"
    command = [*script("twistd"), *server["command"][1:], *arguments, "--interface", "127.0.0.1"]
    async with running(command, tmp_path) as child:
        await portOf(child)
        await child.whenPrinted("the status page on ")
        path = server["readinessProbe"]["httpGet"]["path"]
        await child.whenPrinted("worker 2 is process")
        # The kubelet names the pod's address.
        health = await ask(status, path, host="localhost")
        assert health.code == 200
        bearer = "Authorization: Bearer s3cret\r\n"
        assert (await ask(status, "/metrics")).code == 401
        assert (await ask(status, "/metrics", headers=bearer)).code == 200
        child.signal(signal.SIGTERM)
        await child.whenPrinted("leaving: clients are accepted for 1 s more")
        assert (await ask(status, path, host="localhost")).code == 503
        assert await child.whenEnded() == -signal.SIGTERM
        assert "Traceback" not in child.out


# Prometheus.


@needs("promtool")
@pytest.mark.parametrize("what", [DEPLOY / "alerts.yml", TESTS / "project" / "alerts.yml"])
def test_rules(what: Path) -> None:
    """
    Promtool takes the alert rules, and each of them fires for what it is about.
    """
    command = [program("promtool"), "check" if what.parent == DEPLOY else "test", "rules"]
    done = subprocess.run(
        [*command, str(what)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_everyRule() -> None:
    """
    Every rule is tried.
    """
    names = re.findall(r"alert: (\w+)", (DEPLOY / "alerts.yml").read_text())
    tried = re.findall(r"alertname: (\w+)", (TESTS / "project" / "alerts.yml").read_text())
    assert len(names) >= 9 and names == tried
