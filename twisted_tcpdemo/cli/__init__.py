"""
The command line client, C{tcpdemo}: connect, show a status, control a server.

It may import client, and all below; a server is asked over its endpoints.
"""

from twisted_tcpdemo.cli.command import main

__all__ = ["main"]
