"""
The command line client with socat and ncat, as both ends of a pipe.
"""

from __future__ import annotations

import pytest

from tests.support.certificates import pemFile
from tests.support.cli import client, ended, rawServer
from tests.support.processes import Child, running
from tests.system.peers.support import needs, program
from twisted_tcpdemo.cli.outcome import Outcome

pytestmark = pytest.mark.deadline(30)


async def portOf(child: Child) -> str:
    """
    The port on which a program says that it listens.
    """
    found = await child.whenTold(r"listening on (?:AF=2 )?127\.0\.0\.1:(\d+)")
    return found[1]


@needs("socat")
async def test_toSocat() -> None:
    """
    What is read from socat is printed, and socat has what was sent, both to the end.
    """
    shell = f'printf up | "{program("socat")}" -d -d - TCP-LISTEN:0,bind=127.0.0.1'
    async with running(["/bin/sh", "-c", shell]) as far:
        port = await portOf(far)
        async with client("connect", "127.0.0.1", port, via='printf down | "$@"') as near:
            assert (await ended(near))[:2] == (Outcome.DONE, "up")
        assert (await far.whenEnded(), far.out) == (0, "down")


@needs("socat")
async def test_fromSocat() -> None:
    """
    Socat connects to a listener: the same the other way round.
    """
    async with client("listen", "127.0.0.1", 0, via='printf down | "$@"') as near:
        place = f"TCP:127.0.0.1:{await portOf(near)}"
        shell = f'printf up | "{program("socat")}" -t 10 - {place}'
        async with running(["/bin/sh", "-c", shell]) as far:
            assert (await far.whenEnded(), far.out) == (0, "down")
        assert (await ended(near))[:2] == (Outcome.DONE, "up")


@needs("ncat")
@pytest.mark.parametrize("tls", [False, True])
async def test_fromNcat(tls: bool) -> None:
    """
    One ncat after another is served by a listener that goes on, under TLS too.
    """
    options = ("--certificate", pemFile()) if tls else ()
    command = ("listen", "--keep", "--receive-only", *options, "127.0.0.1", 0)
    async with client(*command) as near:
        port = await portOf(near)
        for word in ("one", "two"):
            secure = "--ssl" if tls else ""
            shell = f'echo {word} | "{program("ncat")}" {secure} 127.0.0.1 {port}'
            async with running(["/bin/sh", "-c", shell]) as far:
                assert await far.whenEnded() == 0
            await near.whenPrinted(f"{word}\n")
        assert near.out == "one\ntwo\n"


@needs("ncat")
async def test_toNcat() -> None:
    """
    A client trusts the certificate of an ncat that it was told to trust.
    """
    with rawServer() as (_, port):
        pass
    pem = str(pemFile())
    command = [program("ncat"), "-v", "-l", "--ssl", "--ssl-cert", pem, "--ssl-key", pem]
    async with running([*command, "127.0.0.1", str(port)]) as far:
        await far.whenTold(r"(?i)listening on 127\.0\.0\.1")
        trust = ("-4", "--linger", "2", "--cafile", pem)
        async with client("connect", *trust, "localhost", port, via='printf down | "$@"') as near:
            far.transport.write(b"up")
            await near.whenPrinted("up")
            await far.whenPrinted("down")
            assert (await ended(near))[:2] == (Outcome.DONE, "up")
