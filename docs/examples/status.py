"""
A server with a status page on a UNIX socket.
"""

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import react

from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.twistd import Echo
from twisted_tcpdemo.status import StatusService


async def main(reactor):
    factory = TCPDemoFactory(Echo, maxConnections=100)
    await factory.listen(serverFromString(reactor, "tcp:18001:interface=127.0.0.1"))
    where = "unix:status.sock:mode=600"
    status = StatusService(factory, where, serverFromString(reactor, where), reactor)
    status.startService()
    print("listening on", factory.address(), flush=True)
    await Deferred()  # until Ctrl-C


react(main)
