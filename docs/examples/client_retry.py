"""
Wait for a server that is not up yet: python client_retry.py HOST PORT
"""

import sys

from twisted.internet.defer import TimeoutError
from twisted.internet.task import react

from twisted_tcpdemo import ClientEndpoint, Retry, TCPDemoProtocol


async def main(reactor, host, port):
    retry = Retry(initialDelay=0.1, maxDelay=5.0)
    endpoint = ClientEndpoint(reactor, host, int(port), timeout=2.0, retry=retry)
    connecting = endpoint.connectProtocol(TCPDemoProtocol())
    connecting.addTimeout(20.0, reactor)  # for all attempts together
    try:
        client = await connecting
    except TimeoutError:
        raise SystemExit("the server did not come up") from None
    print("connected from", client.localAddress, client.localPort)
    client.transport.abortConnection()


react(main, sys.argv[1:])
