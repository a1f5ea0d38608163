"""
TLS inside a transport: a socket that encrypts, and two engines for it.

It may import values, errors and interfaces.
"""

from twisted_tcpdemo.tls.context import engineMaker
from twisted_tcpdemo.tls.securesocket import SecureSocket

__all__ = ["SecureSocket", "engineMaker"]
