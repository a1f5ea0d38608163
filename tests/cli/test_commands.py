"""
The command line client, as its user sees it: output, one line on standard
error, exit status.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.error import (
    ConnectError,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
    TCPTimedOutError,
)
from twisted.internet.threads import deferToThread

from tests.support.certificates import pemFile
from tests.support.control import controlled
from tests.support.peers import serving
from tests.support.places import DOCS
from tests.support.processes import Child, running
from tests.support.status import connected, showing
from tests.support.waiting import until
from twisted_tcpdemo import TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.admission.policy import Admission
from twisted_tcpdemo.admission.rules import PerPeerLimit
from twisted_tcpdemo.cli import main
from twisted_tcpdemo.cli.connect import explained
from twisted_tcpdemo.cli.outcome import MEANINGS, Outcome
from twisted_tcpdemo.cli.show import statusFrom
from twisted_tcpdemo.cli.table import connections, count, duration, limit, size, summary
from twisted_tcpdemo.cli.web import Client
from twisted_tcpdemo.twistd.programs import Discard, Echo


@asynccontextmanager
async def client(*arguments: object, via: str = "") -> AsyncGenerator[Child]:
    """
    A client as a process of its own.

    @param via: a line for the shell in which C{"$@"} is the client.
    """
    command: list[Any] = [sys.executable, "-W", "error", "-m", "twisted_tcpdemo", *arguments]
    if via:
        command = ["/bin/sh", "-c", via, "sh", *command]
    async with running(command) as child:
        yield child


@contextmanager
def rawServer() -> Generator[tuple[socket.socket, int]]:
    """
    A listening socket, for what Twisted would not do.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server, server.getsockname()[1]


async def accepted(server: socket.socket) -> socket.socket:
    """
    The next client of a listening socket.
    """
    connection, _ = await deferToThread(server.accept)
    return connection


async def ended(child: Child) -> tuple[int, str, str]:
    """
    The exit status and what was printed; never a traceback.
    """
    status = await child.whenEnded()
    assert "Traceback" not in child.err
    return status, child.out, child.err


class Greeter(TCPDemoProtocol):
    """
    Says something, and ends.
    """

    def connectionMade(self) -> None:
        """
        Say it.
        """
        self.write("hello\n")
        self.transport.loseConnection()


# connect


@pytest.mark.deadline(30)
async def test_halfClose() -> None:
    """
    The input goes out, its end is a FIN, and all that comes back is printed.
    """
    async with (
        serving(TCPDemoFactory(Echo)) as server,
        client("connect", "127.0.0.1", server.port) as child,
    ):
        child.transport.write(b"one\ntwo\n")
        child.transport.closeStdin()
        status, out, err = await ended(child)
    assert (status, out) == (Outcome.DONE, "one\ntwo\n")
    pattern = f"to 127.0.0.1:{server.port}: 8 bytes read, 8 written, 0."
    assert err.startswith("tcpdemo: 127.0.0.1:")
    assert pattern in err
    assert err.count("\n") == 1


@pytest.mark.deadline(30)
async def test_peerEndsFirst() -> None:
    """
    When the peer ends, so does the client, though its input is open.
    """
    async with (
        serving(TCPDemoFactory(Greeter)) as server,
        client("connect", f"tcp:127.0.0.1:{server.port}", "--quiet") as child,
    ):
        status, out, err = await ended(child)
    assert (status, out, err) == (Outcome.DONE, "hello\n", "")


@pytest.mark.deadline(30)
async def test_unixSocket(tmp_path: Path) -> None:
    """
    A path is that of a UNIX socket.
    """
    path = tmp_path / "s"
    async with (
        serving(TCPDemoFactory(Greeter), f"unix:{path}", f"unix:{path}"),
        client("connect", path) as child,
    ):
        status, out, err = await ended(child)
    assert (status, out) == (Outcome.DONE, "hello\n")
    assert f"unix:{path}: 6 bytes read" in err


@pytest.mark.deadline(30)
async def test_refused() -> None:
    """
    Nobody listens: status 3.
    """
    with rawServer() as (_, port):
        pass
    async with client("connect", "127.0.0.1", port) as child:
        status, out, err = await ended(child)
    expected = f"tcpdemo: cannot connect to 127.0.0.1:{port}: connection refused\n"
    assert (status, out, err) == (Outcome.REFUSED, "", expected)


