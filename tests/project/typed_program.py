"""
A program as a user would write it in strict style, for type checkers to read.

It uses no untyped part of Twisted, so any name that a checker does not know is one
of ours.
"""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import Clock, react
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from twisted_tcpdemo import (
    Admission,
    Budgets,
    ClientEndpoint,
    CloseReason,
    ConnectionObserver,
    ConnectionReport,
    DeniedNetworks,
    PeerRate,
    PerPeerLimit,
    Retry,
    Rule,
    ServerEndpoint,
    Stream,
    TCPDemoFactory,
    TCPDemoProtocol,
    Watermarks,
    hosted,
)


async def handle(stream: Stream) -> None:
    async for line in stream.lines(limit=4096):
        written: int = await stream.write(line.upper() + b"\n")
        assert written <= stream.bytesWritten
    rest: bytes = await stream.read()
    stream.write(rest).addErrback(print)


class Greeter(TCPDemoProtocol):
    allowHalfOpen = True

    def connectionMade(self) -> None:
        self.setTimeout(30)
        self.transport.write(b"hello\n")
        self.transport.setTcpNoDelay(True)
        self.write("to everybody\n").addErrback(self.failed)

    def failed(self, failure: Failure) -> None:
        print(failure)

    def dataReceived(self, data: bytes) -> None:
        Deferred.fromCoroutine(self.answer(data))

    async def answer(self, data: bytes) -> None:
        self.pause()
        self.transport.write(data)
        await self.whenWritable()
        written: int = await self.write(b"done\n")
        assert written <= self.bytesWritten
        self.resume()

    def readConnectionLost(self) -> None:
        self.transport.loseConnection()

    def timeoutConnection(self) -> None:
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        report = self.report()
        ended: CloseReason | None = report.closeReason
        print(ended, report.remote.address, report.bytesRead + report.bytesWritten, self.age)


class Lines(LineOnlyReceiver, TCPDemoProtocol):
    def lineReceived(self, line: bytes) -> None:
        self.transport.writeSequence([line.upper(), self.delimiter])
        print(self.localAddress, self.localPort, self.remoteFamily)


class Server(TCPDemoFactory):
    protocol = Greeter

    def greet(self) -> None:
        for connection in self.connections:
            connection.transport.write(b"hello again\n")


class Alarm(ConnectionObserver):
    def listening(self, address: IAddress) -> None:
        if isinstance(address, IPv4Address):
            print(address.host, address.port)

    def connectionClosed(self, report: ConnectionReport) -> None:
        if report.closeReason is not None and report.tcpInfo is not None:
            print(report.closeReason.value, report.tcpInfo.roundTripTime)


class OfficeHours(Rule):
    name = "officeHours"

    def decide(self, host: IAddress, peer: IAddress, now: float) -> str | None:
        return self.name if now % 86400 < 3600 else None


class Patient:
    def __init__(self, endpoint: ServerEndpoint) -> None:
        self.endpoint = endpoint

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        return self.endpoint.listen(protocolFactory)


async def main(reactor: Clock) -> None:
    factory = Server.forProtocol(
        Greeter,
        maxConnections=3,
        overflow="wait",
        budgets=Budgets(idle=60, maxPending=2**20),
        watermarks=Watermarks([0.8, 1.0]),
        clock=Clock(),
    )
    factory.greet()
    factory.maxConnections = None
    factory.overflow = "reset"
    factory.admission = Admission(
        DeniedNetworks("203.0.113.0/24"),
        OfficeHours(),
        PerPeerLimit(20),
        Admission(PeerRate(5, burst=20), dryRun=True),
        exempt=["127.0.0.0/8"],
    )
    alarm = Alarm()
    factory.addObserver(alarm)
    factory.removeObserver(alarm)
    port = await factory.listen(ServerEndpoint(reactor, 18001, "127.0.0.1"))
    print(port.getHost(), factory.address())
    await factory.listen(0)
    await factory.listen("tcp:0:interface=127.0.0.1")
    await factory.listen(Patient(ServerEndpoint(reactor, 0)))
    await ServerEndpoint(reactor, 0).listen(Factory.forProtocol(Lines))
    await TCPDemoFactory(LineOnlyReceiver).listen(ServerEndpoint(reactor, 0))
    await TCPDemoFactory(hosted(LineOnlyReceiver)).listen(ServerEndpoint(reactor, 0))

    endpoint = ClientEndpoint(
        reactor, "127.0.0.1", 18001, timeout=2, retry=Retry(attempts=3, initialDelay=0.1)
    )
    client = await endpoint.connectProtocol(Lines())
    client.lineReceived(b"from the other side")
    await endpoint.connect(factory)
    await TCPDemoFactory.forHandler(handle, maxConnections=3).listen(0)
    async with await endpoint.open() as stream:
        async for chunk in stream:
            print(chunk.decode(), stream.remoteAddress, await stream.readLine())
    await endpoint.connect(Factory.forProtocol(Lines))

    report = await factory.drain(deadline=5)
    print(report.finished + report.aborted, factory.report().closedBy.get(CloseReason.IDLE, 0))


if __name__ == "__main__":
    react(main)
