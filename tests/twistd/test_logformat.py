"""
C{--log-format json} in real processes, whatever they log to.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from twisted.python.reflect import namedAny
from twisted.python.usage import Options as UsageOptions

from tests.support.commandline import parsed
from tests.support.peers import connectTo
from tests.support.processes import Child, running, twist, twistd
from tests.support.waiting import until
from twisted_tcpdemo.service.startup import StartError
from twisted_tcpdemo.twistd.logformat import logInJSON
from twisted_tcpdemo.twistd.options import Options

pytestmark = pytest.mark.deadline(20)

SERVER = ("--port", "0", "--interface", "127.0.0.1", "--log-format", "json")


def server(*before: str, options: tuple[str, ...] = ()) -> list[str]:
    """
    A command line of C{twistd}, with options of its own.
    """
    command = twistd(*SERVER, *options)
    place = command.index("tcpdemo")
    command[place:place] = before
    return command


def records(text: str) -> list[dict[str, Any]]:
    """
    The objects of all whole lines.
    """
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def event(name: str, text: str) -> dict[str, Any]:
    """
    The first event of a kind; nothing as long as there is none.
    """
    return next((record for record in records(text) if record.get("event") == name), {})


KINDS: dict[str, list[str]] = {
    "standard output": server(),
    "dash": server("--logfile=-"),
    "file": server("--logfile=server.log"),
    "bounded": server("--logger=twisted_tcpdemo.monitoring.boundedLog"),
    "workers": server(options=("--workers", "1")),
    "twist": twist(*SERVER),
    "twist json": twist(*SERVER, log="json"),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_everyLine(kind: str, tmp_path: Path) -> None:
    """
    Every line of the log, from the first to the last, is a plain object with typed fields.
    """
    path = tmp_path / "server.log"

    def log(child: Child) -> str:
        return path.read_text() if path.exists() else child.out

    command = [*KINDS[kind], "--max-connections", "7"]
    async with running(command, tmp_path, TCPDEMO_LOG=str(path)) as child:
        listening = await until(lambda: event("listening", log(child)))
        with connectTo(listening["port"]) as client:
            client.sendall(b"hello")
            client.makefile("rb").readline()
            await until(lambda: event("data", log(child)))
        closed = await until(lambda: event("close", log(child)))
        child.signal(signal.SIGTERM)
        assert await child.whenEnded() == -signal.SIGTERM
        text = log(child)
    assert child.err == ""
    opened = event("connection", text)
    assert (opened["limit"], opened["connectionCount"], opened["connectionID"]) == (7, 1, 1)
    assert isinstance(opened["remotePort"], int) and opened["remoteAddress"] == "127.0.0.1"
    assert (closed["bytesRead"], closed["reason"]) == (5, "peer closed")
    assert isinstance(closed["duration"], float)
    for record in records(text):
        assert list(record)[:4] == ["time", "level", "namespace", "text"]
        twisted = {"system", "isError", "format", "message"} & record.keys()
        assert twisted <= ({"message"} if record.get("event") == "sent" else set())
        assert not [name for name in record if name.startswith("log_")]


async def test_rotatedAndMoved(tmp_path: Path) -> None:
    """
    A file of JSON that is moved away is opened again, by SIGHUP and by SIGUSR1.
    """
    log = tmp_path / "server.log"
    async with running(server("--logfile=server.log"), tmp_path) as child:
        await until(lambda: log.exists() and event("listening", log.read_text()))
        for number, name in ((signal.SIGHUP, "one"), (signal.SIGUSR1, "two")):
            log.rename(tmp_path / name)
            child.signal(number)
            await until(lambda: log.exists() and records(log.read_text()))
        assert event("listening", (tmp_path / "one").read_text())


async def test_daemon(tmp_path: Path) -> None:
    """
    A daemon has its file, and no standard output.
    """
    command = [part for part in server("--logfile=-") if part != "-n"]
    async with running(command, tmp_path) as child:
        assert await child.whenEnded() == 1
    assert child.err == "tcpdemo: a daemon cannot log to standard output\n"


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ("--syslog", "--log-format json goes with a file or standard output, not --syslog"),
        (
            "--logger=twisted.logger.LogPublisher",
            "--log-format json with --logger twisted.logger.LogPublisher: "
            "the logger makes a LogPublisher, which writes no lines",
        ),
    ],
)
async def test_noLines(before: str, message: str, tmp_path: Path) -> None:
    """
    A log that is not made of lines is refused in one.
    """
    async with running(server(before), tmp_path) as child:
        assert await child.whenEnded() == 1
    assert child.err == f"tcpdemo: {message}\n"


def test_otherPrograms() -> None:
    """
    In any other program the log is its own.
    """
    assert parsed("--log-format", "json")["log-format"] == "json"
    logInJSON(None)


def test_twistdFile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A daemon without a name for its log has C{twistd.log}, as ever.
    """
    monkeypatch.chdir(tmp_path)
    command: Any = UsageOptions()
    command.update(logfile=None, nodaemon=False, logger=None)
    logInJSON(command)
    observer = namedAny(command["logger"])()
    observer({"log_format": "said"})
    observer._outFile.close()
    assert records((tmp_path / "twistd.log").read_text())[0]["text"] == "said"


def test_default() -> None:
    """
    Text is the default, and nothing else is known.
    """
    assert Options()["log-format"] == "text"
    with pytest.raises(StartError, match="--log-format must be one of text, json"):
        parsed("--log-format", "xml")
