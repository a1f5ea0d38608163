"""
C{tcpdemo connect}: the places it connects to, and the failures.
"""

from __future__ import annotations

import json
import signal
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import pemFile
from tests.support.cli import Greeter, accepted, client, ended, rawServer
from tests.support.peers import serving
from tests.support.proxied import behind
from tests.support.secure import serverOf
from twisted_tcpdemo import ServerEndpoint, TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.cli import main
from twisted_tcpdemo.cli.outcome import Outcome
from twisted_tcpdemo.twistd.programs import Echo


def theReactor() -> Any:
    """
    The installed reactor.
    """
    from twisted.internet import reactor

    return reactor


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


class Whom(TCPDemoProtocol):
    """
    Tells the client who it is, and ends with it.
    """

    def connectionMade(self) -> None:
        """
        Tell it.
        """
        self.write(f"{self.remoteAddress} {self.proxied is not None}\n")


@pytest.mark.deadline(30)
@pytest.mark.parametrize(
    ("options", "source"),
    [
        (("-4",), "127.0.0.1"),
        (("--source", "127.0.0.9"), "127.0.0.9"),
        (("-4", "--source", "127.0.0.9"), "127.0.0.9"),
    ],
)
async def test_source(options: tuple[str, ...], source: str) -> None:
    """
    The client connects by the family, and from the address, that it is given.
    """
    async with serving(TCPDemoFactory(Whom)) as server:
        command = ("connect", *options, "localhost", server.port)
        async with client(*command, via='"$@" < /dev/null') as child:
            status, out, _ = await ended(child)
    assert (status, out) == (Outcome.DONE, f"{source} False\n")


@pytest.mark.deadline(30)
async def test_sourcePort() -> None:
    """
    The client connects from a port that it is given.
    """
    with rawServer() as (_, free):
        pass
    async with serving(TCPDemoFactory(Greeter)) as server:
        command = ("connect", "--source", f"127.0.0.1:{free}", "127.0.0.1", server.port)
        async with client(*command, via='"$@" < /dev/null') as child:
            status, _, err = await ended(child)
    assert (status, err.startswith(f"tcpdemo: 127.0.0.1:{free} to ")) == (Outcome.DONE, True)


@pytest.mark.deadline(30)
@pytest.mark.parametrize("options", [(), ("--proxy-client", "192.0.2.7"), ("--tls",)])
async def test_proxyProtocol(options: tuple[str, ...]) -> None:
    """
    A listener behind a proxy sees the client that the header names, under TLS too.
    """
    tls = serverOf("standard") if "--tls" in options else None
    async with serving(TCPDemoFactory(Whom), behind(tls=tls)) as server:
        trust = ("--cafile", pemFile()) if tls else ()
        command = ("connect", "--proxy-protocol", *options, *trust, "localhost", server.port, "-4")
        linger = ("--linger", "1") if tls else ()
        async with client(*command, *linger, via='"$@" < /dev/null') as child:
            status, out, _ = await ended(child)
    address = "192.0.2.7" if "192.0.2.7" in options else "127.0.0.1"
    assert (status, out) == (Outcome.DONE, f"{address} True\n")


@pytest.mark.deadline(30)
async def test_proxyProtocolUntrusted() -> None:
    """
    After a PROXY header, too, an untrusted certificate is refused with a sentence.
    """
    async with serving(TCPDemoFactory(Whom), behind(tls=serverOf("standard"))) as server:
        command = ("connect", "--proxy-protocol", "--tls", "localhost", server.port, "-4")
        async with client(*command, via='"$@" < /dev/null') as child:
            status, out, err = await ended(child)
    assert (status, out) == (Outcome.TLS_FAILED, "")
    assert "tcpdemo: TLS: the certificate is not trusted: self-signed certificate; --cafile" in err


