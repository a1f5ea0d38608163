"""
The command line client, C{tcpdemo}: connect, listen, put a server under load, show its
status, control it.

It may import client, server, and all below.  Its commands for a server reach it over HTTP.
"""

from twisted_tcpdemo.cli.command import main

__all__ = ["main"]
