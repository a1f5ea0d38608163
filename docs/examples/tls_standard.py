"""
TLS of the standard library, server and client: python tls_standard.py PEM_FILE
"""

import ssl
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from twisted_tcpdemo import ClientEndpoint, ServerEndpoint, TCPDemoFactory, TCPDemoProtocol


class Echo(TCPDemoProtocol):
    def dataReceived(self, data):
        self.write(data)


class Caller(TCPDemoProtocol):
    transport: Any  # for type checkers
    done: Deferred[None]

    def connectionMade(self):
        self.done = Deferred()
        self.write("hello")

    def dataReceived(self, data):
        print("received", data.decode(), "over", self.transport.getHandle().version())
        self.transport.loseConnection()

    def connectionLost(self, reason=None):
        self.done.callback(None)


async def listen(reactor, factory, pem):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)  # the key and the certificate
    return await factory.listen(ServerEndpoint(reactor, 0, "127.0.0.1", tls=context))


async def call(reactor, port, authority):
    context = ssl.create_default_context(cafile=authority)
    endpoint = ClientEndpoint(reactor, "localhost", port, tls=context)
    caller = await endpoint.connectProtocol(Caller())
    await caller.done


async def main(reactor, pem):
    factory = TCPDemoFactory(Echo)
    port = await listen(reactor, factory, pem)
    await call(reactor, port.getHost().port, pem)
    await factory.close()


react(main, sys.argv[1:])