@pytest.mark.deadline(30)
@pytest.mark.parametrize(
    ("where", "options", "said"),
    [
        ("localhost", ("--tls",), "the certificate is not trusted: self-signed certificate; "),
        ("tls:localhost:{}", (), "the certificate is not trusted: self-signed certificate; "),
        ("127.0.0.2", ("--cafile", "{pem}"),
         "the certificate is not trusted: IP address mismatch, certificate is not valid for"),
        ("tls:localhost:{}:trustRoots=/usr", (),
         "the certificate is not trusted: nobody whom this client trusts vouches for it"),
    ],
)  # fmt: skip
async def test_tlsSentences(where: str, options: tuple[str, ...], said: str) -> None:
    """
    Why a certificate is not trusted is told in a sentence, and nothing is sent.
    """
    factory, pem = TCPDemoFactory(Echo), str(pemFile())
    endpoint = ServerEndpoint(theReactor(), 0, "", tls=serverOf("standard"))
    async with serving(factory, endpoint) as server:
        place = [where.format(server.port)] if ":" in where else [where, server.port]
        given = [option.format(pem=pem) for option in options]
        async with client("connect", *given, *place, via='printf x | "$@"') as child:
            status, out, err = await ended(child)
        assert factory.bytesRead == 0
    assert (status, out) == (Outcome.TLS_FAILED, "")
    assert err.startswith("tcpdemo: cannot connect to ") and f": TLS: {said}" in err, err


@pytest.mark.deadline(30)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--cafile", "{pem}"), "certificate of localhost, by localhost, until "),
        (("--insecure",), "a certificate that was not verified, SHA-256 "),
        (("ssl:",), "tcpdemo: ssl: does not check the server's certificate; tls:HOST:PORT does\n"),
    ],
)
async def test_tlsTold(options: tuple[str, ...], said: str) -> None:
    """
    With -v the client tells of TLS: version, cipher, certificate, and whether nobody has
    verified it; of an ssl: string it says so always.
    """
    endpoint = ServerEndpoint(theReactor(), 0, "127.0.0.1", tls=serverOf("standard"))
    async with serving(TCPDemoFactory(Echo), endpoint) as server:
        given = [option.format(pem=pemFile()) for option in options if option != "ssl:"]
        place = (
            [f"ssl:localhost:{server.port}"] if "ssl:" in options else ["localhost", server.port]
        )
        command = ("connect", "-v", "--linger", "1", *given, *place)
        async with client(*command, via='printf abc | "$@"') as child:
            status, out, err = await ended(child)
    assert (status, out) == (Outcome.DONE, "abc"), err
    assert said in err and "\ntcpdemo: TLSv1.3, TLS_" in err
    assert "tcpdemo: the input has ended\n" in err


@pytest.mark.deadline(30)
async def test_crlf() -> None:
    """
    With --crlf each newline of the input is sent as CR LF.
    """
    async with serving(TCPDemoFactory(Echo, allowHalfOpen=True)) as server:
        command = ("connect", "--crlf", "--linger", "1", "127.0.0.1", server.port)
        async with client(*command, via='printf "a\nb\r\n" | "$@"') as child:
            await child.whenOut(6)
            status, out, _ = await ended(child)
    assert (status, out) == (Outcome.DONE, "a\r\nb\r\n")


@pytest.mark.deadline(30)
async def test_jsonAtTheEnd() -> None:
    """
    With --json the line at the end is for programs.
    """
    async with (
        serving(TCPDemoFactory(Greeter)) as server,
        client("connect", "--json", "127.0.0.1", server.port) as child,
    ):
        status, out, err = await ended(child)
    told = json.loads(err)
    assert (status, out) == (Outcome.DONE, "hello\n")
    assert told["remote"] == f"127.0.0.1:{server.port}"
    assert (told["bytesRead"], told["closeReason"], told["status"]) == (6, "peer closed", 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-6 127.0.0.1 80", "-6 does not go with the host 127.0.0.1"),
        ("-4 ::1 80", "-4 does not go with the host ::1"),
        ("-4 --source ::1 localhost 80", "-4 does not go with --source ::1"),
        ("-4 -6 localhost 80", "not allowed with argument -4"),
        ("-4 /a/path", "go with HOST PORT"),
        ("--source 127.0.0.1 unix:/a/path", "go with HOST PORT"),
        ("--insecure tls:localhost:1:trustRoots=/x", "go with HOST PORT"),
        ("--insecure --cafile /x localhost 80", "give one of them"),
        ("--cafile /nowhere localhost 80", "--cafile '/nowhere': No such file"),
        ("--cafile /dev/null localhost 80", "there is no PEM in it that can be used"),
        ("--proxy-client 192.0.2.1 localhost 80", "--proxy-client goes with --proxy-protocol"),
        ("--proxy-protocol ssl:localhost:80", "--proxy-protocol goes with HOST PORT, or a path"),
    ],
)
def test_refusedTogether(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Options that do not go together are refused, with the reason.
    """
    assert main(["connect", *words.split()]) == Outcome.BAD_INPUT
    assert said in capsys.readouterr().err
