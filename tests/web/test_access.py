"""
Access to control: the socket, the token, and the name of the asker in the log.
"""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
from twisted.logger import LogEvent

from tests.support.control import controlled, said
from twisted_tcpdemo.service.startup import StartError
from twisted_tcpdemo.web.access import AccessError, Asker, askerOf, tokenFrom

# The socket.


async def test_addressOfWhoAsked(tmp_path: Path, events: list[LogEvent]) -> None:
    """
    Over TCP, the log has the address of the client that changed a setting.
    """
    text = "tcp:0:interface=127.0.0.1"
    async with controlled(tmp_path, token=b"x", given="Bearer x", text=text) as control:
        await control.ask("POST", "/suspend")
    assert said(events)[0].startswith("control: suspended, by 127.0.0.1:")


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("{path}", 0o600),
        ("unix:{path}", 0o600),
        ("unix:{path}:mode=660", 0o660),
        ("unix:mode=640:address={path}", 0o640),
    ],
)
async def test_mode(tmp_path: Path, text: str, mode: int) -> None:
    """
    Only the owner can use the socket, unless the endpoint's string allows more.
    """
    async with controlled(tmp_path, text=text.format(path=tmp_path / "control")) as control:
        assert stat.S_IMODE((tmp_path / "control").stat().st_mode) == mode
        assert (await control.ask("GET", "/limits")).status == 200


async def test_staleSocket(tmp_path: Path) -> None:
    """
    A socket that a killed process has left is replaced.
    """
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "control"))
    async with controlled(tmp_path) as control:
        assert (await control.ask("GET", "/limits")).status == 200


async def test_socketInUse(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """
    A socket with a listener is left alone.
    """
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "control"))
        other.listen()
        with pytest.raises(StartError, match="for control: Address already in use"):
            async with controlled(tmp_path):
                pass
        assert (tmp_path / "control").is_socket()


async def test_fileInTheWay(tmp_path: Path) -> None:
    """
    A file that is not a socket is left alone.
    """
    (tmp_path / "control").write_text("precious")
    with pytest.raises(StartError, match="for control: Address already in use"):
        async with controlled(tmp_path):
            pass
    assert (tmp_path / "control").read_text() == "precious"


# The token.


def tokenFile(folder: Path, content: bytes, mode: int = 0o600) -> str:
    """
    A file with a token.
    """
    path = folder / "token"
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def test_tokenFile(tmp_path: Path) -> None:
    """
    The token is the text of its file, without white space around it.
    """
    assert tokenFrom(tokenFile(tmp_path, b" s3cret\n")) == b"s3cret"
    assert tokenFrom(tokenFile(tmp_path, b"x", 0o640)) == b"x"


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        (b"s3cret", 0o604, "everybody can read it"),
        (b"", 0o600, "there is no token"),
        (b" \n", 0o600, "there is no token"),
        (b"two words", 0o600, "one word"),
        (b"\xff", 0o600, "one word"),
        (b"x" * 5000, 0o600, "one word"),
        (b"x" + b" " * 5000, 0o600, "one word"),
    ],
)
def test_badTokenFile(tmp_path: Path, content: bytes, mode: int, why: str) -> None:
    """
    A token that others can read, or that is malformed, is refused.
    """
    with pytest.raises(AccessError, match=why):
        tokenFrom(tokenFile(tmp_path, content, mode))


def test_noTokenFile(tmp_path: Path) -> None:
    """
    A path that is no regular file is refused, without waiting for it.
    """
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(AccessError, match="no regular file"):
        tokenFrom(str(tmp_path / "fifo"))
    with pytest.raises(AccessError, match="no regular file"):
        tokenFrom(str(tmp_path))
    with pytest.raises(AccessError, match="No such file"):
        tokenFrom(str(tmp_path / "none"))


# The name of the asker.


def test_askerWithoutAnAddress() -> None:
    """
    An asker without an address still has a name.
    """
    assert str(Asker(None, None, None)) == "somebody"
    assert str(Asker(3, 4, None)) == "uid 3, pid 4"


def test_askerOnUnix() -> None:
    """
    On a UNIX socket the kernel names the client.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:

        class Transport:
            socket = ours

            def getPeer(self) -> None:
                return None

        expected = Asker(os.getuid(), os.getpid(), None)
        assert askerOf(Transport()) == expected
