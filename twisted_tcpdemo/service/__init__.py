"""
What a process runs: the server and its companions as Twisted services, the
signals that end them, the strings of their endpoints.

It may import server, client, and all below them.
"""

from twisted_tcpdemo.service.companion import Accompanied, Companion
from twisted_tcpdemo.service.service import TCPDemoService
from twisted_tcpdemo.service.startup import StartError

__all__ = ["Accompanied", "Companion", "StartError", "TCPDemoService"]
