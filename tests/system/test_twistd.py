"""
The installed plugin in a process of its own: its log, its end, its answers to bad
input.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.endpoints import HostnameEndpoint, clientFromString, connectProtocol

from tests.support.peers import Peer, rawConnection, reset
from tests.support.processes import Child, portOf, running, script, twist, twistd
from tests.support.waiting import until

COMMANDS = {"twistd": twistd, "twist": twist}
LOCAL = ("--port", "0", "--interface", "127.0.0.1")

pytestmark = pytest.mark.deadline(8)


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest) -> Callable[..., list[str]]:
    """
    Each of Twisted's two programs that run plugins.
    """
    return COMMANDS[request.param]


async def connect(port: int, host: str = "127.0.0.1") -> Peer:
    """
    A client of the server under test.
    """
    from twisted.internet import reactor

    peer = Peer()
    await connectProtocol(HostnameEndpoint(reactor, host, port), peer)
    return peer


async def leave(peer: Peer) -> None:
    """
    Close a client, and wait for its end.
    """
    peer.transport.loseConnection()
    await peer.whenLost()


# The log.


async def test_story(command: Callable[..., list[str]]) -> None:
    """
    The log tells of a client's visit from the greeting to the close, in order.
    """
    async with running(command(*LOCAL, "--max-connections", "5")) as child:
        port = await portOf(child)
        greeting = (
            'client, the server address is {"address": "127.0.0.1", "family": "IPv4", '
            f'"port": {port}}}\n'
        )
        peer = await connect(port)
        await peer.whenReceived(len(greeting))
        assert peer.received.decode() == greeting
        peer.transport.write("grüße\n".encode())
        await child.whenPrinted(r"data \d+: ")
        own = peer.transport.getHost().port
        await leave(peer)
        await child.whenPrinted(r"close \d+: ")
        story = [
            rf"listening on 127\.0\.0\.1:{port} \(IPv4\)",
            rf"connection (\d+): 127\.0\.0\.1:{own} \(IPv4\) to 127\.0\.0\.1:{port}; "
            "1 connected, limit 5",
            rf"sent (\d+): client, the server .*\}}\\n \({len(greeting)} bytes written\)",
            r"data (\d+): grüße\\n \(8 bytes read\)",
            r"end (\d+): the client has sent FIN",
            rf"close (\d+): peer closed after \d+\.\d{{3}} s; 8 bytes read, {len(greeting)} "
            rf"written, 0 unsent; 127\.0\.0\.1:{own}",
        ]
        for line in story:
            await child.whenPrinted(line)
        places = [(await child.whenPrinted(line)).start() for line in story]
        assert places == sorted(places)


async def test_everyInterface() -> None:
    """
    Without a host the server listens on all interfaces, and reports an IPv4 client
    with its plain address.
    """
    async with running(twistd("--port", "0")) as child:
        found = await child.whenPrinted(r"listening on (\S+):(\d+) \((IPv\d)\)")
        assert (found[1], found[3]) in {("[::]", "IPv6"), ("0.0.0.0", "IPv4")}
        peer = await connect(int(found[2]))
        await child.whenPrinted(r"connection 1: 127\.0\.0\.1:\d+ \(IPv4\) .*; 1 connected, limit")
        await leave(peer)


async def test_ipv6() -> None:
    """
    An IPv6 client is reported as IPv6, with brackets around its address.
    """
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError as error:
        pytest.skip(f"there is no IPv6 here: {error}")
    async with running(twistd("--port", "0", "--interface", "::1")) as child:
        port = await portOf(child)
        peer = await connect(port, "::1")
        await child.whenPrinted(rf"connection 1: \[::1\]:\d+ \(IPv6\) to \[::1\]:{port};")
        await leave(peer)


async def test_forgery() -> None:
    """
    A client can neither forge a line of the log nor reach the terminal.
    """
    async with running(twistd(*LOCAL)) as child:
        peer = await connect(await portOf(child))
        peer.transport.write(b"x\n2026-01-01 [tcpdemo#info] close 1: forged\r\x1b[2J\xff\\\0")
        line = await child.whenPrinted(r"data 1: .*bytes read\)")
        assert line[0].startswith(
            r"data 1: x\n2026-01-01 [tcpdemo#info] close 1: forged\r\x1b[2J\xff\\\x00 ("
        )
        assert "\x1b" not in child.out and "\r" not in child.out
        await leave(peer)


async def test_preview() -> None:
    """
    The first bytes of a message are shown, and the rest is counted.
    """
    async with running(twistd(*LOCAL, "--preview", "4")) as child:
        peer = await connect(await portOf(child))
        peer.transport.write(b"abcdefghij")
        await child.whenPrinted(r"data 1: abcd\.\.\. \(\+6 more\) \(10 bytes read\)")
        await leave(peer)


async def test_refused() -> None:
    """
    A client over the limit gets a FIN and not a byte; the log has both of its
    addresses, and a release admits again.
    """
    async with running(twistd(*LOCAL, "--max-connections", "1")) as child:
        port = await portOf(child)
        first = await connect(port)
        await first.whenReceived(1)
        second = await connect(port)
        await second.whenEnded()
        assert second.received == b""
        own = second.transport.getHost().port
        await child.whenPrinted(
            rf"refused: 127\.0\.0\.1:{own} \(IPv4\) to 127\.0\.0\.1:{port}, by maxConnections"
        )
        await leave(second)
        first.transport.write(b"bye")
        await leave(first)
        await child.whenPrinted("close 1: peer closed")
        third = await connect(port)
        await third.whenReceived(1)
        await leave(third)


async def test_timeout() -> None:
    """
    A silent client is closed, and the log has the reason.
    """
    async with running(twistd(*LOCAL, "--idle-timeout", "0.2")) as child:
        peer = await connect(await portOf(child))
        await peer.whenEnded()
        await child.whenPrinted(r"timeout 1: nothing moved for 0\.\d s")
        await leave(peer)
        await child.whenPrinted("close 1: idle timeout after")


async def test_reset() -> None:
    """
    A client that resets is reported so, without a traceback.
    """
    async with running(twistd(*LOCAL)) as child:
        raw = rawConnection(await portOf(child))
        raw.sendall(b"hello")
        await child.whenPrinted("data 1: ")
        reset(raw)
        await child.whenPrinted("close 1: reset after")
        assert "Traceback" not in child.out + child.err


async def test_allowHalfOpen() -> None:
    """
    With --allow-half-open a connection outlives its client's FIN.
    """
    options = ("--allow-half-open", "--idle-timeout", "0.4")
    async with running(twistd(*LOCAL, *options)) as child:
        peer = await connect(await portOf(child))
        peer.transport.loseWriteConnection()
        await child.whenPrinted("end 1: ")
        await child.whenPrinted("close 1: idle timeout")
        await leave(peer)


async def test_pauseOnConnect() -> None:
    """
    With --pause-on-connect no byte is read until the delay is over, and none is
    lost.
    """
    async with running(twistd(*LOCAL, "--pause-on-connect", "0.3")) as child:
        peer = await connect(await portOf(child))
        peer.transport.write(b"early")
        await child.whenPrinted(r"data 1: early \(5 bytes read\)")
        await leave(peer)
        closed = await child.whenPrinted(r"close 1: peer closed after (\d+\.\d+) s")
        assert float(closed[1]) >= 0.3


async def test_listen(tmp_path: Path) -> None:
    """
    --listen takes any of Twisted's server endpoints, several, beside --port.
    """
    from twisted.internet import reactor

    path = tmp_path / "socket"
    strings = ("--listen", f"unix:{path}", "--listen", "tcp:0:interface=127.0.0.1")
    async with running(twistd(*LOCAL, *strings)) as child:
        await child.whenPrinted(r"(?s)(listening on 127\.0\.0\.1:\d+.*){2}")
        await child.whenPrinted(rf"listening on unix:{path} \(UNIX\)")
        peer = Peer()
        await connectProtocol(clientFromString(reactor, f"unix:{path}"), peer)
        expected = f'{{"address": "{path}", "family": "UNIX", "port": null}}\n'
        await peer.when(lambda: peer.received.endswith(b"\n"))
        assert peer.received.decode().endswith(expected)
        await child.whenPrinted(rf"connection 1: unix:\(unnamed\) \(UNIX\) to unix:{path}")
        await leave(peer)


ACTIVATED = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Starts a program as systemd does: it knows its own number."""


