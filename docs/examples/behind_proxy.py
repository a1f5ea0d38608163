"""
A server behind a proxy: it greets each client by the client's own address.
"""

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from twisted_tcpdemo import Proxy, ServerEndpoint, TCPDemoFactory, TCPDemoProtocol


class Greeting(TCPDemoProtocol):
    def connectionMade(self):
        line = f"{self.remoteAddress}, by way of {self.proxied.peer.host}\n"
        self.transport.write(line.encode())


async def main(reactor):
    proxy = Proxy(trusted=["127.0.0.0/8", "10.1.0.0/16"], timeout=5)
    endpoint = ServerEndpoint(reactor, 18001, "127.0.0.1", proxy=proxy)
    factory = TCPDemoFactory(Greeting, maxConnections=1000)
    await factory.listen(endpoint)
    print("listening on", factory.address(), flush=True)
    await Deferred()


react(main)
