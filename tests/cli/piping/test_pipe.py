"""
C{tcpdemo connect}, once it is connected: the bytes both ways, and the end.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from twisted.internet.threads import deferToThread

from tests.support.cli import Greeter, accepted, client, ended, rawServer
from tests.support.peers import serving
from tests.support.processes import running
from tests.support.waiting import until
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.cli.outcome import Outcome
from twisted_tcpdemo.twistd.programs import Discard, Echo


@pytest.mark.deadline(30)
async def test_halfClose() -> None:
    """
    The input is sent, its end is a FIN, and all of the answer is printed.
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
    When the peer ends, the client ends too, though its input is open.
    """
    async with (
        serving(TCPDemoFactory(Greeter)) as server,
        client("connect", f"tcp:127.0.0.1:{server.port}", "--quiet") as child,
    ):
        status, out, err = await ended(child)
    assert (status, out, err) == (Outcome.DONE, "hello\n", "")


@pytest.mark.deadline(30)
async def test_idle() -> None:
    """
    A connection on which no byte moves for too long has status 4.
    """
    async with (
        serving(TCPDemoFactory(Echo)) as server,
        client("connect", "127.0.0.1", server.port, "--idle-timeout", "0.2") as child,
    ):
        status, _, err = await ended(child)
    assert status == Outcome.TIMED_OUT
    assert err.endswith(", idle timeout\n")


@pytest.mark.deadline(30)
@pytest.mark.parametrize("kind", ["file", "pipe"])
async def test_cutShort(kind: str, tmp_path: Path) -> None:
    """
    When the peer ends before all of the input is sent, the status is 6.
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

    @return: the number of bytes.
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
    With --linger the client ends the connection though the peer does not.
    """
    async with serving(TCPDemoFactory(Discard, allowHalfOpen=True)) as server:
        command = ("connect", "127.0.0.1", server.port, "--linger", "0")
        async with client(*command, via='printf abc | "$@"') as child:
            status, _, err = await ended(child)
    assert status == Outcome.DONE
    assert "3 written" in err


@pytest.mark.deadline(30)
async def test_interruptedWhileFull() -> None:
    """
    SIGTERM ends the client though its output is not read.
    """
    with rawServer() as (server, port):
        via = '{ "$@" < /dev/null & echo $! >&2; wait $!; echo $? >&2; } | sleep 20'
        async with client("connect", "127.0.0.1", port, "-q", via=via) as child:
            with await accepted(server) as connection:
                connection.setblocking(False)
                sent = 0
                while sent < 30_000_000:  # more than sockets and a pipe can hold
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
    Many bytes go through in both directions, and few are in memory at a time.
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
async def test_terminal() -> None:
    """
    On a terminal, one file for input and output, the client talks in both
    directions and leaves the terminal as it was.
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
        assert os.read(ours, 1000).count(b"hello") == 2  # once by the terminal, once by the server
    finally:
        os.close(ours)
        os.close(theirs)
    assert status == Outcome.DONE
