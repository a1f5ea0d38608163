"""
Our own sockets: a transport that writes at once, and one poller for many.

It may import TLS, the clock, and all below them.
"""

from twisted_tcpdemo.fast.endpoint import ServerEndpoint
from twisted_tcpdemo.fast.proxy import Proxy
from twisted_tcpdemo.fast.reactor import fastReactor

__all__ = ["Proxy", "ServerEndpoint", "fastReactor"]
