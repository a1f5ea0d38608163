"""
Control of a running server: JSON over HTTP, on a UNIX socket or, with a token, on
any endpoint.

It may import monitoring, service, and all below them, and twisted.web; so it is
imported only when control is asked for.
"""

from twisted_tcpdemo.control.start import companionFor

__all__ = ["companionFor"]
