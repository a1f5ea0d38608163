"""
The command line as a whole: its commands.

This module imports no command, so that only the chosen one is imported.
"""

from __future__ import annotations

from importlib.metadata import version

from twisted_tcpdemo.cli.outcome import statuses
from twisted_tcpdemo.cli.parser import Parser
from twisted_tcpdemo.cli.serverarguments import addControl, addStatus
from twisted_tcpdemo.cli.socketarguments import addConnect, addListen, addLoad


def parser() -> Parser:
    """
    The parser for all commands.
    """
    top = Parser(
        prog="tcpdemo",
        description="Connect to a TCP server, or be one; measure one, and look after one.",
        epilog=statuses(),
    )
    top.add_argument("--version", action="version", version=version("twisted-tcpdemo"))
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for add in (addConnect, addListen, addLoad, addStatus, addControl):
        add(commands)
    return top
