"""
L{twisted_tcpdemo.tls.context}: what may be given as C{tls}.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.endpoints import wrapServerTLS
from twisted.internet.protocol import Factory
from twisted.internet.ssl import (
    ClientContextFactory,
    DefaultOpenSSLContextFactory,
)
from twisted.protocols.tls import TLSMemoryBIOFactory

from tests.support.certificates import pemFile
from tests.support.contexts import PythonContexts, TwistedContexts
from tests.support.engines import shaken
from tests.support.processes import running
from twisted_tcpdemo.tls.context import certified, engineMaker, makerOf, unwrapped
from twisted_tcpdemo.tls.engine import StreamBrokenError
from twisted_tcpdemo.tls.openssl import OpenSSLEngine
from twisted_tcpdemo.tls.standard import StandardEngine


class Place:
    """
    Stands for a socket with TLS on it.
    """

    factory: Any = None
    failure: Any = None

    def failVerification(self, reason: Any) -> None:
        """
        Remember it.
        """
        self.failure = reason


def made(maker: Callable[[Any], Any]) -> Any:
    """
    The engine that is made for one connection.
    """
    return maker(Place())


SERVERS: dict[str, Callable[[], Any]] = {
    "standard": PythonContexts.server,
    "options": TwistedContexts.server,
    "factory": lambda: DefaultOpenSSLContextFactory(str(pemFile()), str(pemFile())),
}
CLIENTS: dict[str, Callable[[], Any]] = {
    "standard": PythonContexts.client,
    "options": TwistedContexts.client,
    "factory": ClientContextFactory,
}


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("example.org", "example.org"),
        ("example.org.", "example.org"),
        ("fe80::1%eth0", "fe80::1"),
        ("192.0.2.1", "192.0.2.1"),
    ],
)
def test_certified(host: str, name: str) -> None:
    """
    A certificate has neither the final dot of a name nor the zone of an address.
    """
    assert certified(host) == name
    engine = made(engineMaker(PythonContexts.client(), True, hostname=host))
    assert engine.handle.server_hostname == name


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("client", CLIENTS)
def test_kinds(server: str, client: str) -> None:
    """
    Every kind of context makes an engine of its library, on either side, and they
    understand one another.
    """
    sides = {
        client: made(engineMaker(CLIENTS[client](), True, Factory(), "localhost")),
        f"server {server}": made(engineMaker(SERVERS[server](), False, Factory())),
    }
    for name, side in sides.items():
        assert type(side) is (StandardEngine if "standard" in name else OpenSSLEngine)
    shaken(*sides.values())


def test_engineForEach() -> None:
    """
    Each connection has an engine of its own.
    """
    for context in (PythonContexts.server(), TwistedContexts.server()):
        maker = engineMaker(context, False)
        assert made(maker).handle is not made(maker).handle


@pytest.mark.filterwarnings("ignore:.*does not explicitly provide")
@pytest.mark.parametrize("wrong", [None, True, "localhost", 443, object(), Factory()])
def test_wrong(wrong: object) -> None:
    """
    Anything else is a TypeError that names it, when it is given.
    """
    for isClient in (True, False):
        with pytest.raises(TypeError):
            engineMaker(wrong, isClient)


def test_noName() -> None:
    """
    A context that is to check a name needs one: its library would check nothing.
    """
    with pytest.raises(ValueError, match="hostname"):
        engineMaker(PythonContexts.client(), True)


def test_unwrapped() -> None:
    """
    A factory that wrapServerTLS has wrapped is taken out of its layer, and its ALPN is
    kept.
    """

    class Wrapping:
        """
        Listens in name only.
        """

        def listen(self, factory: Any) -> Any:
            """
            Return the factory.
            """
            return factory

    behind: Any = Factory()
    behind.acceptableProtocols = lambda: [b"h2"]
    endpoint: Any = wrapServerTLS(TwistedContexts.server(), Wrapping())  # type: ignore[arg-type]
    factory, maker = unwrapped(endpoint.listen(behind))
    assert factory is behind
    assert maker is not None
    assert type(made(maker)) is OpenSSLEngine


def test_otherFactories() -> None:
    """
    Any other factory stays as it is, a subclass of Twisted's too, which may do more.
    """

    class More(TLSMemoryBIOFactory):
        """
        Twisted's, changed.
        """

    for factory in (Factory(), More(TwistedContexts.server(), False, Factory())):
        assert unwrapped(factory) == (factory, None)


def test_verification() -> None:
    """
    Twisted's check of a name is told to the socket, which its creators know as the
    application's data of a connection.
    """
    place = Place()
    client = engineMaker(TwistedContexts.client(name="example.org"), True)(place)
    server = made(engineMaker(PythonContexts.server(), False))
    client.shake(b"")
    server.shake(client.take(0))
    with pytest.raises(StreamBrokenError):
        client.shake(server.take(0))
    assert type(place.failure.value).__module__.startswith("service_identity")


def test_factoryOfPlace() -> None:
    """
    The socket knows the wrapping factory, in which Twisted looks for protocols.
    """
    place, wrapping = Place(), TLSMemoryBIOFactory(TwistedContexts.server(), False, Factory())
    makerOf(wrapping, False)(place)
    assert place.factory is wrapping


WITHOUT = """
import sys
sys.modules.update(OpenSSL=None, service_identity=None)
import ssl
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted_tcpdemo import ClientEndpoint, ServerEndpoint, TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.errors import TLSNotInstalledError

pem = sys.argv[1]
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain(pem)
client = ssl.create_default_context(cafile=pem)

class Echo(TCPDemoProtocol):
    def dataReceived(self, data):
        self.transport.write(data)

class Caller(TCPDemoProtocol):
    def connectionMade(self):
        self.heard = Deferred()
        self.transport.write(b"hello")

    def dataReceived(self, data):
        self.heard.callback(data)

async def main(reactor):
    factory = TCPDemoFactory(Echo)
    port = await factory.listen(ServerEndpoint(reactor, 0, "127.0.0.1", tls=server))
    where = "localhost", port.getHost().port
    caller = await ClientEndpoint(reactor, *where, tls=client).connectProtocol(Caller())
    print((await caller.heard).decode())
    caller.transport.loseConnection()
    await factory.close()
    for wrong in (True, object()):
        try:
            ClientEndpoint(reactor, *where, tls=wrong)
        except TLSNotInstalledError:
            print("not installed")

react(main)
"""


@pytest.mark.deadline(30)
async def test_withoutPyOpenSSL() -> None:
    """
    An SSLContext needs no other package, on either side; anything else says which
    package it needs.
    """
    command = [sys.executable, "-W", "error", "-c", WITHOUT, str(pemFile())]
    async with running(command) as child:
        assert await child.whenEnded() == 0, child.err
    assert child.out.splitlines() == ["hello", "not installed", "not installed"]
