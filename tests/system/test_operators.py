"""
What an operator relies on, in a process of its own: a log that no client can flood or
forge, signals that reopen it and end nothing, and health checks that are told apart.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from twisted.internet.threads import deferToThread

from tests.support.certificates import pemFile
from tests.support.contexts import PythonContexts
from tests.support.peers import connectTo, rawConnection, reset
from tests.support.places import PROJECT
from tests.support.processes import Child, portOf, running, twist, twistd
from tests.support.waiting import until

pytestmark = pytest.mark.deadline(20)

LOCAL = ("--port", "0", "--interface", "127.0.0.1")
EVIL = (
    b"\x1b[2J\r\n2026-01-01T00:00:00+0000 [tcpdemo#info] close 1: forged \xe2\x80\xae" + b"z" * 5000
)

PROGRAM = """
import sys
from twisted.internet.protocol import Protocol
from twisted.logger import ILogObserver, Logger, jsonFileLogObserver
from twisted.python import log
from twisted_tcpdemo import TCPDemoProtocol

class Raises(TCPDemoProtocol):
    def dataReceived(self, data):
        raise ValueError(data.decode("utf-8", "surrogateescape"))

class Foreign(Protocol):
    def dataReceived(self, data):
        raise ValueError(data.decode("utf-8", "surrogateescape"))

class Says(TCPDemoProtocol):
    def dataReceived(self, data):
        text = data.decode("utf-8", "surrogateescape")
        log.msg(text)
        Logger(namespace="mine").info("it said {text}", text=text)
        print(text)
        self.transport.loseConnection()

class Lost(TCPDemoProtocol):
    def connectionLost(self, reason):
        raise ValueError("lost")

class Silent(TCPDemoProtocol):
    def dataReceived(self, data):
        log.msg("seen")

class Recursive(TCPDemoProtocol):
    def dataReceived(self, data):
        self.dataReceived(data)

def legacy():
    return log.FileLogObserver(sys.stdout).emit

def structured():
    return jsonFileLogObserver(sys.stdout)
