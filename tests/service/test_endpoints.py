"""
Taking over a UNIX socket on which nobody listens.
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

from tests.support.peers import serving
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.fast.endpoint import vacate
from twisted_tcpdemo.service.endpoints import Reclaiming, belongsToUser
from twisted_tcpdemo.twistd.programs import Echo


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
