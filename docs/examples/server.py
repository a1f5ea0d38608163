from twisted.internet.defer import Deferred
from twisted.internet.task import react

from twisted_tcpdemo import ServerEndpoint, TCPDemoFactory, TCPDemoProtocol


class Counter(TCPDemoProtocol):
    def dataReceived(self, data):
        self.write(f"{self.remoteAddress}, that makes {self.bytesRead} bytes\n")


async def main(reactor):
    factory = TCPDemoFactory(Counter, maxConnections=100)
    await factory.listen(ServerEndpoint(reactor, 18001, "127.0.0.1"))
    print("listening on", factory.address(), flush=True)
    await Deferred()  # until Ctrl-C


react(main)
