"""
Endpoints from strings, and UNIX sockets on which nobody listens.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpoint
from zope.interface.verify import verifyObject

from tests.support.clients import installedReactor
from tests.support.peers import serving
from tests.support.proxies import CLIENT, LINE
from tests.support.waiting import failureOf
from twisted_tcpdemo import Proxy, TCPDemoFactory
from twisted_tcpdemo.fast.endpoint import vacate
from twisted_tcpdemo.service.endpoints import (
    BehindProxy,
    Reclaiming,
    belongsToUser,
    proxiedEndpoint,
)
from twisted_tcpdemo.twistd.programs import Echo

PROXY = Proxy(trusted=["127.0.0.1"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """
    The path of the socket.
    """
    return tmp_path / "s"


def locked(path: Path) -> Path:
    """
    Leave the lock of a killed process whose number is now ours.
    """
    lock = path.with_name(f"{path.name}.lock")
    lock.symlink_to(str(os.getpid()))
    return lock


def reclaiming(path: Path, kind: str = "unix") -> Reclaiming:
    """
    An endpoint on the path.
    """
    from twisted.internet import reactor

    return Reclaiming(serverFromString(reactor, f"{kind}:{path}"))


def test_interface(path: Path) -> None:
    """
    The endpoint is a stream server endpoint.
    """
    verifyObject(IStreamServerEndpoint, reclaiming(path))


@pytest.mark.parametrize("isThere", [True, False])
async def test_abandoned(path: Path, isThere: bool) -> None:
    """
    A lock without its process, with its socket or without, does not prevent
    listening; a new lock replaces it.
    """
    if isThere:
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
    lock = locked(path)
    async with serving(TCPDemoFactory(Echo), reclaiming(path), f"unix:{path}") as server:
        peer = await server.connect()
        peer.transport.write(b"hello")
        await peer.whenReceived(5)
        assert lock.is_symlink()
    assert not path.exists() and not lock.is_symlink()


async def test_wrapped(path: Path) -> None:
    """
    The UNIX socket is found inside any wrapper.
    """
    locked(path)
    async with serving(TCPDemoFactory(Echo), reclaiming(path, "haproxy:unix"), f"unix:{path}"):
        assert path.is_socket()


async def refusal(endpoint: Reclaiming) -> Any:
    """
    The reason why an endpoint does not listen.
    """
    with pytest.raises(CannotListenError) as raised:
        await TCPDemoFactory(Echo).listen(endpoint)
    return raised.value.socketError


async def test_inUse(path: Path) -> None:
    """
    A socket with a listener is left alone, and so is its lock.
    """
    lock = locked(path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        assert await refusal(reclaiming(path)) == "Cannot acquire lock"
    assert path.is_socket() and lock.is_symlink()


async def test_fileInTheWay(path: Path) -> None:
    """
    A file that is not a socket is left alone, and so is its lock.
    """
    path.write_text("mine")
    lock = locked(path)
    assert await refusal(reclaiming(path)) == "Cannot acquire lock"
    assert path.read_text() == "mine" and lock.is_symlink()


async def test_otherFailures() -> None:
    """
    An endpoint without a UNIX socket fails as it would by itself.
    """
    from twisted.internet import reactor

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        endpoint = serverFromString(reactor, f"tcp:{port}:interface=127.0.0.1")
        assert isinstance(await refusal(Reclaiming(endpoint)), OSError)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unix:/run/x", True),
        ("unix:address=/run/x:mode=600", True),
        ("haproxy:unix:/run/x", True),
        ("tcp:1", False),
        ("systemd:domain=UNIX:index=0", False),
    ],
)
def test_belongsToUser(text: str, expected: bool) -> None:
    """
    Only the strings of UNIX sockets make paths.
    """
    assert belongsToUser(text) == expected


def test_vacate(path: Path) -> None:
    """
    Only a socket without a listener is removed.
    """
    assert vacate(str(path))
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
        left.listen()
        assert not vacate(str(path))
    assert vacate(bytes(path))
    assert not path.exists()


@pytest.mark.parametrize("inner", ["tcp:0:interface=127.0.0.1", "fasttcp:0:interface=127.0.0.1"])
async def test_haproxy(inner: str) -> None:
    """
    A C{haproxy:} string whose proxies are named is served on the fast lane: the client
    is known before its first byte.
    """
    endpoint = proxiedEndpoint(installedReactor(), f"haproxy:{inner}", PROXY)
    verifyObject(IStreamServerEndpoint, endpoint)
    async with serving(TCPDemoFactory(Echo), endpoint) as server:
        peer = await server.connect()
        peer.transport.write(LINE)
        protocol = await server.protocol()
        assert (protocol.peer, protocol.bytesRead) == (CLIENT, 0)


async def test_haproxyOfTwisted() -> None:
    """
    Without proxies, and for any other string, there is Twisted's endpoint.
    """
    for text, proxy in (("haproxy:tcp:0", None), ("tcp:0", PROXY)):
        assert not isinstance(proxiedEndpoint(installedReactor(), text, proxy), BehindProxy)


async def test_haproxyElsewhere() -> None:
    """
    An endpoint that is not on the fast lane does not listen behind a proxy.
    """
    foreign = serverFromString(installedReactor(), "tcp:0:interface=127.0.0.1")
    error = await failureOf(BehindProxy(foreign, PROXY).listen(TCPDemoFactory(Echo)))
    assert isinstance(error, ValueError)
