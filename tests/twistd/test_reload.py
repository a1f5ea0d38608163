"""
A configuration that is read again while the server runs.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from tests.support.commandline import serviceOf
from tests.support.hygiene import LoggedErrors
from twisted_tcpdemo.twistd.options import Options
from twisted_tcpdemo.twistd.reload import isLive


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """
    The path of the configuration file.
    """
    return tmp_path / "server.toml"


@pytest.fixture
def log() -> Generator[list[str]]:
    """
    The lines of the log.
    """
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        if "reopen" not in (line := formatEvent(event)):
            lines.append(line)

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def started(file: Path, text: str, *arguments: str) -> Any:
    """
    A service with a configuration file.
    """
    file.write_text(text)
    return serviceOf("--config", str(file), *arguments)


def again(service: Any, file: Path, text: str) -> None:
    """
    Change the file, and let the service read it.
    """
    file.write_text(text)
    service._reopen("SIGHUP")


def test_changes(file: Path, log: list[str]) -> None:
    """
    Limits, rules, budgets, the log's rate and the times of the drain are changed, and told.
    """
    service = started(file, "max-connections = 5\nmax-per-peer = 1\n")
    factory = service._factory
    text = (
        "max-connections = 7\noverflow = 'wait'\nrefusal-message = 'no'\nidle-timeout = 9\n"
        "deny = ['192.0.2.0/24']\nlog-rate = 3\npreview = 8\npause-on-connect = 2\nnagle = true\n"
        "keep-alive = true\nkeep-alive-count = 4\ndrain = 1\ndrain-spread = 2\ndrain-delay = 3\n"
    )
    again(service, file, text)
    assert (factory.maxConnections, factory.overflow, factory.refusalMessage) == (7, "wait", b"no")
    assert (factory.budgets.idle, factory.budgets.lifetimeJitter) == (9, 0.1)
    assert [rule.name for rule in factory.admission.rules] == ["deniedNetworks"]
    assert (factory.pauseOnConnect, factory.resumeAfter, factory.noDelay) == (True, 2, False)
    assert (factory.keepAlive, factory.keepAliveCount) == (True, 4)
    protocol = factory.buildProtocol(None)
    assert (protocol._preview, protocol._budget.rate) == (8, 3)
    assert (service._drain, service._spread, service._drainDelay) == (1, 2, 3)
    assert service._hardStop.seconds == 6
    [line] = [line for line in log if line.startswith(f"SIGHUP: {file}: ")]
    for part in ("max-connections = 7", 'deny = ["192.0.2.0/24"]', "max-per-peer = 0", "drain = 1"):
        assert part in line
    again(service, file, "")
    assert (factory.maxConnections, factory.admission, factory.resumeAfter) == (None, None, 0)
    assert (factory.pauseOnConnect, factory.noDelay, factory.budgets.idle) == (False, True, 300)
    assert "max-connections, to none" in log[-1]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("max-connections = 7\nidle-timeout = 'x'", "idle-timeout must be a number"),
        ("max-connections = 7\nnonsense = 1", "unknown key 'nonsense'"),
        ("max-connections = 7\nport = ", "it is no TOML: "),
        ("max-connections = 7\nexempt = '::1'", "exempt goes with --allow or "),
        ("max-connections = 7\nport = 99999", "port must be a whole number"),
    ],
)
def test_wrong(file: Path, log: list[str], text: str, why: str) -> None:
    """
    When anything in the file is wrong, nothing is changed, and a line says what.
    """
    service = started(file, "max-connections = 5")
    again(service, file, text)
    assert service._factory.maxConnections == 5
    [line] = log
    assert line.startswith(f"SIGHUP: {file}: {why}") and line.endswith("; nothing is changed")
    again(service, file, "max-connections = 7")
    assert service._factory.maxConnections == 7


def test_gone(file: Path, log: list[str]) -> None:
    """
    A file that cannot be read any more changes nothing.
    """
    service = started(file, "max-connections = 5")
    file.unlink()
    service._reopen("SIGHUP")
    assert service._factory.maxConnections == 5
    assert "it cannot be read: No such file or directory; nothing is changed" in log[-1]


def test_needsRestart(file: Path, log: list[str]) -> None:
    """
    What cannot be changed is named, at each signal, and what can be is changed.
    """
    service = started(file, "port = 0")
    for limit in (3, 4):
        again(service, file, f"port = 1\nworkers = 2\nlog-rate = 7\nmax-connections = {limit}")
        assert log[-1] == "SIGHUP: a restart is needed for port, workers"
        assert service._factory.maxConnections == limit
    assert service._factory.protocol.keywords["budget"].rate == 7
    again(service, file, "port = 0")
    assert "restart" not in log[-1]


def test_nothing(file: Path, log: list[str]) -> None:
    """
    A file that says the same changes nothing, also what control has changed.
    """
    service = started(file, "max-connections = 5\nmax-per-peer = 1")
    factory = service._factory
    factory.maxConnections, policy = 9, factory.admission
    again(service, file, "max-connections = 5.0\nmax-per-peer = '1'\n# a comment")
    assert (factory.maxConnections, factory.admission) == (9, policy)
    assert log == [f"SIGHUP: {file}: nothing is changed"]


def test_commandLineStays(file: Path) -> None:
    """
    What the command line says holds whatever the file says.
    """
    service = started(file, "", "--max-connections", "5")
    again(service, file, "max-connections = 7")
    assert service._factory.maxConnections == 5


def test_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The file is the same wherever the process is by now.
    """
    file.write_text("max-connections = 5")
    monkeypatch.chdir(file.parent)
    service = serviceOf("--config", file.name)
    monkeypatch.chdir("/")
    again(service, file, "max-connections = 7")
    assert service._factory.maxConnections == 7


def test_withoutFile(log: list[str]) -> None:
    """
    Without a file SIGHUP opens the log again, and that is all.
    """
    service = serviceOf()
    assert service.reload is None
    service._reopen("SIGHUP")
    assert log == []


def test_raises(file: Path, log: list[str], loggedErrors: LoggedErrors) -> None:
    """
    A fault of ours at the reading is logged, and stops nothing.
    """
    service = started(file, "")
    service.reload = lambda name: 1 / 0
    service._reopen("SIGHUP")
    assert log[-1] == "SIGHUP: the configuration is not in force"
    assert loggedErrors.take(ZeroDivisionError)


def test_live() -> None:
    """
    What can change while the server runs, and what cannot.
    """
    live = {option.name for option in Options.table if isLive(option)}
    assert live >= {"max-connections", "deny", "idle-timeout", "log-rate", "drain", "dry-run"}
    assert not {"port", "listen", "protocol", "workers", "status", "transport"} & live
