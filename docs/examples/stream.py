"""
A server and a client of lines, each a coroutine.
"""

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from twisted_tcpdemo import ClientEndpoint, TCPDemoFactory


async def handle(stream):  # a connection, from its first byte to its end
    async for line in stream.lines(limit=4096):
        await stream.write(line.upper() + b"\n")  # waits while the peer does not read


async def main(reactor):
    factory = TCPDemoFactory.forHandler(handle, maxConnections=100)
    await factory.listen("fasttcp:0:interface=127.0.0.1")
    [server] = factory.addresses()
    async with await ClientEndpoint(reactor, server.address, server.port).open() as stream:
        await stream.write("hello\n")
        print(await stream.readLine(), stream.remoteAddress, stream.bytesRead)
    await factory.close()


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