@pytest.mark.parametrize("names", [None, "door"])
@pytest.mark.parametrize("domain", ["INET", "UNIX"])
async def test_activated(tmp_path: Path, names: str | None, domain: str) -> None:
    """
    A socket of systemd's is served, with a name or without, and whatever its string
    says; its path and its mode are left alone.
    """
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o660)
        listener.listen()
        environment = {"LISTEN_FDS": "1"}
        if names is not None:
            environment["LISTEN_FDNAMES"] = names
        where = "index=0" if names is None else f"name={names}"
        command = twistd("--listen", f"systemd:domain={domain}:{where}", "--protocol", "echo")
        start = [sys.executable, "-c", ACTIVATED, *command]
        async with running(start, inherited=listener.fileno(), **environment) as child:
            await child.whenPrinted(rf"listening on unix:{path} \(UNIX\)")
            await talk(path)
            child.signal(signal.SIGTERM)
            await child.whenEnded()
            assert "rror" not in child.out
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


async def talk(path: Path) -> None:
    """
    Get an echo from a UNIX socket.
    """
    from twisted.internet import reactor

    peer = Peer()
    await connectProtocol(clientFromString(reactor, f"unix:{path}"), peer)
    peer.transport.write(b"hello")
    await peer.whenReceived(5)
    await leave(peer)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_pathOfTheUser(tmp_path: Path) -> None:
    """
    With C{--uid}, a UNIX socket belongs to that user, who removes it at the stop.
    """
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # any user can get there
    try:
        folder.chmod(0o777)
        strings = ("--listen", f"unix:{folder}/clients", "--status", f"unix:{folder}/page")
        command = twistd(*strings)
        place = command.index("tcpdemo")
        command[place:place] = ["--uid", "65534"]
        async with running(command) as child:
            await child.whenPrinted(rf"listening on unix:{folder}/clients")
            await child.whenPrinted(rf"the status page on unix:{folder}/page")
            for name in ("clients", "page"):
                assert (folder / name).stat().st_uid == 65534
            child.signal(signal.SIGTERM)
            await child.whenEnded()
            assert list(folder.iterdir()) == []
            assert "rror" not in child.out
    finally:
        shutil.rmtree(folder)


