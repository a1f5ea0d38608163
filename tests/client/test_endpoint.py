"""
A client endpoint, as its program sees it.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from zope.interface.verify import verifyObject

from tests.support.certificates import pemFile
from tests.support.clients import TLS, Client, closed, freePort, installedReactor, to
from tests.support.contexts import TwistedContexts
from tests.support.peers import serving
from tests.support.waiting import failureOf, until
from twisted_tcpdemo import ClientEndpoint, TCPDemoFactory
from twisted_tcpdemo.cli.outcome import Outcome
from twisted_tcpdemo.twistd.programs import Discard


def test_interface() -> None:
    """
    The endpoint is a stream client endpoint for any Twisted program.
    """
    verifyObject(IStreamClientEndpoint, to(1))


async def test_manyConnections() -> None:
    """
    One endpoint can connect any number of times.
    """
    async with serving(TCPDemoFactory(Discard)) as server:
        endpoint = to(server.port)
        clients = [await endpoint.connectProtocol(Client()) for _ in range(3)]
        await until(lambda: server.factory.connectionCount == 3)
        assert len({client.connectionID for client in clients}) == 3
        for client in clients:
            await closed(client)


# TLS.


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_TLSDefaultTrust(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    tls=True means the system's trust and the name of the host.
    """
    monkeypatch.setenv("SSL_CERT_FILE", str(pemFile()))
    async with serving(TCPDemoFactory(Discard), TLS) as server:
        await closed(await to(server.port, host, tls=True).connectProtocol(Client()))


# Failures.


async def test_refused() -> None:
    """
    A port without a listener refuses the connection.
    """
    error = await failureOf(to(freePort()).connectProtocol(Client()))
    assert isinstance(error, ConnectionRefusedError)


async def test_notAFactory() -> None:
    """
    A protocol or its class in place of a factory, or the reverse, is a clear error, which
    says what each of the two methods takes.
    """
    endpoint: Any = to(1)
    for given in (Client(), Client, None):
        said = str(await failureOf(endpoint.connect(given)))
        assert said == (
            f"connect() takes a factory, not {given!r}; connectProtocol() takes a protocol"
        )
    for given in (TCPDemoFactory(), Client, None):
        said = str(await failureOf(endpoint.connectProtocol(given)))
        assert said == (
            f"connectProtocol() takes an instance of a protocol, not {given!r}; "
            "connect() takes a factory"
        )


async def test_connectProtocolOfTwisted() -> None:
    """
    Twisted's own connectProtocol takes the endpoint like any other.
    """
    async with serving(TCPDemoFactory(Discard)) as server:
        client: Any = await connectProtocol(to(server.port), Client())
        await closed(client)


# Where TLS is not installed.


WITHOUT_TLS = "import sys; sys.modules['OpenSSL'] = sys.modules['service_identity'] = None;"
TLS_MISSING = "TLS needs pyOpenSSL and service_identity: pip install 'twisted-tcpdemo[tls]'"


