"""
The command line client, C{tcpdemo}: connect, listen, put a server under load, show its
status, control it.

A package for each kind of command, one for what all of them parse, one for what all of them
show.  Beside them is what they share: the exit statuses, the places to connect to, the run in
a reactor; and the entry point.

It may import client, server, and all below.  Its commands for a server reach it over HTTP.
"""

from twisted_tcpdemo.cli.command import main

__all__ = ["main"]