@pytest.mark.deadline(30)
async def test_reset() -> None:
    """
    The connection is broken off: status 5, and what came is printed.
    """
    with rawServer() as (server, port):
        async with client("connect", "127.0.0.1", port) as child:
            with await accepted(server) as connection:
                connection.sendall(b"some")
                await child.whenPrinted("some")
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            status, out, err = await ended(child)
    assert (status, out) == (Outcome.RESET, "some")
    assert err.endswith(", reset\n")


@pytest.mark.deadline(30)
async def test_tls(tmp_path: Path) -> None:
    """
    Under TLS there is no half-close, and --linger ends the connection; all that
    comes until then is printed.
    """
    (tmp_path / "root.pem").write_bytes(pemFile().read_bytes())
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={pemFile()}"
    async with serving(TCPDemoFactory(Echo), endpoint) as server:
        where = f"tls:localhost:{server.port}:trustRoots={tmp_path}"
        async with client("connect", where, "--linger", "1", via='printf abc | "$@"') as child:
            status, out, _ = await ended(child)
    assert (status, out) == (Outcome.DONE, "abc")


@pytest.mark.deadline(30)
async def test_tlsUntrusted() -> None:
    """
    A certificate that is not trusted: status 9, and nothing is sent.
    """
    factory = TCPDemoFactory(Echo)
    async with serving(factory, f"ssl:0:interface=127.0.0.1:privateKey={pemFile()}") as server:
        async with client("connect", f"tls:localhost:{server.port}") as child:
            status, _, err = await ended(child)
        assert factory.bytesRead == 0
    assert status == Outcome.TLS_FAILED
    assert err.startswith(f"tcpdemo: cannot connect to tls:localhost:{server.port}: TLS: ")


@pytest.mark.deadline(30)
async def test_idle() -> None:
    """
    Nothing moves for too long: status 4.
    """
    async with (
        serving(TCPDemoFactory(Echo)) as server,
        client("connect", "127.0.0.1", server.port, "--idle-timeout", "0.2") as child,
    ):
        status, _, err = await ended(child)
    assert status == Outcome.TIMED_OUT
    assert err.endswith(", idle timeout\n")


