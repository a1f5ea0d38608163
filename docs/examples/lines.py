"""
LineReceiver, and any other protocol class, mixed with ours.
"""

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver

from twisted_tcpdemo import ServerEndpoint, TCPDemoFactory, TCPDemoProtocol


class Lines(LineOnlyReceiver, TCPDemoProtocol):
    delimiter = b"\n"

    def connectionMade(self):
        self.setTimeout(30)

    def lineReceived(self, line):
        self.sendLine(line.upper() + b" (%d bytes so far)" % self.bytesRead)

    def timeoutConnection(self):
        self.sendLine(b"too slow")
        super().timeoutConnection()


async def main(reactor):
    factory = TCPDemoFactory(Lines)
    await factory.listen(ServerEndpoint(reactor, 18001, "127.0.0.1"))
    print("listening on", factory.address(), flush=True)
    await Deferred()


react(main)
