"""
Steering a server while it runs: JSON over HTTP, on a UNIX socket.

It may import monitoring, service, and all below them, and twisted.web; so it is
imported only when it is asked for.
"""

from twisted_tcpdemo.control.start import companionFor

__all__ = ["companionFor"]