@pytest.mark.deadline(30)
async def test_connectTimeout() -> None:
    """
    No connection in time: status 4.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        queued = [socket.socket() for _ in range(4)]
        for one in queued:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        try:
            async with client("connect", "127.0.0.1", port, "--timeout", "0.3") as child:
                status, _, err = await ended(child)
        finally:
            for one in queued:
                one.close()
    assert (status, err.endswith(": timed out\n")) == (Outcome.TIMED_OUT, True)


@pytest.mark.deadline(30)
@pytest.mark.parametrize("kind", ["file", "pipe"])
async def test_cutShort(kind: str, tmp_path: Path) -> None:
    """
    The peer ends before all of the input was sent: status 6.
    """
    (tmp_path / "input").write_bytes(bytes(50_000_000))
    via = '"$@" < {0}' if kind == "file" else 'cat {0} | "$@"'
    with rawServer() as (server, port):
        command = ("connect", "127.0.0.1", port)
        async with client(*command, via=via.format(tmp_path / "input")) as child:
            with await accepted(server) as connection:
                connection.shutdown(socket.SHUT_WR)
                await deferToThread(readToTheEnd, connection)
            status, _, _ = await ended(child)
    assert status == Outcome.CUT_SHORT


def readToTheEnd(connection: socket.socket) -> int:
    """
    Read until the peer ends.

    @return: how many bytes.
    """
    total = 0
    while data := connection.recv(2**18):
        total += len(data)
    return total


@pytest.mark.deadline(30)
async def test_keepSending(tmp_path: Path) -> None:
    """
    With --keep-sending all of the input is sent, though the peer has ended.
    """
    (tmp_path / "input").write_bytes(bytes(5_000_000))
    with rawServer() as (server, port):
        command = ("connect", "127.0.0.1", port, "--keep-sending")
        async with client(*command, via=f'"$@" < {tmp_path / "input"}') as child:
            with await accepted(server) as connection:
                connection.shutdown(socket.SHUT_WR)
                assert await deferToThread(readToTheEnd, connection) == 5_000_000
            status, _, _ = await ended(child)
    assert status == Outcome.DONE


@pytest.mark.deadline(30)
async def test_linger() -> None:
    """
    With --linger the connection ends though the peer does not.
    """
    async with serving(TCPDemoFactory(Discard, allowHalfOpen=True)) as server:
        command = ("connect", "127.0.0.1", server.port, "--linger", "0")
        async with client(*command, via='printf abc | "$@"') as child:
            status, _, err = await ended(child)
    assert status == Outcome.DONE
    assert "3 written" in err


@pytest.mark.deadline(30)
async def test_closedOutput() -> None:
    """
    Whoever reads standard output goes away: status 141, without a traceback.
    """

    class Endless(TCPDemoProtocol):
        def connectionMade(self) -> None:
            self.more()

        def more(self) -> None:
            self.transport.write(bytes(65536))
            self.whenWritable().addCallbacks(lambda _: later(self.more), lambda _: None)

    def later(function: Any) -> None:
        from twisted.internet import reactor

        reactor.callLater(0, function)  # type: ignore[attr-defined]

    async with serving(TCPDemoFactory(Endless, allowHalfOpen=True)) as server:
        via = '{ "$@" < /dev/null; echo $? >&2; } | head -c 10 | wc -c'
        async with client("connect", "127.0.0.1", server.port, "-q", via=via) as child:
            status, out, err = await ended(child)
    assert (status, out.strip(), err) == (0, "10", "141\n")


@pytest.mark.deadline(30)
@pytest.mark.parametrize(
    ("number", "expected"),
    [(signal.SIGINT, Outcome.INTERRUPTED), (signal.SIGTERM, Outcome.TERMINATED)],
)
async def test_signals(number: int, expected: Outcome) -> None:
    """
    Ctrl-C ends it without a traceback, and with the line.
    """
    async with (
        serving(TCPDemoFactory(Echo)) as server,
        client("connect", "127.0.0.1", server.port) as child,
    ):
        child.transport.write(b"x")
        await child.whenPrinted("x")
        child.signal(number)
        status, _, err = await ended(child)
    assert status == expected
    assert err.endswith(", aborted\n")


@pytest.mark.deadline(30)
async def test_interruptedWhileConnecting() -> None:
    """
    Ctrl-C ends the wait for a connection.
    """
    with rawServer() as (server, port):
        async with client("connect", f"tls:127.0.0.1:{port}", "--timeout", "0") as child:
            with await accepted(server):
                child.signal(signal.SIGINT)
                status, out, err = await ended(child)
    assert (status, out, err) == (Outcome.INTERRUPTED, "", "")


@pytest.mark.deadline(30)
async def test_interruptedWhileFull() -> None:
    """
    Ctrl-C ends it though nobody reads its output.
    """
    with rawServer() as (server, port):
        via = '{ "$@" < /dev/null & echo $! >&2; wait $!; echo $? >&2; } | sleep 20'
        async with client("connect", "127.0.0.1", port, "-q", via=via) as child:
            with await accepted(server) as connection:
                connection.setblocking(False)
                sent = 0
                while sent < 30_000_000:  # more than sockets and a pipe can hold, or refused
                    try:
                        sent += connection.send(bytes(65536))
                    except BlockingIOError:
                        await until(lambda: child.err)
                        break
                os.kill(int(child.err), signal.SIGTERM)
                await until(lambda: child.err.count("\n") == 2)
            assert child.err.split()[1] == str(int(Outcome.TERMINATED))


@pytest.mark.deadline(60)
async def test_boundedMemory(tmp_path: Path) -> None:
    """
    Much data goes through both ways, and little of it is in memory at a time.
    """
    (tmp_path / "input").write_bytes(bytes(100_000_000))
    code = (
        "import resource, sys; from twisted_tcpdemo.cli import main; status = main(sys.argv[1:]);"
        "print(status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    async with serving(TCPDemoFactory(Echo)) as server:
        program = [sys.executable, "-c", code, "connect", "127.0.0.1", str(server.port), "-q"]
        shell = f'"$@" < {tmp_path / "input"} | (sleep 0.5; wc -c)'
        async with running(["/bin/sh", "-c", shell, "sh", *program]) as child:
            status, out, err = await ended(child)
    assert (status, out.strip()) == (0, "100000000")
    outcome, kilobytes = map(int, err.split())
    assert outcome == 0
    assert kilobytes < 100_000


@pytest.mark.deadline(30)
async def test_progress(tmp_path: Path) -> None:
    """
    --progress tells on a terminal how it goes, and leaves a clean line.
    """
    (tmp_path / "input").write_bytes(bytes(1_000_000))
    ours, theirs = os.openpty()
    try:
        async with serving(TCPDemoFactory(Discard, allowHalfOpen=True)) as server:
            command = ("connect", "127.0.0.1", server.port, "--progress", "--linger", "1.3")
            via = f'"$@" < {tmp_path / "input"} 2> {os.ttyname(theirs)}'
            async with client(*command, via=via) as child:
                status, _, _ = await ended(child)
        shown = os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert status == Outcome.DONE
    assert "1.0 MB sent (" in shown
    assert "100 % of the input" in shown
    assert "\r\x1b[Ktcpdemo: 127.0.0.1:" in shown


@pytest.mark.deadline(30)
async def test_terminal() -> None:
    """
    On a terminal, which is one file for input and output, it talks both ways,
    and leaves the terminal as it was.
    """
    ours, theirs = os.openpty()
    try:
        async with serving(TCPDemoFactory(Echo)) as server:
            name = os.ttyname(theirs)
            via = f'"$@" <> {name} >&0 2> /dev/null'
            async with client("connect", "127.0.0.1", server.port, via=via) as child:
                os.write(ours, b"hello\n")
                os.write(ours, b"\x04")
                status, _, _ = await ended(child)
        assert os.get_blocking(theirs)
        assert os.read(ours, 1000).count(b"hello") == 2  # the terminal's echo, and ours
    finally:
        os.close(ours)
        os.close(theirs)
    assert status == Outcome.DONE


@pytest.mark.deadline(30)
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
async def test_closedFiles(closed: str) -> None:
    """
    With one of its three files closed, no socket takes its place.
    """
    async with serving(TCPDemoFactory(Greeter)) as server:
        command = ("connect", "127.0.0.1", server.port)
        async with client(*command, via=f'"$@" {closed}') as child:
            status, out, _ = await ended(child)
    assert (status, out) == (Outcome.DONE, "" if ">&-" in closed.replace("2>", "") else "hello\n")


@pytest.mark.deadline(30)
async def test_fullDisk() -> None:
    """
    When standard output takes no more, that is said, and the status is 1.
    """
    async with serving(TCPDemoFactory(Greeter)) as server:
        command = ("connect", "127.0.0.1", server.port, "-q")
        async with client(*command, via='"$@" > /dev/full') as child:
            status, _, err = await ended(child)
    assert (status, err) == (1, "tcpdemo: standard output: No space left on device\n")


@pytest.mark.deadline(30)
async def test_inputThatCannotBeRead() -> None:
    """
    When standard input cannot be read, that is said, and the status is 1.
    """
    async with serving(TCPDemoFactory(Echo)) as server:
        command = ("connect", "127.0.0.1", server.port, "-q")
        async with client(*command, via='"$@" 0> /dev/null') as child:
            status, _, err = await ended(child)
    assert (status, err) == (1, "tcpdemo: standard input: Bad file descriptor\n")


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ConnectionRefusedError(111), Outcome.REFUSED),
        (ConnectError(2), Outcome.REFUSED),
        (TCPTimedOutError(), Outcome.TIMED_OUT),
        (CancelledError(), Outcome.TIMED_OUT),
        (DNSLookupError(), Outcome.NO_SUCH_NAME),
        (NoRouteError(), Outcome.UNREACHABLE),
        (ConnectError(101), Outcome.UNREACHABLE),
        (ConnectionLost(), Outcome.RESET),
        (ConnectError(13), Outcome.FAILED),
        (ValueError("odd \x1b"), Outcome.FAILED),
        (ValueError(), Outcome.FAILED),
    ],
)
def test_explained(error: BaseException, outcome: Outcome) -> None:
    """
    Each failure to connect has its status, and words that are safe to print.
    """
    found, why = explained(error)
    assert found == outcome
    assert why and why.isprintable()


def test_untrusted() -> None:
    """
    A certificate that is not trusted has its own status.
    """
    from OpenSSL.SSL import Error

    assert explained(Error([("SSL", "", "certificate verify failed")]))[0] == Outcome.TLS_FAILED


# Bad input.


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        "connect",
        "connect localhost",
        "connect localhost 0",
        "connect localhost 65536",
        "connect localhost http",
        "connect localhost 80 90",
        "connect nonsense:1:2",
        "connect tcp:",
        "connect tcp:a..b:80",
        f"connect tcp:{'a' * 64}.test:80",
        "connect ssl:host=a..b:port=443",
        "connect tls:a..b:443",
        "connect tcp:localhost:0",
        "connect tcp:localhost:99999",
        "connect tcp:localhost:http",
        "connect a@b 80",
        "connect localhost 80 --timeout -1",
        "connect localhost 80 --timeout nan",
        "connect localhost 80 --linger x",
        "connect localhost 80 --quie",
        "status",
        "status localhost",
        "status http://",
        "status ftp://x/",
        "status http://[",
        "status http://x:99999",
        "status http://user@x",
        "status http://x/\u20ac",
        "status /x --interval 0",
        "status /x --token-file /nowhere/at/all",
        "control /x",
        "control /x nonsense",
        "control /x limit -1",
        "control /x limit many",
        "control /x close",
        "control /x close x",
        "control /x overflow maybe",
        "control /x drain soon",
        "control /x drain --spread 3",
    ],
)
def test_badInput(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """
    What makes no sense ends with one line and status 2.
    """
    assert main(line.split()) == Outcome.BAD_INPUT
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("tcpdemo: ")
    assert err.count("\n") == 1
    assert "Errno" not in err


@pytest.mark.parametrize(
    ("where", "hint"),
    [
        ("localhost:80", "connect HOST PORT, not HOST:PORT"),
        ("127.0.0.1:80", "connect HOST PORT, not HOST:PORT"),
        ("[::1]:80", "connect HOST PORT, not HOST:PORT"),
        ("::1", "goes a port: connect HOST PORT"),
        ("[::1]", "goes a port: connect HOST PORT"),
        ("localhost", "goes a port: connect HOST PORT"),
        ("tcp:80", "tcp:HOST:PORT"),
        ("nonsense:1:2", "Unknown endpoint type"),
    ],
)
def test_whereTo(where: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A host and a port that are given in another way lead to the right one.
    """
    assert main(["connect", where]) == Outcome.BAD_INPUT
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff", b"a\x1bb"])
def test_badToken(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A token that is none is told before anybody is asked.
    """
    (tmp_path / "token").write_bytes(content)
    command = ["status", "http://127.0.0.1:1", "--token-file", str(tmp_path / "token")]
    assert main(command) == Outcome.BAD_INPUT
    assert "--token-file" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["connect"], ["status"], ["control"]])
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """
    --help tells every exit status, and has examples.
    """
    with pytest.raises(SystemExit) as exiting:
        main([*command, "--help"])
    assert exiting.value.code == 0
    shown = capsys.readouterr().out
    assert all(f"{status.value:>3}  {meaning}" in shown for status, meaning in MEANINGS.items())
    assert not command or f"tcpdemo {command[0]} " in shown.partition("examples:")[2]


def test_documented() -> None:
    """
    The page on the client has every exit status.
    """
    page = (DOCS / "client-cli.md").read_text()
    assert [s for s in MEANINGS if f"| {s.value} | " not in page] == []


@pytest.mark.deadline(30)
async def test_headOfHelp() -> None:
    """
    Output that nobody reads to the end leaves no traceback.
    """
    async with client("connect", "--help", via='"$@" | head -n 1') as child:
        status, out, err = await ended(child)
    assert (status, err) == (0, "")
    assert out.startswith("usage: tcpdemo connect")


# status and control


async def command(*arguments: object) -> int:
    """
    Run a command in a thread, while the server goes on in this one.
    """
    status: int = await deferToThread(main, [str(a) for a in arguments])
    return status


async def test_control(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Every verb does what it says, and tells what has come of it.
    """
    async with controlled(tmp_path) as control:
        path, factory = tmp_path / "control", control.factory
        peers = [await control.server.connect() for _ in range(2)]
        await until(lambda: factory.connectionCount == 2)
        first, second = (p.connectionID for p in factory.connections)

        async def told(*arguments: object) -> str:
            assert await command("control", path, *arguments) == Outcome.DONE
            return capsys.readouterr().out.strip()

        assert await told("limit", 100) == "limit 100, refuse beyond"
        assert factory.maxConnections == 100
        assert await told("limit") == "limit 100, refuse beyond"
        factory.descriptorLimit = 5000
        assert await told("limit", "none") == "limit 5,000 (descriptors), refuse beyond"
        assert factory.maxConnections is None
        assert await told("overflow", "wait") == "limit 5,000 (descriptors), wait beyond"
        assert await told("suspend") == "suspended, 2 connected"
        assert await told("resume") == "accepting, 2 connected"
        table = (await told("connections")).splitlines()
        assert [line.split()[0] for line in table] == ["id", str(first), str(second)]
        assert await told("close", first) == f"connection {first}: closing"
        await peers[0].whenEnded()
        assert await told("abort", second) == f"connection {second}: aborted"
        await peers[1].whenLost()
        await control.server.connect()
        await until(lambda: factory.connectionCount == 1)
        assert (await told("drain", 30, "--spread", 1)).startswith("draining, ")
        assert await command("control", path, "resume") == Outcome.FAILED
        assert "does not listen any more" in capsys.readouterr().err
        assert await told("drain", 0)


async def test_controlWithToken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Over TCP the token is sent; without it, the server's answer is told.
    """
    (tmp_path / "token").write_text("s3cret\n")
    text = "tcp:0:interface=127.0.0.1"
    async with controlled(tmp_path, token=b"s3cret", text=text) as control:
        url = control._client.replace("tcp:", "http://")
        assert await command("control", url, "suspend") == Outcome.FAILED
        assert capsys.readouterr().err == "tcpdemo: the server says: a token is needed\n"
        tokenFile = ("--token-file", tmp_path / "token")
        assert await command("control", url, *tokenFile, "suspend") == Outcome.DONE


async def test_statusOfADryRun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Whom a dry run has let in is counted by rule.
    """
    factory = TCPDemoFactory(Echo, admission=Admission(PerPeerLimit(1), dryRun=True))
    async with controlled(tmp_path, factory) as control:
        assert await command("status", tmp_path / "control") == Outcome.DONE
        assert "\nwould refuse 0 (perPeerLimit: 0)\n" in capsys.readouterr().out
        for _ in range(3):
            await control.server.connect()
        await until(lambda: factory.connectionCount == 3)
        assert await command("status", tmp_path / "control") == Outcome.DONE
    assert "\nwould refuse 2 (perPeerLimit: 2)\n" in capsys.readouterr().out


async def test_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The status is a table with the counters and the connections.
    """
    async with controlled(tmp_path, TCPDemoFactory(Echo, maxConnections=1)) as control:
        peer = await control.server.connect()
        peer.transport.write(bytes(2000))
        await peer.whenReceived(2000)
        refused = await control.server.connect()
        await refused.whenEnded()
        assert await command("status", f"unix:{tmp_path / 'control'}") == Outcome.DONE
        shown = capsys.readouterr().out
        assert await command("status", tmp_path / "control", "--json") == Outcome.DONE
        assert json.loads(capsys.readouterr().out)["connections"][0]["bytesRead"] == 2000
    assert f"accepting, listening on 127.0.0.1:{control.server.port}\n" in shown
    assert "connections  1 of 1, refuse beyond\n" in shown
    assert "refused      1 (maxConnections: 1)\nclosed" in shown
    assert shown.splitlines()[-2].split() == [
        *("id", "peer", "host", "age", "idle", "read", "written", "pending")
    ]
    assert "2.0 kB   2.0 kB      0 B" in shown


@pytest.mark.parametrize("option", ["--all", "--json", "--timeout=9"])
async def test_manyOnAStatusPage(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Off a terminal, a status page is asked for more connections than a browser
    is shown.
    """
    factory = TCPDemoFactory(Echo)
    connected(factory, 250)
    async with showing(factory) as port:
        assert await command("status", f"http://127.0.0.1:{port}", option) == Outcome.DONE
    shown = capsys.readouterr().out
    if option == "--json":
        assert len(json.loads(shown)["connections"]) == 250
    else:
        assert len(shown.partition("\n\n")[2].splitlines()) == 251


async def test_tooManyForAStatusPage(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Those whom a status page does not tell of are counted.
    """
    factory = TCPDemoFactory(Echo)
    connected(factory, 1003)
    async with showing(factory) as port:
        assert await command("status", f"http://127.0.0.1:{port}", "--all") == Outcome.DONE
    assert capsys.readouterr().out.endswith("\n... and 3 more (control lists all)\n")


@pytest.mark.deadline(30)
async def test_statusOnATerminal() -> None:
    """
    On a terminal what fits is shown, and the rest counted.
    """
    factory = TCPDemoFactory(Echo)
    connected(factory, 339)
    ours, theirs = os.openpty()
    try:
        async with showing(factory) as port:
            via = f'LINES=24 "$@" > {os.ttyname(theirs)}'
            async with client("status", f"http://127.0.0.1:{port}", via=via) as child:
                status, _, err = await ended(child)
        lines = os.read(ours, 65536).decode().splitlines()
    finally:
        os.close(ours)
        os.close(theirs)
    assert (status, err, len(lines)) == (Outcome.DONE, "", 23)
    told = sum(line.strip()[:1].isdecimal() for line in lines)
    assert lines[-1] == f"... and {339 - told} more (--all)"


@pytest.mark.deadline(30)
async def test_watch(tmp_path: Path) -> None:
    """
    --watch goes on, with rates, until Ctrl-C.
    """
    async with controlled(tmp_path):
        watching = ("status", tmp_path / "control", "--watch", "--interval", "0.05")
        async with client(*watching) as child:
            await child.whenPrinted(r"accepted +0 \(0\.0/s\)")
            child.signal(signal.SIGINT)
            status, _, err = await ended(child)
    assert (status, err) == (Outcome.INTERRUPTED, "")


@pytest.mark.deadline(30)
async def test_watchOnATerminal(tmp_path: Path) -> None:
    """
    On a terminal each look replaces the one before.
    """
    ours, theirs = os.openpty()
    try:
        async with controlled(tmp_path):
            via = f'exec "$@" > {os.ttyname(theirs)}'
            watching = ("status", tmp_path / "control", "--watch", "--interval", "0.05")
            async with client(*watching, via=via) as child:
                shown = b""
                while shown.count(b"\x1b[H") < 3:
                    shown += await deferToThread(os.read, ours, 65536)
                child.signal(signal.SIGINT)
                status, _, err = await ended(child)
            os.set_blocking(ours, False)
            with suppress(BlockingIOError):
                shown += os.read(ours, 65536)
    finally:
        os.close(ours)
        os.close(theirs)
    assert (status, err) == (Outcome.INTERRUPTED, "")
    assert b"state        accepting" in shown
    assert b"\x1b[K" in shown
    assert shown.endswith(b"\n")


# Servers that are none, or not friendly.


@contextmanager
def answering(*answers: bytes) -> Generator[str]:
    """
    A server that gives each client one of some answers, whatever it asks.
    """

    def serve() -> None:
        for answer in answers:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

    with rawServer() as (server, port):
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            thread.join()


def response(value: object, status: str = "200 OK") -> bytes:
    """
    An answer in HTTP.
    """
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return f"HTTP/1.0 {status}\r\n\r\n".encode() + body


HOSTILE = "\x1b]0;owned\x07\u202e\n"


def test_hostileServer(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Nothing that a server says reaches the terminal as an escape sequence.
    """
    status = {
        "connectionCount": HOSTILE,
        "state": HOSTILE,
        "pid": [HOSTILE],
        "uptime": HOSTILE,
        "overflow": HOSTILE,
        "maxConnections": {HOSTILE: HOSTILE},
        "bytesRead": 1e300,
        "bytesPending": True,
        "listeners": [HOSTILE, {"address": HOSTILE, "port": HOSTILE}, {"address": "::", "port": 1}],
        "refusedBy": {HOSTILE: HOSTILE},
        "wouldRefuseBy": HOSTILE,
        "closedBy": [],
        "connections": [HOSTILE, {"id": HOSTILE, "peer": HOSTILE, "age": -1, "roundTripTime": 0.1}],
    }
    with answering(response(status)) as url:
        assert main(["status", url]) == Outcome.DONE
    shown = capsys.readouterr().out
    assert all(line.isprintable() for line in shown.split("\n"))
    assert r"\x1b]0;owned" in shown
    assert "100.0 ms" in shown


@pytest.mark.parametrize(
    ("answer", "outcome", "why"),
    [
        (b"", Outcome.RESET, "no answer in HTTP"),
        (b"SSH-2.0\r\n", Outcome.FAILED, "no answer in HTTP"),
        (response({}, "500 " + HOSTILE.strip()), Outcome.FAILED, "500 Internal Server Error"),
        (response({"error": HOSTILE}, "401 x"), Outcome.FAILED, r"\x1b]0;owned"),
        (response({"error": 3}, "999 x"), Outcome.FAILED, "999 an unknown status"),
        (response([]), Outcome.FAILED, "with no status"),
        (response(b"[" * 100_000), Outcome.FAILED, "with no status"),
        (response(b"\xff"), Outcome.FAILED, "with no status"),
    ],
)
def test_noStatus(
    answer: bytes, outcome: Outcome, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A server that gives no status is told in one line.
    """
    with answering(answer) as url:
        assert main(["status", url]) == outcome
    err = capsys.readouterr().err
    assert why in err
    assert err[:-1].isprintable()


def test_noControl(capsys: pytest.CaptureFixture[str]) -> None:
    """
    A server that does not speak the language of control is told in one line.
    """
    with answering(response("yes")) as url:
        assert main(["control", url, "suspend"]) == Outcome.FAILED
    assert "not in the language of control" in capsys.readouterr().err


def test_endlessAnswer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """
    An answer without an end is not read to its end.
    """
    monkeypatch.setattr("twisted_tcpdemo.cli.web.MAX_ANSWER", 1000)
    with answering(response(bytes(2000))) as url:
        assert main(["status", url]) == Outcome.FAILED
    assert "the answer has no end" in capsys.readouterr().err


def test_nobodyThere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A server that is not there has the status of a refused connection.
    """
    assert main(["status", str(tmp_path / "none")]) == Outcome.REFUSED
    assert "No such file or directory" in capsys.readouterr().err
    with rawServer() as (_, port):
        pass
    assert main(["status", f"http://127.0.0.1:{port}"]) == Outcome.REFUSED
    assert main(["status", "http://name.invalid"]) == Outcome.NO_SUCH_NAME


def test_silentServer(capsys: pytest.CaptureFixture[str]) -> None:
    """
    A server that does not answer in time has the status of a timeout.
    """
    with rawServer() as (_, port):
        url = f"http://127.0.0.1:{port}"
        assert main(["status", url, "--timeout", "0.1"]) == Outcome.TIMED_OUT
        assert capsys.readouterr().err == f"tcpdemo: {url}: timed out\n"
        secure = url.replace("http", "https")
        assert main(["status", secure, "--timeout", "0.1"]) == Outcome.TIMED_OUT


def test_statusPage() -> None:
    """
    The address of a status page may be that of the page or of its data.
    """
    for path in ("", "/", "/status.json", "/below/status.json"):
        with answering(response({"connectionCount": 3})) as url:
            assert statusFrom(Client(url + path, 5, None)) == {"connectionCount": 3}


# Text.


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_400, "999.4 kB"),
        (999_999, "1.0 MB"),
        (12_345_678_901, "12.3 GB"),
        (None, "-"),
        (10**40, "-"),
    ],
)
def test_size(value: object, shown: str) -> None:
    """
    Bytes are shown with three digits or so.
    """
    assert size(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0.0s"),
        (59.9, "59.9s"),
        (125, "2m05s"),
        (12_000, "3h20m"),
        (352_800, "4d02h"),
        ("x", "-"),
        (-1, "-"),
        (float("nan"), "-"),
    ],
)
def test_duration(value: object, shown: str) -> None:
    """
    Times are shown with their two largest units.
    """
    assert duration(value) == shown