async def test_leftBehind(tmp_path: Path) -> None:
    """
    A UNIX socket that a killed process has left can be used again, although another
    process has the number in its lock.
    """
    paths = [tmp_path / "socket", tmp_path / "status"]
    for path in paths:
        path.with_name(f"{path.name}.lock").symlink_to(str(os.getpid()))
    strings = ("--listen", f"unix:{paths[0]}", "--status", f"unix:{paths[1]}")
    async with running(twistd(*strings)) as child:
        await child.whenPrinted(rf"listening on unix:{paths[0]} \(UNIX\)")
        await child.whenPrinted(rf"the status page on unix:{paths[1]}")


async def test_listenAlone() -> None:
    """
    With --listen and without --port, the server does not listen on the default
    port.
    """
    async with running(twistd("--listen", "tcp:0:interface=127.0.0.1")) as child:
        assert await portOf(child) != 18001
        child.signal(signal.SIGTERM)
        await child.whenEnded()
        assert child.out.count("] listening on") == 1


@pytest.mark.parametrize(("name", "answer"), [("echo", b"hello"), ("discard", b"")])
async def test_programs(name: str, answer: bytes) -> None:
    """
    --protocol takes the programs by their names.
    """
    async with running(twistd(*LOCAL, "--protocol", name)) as child:
        peer = await connect(await portOf(child))
        peer.transport.write(b"hello")
        peer.transport.loseWriteConnection()
        await peer.whenEnded()
        assert peer.received == answer
        await leave(peer)
        await child.whenPrinted(f"close 1: peer closed .* 5 bytes read, {len(answer)} written")


