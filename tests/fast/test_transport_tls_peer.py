"""
L{twisted_tcpdemo.fast.encrypting}: what is known of the peer, and programs
of Twisted's.
"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ISSLTransport, ITCPTransport, ITLSTransport
from twisted.internet.ssl import Certificate
from twisted.protocols.basic import LineReceiver
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.support.certificates import pemFile
from tests.support.clients import Client, closed, to
from tests.support.contexts import PythonContexts
from tests.support.peers import serving
from tests.support.secure import Sides, clientOf, serverOf
from tests.support.waiting import until
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.fast.endpoint import ServerEndpoint
from twisted_tcpdemo.twistd.programs import Echo


async def test_interfaces(sides: Sides) -> None:
    """
    A transport says that it speaks TLS while it does, and is no less a transport.
    """
    async with sides.connected() as both:
        for side, _ in both.bothWays():
            for interface in (ISSLTransport, ITCPTransport, ITLSTransport):
                assert interface.providedBy(side.transport)
            assert side.transport.TLS
    async with serving(TCPDemoFactory(Echo), ServerEndpoint(*_here())) as server:
        plain = await to(server.port).connectProtocol(Client())
        assert not ISSLTransport.providedBy(plain.transport)
        assert ITLSTransport.providedBy(plain.transport)
        assert (plain.transport.negotiatedProtocol, plain.transport.TLS) == (None, False)
        await closed(plain)


def _here() -> tuple[Any, int, str]:
    from twisted.internet import reactor

    return reactor, 0, "127.0.0.1"


async def test_certificate(sides: Sides) -> None:
    """
    The client has the server's certificate, as its library has it; the server has none.
    """
    async with sides.connected() as both:
        await both.far.write(b"x")
        await both.near.whenReceived(1)
        certificate = both.far.transport.getPeerCertificate()
        if sides.client == "options":
            assert "localhost" in str(certificate.to_cryptography().subject)
            found = Certificate.peerFromTransport(both.far.transport)
            assert found.dumpPEM() in pemFile().read_bytes()
        else:
            assert ("DNS", "localhost") in certificate["subjectAltName"]
        assert not both.near.transport.getPeerCertificate()


async def test_handle(sides: Sides) -> None:
    """
    The handle of a transport is the object of its library, which knows version and
    cipher.
    """
    async with sides.connected() as both:
        await both.far.write(b"x")
        await both.near.whenReceived(1)
        for kind, side in ((sides.server, both.near), (sides.client, both.far)):
            handle = side.transport.getHandle()
            if kind == "options":
                assert handle.get_protocol_version_name() == "TLSv1.3"
            else:
                assert handle.version() == "TLSv1.3"


async def test_serverName(kind: str) -> None:
    """
    The client names the server that it wants, but not by an address (RFC 6066).
    """
    asked: list[str | None] = []
    context = PythonContexts.server()
    context.sni_callback = lambda _, name, __: asked.append(name)
    endpoint = ServerEndpoint(*_here(), tls=context)
    async with serving(TCPDemoFactory(Client), endpoint) as server:
        for host in ("localhost", "127.0.0.1"):
            tls = clientOf(kind, host)
            await closed(await to(server.port, host, tls=tls).connectProtocol(Client()))
    assert asked == ["localhost", None]


async def test_negotiated(kind: str) -> None:
    """
    Both sides know the protocol that ALPN has chosen: a context of the standard
    library names them itself, for Twisted's the factory does.
    """
    from twisted.internet.interfaces import IProtocolNegotiationFactory
    from zope.interface import directlyProvides

    context = serverOf(kind)
    factory: Any = TCPDemoFactory(Client)
    if kind == "standard":
        context.set_alpn_protocols(["h2", "http/1.1"])
    else:
        factory.acceptableProtocols = lambda: [b"h2", b"http/1.1"]
        directlyProvides(factory, IProtocolNegotiationFactory)
    tls = PythonContexts.client()
    tls.set_alpn_protocols(["http/1.1", "unheard-of"])
    async with serving(factory, ServerEndpoint(*_here(), tls=context)) as server:
        far = await to(server.port, "localhost", tls=tls).connectProtocol(Client())
        near = await server.protocol()
        assert far.transport.negotiatedProtocol == b"http/1.1"
        await until(lambda: near.transport.negotiatedProtocol == b"http/1.1")
        await closed(far)


class Asking(LineReceiver):
    """
    Asks a web server, twice on one connection.
    """

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.done: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """
        Ask.
        """
        for _ in range(2):
            self.sendLine(b"GET / HTTP/1.1\r\nHost: localhost\r\n")

    def lineReceived(self, line: bytes) -> None:
        """
        Remember it.
        """
        self.heard.append(line)
        if self.heard.count(b"0") == 2:
            self.done.callback(None)
            self.transport.loseConnection()  # type: ignore[union-attr]


async def test_site(sides: Sides) -> None:
    """
    A web server of Twisted's answers, and its requests know that they are secure.
    """

    class Page(Resource):
        """
        Says whether it is secure, in two pieces.
        """

        isLeaf = True

        def render_GET(self, request: Any) -> bytes:
            """
            Answer.
            """
            request.write(b"secure" if request.isSecure() else b"open")
            return b"!"

    site: Any = Site(Page())
    port = await ServerEndpoint(*_here(), tls=serverOf(sides.server)).listen(site)
    try:
        client = to(port.getHost().port, "localhost", tls=clientOf(sides.client))
        asking = cast(Any, await client.connectProtocol(Asking()))
        await asking.done
        assert asking.heard.count(b"secure") == 2
        await until(lambda: not asking.transport.connected)
    finally:
        await port.stopListening()