def test_rates() -> None:
    """
    Rates are those since the last look; after a restart there are none.
    """
    before = {"time": 10, "acceptedCount": 5, "bytesRead": 0}
    now = {"time": 12, "acceptedCount": 10, "bytesRead": 5000, "connectionCount": 1}
    lines = summary(now, before)
    assert "accepted     10 (2.5/s)" in lines
    assert "read         5.0 kB (2.5 kB/s)" in lines
    assert "accepted     5" in summary(before, now)
    assert count(1234567) == "1,234,567"


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ({"maxConnections": 5, "effectiveLimit": 5}, "limit 5"),
        ({"maxConnections": None, "effectiveLimit": 19936}, "limit 19,936 (descriptors)"),
        ({"maxConnections": 50_000, "effectiveLimit": 19936}, "limit 19,936 (descriptors)"),
        ({"maxConnections": None, "effectiveLimit": None}, "no limit"),
        ({"maxConnections": 5}, "limit 5"),
        ({"maxConnections": None}, "no limit"),
        ({}, "no limit"),
    ],
)
def test_limit(status: dict[str, Any], shown: str) -> None:
    """
    The limit is the one that holds, with its cause; an older server tells only
    the one that was given.
    """
    assert limit(status) == shown
    assert f"connections  3 of {shown.removeprefix('limit ')}, wait beyond" in summary(
        {**status, "connectionCount": 3, "overflow": "wait"}
    )


def test_manyConnections() -> None:
    """
    A table that does not fit says how much it leaves out.
    """
    values = [{"id": n, "peer": "x"} for n in range(1000)]
    assert len(connections(values)) == 1001
    lines = connections(values, 10)
    assert len(lines) == 10
    assert lines[-1] == "... and 992 more (--all)"
    assert connections([]) == connections(None) == ["no connections"]


def test_connectionsNotTold() -> None:
    """
    Those that match and were not sent are counted among what is left out; where
    --all does not help, that is not what is said.
    """
    values = [{"id": n, "peer": "x"} for n in range(20)]
    assert connections(values, 10, 339)[-1] == "... and 331 more (--all)"
    assert connections(values, 100, 339)[-1] == "... and 319 more (--all)"
    assert connections(values, None, 339)[-1] == "... and 319 more (control lists all)"
    assert connections(values, None, 20) == connections(values)
    assert connections(values, None, HOSTILE) == connections(values)