async def test_ownProtocol(tmp_path: Path) -> None:
    """
    --protocol takes the dotted name of any protocol class, which is limited and
    counted like ours.
    """
    (tmp_path / "mine.py").write_text(
        "from twisted.protocols.basic import LineReceiver\n"
        "class Shout(LineReceiver):\n"
        "    def lineReceived(self, line):\n"
        "        self.sendLine(line.upper())\n"
    )
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    command = twistd(*LOCAL, "--protocol", "mine.Shout", "--max-connections", "1")
    async with running(command, PYTHONPATH=path) as child:
        port = await portOf(child)
        peer = await connect(port)
        peer.transport.write(b"quiet\r\n")
        await peer.whenReceived(7)
        assert peer.received == b"QUIET\r\n"
        second = await connect(port)
        await second.whenEnded()
        await leave(second)
        await leave(peer)
        await child.whenPrinted("close 1: .* 7 bytes read, 7 written")


async def test_json() -> None:
    """
    With twist --log-format json, each event has its facts as fields.
    """

    def events(child: Child) -> list[dict[str, Any]]:
        records = [json.loads(text) for text in child.out.split("\x1e") if text.endswith("}\n")]
        return [record for record in records if record["log_namespace"] == "tcpdemo"]

    def event(child: Child, start: str) -> dict[str, Any]:
        [found] = [e for e in events(child) if e["log_format"].startswith(start)]
        return found

    async with running(twist(*LOCAL, "--max-connections", "1", log="json")) as child:
        await until(lambda: events(child))
        listening = event(child, "listening on")
        assert (listening["address"], listening["family"]) == ("127.0.0.1", "IPv4")
        port = listening["port"]
        peer = await connect(port)
        own = peer.transport.getHost().port
        peer.transport.write(b"five\n")
        await until(lambda: len(events(child)) == 4)
        refused = await connect(port)
        await refused.whenEnded()
        away = refused.transport.getHost().port
        await leave(refused)
        await leave(peer)
        await until(lambda: len(events(child)) == 7)
        opened = event(child, "connection ")
        assert (opened["remotePort"], opened["localPort"]) == (own, port)
        assert (opened["connectionCount"], opened["limit"]) == (1, 1)
        data = event(child, "data ")
        assert (data["data"], data["bytesRead"]) == ("five\\n", 5)
        refusal = event(child, "refused:")
        assert (refusal["remotePort"], refusal["rule"]) == (away, "maxConnections")
        closed = event(child, "close ")
        assert (closed["reason"], closed["bytesRead"], closed["bytesPending"]) == (
            "peer closed",
            5,
            0,
        )
        assert closed["connectionID"] == opened["connectionID"]


# The end.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal(command: Callable[..., list[str]], number: int) -> None:
    """
    A signal ends the server cleanly: no listener, no traceback, the signal's
    status.
    """
    async with running(command(*LOCAL)) as child:
        await portOf(child)
        child.signal(number)
        assert await child.whenEnded() == -number
        assert "no longer listening on 127.0.0.1" in child.out
        assert "Traceback" not in child.out + child.err


async def test_signalFlushes() -> None:
    """
    After a signal a slow client still gets all bytes written to it.
    """
    size = 3_000_000
    async with running(twistd(*LOCAL, "--protocol", "echo", "--drain", "20")) as child:
        port = await portOf(child)
        peer = await connect(port)
        peer.transport.pauseProducing()
        peer.transport.write(bytes(size))
        peer.transport.loseWriteConnection()
        child.signal(signal.SIGTERM)
        await child.whenPrinted(r"waiting for 1 \(127\.0\.0\.1:\d+\)")
        peer.transport.resumeProducing()
        await peer.whenEnded()
        assert len(peer.received) == size
        await leave(peer)
        await child.whenEnded()
        await child.whenPrinted("drained: 1 finished, 0 aborted with 0 bytes unsent")


