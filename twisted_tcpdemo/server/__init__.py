"""
Many connections: the factory with its limit, its ledger and its listeners, and
how it comes to rest.

It may import one connection, admission, and all below them; nothing of the fast
lane, which the factory must not need.
"""

from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.server.observers import ConnectionObserver
from twisted_tcpdemo.server.watermarks import Watermarks

__all__ = ["ConnectionObserver", "TCPDemoFactory", "Watermarks"]
