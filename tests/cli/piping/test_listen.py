"""
C{tcpdemo listen}.
"""

from __future__ import annotations

import signal
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from twisted.internet.threads import deferToThread

from tests.support.certificates import pemFile
from tests.support.cli import client, ended, rawServer
from tests.support.peers import connectTo
from tests.support.processes import Child
from tests.support.waiting import until
from twisted_tcpdemo.cli import main
from twisted_tcpdemo.cli.outcome import Outcome


async def whereOf(child: Child) -> int:
    """
    The port on which a command says that it listens.
    """
    found = await child.whenTold(r"tcpdemo: listening on \S*:(\d+)\n")
    return int(found[1])


def refuses(port: int) -> bool:
    """
    Whether nobody listens on a port; one that is being closed resets whom it had queued.
    """
    try:
        connectTo(port).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass
    return False


@pytest.mark.deadline(30)
async def test_otherEndOfAPipe() -> None:
    """
    Two clients, one of which listens, are a pipe both ways, and both end in order.
    """
    async with client("listen", "127.0.0.1", 0, via='printf down | "$@"') as near:
        port = await whereOf(near)
        async with client("connect", "127.0.0.1", port, via='printf up | "$@"') as far:
            assert (await ended(far))[:2] == (Outcome.DONE, "down")
        status, out, err = await ended(near)
    assert (status, out) == (Outcome.DONE, "up")
    assert ": 2 bytes read, 4 written, " in err


@pytest.mark.deadline(30)
async def test_oneClient() -> None:
    """
    Without --keep nobody else is accepted, and the port is free at once.
    """
    async with client("listen", "127.0.0.1", 0, "--receive-only") as child:
        port = await whereOf(child)
        with connectTo(port) as first:
            first.sendall(b"one")
            await child.whenPrinted("one")
            await until(partial(refuses, port))
        status, out, _ = await ended(child)
    assert (status, out) == (Outcome.DONE, "one")


@pytest.mark.deadline(30)
async def test_keep() -> None:
    """
    With --keep one client is served after another; those who come early wait, and nothing
    of theirs is mixed.  Ctrl-C ends it.
    """
    async with client("listen", "--keep", "--receive-only", "127.0.0.1", 0) as child:
        port = await whereOf(child)
        with connectTo(port) as first, connectTo(port) as second:
            second.sendall(b"second\n")
            second.shutdown(socket.SHUT_WR)
            first.sendall(b"first\n")
            await child.whenPrinted("first\n")
            assert "second" not in child.out
            first.close()
            await child.whenPrinted("first\nsecond\n")
            assert second.recv(1) == b""
        child.signal(signal.SIGINT)
        status, _, err = await ended(child)
    assert status == Outcome.INTERRUPTED
    assert err.count(", peer closed\n") == 2


@pytest.mark.deadline(30)
async def test_keepAndInput() -> None:
    """
    With --keep the input goes to the client that is there when it comes, and after its end
    later clients are only listened to.
    """
    async with client("listen", "--keep", "127.0.0.1", 0) as child:
        port = await whereOf(child)
        for number, word in enumerate((b"one\n", b"two\n"), 1):
            with connectTo(port) as peer:
                child.transport.write(word)
                assert await deferToThread(peer.recv, 100) == word
            await child.whenTold(rf"(.*: 0 bytes read, .*\n){{{number}}}")
        with connectTo(port) as peer:
            child.transport.closeStdin()
            assert await deferToThread(peer.recv, 100) == b""
        with connectTo(port) as peer:
            peer.sendall(b"three\n")
            await child.whenPrinted("three")
            peer.settimeout(0.01)
            with pytest.raises(TimeoutError):
                peer.recv(1)