async def busy(port: int) -> Peer:
    """
    A client that keeps an echo server busy: it sends, and does not read.
    """
    peer = await connect(port)
    peer.transport.pauseProducing()
    peer.transport.write(bytes(8_000_000))
    return peer


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_secondSignal(command: Callable[..., list[str]], second: int) -> None:
    """
    A second signal ends the wait for clients, without a traceback.
    """
    async with running(command(*LOCAL, "--protocol", "echo", "--drain", "60")) as child:
        peer = await busy(await portOf(child))
        await child.whenPrinted("connection 1: ")
        child.signal(signal.SIGTERM)
        await child.whenPrinted("waiting for 1 ")
        child.signal(second)
        assert await child.whenEnded() == -signal.SIGTERM
        await child.whenPrinted("close 1: drain deadline")
        await child.whenPrinted(r"drained: 0 finished, 1 aborted with \d+ bytes unsent")
        assert "Traceback" not in child.out + child.err
        peer.transport.resumeProducing()
        await peer.whenLost()


async def test_twoSignalsAtOnce(command: Callable[..., list[str]]) -> None:
    """
    Two signals at one moment, as a ^C in a supervised terminal may send them, end
    the server at once without a traceback.
    """
    async with running(command(*LOCAL, "--protocol", "echo", "--drain", "60")) as child:
        peer = await busy(await portOf(child))
        await child.whenPrinted("connection 1: ")
        child.signal(signal.SIGSTOP)
        child.signal(signal.SIGTERM)
        child.signal(signal.SIGINT)
        child.signal(signal.SIGCONT)
        assert await child.whenEnded() in (-signal.SIGTERM, -signal.SIGINT)
        assert "Traceback" not in child.out + child.err
        peer.transport.resumeProducing()
        await peer.whenLost()


async def test_deadlineOfTheDrain() -> None:
    """
    A client that does not read delays a stop no longer than --drain.
    """
    async with running(twistd(*LOCAL, "--protocol", "echo", "--drain", "0.3")) as child:
        peer = await busy(await portOf(child))
        await child.whenPrinted("connection 1: ")
        child.signal(signal.SIGTERM)
        assert await child.whenEnded() == -signal.SIGTERM
        await child.whenPrinted("close 1: drain deadline")
        peer.transport.resumeProducing()
        await peer.whenLost()


# Bad input.

BAD = {
    "--port x": "--port must be a whole number, 0 to 65535, not 'x'",
    "--port 65536": "--port must be a whole number, 0 to 65535, not '65536'",
    "--port -1": "--port must be a whole number, 0 to 65535, not '-1'",
    "--max-connections -1": "--max-connections must be a whole number, 0 or more, not '-1'",
    "--idle-timeout nan": "--idle-timeout must be a number, 0 to 1000000000, not 'nan'",
    "--backlog 0": "--backlog must be a whole number, 1 to 2147483647, not '0'",
    "--interface 203.0.113.9": "cannot listen on 203.0.113.9:18001: ",
    "--interface nonsense": "cannot listen on nonsense:18001: ",
    "--listen nonsense": "--listen 'nonsense' is no endpoint: Unknown endpoint type",
    "--listen tcp:x": "--listen 'tcp:x' is no endpoint: ",
    "--listen systemd:index=0:domain=INET": (
        "--listen 'systemd:index=0:domain=INET' is no endpoint: systemd has handed over no such"
    ),
    "--listen tcp:65536": "cannot listen on tcp:65536: ",
    "--listen unix:/nowhere/at/all": "cannot listen on unix:/nowhere/at/all: No such file",
    "--protocol nonsense": "--protocol must be one of report, echo, discard, or the dotted name",
    "--protocol no.such.thing": "--protocol 'no.such.thing' cannot be imported: ",
    "--protocol os.path": "--protocol 'os.path' is no protocol class",
    "--nonsense": "option --nonsense not recognized",
    "nonsense": "unexpected argument 'nonsense'",
}


