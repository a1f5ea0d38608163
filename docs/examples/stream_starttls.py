"""
TLS that begins in the middle of a connection, at both ends:
python stream_starttls.py PEM_FILE
"""

import ssl
import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from twisted_tcpdemo import ClientEndpoint, TCPDemoFactory


async def serve(stream):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[1])
    async for line in stream.lines():
        if line == b"STARTTLS":
            await stream.write("go\n")
            await stream.startTLS(context)
        else:
            await stream.write(b"received " + line + b"\n")


async def main(reactor):
    factory = TCPDemoFactory.forHandler(serve)
    await factory.listen("fasttcp:0:interface=127.0.0.1")
    [server] = factory.addresses()
    context = ssl.create_default_context(cafile=sys.argv[1])
    async with await ClientEndpoint(reactor, server.address, server.port).open() as stream:
        await stream.write("STARTTLS\n")
        print(await stream.readLine())
        await stream.startTLS(context, "localhost")
        await stream.write("a secret\n")
        print(await stream.readLine())
    await factory.close()


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