@pytest.mark.deadline(30)
async def test_certificate() -> None:
    """
    With --certificate the server speaks TLS, without any other package.
    """
    command = ("listen", "--certificate", pemFile(), "-v", "localhost", 0)
    async with client(*command, via='printf down | "$@"') as near:
        port = await whereOf(near)
        trust = ("--cafile", pemFile(), "--linger", "1", "localhost", port)
        async with client("connect", *trust, via='printf up | "$@"') as far:
            assert (await ended(far))[:2] == (Outcome.DONE, "down")
        status, out, err = await ended(near)
    assert (status, out) == (Outcome.DONE, "up")
    assert "tcpdemo: TLSv1.3, " in err


@pytest.mark.deadline(30)
async def test_noTLS() -> None:
    """
    A client that speaks no TLS is told of in a sentence, with status 9.
    """
    async with client("listen", "--certificate", pemFile(), "127.0.0.1", 0) as child:
        with connectTo(await whereOf(child)) as peer:
            peer.sendall(b"GET / HTTP/1.0\r\n\r\n")
            status, _, err = await ended(child)
    assert status == Outcome.TLS_FAILED
    assert "tcpdemo: TLS: http request\n" in err


@pytest.mark.deadline(30)
@pytest.mark.parametrize("text", ["{}", "unix:{}"])
async def test_path(tmp_path: Path, text: str) -> None:
    """
    On a UNIX socket the command listens for its user alone, and removes it in the end.
    """
    path = tmp_path / "s"
    async with client("listen", "--receive-only", text.format(path)) as child:
        await child.whenTold("listening on unix:")
        if text == "{}":
            assert path.stat().st_mode & 0o777 == 0o600
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(path))
            peer.sendall(b"hello")
        assert (await ended(child))[:2] == (Outcome.DONE, "hello")
    assert not path.exists()


@pytest.mark.deadline(30)
async def test_timeout(tmp_path: Path) -> None:
    """
    When no client comes in time, the status is 4, and the socket is gone.
    """
    async with client("listen", "--timeout", "0.2", tmp_path / "s") as child:
        status, out, _ = await ended(child)
    assert (status, out) == (Outcome.TIMED_OUT, "")
    assert not (tmp_path / "s").exists()


@pytest.mark.deadline(30)
async def test_closedOutput() -> None:
    """
    With --keep, too, all ends when the reader of standard output leaves.
    """
    via = '{ "$@"; echo $? >&2; } | head -c 3'
    async with client("listen", "-k", "--receive-only", "127.0.0.1", 0, via=via) as child:
        port = await whereOf(child)
        with connectTo(port) as peer, suppress(ConnectionError):
            peer.sendall(b"one")
            await child.whenPrinted("one")
            while child.status is None:
                peer.sendall(b"more")
                await child.whenTold(f"\n{Outcome.CLOSED_OUTPUT}\n")
        _, out, err = await ended(child)
    assert out == "one" and err.endswith("\n141\n")


@pytest.mark.deadline(30)
async def test_taken() -> None:
    """
    A port that is taken is told of in a sentence.
    """
    with rawServer() as (_, port):
        async with client("listen", "127.0.0.1", port) as child:
            status, out, err = await ended(child)
    expected = f"tcpdemo: cannot listen on 127.0.0.1:{port}: Address already in use\n"
    assert (status, out, err) == (Outcome.FAILED, "", expected)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("localhost", "goes a port: listen HOST PORT"),
        ("::1", "with the host '::1' goes a port: listen HOST PORT"),
        ("localhost:80", "; listen HOST PORT, not HOST:PORT"),
        ("nonsense:1", "nonsense"),
        ("70000", "port must be from 0 to 65535"),
        ("localhost 70000", "a port, 0 to 65535"),
        ("--certificate /nowhere 0", "--certificate '/nowhere': No such file"),
        ("--certificate /dev/null 0", "there is no PEM in it that can be used"),
    ],
)
def test_badInput(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A place on which one cannot listen is refused, with the reason.
    """
    assert main(["listen", *words.split()]) == Outcome.BAD_INPUT
    assert said in capsys.readouterr().err