async def oneLine(command: list[str], message: str, **environment: str) -> None:
    """
    Check that a command ends with one line on standard error.
    """
    async with running(command, **environment) as child:
        assert await child.whenEnded() == 1
        assert child.err.startswith(f"tcpdemo: {message}")
        assert child.err.count("\n") == 1
        assert "Traceback" not in child.out


@pytest.mark.parametrize("options", BAD)
async def test_badInput(options: str) -> None:
    """
    Bad input ends twistd with one clear line, and a status that is not zero.
    """
    await oneLine(twistd(*options.split()), BAD[options])


@pytest.mark.parametrize(
    "options", ["--port x", "--listen nonsense", "--interface 203.0.113.9", "nonsense"]
)
async def test_badInputOfTwist(options: str) -> None:
    """
    Bad input ends twist in the same way.
    """
    await oneLine(twist(*options.split()), BAD[options])


async def test_portInUse(command: Callable[..., list[str]]) -> None:
    """
    A port in use gives one line, and no process without a listener goes on; the
    same holds for the second of two ports.
    """
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        await oneLine(
            command("--port", port, "--interface", "127.0.0.1"),
            f"cannot listen on 127.0.0.1:{port}: Address already in use\n",
        )
        name = f"tcp:{port}:interface=127.0.0.1"
        await oneLine(command(*LOCAL, "--listen", name), f"cannot listen on {name}: Address")


BAD_MODULES = {
    "raises": ("raise RuntimeError('first\\nsecond')", "cannot be imported: first second"),
    "syntax": ("def", "cannot be imported: invalid syntax"),
    "exits": ("raise SystemExit(3)", "cannot be imported: SystemExit"),
    "arguments": (
        "from twisted.internet.protocol import Protocol\n"
        "class P(Protocol):\n"
        "    def __init__(self, name): pass\n",
        "cannot be built without arguments",
    ),
}


@pytest.mark.parametrize("name", BAD_MODULES)
async def test_badModule(name: str, tmp_path: Path) -> None:
    """
    A user's module that cannot serve gives one line at the start, not at the first
    connection.
    """
    text, message = BAD_MODULES[name]
    (tmp_path / f"{name}.py").write_text(text)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    command = twistd(*LOCAL, "--protocol", f"{name}.P")
    await oneLine(command, f"--protocol '{name}.P' {message}", PYTHONPATH=path)


async def test_daemon(tmp_path: Path) -> None:
    """
    As a daemon the server reports a port in use to its starter, and leaves no pid
    file.
    """
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [*script("twistd"), "--pidfile=d.pid", "--logfile=d.log", "tcpdemo"]
        command += ["--port", port, "--interface", "127.0.0.1"]
        async with running(command, tmp_path) as child:
            assert await child.whenEnded() == 1
            assert f"cannot listen on 127.0.0.1:{port}" in child.out + child.err
        await until(lambda: not (tmp_path / "d.pid").exists())


@pytest.mark.parametrize("option", ["--help", "--version"])
async def test_information(option: str) -> None:
    """
    --help shows every option and an example, --version the version.
    """
    async with running(twistd(option)) as child:
        assert await child.whenEnded() == 0
        if option == "--version":
            assert child.out.startswith("twisted-tcpdemo ")
            return
        for name in ("port", "interface", "backlog", "max-connections", "idle-timeout", "listen"):
            assert f"--{name}=" in child.out
        for name in ("allow-half-open", "pause-on-connect", "nagle", "keep-alive", "protocol"):
            assert f"--{name}" in child.out
        text = " ".join(child.out.split())
        assert "[default: 18001, unless --listen]" in text
        assert "Example: twistd -n tcpdemo --port 18001" in text
