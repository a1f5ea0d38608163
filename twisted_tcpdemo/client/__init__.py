"""
The client side: targets, attempts to connect, and retries.

It may import one connection, the fast lane, and all below them.
"""

from twisted_tcpdemo.client.endpoint import ClientEndpoint
from twisted_tcpdemo.client.retry import Retry

__all__ = ["ClientEndpoint", "Retry"]
