"""
The examples of docs/client.md run.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue

from tests.support.certificates import pemFile
from tests.support.peers import serving
from tests.support.places import DOCS, EXAMPLES, PROJECT
from tests.support.waiting import until
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.twistd.programs import Discard, Echo

pytestmark = pytest.mark.deadline(30)


def run(example: str, *arguments: object) -> Deferred[tuple[str, str, int]]:
    """
    Run an example in a process of its own.

    @return: its output, its standard error and its exit status.
    """
    ended: Deferred[tuple[bytes, bytes, int]] = getProcessOutputAndValue(
        sys.executable,
        [str(EXAMPLES / example), *map(str, arguments)],
        env={"PYTHONPATH": str(PROJECT)},
    )
    return ended.addCallback(lambda result: (result[0].decode(), result[1].decode(), result[2]))


async def test_first() -> None:
    """
    The first client gets an answer, and prints its counts.
    """
    async with serving(TCPDemoFactory(Echo)) as server:
        output, errors, status = await run("client_first.py", "127.0.0.1", server.port)
    assert (errors, status) == ("", 0)
    assert output.splitlines() == [
        f"connected to 127.0.0.1 {server.port}",
        "received hello",
        "6 bytes written, 6 read",
        "it ended by local close",
    ]


async def test_TLS() -> None:
    """
    The TLS client accepts the server it is told to trust, and gives the reason when
    it does not accept another.
    """
    listen = f"ssl:0:interface=127.0.0.1:privateKey={pemFile()}"
    async with serving(TCPDemoFactory(Discard), listen) as server:
        where = ("localhost", server.port)
        assert await run("client_tls.py", *where, pemFile()) == (
            "the certificate is of CN=localhost\n",
            "",
            0,
        )
        output, errors, status = await run("client_tls.py", *where)
    assert (output, status) == ("", 1)
    assert errors.startswith("not connected:") and "certificate verify failed" in errors


async def test_standardTLS() -> None:
    """
    A server and a client with contexts of the standard library understand one another.
    """
    expected = "received hello over TLSv1.3\n"
    assert await run("tls_standard.py", pemFile()) == (expected, "", 0)


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
async def test_certificateToTry(tmp_path: Path) -> None:
    """
    The page's command makes a file with which its example of TLS runs.
    """
    [command] = re.findall("^    (openssl .*)$", (DOCS / "client.md").read_text(), re.MULTILINE)
    program, *arguments = shlex.split(command)
    made = await getProcessOutputAndValue(program, arguments, env=None, path=str(tmp_path))
    assert made[2] == 0, made[1].decode()
    expected = "received hello over TLSv1.3\n"
    assert await run("tls_standard.py", tmp_path / "server.pem") == (expected, "", 0)


async def test_retry() -> None:
    """
    The patient client finds a server that starts later.
    """
    async with serving(TCPDemoFactory(Discard)) as server:
        port = server.port
    running = run("client_retry.py", "127.0.0.1", port)
    async with serving(TCPDemoFactory(Discard), f"tcp:{port}:interface=127.0.0.1"):
        output, errors, status = await running
    assert (errors, status) == ("", 0)
    assert output.startswith("connected from 127.0.0.1 ")


async def test_string(tmp_path: Path) -> None:
    """
    An endpoint string leads to its server.
    """
    path = tmp_path / "s"
    async with serving(TCPDemoFactory(Discard), f"unix:{path}") as server:
        assert await run("client_string.py", f"unix:{path}") == (
            f"connected to {path} by UNIX\n",
            "",
            0,
        )
        await until(lambda: server.factory.closedCount)


async def test_fd() -> None:
    """
    A socket shared with another process is read to its end.
    """
    assert await run("client_fd.py") == (
        "received one way\n7 bytes read\n",
        "",
        0,
    )
