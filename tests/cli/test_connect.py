"""
C{tcpdemo connect}: the places it connects to, and the failures.
"""

from __future__ import annotations

import signal
import socket
import struct
from pathlib import Path
from socket import gaierror

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

from tests.support.certificates import pemFile
from tests.support.cli import Greeter, accepted, client, ended, rawServer
from tests.support.peers import serving
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.cli.connect import explained
from twisted_tcpdemo.cli.outcome import Outcome
from twisted_tcpdemo.client.failures import failed
from twisted_tcpdemo.errors import NoAddressError
from twisted_tcpdemo.twistd.programs import Echo


@pytest.mark.deadline(30)
async def test_unixSocket(tmp_path: Path) -> None:
    """
    A path means a UNIX socket.
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
    A refused connection has status 3.
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
    A reset connection has status 5, and the bytes before it are printed.
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
    Under TLS there is no half-close, and --linger ends the connection; the bytes
    until then are printed.
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
    An untrusted certificate has status 9, and nothing is sent.
    """
    factory = TCPDemoFactory(Echo)
    async with serving(factory, f"ssl:0:interface=127.0.0.1:privateKey={pemFile()}") as server:
        async with client("connect", f"tls:localhost:{server.port}") as child:
            status, _, err = await ended(child)
        assert factory.bytesRead == 0
    assert status == Outcome.TLS_FAILED
    assert err.startswith(f"tcpdemo: cannot connect to tls:localhost:{server.port}: TLS: ")


@pytest.mark.deadline(30)
async def test_connectTimeout() -> None:
    """
    A connection that is not made in time has status 4.
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


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ConnectionRefusedError(111), Outcome.REFUSED),
        (ConnectError(2), Outcome.REFUSED),
        (TCPTimedOutError(), Outcome.TIMED_OUT),
        (CancelledError(), Outcome.TIMED_OUT),
        (DNSLookupError(), Outcome.NO_SUCH_NAME),
        (DNSLookupError("odd \x1b"), Outcome.NO_SUCH_NAME),
        (NoAddressError("example.test", "odd \x1b"), Outcome.NO_SUCH_NAME),
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
    An untrusted certificate has its own status.
    """
    from OpenSSL.SSL import Error

    assert explained(Error([("SSL", "", "certificate verify failed")]))[0] == Outcome.TLS_FAILED


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NoAddressError("x.test", "temporary failure in name resolution"),
         "temporary failure in name resolution"),
        (NoAddressError("x.test"), "no address was found for x.test"),
        (NoAddressError("x.test", family="IPv6"), "no IPv6 address was found for x.test"),
        (DNSLookupError("nothing known"), "nothing known"),
        (DNSLookupError(), "the name has no address"),
        (failed("[::1%nope]:80", gaierror(-2, "Name or service not known")),
         "connection to [::1%nope]:80 failed: there is no network interface of this name"),
    ],
)  # fmt: skip
def test_resolversWords(error: BaseException, words: str) -> None:
    """
    What the resolver said of a name is told.
    """
    assert explained(error)[1] == words


@pytest.mark.deadline(30)
async def test_noName() -> None:
    """
    A name that the resolver does not know has status 8, and the resolver's words.
    """
    with pytest.raises(socket.gaierror) as unknown:
        socket.getaddrinfo("name.invalid", 80)
    words = str(unknown.value.strerror)
    async with client("connect", "name.invalid", 80) as child:
        status, out, err = await ended(child)
    words = words[:1].lower() + words[1:]
    expected = f"tcpdemo: cannot connect to name.invalid:80: {words}\n"
    assert (status, out, err) == (Outcome.NO_SUCH_NAME, "", expected)