@pytest.mark.parametrize(
    "call",
    [
        "ClientEndpoint(reactor, 'localhost', 443, tls=True)",
        "ClientEndpoint.fromString('tls:localhost:443')",
        "ClientEndpoint.fromString('ssl:localhost:443')",
        "ServerEndpoint(reactor, 0, tls=object())",
    ],
)
def test_TLSNotInstalled(call: str) -> None:
    """
    Without pyOpenSSL, every use of TLS tells the way to install it.
    """
    program = (
        f"{WITHOUT_TLS} from twisted.internet import reactor;"
        "from twisted_tcpdemo import ClientEndpoint, ServerEndpoint;"
        f"from twisted_tcpdemo.errors import TLSNotInstalledError\ntry: {call}\n"
        "except TLSNotInstalledError as error: print(error)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (ran.stdout, ran.stderr) == (f"{TLS_MISSING}\n", "")


def test_noNameWithoutTLS() -> None:
    """
    Without pyOpenSSL, too, C{tls=True} without a host is told to need one: to install
    TLS would not help.
    """
    program = (
        f"{WITHOUT_TLS} from twisted.internet import reactor;"
        "from twisted_tcpdemo import ClientEndpoint\n"
        "try: ClientEndpoint(reactor, path='/p', tls=True)\n"
        "except ValueError as error: print(error)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ran.stdout.startswith("tls=True goes with host") and not ran.stderr


def test_connectWithoutTLS() -> None:
    """
    Without pyOpenSSL, the command line tells the way to install it in one line.
    """
    program = f"{WITHOUT_TLS} from twisted_tcpdemo.cli import main; sys.exit(main(sys.argv[1:]))"
    ran = subprocess.run(
        [sys.executable, "-c", program, "connect", "ssl:localhost:443"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (Outcome.FAILED, f"tcpdemo: {TLS_MISSING}\n")


# Bad arguments.


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({}, ValueError, "give exactly one"),
    ({"host": "h", "port": 1, "path": "/p"}, ValueError, "give exactly one"),
    ({"path": "/p", "fd": 0}, ValueError, "give exactly one"),
    ({"host": "h"}, ValueError, "together"),
    ({"path": "/p", "port": 1}, ValueError, "together"),
    ({"host": b"h", "port": 1}, TypeError, "host"),
    ({"host": 1, "port": 1}, TypeError, "host"),
    ({"host": "", "port": 1}, ValueError, "host"),
    ({"host": "[::1]", "port": 1}, ValueError, "brackets"),
    ({"host": "example.org:80", "port": 1}, ValueError, "host"),
    ({"host": "http://example.org", "port": 1}, ValueError, "host"),
    ({"host": "a b", "port": 1}, ValueError, "host"),
    ({"host": "a\0b", "port": 1}, ValueError, "host"),
    ({"host": "\u2603\u0301", "port": 1}, ValueError, "host"),
    ({"host": "a" * 64, "port": 1}, ValueError, "host"),
    ({"host": "a..b", "port": 1}, ValueError, "host"),
    ({"host": "a." * 200, "port": 1}, ValueError, "host"),
    ({"host": "h", "port": "80"}, TypeError, "port"),
    ({"host": "h", "port": True}, TypeError, "port"),
    ({"host": "h", "port": 80.0}, TypeError, "port"),
    ({"host": "h", "port": 0}, ValueError, "port"),
    ({"host": "h", "port": 65536}, ValueError, "port"),
    ({"host": "h", "port": -1}, ValueError, "port"),
    ({"host": "h", "port": 1, "localAddress": "name"}, ValueError, "localAddress"),
    ({"host": "h", "port": 1, "localAddress": 1}, TypeError, "localAddress"),
    ({"host": "::1", "port": 1, "localAddress": "127.0.0.1"}, ValueError, "no way"),
    ({"host": "h", "port": 1, "localPort": 65536}, ValueError, "localPort"),
    ({"host": "h", "port": 1, "localPort": "1"}, TypeError, "localPort"),
    ({"path": "/p", "localPort": 1}, ValueError, "host"),
    ({"path": ""}, ValueError, "path"),
    ({"path": "/a\0b"}, ValueError, "path"),
    ({"path": "/" * 200}, ValueError, "bytes"),
    ({"path": 1}, TypeError, "path"),
    ({"fd": -1}, ValueError, "fd"),
    ({"fd": "0"}, TypeError, "fd"),
    ({"fd": 2**30}, ValueError, "no open socket"),
    ({"fd": "file"}, ValueError, "no open socket"),
    ({"fd": "datagram"}, ValueError, "stream"),
    ({"fd": "listening"}, ValueError, "listening"),
    ({"fd": "stream", "retry": 2}, ValueError, "retry"),
    ({"fd": "stream", "readable": False, "writable": False}, ValueError, "neither"),
    ({"fd": "stream", "readable": False, "tls": TwistedContexts.client()}, ValueError, "half-open"),
    ({"fd": "stream", "tls": True}, ValueError, "host"),
    ({"path": "/p", "readable": False}, ValueError, "fd"),
    ({"path": "/p", "tls": True}, ValueError, "host"),
    (
        {"path": "/p", "tls": TwistedContexts.client(), "allowHalfOpen": True},
        ValueError,
        "half-open",
    ),
    ({"path": "/p", "tls": "yes"}, TypeError, "tls"),
    ({"path": "/p", "timeout": -1}, ValueError, "timeout"),
    ({"path": "/p", "timeout": float("nan")}, ValueError, "timeout"),
    ({"path": "/p", "timeout": "30"}, TypeError, "timeout"),
    ({"path": "/p", "allowHalfOpen": 1}, TypeError, "allowHalfOpen"),
    ({"path": "/p", "noDelay": None}, TypeError, "noDelay"),
    ({"path": "/p", "keepAlive": "yes"}, TypeError, "keepAlive"),
    ({"path": "/p", "keepAliveInitialDelay": -1}, ValueError, "keepAliveInitialDelay"),
    ({"path": "/p", "retry": 0}, ValueError, "retry"),
    ({"path": "/p", "retry": True}, TypeError, "retry"),
    ({"path": "/p", "retry": "3"}, TypeError, "retry"),
]


@pytest.mark.parametrize(("arguments", "kind", "named"), WRONG, ids=lambda value: str(value)[:60])
def test_badArguments(
    arguments: dict[str, Any],
    kind: type[Exception],
    named: str,
    resources: ExitStack,
    tmp_path: Path,
) -> None:
    """
    Every bad argument is one clear error when the endpoint is made.
    """
    fd = arguments.get("fd")
    if fd in ("file", "datagram", "listening", "stream"):
        opened: Any
        if fd == "file":
            opened = (tmp_path / "f").open("w")
        elif fd == "datagram":
            opened = socket.socket(type=socket.SOCK_DGRAM)
        elif fd == "listening":
            opened = socket.create_server(("127.0.0.1", 0))
        else:
            opened, other = socket.socketpair()
            resources.enter_context(other)
        arguments = {**arguments, "fd": resources.enter_context(opened).fileno()}
    with pytest.raises(kind, match=named):
        ClientEndpoint(installedReactor(), **arguments)


@pytest.mark.parametrize(
    "where",
    [{"host": "h", "port": 1}, {"path": "/p"}, {"fd": 0}],
    ids=lambda where: next(iter(where)),
)
def test_badReactor(where: dict[str, Any]) -> None:
    """
    An object that is no reactor is a clear error too.
    """
    with pytest.raises(TypeError, match="reactor"):
        ClientEndpoint(object(), **where)


@pytest.mark.parametrize("arguments", [("example.org", 80), ("example.org",), ()])
def test_forgottenReactor(arguments: tuple[Any, ...]) -> None:
    """
    Where the reactor has been forgotten, the error is about the reactor.
    """
    made: Any = ClientEndpoint
    with pytest.raises(TypeError, match="reactor"):
        made(*arguments)
    with pytest.raises(TypeError, match="reactor must be a reactor of Twisted's, not 'tcp:h:1'"):
        made.fromString("tcp:h:1", "tcp:h:1")


@pytest.mark.parametrize(
    ("where", "shown"),
    [
        ({"host": "example.org", "port": 443, "tls": True}, "example.org:443 (TLS)"),
        ({"host": "::1", "port": 80}, "[::1]:80"),
        ({"path": "/run/it.sock"}, "unix:/run/it.sock"),
        ({"path": "\0it"}, r"unix:\x00it"),
    ],
    ids=str,
)
def test_repr(where: dict[str, Any], shown: str) -> None:
    """
    The endpoint's repr tells its target.
    """
    assert repr(ClientEndpoint(installedReactor(), **where)) == f"<ClientEndpoint {shown}>"
    assert "tcp:h:1" in repr(ClientEndpoint.fromString("tcp:h:1"))
