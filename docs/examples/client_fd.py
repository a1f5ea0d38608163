"""
Read what another process writes to a socket that both were born with:
python client_fd.py
"""

import socket
import subprocess
import sys

from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.internet.task import react

from twisted_tcpdemo import ClientEndpoint, TCPDemoProtocol


class Reader(TCPDemoProtocol):
    def connectionMade(self):
        self.done: Deferred[None] = Deferred()

    def dataReceived(self, data):
        print("received", data.decode())

    def connectionLost(self, reason=connectionDone):
        self.done.callback(None)


async def main(reactor):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        code = "import os, sys; os.write(int(sys.argv[1]), b'one way')"
        command = [sys.executable, "-c", code, str(theirs.fileno())]
        writer = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        endpoint = ClientEndpoint(reactor, fd=ours.fileno(), writable=False)
        reader = await endpoint.connectProtocol(Reader())
    await reader.done
    print(reader.bytesRead, "bytes read")
    writer.wait()


react(main, [])
