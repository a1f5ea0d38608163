"""
A TCP forwarder, where one side that does not read holds up the other:
python stream_forward.py tcp:HOST:PORT
"""

import sys
from functools import partial

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from twisted_tcpdemo import ClientEndpoint, TCPDemoFactory
from twisted_tcpdemo.errors import ConnectFailedError


async def copy(source, target):
    async for chunk in source:
        await target.write(chunk)
    await target.end()


async def forward(upstream, client):
    try:
        server = await upstream.open()
    except ConnectFailedError as error:
        print(error)
        return
    async with server:
        both = [Deferred.fromCoroutine(copy(*way)) for way in ((client, server), (server, client))]
        try:
            await gatherResults(both, consumeErrors=True)
        except Exception:
            client.abort()  # one side is broken: so is the other
            server.abort()


async def main(reactor):
    upstream = ClientEndpoint.fromString(sys.argv[1], reactor)
    factory = TCPDemoFactory.forHandler(partial(forward, upstream), maxConnections=100)
    await factory.listen("fasttcp:18001:interface=127.0.0.1")
    print("listening on", factory.address(), flush=True)
    await Deferred()


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
