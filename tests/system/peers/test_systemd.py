"""
Tests against C{systemd-socket-activate}: sockets of its own, handed over to C{twistd}.
"""

from __future__ import annotations

import os
import signal
import socket
import stat
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, connectProtocol

from tests.support.clients import freePort, installedReactor
from tests.support.peers import Peer
from tests.support.processes import Child, running, twistd
from tests.support.waiting import until
from tests.system.peers.support import needs, printed, program

ACTIVATE = "systemd-socket-activate"

pytestmark = [needs(ACTIVATE), pytest.mark.deadline(20)]


@asynccontextmanager
async def activated(
    sockets: Sequence[object], *options: str, names: str = ""
) -> AsyncGenerator[Child]:
    """
    C{twistd} with sockets of systemd's, as long as the block lasts.  It is started by
    the first client.

    @param sockets: ports, addresses with ports, or paths.
    @param names: the names of the sockets, with colons.
    """
    command = [program(ACTIVATE)]
    for where in sockets:
        command += ["--listen", str(where)]
    command += [f"--fdname={names}"] if names else []
    # The paths of modules and the buffers of outputs do not go through by themselves.
    for name in ("PYTHONPATH", "PYTHONUNBUFFERED", "PATH", "HOME"):
        command += ["--setenv", name]
    async with running([*command, *twistd(*options)]) as child:
        for where in sockets:
            shown = f"[::]:{where}" if str(where).isdigit() else where
            await printed(child, f"Listening on {shown} as ")
        yield child


async def connect(where: Path | tuple[str, int]) -> Peer:
    """
    A client of one of the sockets.
    """
    reactor = installedReactor()
    endpoint = (
        UNIXClientEndpoint(reactor, str(where))
        if isinstance(where, Path)
        else HostnameEndpoint(reactor, *where)
    )
    peer = Peer()
    await connectProtocol(endpoint, peer)
    return peer


async def echoed(where: Path | tuple[str, int]) -> Peer:
    """
    A client that has got back what it said.
    """
    peer = await connect(where)
    peer.transport.write(b"hello")
    await peer.when(lambda: len(peer.received) >= 5 or peer.reason)
    assert peer.received == b"hello"
    return peer


async def leave(peer: Peer) -> None:
    """
    Close a client, and wait for its end.
    """
    peer.transport.loseConnection()
    await peer.whenLost()


@pytest.mark.parametrize(
    ("host", "listen", "domain", "shown"),
    [
        ("127.0.0.1", "127.0.0.1:{port}", "INET", r"127\.0\.0\.1:\d+ \(IPv4\)"),
        ("::1", "[::1]:{port}", "INET6", r"\[::1\]:\d+ \(IPv6\)"),
        ("127.0.0.1", "{port}", "INET6", r"127\.0\.0\.1:\d+ \(IPv4\)"),
        ("::1", "{port}", "INET6", r"\[::1\]:\d+ \(IPv6\)"),
    ],
    ids=["v4", "v6", "v4 on both", "v6 on both"],
)
async def test_tcp(host: str, listen: str, domain: str, shown: str) -> None:
    """
    A socket of systemd's is served from the first client on, which is reported with
    its plain address.
    """
    port = freePort()
    strings = ("--listen", f"systemd:domain={domain}:index=0", "--protocol", "echo")
    async with activated([listen.format(port=port)], *strings) as child:
        peer = await echoed((host, port))
        await child.whenPrinted(rf"connection 1: {shown} to ")
        await leave(peer)
        await child.whenPrinted("close 1: peer closed after .* 5 bytes read, 5 written, 0 unsent")
        child.signal(signal.SIGTERM)
        await child.whenEnded()
        assert "Traceback" not in child.out + child.err


@pytest.mark.parametrize("domain", ["INET", "UNIX"])
async def test_otherDomain(domain: str) -> None:
    """
    The family is that of the socket, whatever the string says.
    """
    port = freePort()
    strings = ("--listen", f"systemd:domain={domain}:index=0", "--protocol", "echo")
    async with activated([f"[::1]:{port}"], *strings) as child:
        peer = await echoed(("::1", port))
        own = peer.transport.getHost().port
        await child.whenPrinted(rf"connection 1: \[::1\]:{own} \(IPv6\) to \[::1\]:{port};")
        await leave(peer)


