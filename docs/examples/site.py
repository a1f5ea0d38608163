"""
A web site of Twisted's, counted and limited.
"""

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.web.resource import Resource
from twisted.web.server import Site

from twisted_tcpdemo import ServerEndpoint, TCPDemoFactory, hosted


class Counts(Resource):
    isLeaf = True
    factory: TCPDemoFactory

    def render_GET(self, request):
        return f"{self.factory.connectionCount} of {self.factory.maxConnections}\n".encode()


async def main(reactor):
    counts = Counts()
    factory = TCPDemoFactory(hosted(Site(counts)), maxConnections=2)
    counts.factory = factory
    await factory.listen(ServerEndpoint(reactor, 18001, "127.0.0.1"))
    print("listening on", factory.address(), flush=True)
    await Deferred()  # until Ctrl-C


react(main)
