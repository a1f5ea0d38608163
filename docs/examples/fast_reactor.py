"""
Plain Twisted on the fast lane: one line, and no other change.
"""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, connectProtocol, serverFromString
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import react

from twisted_tcpdemo import fastReactor


class Echo(Protocol):
    transport: Any  # for type checkers

    def dataReceived(self, data):
        self.transport.write(data)


class Caller(Protocol):
    transport: Any
    done: Deferred[None]

    def connectionMade(self):
        self.done = Deferred()
        self.transport.write(b"hello")

    def dataReceived(self, data):
        print("received", data.decode())
        self.transport.loseConnection()

    def connectionLost(self, reason=connectionDone):
        self.done.callback(None)


async def main(reactor):
    reactor = fastReactor(reactor)
    server = serverFromString(reactor, "tcp:0:interface=127.0.0.1")
    port = await server.listen(Factory.forProtocol(Echo))
    client = clientFromString(reactor, f"tcp:127.0.0.1:{port.getHost().port}")
    caller = await connectProtocol(client, Caller())
    await caller.done


react(main)
