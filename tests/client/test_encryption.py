"""
L{twisted_tcpdemo.client.encryption}: what C{tls} means for a client.
"""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import (
    clientFromString,
    connectProtocol,
    serverFromString,
    wrapServerTLS,
)
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.testing import MemoryReactorClock

from tests.support.certificates import pemFile
from tests.support.clients import Client, Resolver, closed, installedReactor, to
from tests.support.contexts import PythonContexts, TwistedContexts
from tests.support.peers import serving
from tests.support.secure import CONTEXTS, clientOf, listening
from tests.support.waiting import failureOf
from twisted_tcpdemo import ClientEndpoint, ServerEndpoint, TCPDemoFactory
from twisted_tcpdemo.client.encryption import Encryption
from twisted_tcpdemo.errors import NoEngineError
from twisted_tcpdemo.fast.reactor import FastReactor, fastReactor
from twisted_tcpdemo.twistd.programs import Echo

kinds = pytest.mark.parametrize("kind", CONTEXTS)


@pytest.mark.parametrize("tls", [None, False])
def test_none(tls: object) -> None:
    """
    Without TLS the reactor's connections are plain, and endpoints stay as they are.
    """
    encryption = Encryption(tls, "localhost", installedReactor())
    assert isinstance(encryption.reactor, FastReactor)
    assert encryption.reactor.engineMaker is None
    endpoint: Any = object()
    assert encryption.around(endpoint) is endpoint


@pytest.mark.parametrize("tls", [True, TwistedContexts.client(), PythonContexts.client()])
def test_inside(tls: object) -> None:
    """
    On the fast lane TLS is inside the transport, whatever it is given as.
    """
    encryption = Encryption(tls, "localhost", installedReactor())
    assert isinstance(encryption.reactor, FastReactor)
    assert encryption.reactor.engineMaker is not None
    endpoint: Any = object()
    assert encryption.around(endpoint) is endpoint


def test_around() -> None:
    """
    Another reactor has Twisted's layer around its endpoints; an SSLContext is of no use
    there, and the error says so.
    """
    reactor = MemoryReactorClock()
    endpoint: Any = object()
    assert (
        Encryption(TwistedContexts.client(), "localhost", reactor).around(endpoint) is not endpoint
    )
    with pytest.raises(NoEngineError, match="epoll"):
        Encryption(PythonContexts.client(), "localhost", reactor)


@pytest.mark.parametrize(
    ("tls", "host", "error", "said"),
    [
        ("yes", "localhost", TypeError, "tls must be"),
        (1, "localhost", TypeError, "tls must be"),
        (TwistedContexts.server, "localhost", TypeError, "tls must be"),
        (True, None, ValueError, "host"),
        (PythonContexts.server(), "localhost", ValueError, "server"),
        (PythonContexts.client(), None, ValueError, "needs a hostname"),
    ],
    ids=["text", "number", "function", "no name", "server's", "no name to check"],
)
def test_wrong(tls: object, host: str | None, error: type[Exception], said: str) -> None:
    """
    What cannot be used is refused when it is given, with the reason.
    """
    with pytest.raises(error, match=said):
        Encryption(tls, host, installedReactor())


@kinds
@pytest.mark.parametrize("where", ["path", "fd"])
async def test_elsewhere(kind: str, where: str, tmp_path: Path) -> None:
    """
    TLS goes with a UNIX socket and with an open socket too, where there is no name to
    expect.
    """
    tls = clientOf(kind)
    if kind == "standard":
        tls.check_hostname = False
    path = str(tmp_path / "socket")
    endpoint = wrapServerTLS(
        TwistedContexts.server(),
        serverFromString(
            installedReactor(), f"unix:{path}" if where == "path" else "tcp:0:interface=127.0.0.1"
        ),
    )
    async with serving(TCPDemoFactory(Echo), endpoint) as server:
        options: dict[str, Any] = {"path": path}
        if where == "fd":
            connected = socket.create_connection(("127.0.0.1", server.port))
            options = {"fd": connected.detach()}
        try:
            client = await ClientEndpoint(installedReactor(), tls=tls, **options).connectProtocol(
                Client()
            )
        finally:
            if where == "fd":
                os.close(options["fd"])
        client.transport.write(b"hello")
        await client.whenReceived(5)
        assert ISSLTransport.providedBy(client.transport)
        await closed(client)


