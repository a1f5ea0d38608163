"""
A protocol of yours in a unit test: no network, no reactor, the same counts.
"""

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from twisted_tcpdemo import CloseReason, TCPDemoFactory
from twisted_tcpdemo.twistd import Echo


def test_echo():
    factory = TCPDemoFactory(Echo, maxConnections=1)
    protocol, transport = factory.buildProtocol(None), StringTransport()
    protocol.makeConnection(transport)

    protocol.dataReceived(b"hello")

    assert transport.value() == b"hello"
    assert (protocol.bytesRead, protocol.bytesWritten, protocol.bytesPending) == (5, 5, 0)

    protocol.connectionLost(Failure(ConnectionDone()))

    assert factory.connectionCount == 0
    assert protocol.closeReason is CloseReason.PEER_CLOSED
    assert protocol.bytesRead == 5  # kept after the loss


test_echo()
print("passed")
