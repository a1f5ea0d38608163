"""
Connect, send a line, show the answer: python client_first.py HOST PORT
"""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.internet.task import react

from twisted_tcpdemo import ClientEndpoint, TCPDemoProtocol


class Caller(TCPDemoProtocol):
    def connectionMade(self):
        self.done: Deferred[None] = Deferred()
        self.write("hello\n")

    def dataReceived(self, data):
        print("received", data.decode().rstrip())
        self.transport.loseConnection()

    def connectionLost(self, reason=connectionDone):
        self.done.callback(None)


async def main(reactor, host, port):
    caller = await ClientEndpoint(reactor, host, int(port)).connectProtocol(Caller())
    print("connected to", caller.remoteAddress, caller.remotePort)
    await caller.done
    print(caller.bytesWritten, "bytes written,", caller.bytesRead, "read")
    assert caller.closeReason is not None  # it has ended
    print("it ended by", caller.closeReason.value)


react(main, sys.argv[1:])
