from twisted.internet.defer import Deferred
from twisted.internet.task import react

from twisted_tcpdemo import TCPDemoFactory, TCPDemoProtocol


class Counter(TCPDemoProtocol):
    def dataReceived(self, data):
        self.write(f"{self.remoteAddress}, that makes {self.bytesRead} bytes\n")


async def main(reactor):
    factory = TCPDemoFactory(Counter, maxConnections=100)
    await factory.listen(18001)
    print("listening on", factory.address(), flush=True)
    await Deferred()  # until Ctrl-C


react(main)
