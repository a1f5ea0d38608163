"""
Connect wherever a string says: python client_string.py tcp:example.org:80
"""

import sys

from twisted.internet.task import react

from twisted_tcpdemo import ClientEndpoint, TCPDemoProtocol


async def main(reactor, description):
    client = await ClientEndpoint.fromString(description).connectProtocol(TCPDemoProtocol())
    print("connected to", client.remoteAddress, "by", client.remoteFamily)
    client.transport.abortConnection()


react(main, sys.argv[1:])