@kinds
async def test_defaultTrust(kind: str) -> None:
    """
    The authorities of the system do not vouch for the server of the tests.
    """
    tls = optionsForClientTLS("localhost") if kind == "options" else ssl.create_default_context()
    async with listening("standard") as server:
        error = await failureOf(to(server.port, "localhost", tls=tls).connectProtocol(Client()))
    assert "certificate verify failed" in str(error)


@kinds
async def test_connectsAgain(kind: str) -> None:
    """
    One endpoint connects any number of times, each with an engine of its own; another
    endpoint of the same reactor stays without TLS.
    """
    async with listening(kind, Echo) as server, serving(TCPDemoFactory(Echo)) as plain:
        encrypted = to(server.port, "localhost", tls=clientOf(kind))
        clients = [await encrypted.connectProtocol(Client()) for _ in range(3)]
        clients.append(await to(plain.port).connectProtocol(Client()))
        for client in clients:
            client.transport.write(b"hello")
        for client in clients:
            await client.whenReceived(5)
        assert [client.transport.TLS for client in clients] == [True, True, True, False]
        for client in clients:
            await closed(client)


@pytest.mark.parametrize("kind", ["True", "standard"])
async def test_absoluteName(kind: str, resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The final dot of an absolute name is for the look-up; neither the server nor its
    certificate has to know it.
    """
    monkeypatch.setenv("SSL_CERT_FILE", str(pemFile()))
    asked: list[str | None] = []
    context = PythonContexts.server()
    context.sni_callback = lambda _, name, __: asked.append(name)
    endpoint = ServerEndpoint(installedReactor(), 0, "127.0.0.1", tls=context)
    async with serving(TCPDemoFactory(Echo), endpoint) as server:
        resolver.addresses = [IPv4Address("TCP", "127.0.0.1", server.port)]
        tls = True if kind == "True" else clientOf(kind)
        client = to(server.port, "localhost.", tls=tls)
        assert await told(await client.connectProtocol(Client()))
    assert asked == ["localhost"]
    assert [name for name, _ in resolver.asked] == ["localhost."]


async def told(client: Any) -> bool:
    """
    Whether a client has TLS; it has been answered, so both sides are of one mind.
    """
    client.transport.write(b"hello")
    await client.whenReceived(5)
    secure: bool = client.transport.TLS
    await closed(client)
    return secure


@pytest.mark.parametrize("later", ["plain", "string", "name"])
async def test_programsView(later: str) -> None:
    """
    Endpoints on one view of a reactor, which the program has made, keep their own TLS:
    another endpoint there takes none away, gives none, and expects no name for them.
    """
    view = fastReactor(installedReactor())
    async with listening("standard", Echo) as server, serving(TCPDemoFactory(Echo)) as plain:
        encrypted = ClientEndpoint(view, "localhost", server.port, tls=clientOf("standard"))
        bare = ClientEndpoint(view, "127.0.0.1", plain.port)
        twisteds = clientFromString(view, f"tcp:127.0.0.1:{plain.port}")
        if later == "string":
            ClientEndpoint.fromString(f"tcp:127.0.0.1:{plain.port}", view)
        elif later == "name":
            ClientEndpoint(view, "example.org", server.port, tls=clientOf("standard"))
        assert await told(await encrypted.connectProtocol(Client()))
        assert not await told(await bare.connectProtocol(Client()))
        assert not await told(await connectProtocol(twisteds, Client()))
