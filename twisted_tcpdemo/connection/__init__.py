"""
One connection, from its first byte to the reason of its end: the protocol that
an application subclasses, and the record behind it.

It may import what lies under a connection (transports), values, errors and
interfaces; nothing of a server or a client.
"""

from twisted_tcpdemo.connection.hosting import Hosted, hosted
from twisted_tcpdemo.connection.protocol import TCPDemoProtocol
from twisted_tcpdemo.connection.stream import Stream

__all__ = ["Hosted", "Stream", "TCPDemoProtocol", "hosted"]
