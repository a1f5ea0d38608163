"""
The compared servers in Python: each echoes, and prints where it listens, and under
TLS whose OpenSSL it has.

C{python -m tests.benchmarks.servers NAME DOOR FOLDER PLACE} runs one of them; PLACE
is the path of its UNIX socket.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.benchmarks.load import HOST

CERTIFICATE: Final = "server.pem"
"""The file with key and certificate, in the folder that a server is given."""


class Place(NamedTuple):
    """
    How clients come to a server.
    """

    name: str
    door: str
    folder: Path
    path: str

    @property
    def certificate(self) -> str:
        """
        The file with key and certificate.
        """
        return str(self.folder / CERTIFICATE)


def sslContext(place: Place) -> ssl.SSLContext | None:
    """
    The standard library's context; L{None} where nothing is encrypted.
    """
    if place.door != "tls":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(place.certificate)
    return context


def certificateOptions(place: Place) -> Any:
    """
    The same for Twisted, with the session tickets that the others send.
    """
    from twisted.internet.ssl import CertificateOptions, PrivateCertificate, TLSVersion

    pair = PrivateCertificate.loadPEM(Path(place.certificate).read_bytes())
    return CertificateOptions(
        privateKey=pair.privateKey.original,
        certificate=pair.original,
        raiseMinimumTo=TLSVersion.TLSv1_3,
        enableSessions=True,
        enableSessionTickets=True,
    )


def inherit() -> None:
    """
    Open a listening socket as systemd hands one over (sd_listen_fds(3)).
    """
    listener = socket.create_server((HOST, 0), backlog=511)
    if listener.fileno() != 3:
        os.dup2(listener.fileno(), 3, inheritable=False)
    listener.detach()
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="echo")


def ourEndpoint(reactor: Any, place: Place) -> Any:
    """
    The endpoint of one of our servers.
    """
    from twisted.internet.endpoints import serverFromString

    from twisted_tcpdemo import ServerEndpoint, fastReactor

    endpoint: Any = ServerEndpoint
    if place.door == "adopted":
        return serverFromString(fastReactor(reactor), "systemd:domain=INET:index=0")
    if place.door == "unix":
        return endpoint(reactor, path=place.path)
    options: dict[str, Any] = {}
    if place.door == "tls":
        own = place.name == "fast-ssl"
        options["tls"] = sslContext(place) if own else certificateOptions(place)
    elif place.door == "proxy":
        from twisted_tcpdemo import Proxy

        options["proxy"] = Proxy(trusted=["127.0.0.0/8"])
    return endpoint(reactor, 0, HOST, noDelay=True, **options)


def twistedEndpoint(reactor: Any, place: Place) -> Any:
    """
    The endpoint of a server on Twisted's own transport.
    """
    from twisted.internet import endpoints

    if place.door == "unix":
        return endpoints.UNIXServerEndpoint(reactor, place.path, 511)
    if place.door == "proxy":
        string = f"haproxy:tcp:0:interface={HOST}:backlog=511"
        return endpoints.serverFromString(reactor, string)
    plain = endpoints.TCP4ServerEndpoint(reactor, 0, 511, HOST)
    if place.door == "tls":
        return endpoints.wrapServerTLS(certificateOptions(place), plain)
    return plain


def serveTwisted(place: Place) -> None:
    """
    Run one of the servers under Twisted.
    """
    if place.name.endswith("asyncio"):
        from twisted.internet import asyncioreactor

        asyncioreactor.install()
    from twisted.internet import reactor
    from twisted.internet.protocol import Factory, Protocol
    from twisted.protocols.basic import LineOnlyReceiver

    from twisted_tcpdemo import Stream, TCPDemoFactory, TCPDemoProtocol

    # Our endpoints and the asyncio loops set it for every connection.
    needsNoDelay = place.name.startswith("twisted") and place.door != "unix"

    class Prompt(Protocol):
        """
        Without Nagle's algorithm, as all others are.
        """

        transport: Any

        def connectionMade(self) -> None:
            if needsNoDelay:
                self.transport.setTcpNoDelay(True)

    class Plain(Prompt):
        """
        The shortest possible echo.
        """

        def dataReceived(self, data: bytes) -> None:
            self.transport.write(data)

    class Counted(TCPDemoProtocol):
        """
        The same echo as an application's protocol.
        """

        def dataReceived(self, data: bytes) -> None:
            self.transport.write(data)

    class PlainLines(Prompt, LineOnlyReceiver):
        """
        An echo of lines.
        """

        delimiter = b"\n"

        def lineReceived(self, line: bytes) -> None:
            self.transport.write(line + b"\n")

    class Lines(PlainLines, TCPDemoProtocol):
        """
        The same as an application's protocol.
        """

    async def echo(stream: Stream) -> None:
        async for line in stream.lines():
            await stream.write(line + b"\n")

    Factory.noisy = False
    isPlain = place.name.startswith("twisted") or place.name == "fast-bare"
    factory: Any
    if place.name.startswith("fast-stream"):
        factory = TCPDemoFactory.forHandler(echo, maxConnections=100_000)
    elif isPlain:
        factory = Factory.forProtocol(PlainLines if place.name == "twisted-lines" else Plain)
    else:
        protocol = Lines if place.name == "fast-lines" else Counted
        factory = TCPDemoFactory(protocol, maxConnections=100_000)
    endpointOf = ourEndpoint if place.name.startswith("fast") else twistedEndpoint
    remark = "" if place.name == "fast-ssl" else "pyOpenSSL"
    listening = endpointOf(reactor, place).listen(factory)
    listening.addCallback(lambda port: tell(place, getattr(port.getHost(), "port", None), remark))
    listening.addErrback(failed)
    reactor.run()  # type: ignore[attr-defined]


def failed(reason: Any) -> None:
    """
    End the process, whose last line of errors says why.
    """
    print(f"{reason.type.__name__}: {reason.getErrorMessage()}", file=sys.stderr, flush=True)
    os._exit(1)


class AsyncioEcho(asyncio.Protocol):
    """
    Echo for asyncio, uvloop and aiofastnet.
    """

    transport: Any

    def connection_made(self, transport: Any) -> None:
        """
        Keep the transport.
        """
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """
        Echo the bytes.
        """
        self.transport.write(data)


async def echoLines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """
    Echo for asyncio's streams.
    """
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()


async def serveAsyncio(place: Place) -> None:
    """
    Serve on the running loop.
    """
    loop: Any = asyncio.get_running_loop()
    if place.name.startswith("aiofastnet"):
        import aiofastnet

        aiofastnet.patch_loop(loop)
    context = sslContext(place)
    if place.name.startswith("asyncio-streams"):
        streams = await asyncio.start_server(echoLines, HOST, 0, backlog=511)
        tell(place, streams.sockets[0].getsockname()[1])
        await streams.serve_forever()
    if place.door == "unix":
        server = await loop.create_unix_server(AsyncioEcho, place.path, backlog=511)
        tell(place, None)
    else:
        server = await loop.create_server(AsyncioEcho, HOST, 0, backlog=511, ssl=context)
        tell(place, server.sockets[0].getsockname()[1])
    await server.serve_forever()


def tell(place: Place, port: int | None, remark: str = "") -> None:
    """
    Print where a server listens, and under TLS whose OpenSSL it has.

    @param remark: C{"pyOpenSSL"}, if it is not the standard library's.
    """
    text = str(port or place.path)
    if place.door == "tls" and remark:
        from OpenSSL import SSL

        text += f" {SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode()}"
    elif place.door == "tls":
        text += f" {ssl.OPENSSL_VERSION}"
    print(text, flush=True)


def main(name: str, door: str, folder: str, path: str) -> None:
    """
    Run one server.
    """
    place = Place(name, door, Path(folder), path)
    if door == "adopted":
        inherit()  # before Twisted looks, which is when its endpoints are imported
    if name.startswith(("asyncio", "aiofastnet", "uvloop")):
        with suppress(KeyboardInterrupt):
            newLoop(name).run_until_complete(serveAsyncio(place))
    else:
        serveTwisted(place)


def newLoop(name: str) -> asyncio.AbstractEventLoop:
    """
    The event loop of an entrant.
    """
    if name.endswith("uvloop"):
        import uvloop

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop
    return asyncio.new_event_loop()


if __name__ == "__main__":
    main(*sys.argv[1:])