"""


@pytest.fixture
def folder() -> Generator[Path]:
    """
    A folder with a short name, where a program is, and where any user can get.
    """
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    path.chmod(0o755)
    (path / "opsprogram.py").write_text(PROGRAM)
    yield path
    shutil.rmtree(path)


def server(*options: str, before: tuple[str, ...] = ()) -> list[str]:
    """
    A command line of C{twistd}, with options of its own.
    """
    command = twistd(*options)
    place = command.index("tcpdemo")
    command[place:place] = before
    return command


def crowd(port: int, count: int, data: bytes = EVIL) -> None:
    """
    Let clients come one after the other, send, and wait for their end.
    """
    for _ in range(count):
        with connectTo(port) as client:
            client.sendall(data)
            try:
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
            except OSError:  # it has been reset
                pass


def notShown(log: str, what: str) -> int:
    """
    How many events of a kind the summaries of a log tell of.
    """
    counts = re.findall(rf"([\d,]+) {what}", "\n".join(re.findall(".*not shown.*", log)))
    return sum(int(count.replace(",", "")) for count in counts)


async def stopped(child: Child) -> str:
    """
    Stop a server.

    @return: all of its log.
    """
    child.signal(signal.SIGTERM)
    assert await child.whenEnded() == -signal.SIGTERM
    return child.out


LOGS: dict[str, Callable[..., list[str]]] = {
    "text": server,
    "legacy": lambda *options: server(*options, before=("--logger=opsprogram.legacy",)),
    "json": lambda *options: server(*options, before=("--logger=opsprogram.structured",)),
    "twist": twist,
    "twist json": lambda *options: twist(*options, log="json"),
}


PORT = r'listening on 127\.0\.0\.1:(\d+)\b.|"port": (\d+)\b.'
"""A port in a log of any format, with a sign that no digit is still to come."""


def portIn(log: str) -> int:
    """
    The port in a log of any format.
    """
    found = re.search(PORT, log)
    assert found
    return int(found[1] or found[2])


def longest(out: str) -> int:
    """
    The length of the longest line of a log, wherever the project is: a traceback names its
    folder again and again.
    """
    return max(len(line.replace(str(PROJECT), "")) for line in out.splitlines())


@pytest.mark.parametrize("transport", ["fast", "twisted"])
@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize("protocol", ["Raises", "Foreign", "Lost"])
async def test_raisingHook(folder: Path, log: str, transport: str, protocol: str) -> None:
    """
    A hook that raises with what its client has sent writes one traceback, and after that a
    line at the most; all of it is escaped, bounded, and counted.
    """
    count = 60
    options = ("--protocol", f"opsprogram.{protocol}", "--transport", transport)
    command = LOGS[log](*LOCAL, *options, "--log-rate", "10")
    async with running(command, PYTHONPATH=str(folder)) as child:
        await child.whenPrinted(PORT)
        data = EVIL if protocol != "Lost" else b""
        await deferToThread(
            crowd,
            portIn(child.out),
            count,
            data or b"\0",
        )
        out = await stopped(child)
    assert "\x1b" not in out.replace("\x1e", "") and "\r" not in out and "\u202e" not in out
    assert not re.search(r"^2026-01-01", out, re.MULTILINE)
    assert longest(out) < 12_000
    assert len(out.splitlines()) < 200
    raised = len(re.findall(r"as before", out))
    if "json" not in log:
        assert out.count("Traceback") == 1
        assert 1 + raised + notShown(out, r"ValueError at opsprogram\.py:\d+") == count


@pytest.mark.parametrize("transport", ["fast", "twisted"])
async def test_recursion(folder: Path, transport: str) -> None:
    """
    Code that has called itself a thousand times is told in some lines.
    """
    options = ("--protocol", "opsprogram.Recursive", "--transport", transport)
    async with running(twistd(*LOCAL, *options), PYTHONPATH=str(folder)) as child:
        await deferToThread(crowd, await portOf(child), 1, b"x")
        await child.whenPrinted("RecursionError: ")
        assert len((await stopped(child)).splitlines()) < 100


@pytest.mark.parametrize("log", LOGS)
async def test_othersLines(folder: Path, log: str) -> None:
    """
    Lines that a protocol's own code writes about what its client has sent are within the
    budget, and escaped.
    """
    count = 100
    options = ("--protocol", "opsprogram.Says", "--log-rate", "10")
    async with running(LOGS[log](*LOCAL, *options), PYTHONPATH=str(folder)) as child:
        await child.whenPrinted(PORT)
        await deferToThread(crowd, portIn(child.out), count)
        out = await stopped(child)
    assert "\x1b" not in out.replace("\x1e", "") and "\r" not in out and "\u202e" not in out
    assert not re.search(r"^2026-01-01", out, re.MULTILINE)
    assert len(out.splitlines()) < 150
    assert longest(out) < 12_000
    if "json" not in log:
        assert notShown(out, "lines of mine") > count - 30


@pytest.mark.parametrize("log", ["text", "legacy", "json"])
@pytest.mark.parametrize("transport", ["fast", "twisted"])
async def test_pathOfAPeer(folder: Path, log: str, transport: str) -> None:
    """
    The path of a client on a UNIX socket, which is in Twisted's prefix of a line, cannot
    forge a line, nor reach the terminal.
    """
    listening = folder / "clients"
    options = ("--listen", f"unix:{listening}", "--protocol", "opsprogram.Silent")
    command = LOGS[log](*options, "--transport", transport)
    async with running(command, PYTHONPATH=str(folder)) as child:
        await child.whenPrinted("listening")
        with socket.socket(socket.AF_UNIX) as client:
            client.bind(f"{folder}/\x1b[2J\n2026-01-01 [x] forged".encode())
            client.connect(str(listening))
            client.sendall(b"x")
            await child.whenPrinted("seen")
        out = await stopped(child)
    assert "\x1b" not in out.replace("\x1e", "")
    assert not re.search(r"^2026-01-01", out, re.MULTILINE)


@pytest.mark.parametrize("transport", ["fast", "twisted"])
async def test_proxyHeaders(transport: str) -> None:
    """
    Wrong PROXY headers write a line each at the most, within the budget.
    """
    wrong = [b"PROXY TCP4 192.0.2.1 192.0.2.2 port 80\r\n", b"PROXY \x1b[2J\r\n", b"\r\n" * 100]
    options = ["--listen", "haproxy:tcp:0:interface=127.0.0.1", "--transport", transport]
    if transport == "fast":
        options += ["--proxy-from", "127.0.0.1"]
    async with running(twistd(*options, "--protocol", "discard", "--log-rate", "10")) as child:
        port = await portOf(child)
        for data in wrong:
            await deferToThread(crowd, port, 30, data)
        out = await stopped(child)
    assert "\x1b" not in out
    assert len(out.splitlines()) < 150
    assert out.count("Traceback") <= 4


# Signals.


LOGGING: dict[str, tuple[str, ...]] = {
    "bounded": ("--logger=twisted_tcpdemo.monitoring.boundedLog",),
    "logfile": ("--logfile=server.log",),
}


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
@pytest.mark.parametrize("kind", LOGGING)
async def test_reopen(folder: Path, kind: str, number: signal.Signals) -> None:
    """
    SIGHUP opens a log again that was moved away, and so does SIGUSR1, but for C{twistd
    --logfile}, which rotates; clients stay.
    """
    log, moved = folder / "server.log", folder / "server.log.1"
    command = server(*LOCAL, "--protocol", "echo", before=LOGGING[kind])
    async with running(command, folder, TCPDEMO_LOG=str(log)) as child:
        await until(lambda: log.exists() and re.search(PORT, log.read_text()))
        with connectTo(portIn(log.read_text())) as client:
            if number is signal.SIGHUP or kind == "bounded":
                log.rename(moved)
            child.signal(number)
            await until(lambda: log.exists() and moved.exists())
            client.sendall(b"hello")
            assert client.recv(5) == b"hello"
        await until(lambda: "close 1" in log.read_text())
        assert "listening on" in moved.read_text()
        child.signal(signal.SIGTERM)
        assert await child.whenEnded() == -signal.SIGTERM
        assert "Server Shut Down" in log.read_text()


async def test_nothingElseEndsIt(folder: Path) -> None:
    """
    Signals without a meaning are told in a line, and end nothing, as long as the server
    drains, too.
    """
    async with running(twistd(*LOCAL, "--protocol", "echo")) as child:
        with connectTo(await portOf(child)) as client:
            for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
                child.signal(number)
                await child.whenPrinted(f"{number.name}: ")
            child.signal(signal.SIGPIPE)
            client.sendall(b"hello")
            assert client.recv(5) == b"hello"
            child.signal(signal.SIGTERM)
            await child.whenPrinted("waiting for")
            for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
                child.signal(number)
            await child.whenPrinted("(?s)SIGUSR2.*SIGUSR2")
        assert await child.whenEnded() == -signal.SIGTERM
        assert "drained: 1 finished" in child.out


async def test_quit(folder: Path) -> None:
    """
    SIGQUIT ends the server in order: clients are drained, and the UNIX sockets are gone.
    """
    options = ("--listen", f"unix:{folder}/a", "--control", f"unix:{folder}/b")
    async with running(twistd(*options, "--protocol", "echo"), folder) as child:
        await child.whenPrinted(r"control on unix:")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{folder}/a")
            await child.whenPrinted("connection 1")
            child.signal(signal.SIGQUIT)
            await child.whenPrinted("no longer listening")
        assert await child.whenEnded() == -signal.SIGTERM
        assert "drained: 1 finished" in child.out
    assert not (folder / "a").exists() and not (folder / "b").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("kind", LOGGING)
async def test_folderOfRoot(folder: Path, kind: str) -> None:
    """
    A log that cannot be rotated after C{--uid} is told at the start, in the log and on
    standard error; it is not lost at a signal that it cannot follow.
    """
    log = folder / "server.log"
    command = server(*LOCAL, "--protocol", "echo", before=(*LOGGING[kind], "--uid", "65534"))
    async with running(command, folder, TCPDEMO_LOG=str(log)) as child:
        await until(lambda: log.exists() and "cannot be rotated" in log.read_text())
        assert f"tcpdemo: the log {log} cannot be rotated" in child.err
        assert "user 65534 may not write to the folder" in child.err
        child.signal(signal.SIGHUP)
        await until(lambda: "SIGHUP: the log" in log.read_text())
        assert "cannot be reopened: [Errno 13] Permission denied" in log.read_text()
        child.signal(signal.SIGTERM)
        await child.whenEnded()
        assert "Server Shut Down" in log.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_folderOfTheUser(folder: Path) -> None:
    """
    A bounded log in a folder of the server's user rotates after C{--uid}, although root has
    made its first file.
    """
    home = folder / "log"
    home.mkdir()
    os.chown(home, 65534, 65534)
    log = home / "server.log"
    log.write_bytes(b"." * 10_000_000)
    before = (*LOGGING["bounded"], "--uid", "65534")
    command = server(*LOCAL, "--protocol", "echo", before=before)
    async with running(command, folder, TCPDEMO_LOG=str(log)) as child:
        await until((home / "server.log.1").exists)
        await until(log.exists)  # a rotation renames the file before it makes the next
        await until(lambda: "listening" in log.read_text())
        with connectTo(portIn(log.read_text())):
            await until(lambda: "connection 1" in log.read_text())
        assert "cannot" not in log.read_text() + child.err


# Health checks.


def check(port: int) -> None:
    """
    Connect, and close.
    """
    connectTo(port).close()


def checkWithReset(port: int) -> None:
    """
    Connect, and reset.
    """
    reset(rawConnection(port))


@pytest.mark.parametrize("transport", ["fast", "twisted"])
@pytest.mark.parametrize("protocol", ["echo", "report"])
@pytest.mark.parametrize("act", [check, checkWithReset])
async def test_healthCheck(transport: str, protocol: str, act: Callable[[int], None]) -> None:
    """
    A client that connects and leaves without a byte is a probe in the log, and in the
    status; its lines are the first to give way.
    """
    options = ("--transport", transport, "--protocol", protocol)
    page = ("--status", "tcp:0:interface=127.0.0.1")
    async with running(twistd(*LOCAL, *options, *page)) as child:
        port = await portOf(child)
        act(port)
        await child.whenPrinted("close 1: probe after 0")
        status = await child.whenPrinted(r"the status page on 127\.0\.0\.1:(\d+)")
        answer = await deferToThread(ask, int(status[1]), "/status.json")
        assert json.loads(answer)["closedBy"] == {"probe": 1}
        metrics = await deferToThread(ask, int(status[1]), "/metrics")
        assert 'tcpdemo_connections_closed_total{reason="probe"} 1.0' in metrics
        for _ in range(20):
            await deferToThread(act, port)
        summary = await child.whenPrinted(r"(\S+) probes.*, not shown")
        assert int(summary[1]) >= 10


@pytest.mark.parametrize("transport", ["fast", "twisted"])
async def test_healthCheckOfTLS(transport: str) -> None:
    """
    A check that does not begin TLS is a probe; one that does has said something.
    """
    listen = f"ssl:0:interface=127.0.0.1:privateKey={pemFile()}"
    options = ("--protocol", "echo", "--transport", transport)
    async with running(twistd("--listen", listen, *options)) as child:
        port = await portOf(child)
        check(port)
        await child.whenPrinted("close 1: probe")
        checkWithReset(port)
        await child.whenPrinted("close 2: probe")

        def handshake() -> None:
            with (
                PythonContexts()
                .client()
                .wrap_socket(connectTo(port), server_hostname="localhost") as tls
            ):
                tls.unwrap()

        await deferToThread(handshake)
        await child.whenPrinted("close 3: peer closed")


async def test_healthCheckOfHAProxy() -> None:
    """
    A PROXY header without addresses (LOCAL) and an end are a probe.
    """
    options = ("--proxy-protocol", "--proxy-from", "127.0.0.1", "--protocol", "echo")
    async with running(twistd(*LOCAL, *options)) as child:
        port = await portOf(child)
        local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
        with connectTo(port) as client:
            client.sendall(local)
        await child.whenPrinted("close 1: probe")
        raw = rawConnection(port)
        raw.sendall(local)
        await child.whenPrinted("connection 2")
        reset(raw)
        await child.whenPrinted("close 2: probe")


def ask(port: int, path: str) -> str:
    """
    A page of the status server.
    """
    with connectTo(port) as client:
        client.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        answer = b""
        while data := client.recv(65536):
            answer += data
    return answer.partition(b"\r\n\r\n")[2].decode()