async def test_unix(tmp_path: Path) -> None:
    """
    A UNIX socket of systemd's keeps its mode while it is served, and is still there
    when the server has ended.
    """
    path = tmp_path / "socket"
    strings = ("--listen", "systemd:domain=UNIX:index=0", "--protocol", "echo")
    async with activated([path], *strings) as child:
        path.chmod(0o600)
        before = os.stat(path)
        peer = await echoed(path)
        await child.whenPrinted(rf"connection 1: unix:\(unnamed\) \(UNIX\) to unix:{path}")
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        await leave(peer)
        child.signal(signal.SIGTERM)
        await child.whenEnded()
        assert "Traceback" not in child.out + child.err
    after = os.stat(path)
    assert (after.st_ino, stat.S_IMODE(after.st_mode)) == (before.st_ino, 0o600)
    assert list(tmp_path.iterdir()) == [path]


async def test_names(tmp_path: Path) -> None:
    """
    Several sockets are served by their names, whatever their order.
    """
    four, six, path = freePort(), freePort(), tmp_path / "socket"
    listen = [f"127.0.0.1:{four}", f"[::1]:{six}", path]
    strings = ["systemd:domain=UNIX:name=here", "systemd:domain=INET6:name=six"]
    strings += ["systemd:domain=INET:name=four"]
    options = [part for string in strings for part in ("--listen", string)]
    async with activated(listen, *options, "--protocol", "echo", names="four:six:here") as child:
        peers = [await echoed(("127.0.0.1", four)), await echoed(("::1", six)), await echoed(path)]
        for where in (rf"127\.0\.0\.1:{four}", rf"\[::1\]:{six}", f"unix:{path}"):
            await child.whenPrinted(rf"connection \d: .* to {where}")
        for peer in peers:
            await leave(peer)


async def test_indexes() -> None:
    """
    Several sockets are served by their numbers.
    """
    ports = [freePort(), freePort()]
    strings = [part for n in (1, 0) for part in ("--listen", f"systemd:domain=INET:index={n}")]
    async with activated([f"127.0.0.1:{port}" for port in ports], *strings, "--protocol", "echo"):
        for port in ports:
            await leave(await echoed(("127.0.0.1", port)))


async def test_beside(tmp_path: Path) -> None:
    """
    Sockets of systemd's and of the server's own are served side by side.
    """
    port, own = freePort(), freePort()
    strings = ("--listen", "systemd:domain=INET:index=0", "--protocol", "echo")
    strings += ("--port", str(own), "--interface", "127.0.0.1")
    async with activated([f"127.0.0.1:{port}"], *strings) as child:
        first = await echoed(("127.0.0.1", port))
        await leave(await echoed(("127.0.0.1", own)))
        await leave(first)
        await until(lambda: child.out.count("close ") == 2)


async def test_limit() -> None:
    """
    The limit holds on a socket of systemd's.
    """
    port = freePort()
    strings = ("--listen", "systemd:domain=INET:index=0", "--protocol", "echo")
    async with activated([f"127.0.0.1:{port}"], *strings, "--max-connections", "1") as child:
        first = await echoed(("127.0.0.1", port))
        second = await connect(("127.0.0.1", port))
        await second.whenEnded()
        await child.whenPrinted("refused: .* by maxConnections")
        await leave(second)
        await leave(first)
        await child.whenPrinted("close 1: ")
        await leave(await echoed(("127.0.0.1", port)))


async def test_noSuchSocket() -> None:
    """
    A number that systemd has not handed over is one clear line.
    """
    port = freePort()
    strings = ("--listen", "systemd:domain=INET:index=1")
    async with activated([f"127.0.0.1:{port}"], *strings) as child:
        with socket.create_connection(("127.0.0.1", port), 10):
            assert await child.whenEnded() == 1
        assert "systemd has handed over no such" in child.err
        assert "Traceback" not in child.err + child.out
