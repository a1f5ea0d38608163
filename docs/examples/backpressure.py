"""
A server that sends a hundred megabytes to each client, and never holds more
than a piece of them.
"""

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from twisted_tcpdemo import ServerEndpoint, TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.errors import WriteFailedError

PIECE = bytes(100_000)


class Sender(TCPDemoProtocol):
    def connectionMade(self):
        Deferred.fromCoroutine(self.send())

    async def send(self):
        try:
            for _ in range(1000):
                self.transport.write(PIECE)
                await self.whenWritable()
            await self.write(b"that was all\n")
        except WriteFailedError as error:
            print("client", self.connectionID, "left:", error, flush=True)
        else:
            self.transport.loseConnection()


async def main(reactor):
    factory = TCPDemoFactory(Sender)
    await factory.listen(ServerEndpoint(reactor, 18001, "127.0.0.1"))
    print("listening on", factory.address(), flush=True)
    await Deferred()


react(main)
