"""
The arguments of the command with a connection of its own: connect.
"""

from __future__ import annotations

import argparse

from twisted_tcpdemo.cli import kinds
from twisted_tcpdemo.cli.outcome import statuses

CONNECT = """
Standard input goes to the socket, and the socket to standard output.  When the
input ends, the client closes the sending half of the connection, and reads
until the peer ends.  When the peer ends first, the client sends the input that
it has read, and closes the connection.
"""

CONNECT_EXAMPLES = """
examples:
  tcpdemo connect localhost 18001
  tcpdemo connect --progress backup.example.org 9000 < disk.img
  printf 'GET / HTTP/1.0\\r\\n\\r\\n' | tcpdemo connect tls:example.org:443
  tcpdemo connect /run/service.sock

"""

HOST = "a name, an address, a client endpoint such as tls:HOST:PORT, or the path of a UNIX socket"


def addConnect(commands: kinds.Commands) -> None:
    """
    Add C{connect}.
    """
    command = commands.add_parser(
        "connect",
        help="pipe standard input and output through a connection",
        description=CONNECT,
        epilog=CONNECT_EXAMPLES.lstrip() + statuses(),
    )
    _target(command, 30.0, "time to connect; 0: no limit")
    _transfer(command)
    command.set_defaults(command="connect")


def _target(command: argparse.ArgumentParser, timeout: float, about: str) -> None:
    """
    Add where to connect, and how.
    """
    add = command.add_argument
    add("where", metavar="HOST", help=HOST)
    add("port", metavar="PORT", nargs="?", type=kinds.port, help="the port of HOST, 1 to 65535")
    add("--timeout", metavar="SECONDS", type=kinds.seconds, default=timeout,
        help=f"{about} [default: %(default)g]")  # fmt: skip


def _transfer(command: argparse.ArgumentParser) -> None:
    """
    Add how to pipe.
    """
    add = command.add_argument
    add("--idle-timeout", metavar="SECONDS", type=kinds.seconds, default=0.0,
        help="end the connection after this time without a byte in either direction; 0: never "
        "[default: %(default)g]")  # fmt: skip
    add("--linger", metavar="SECONDS", type=kinds.seconds, default=None,
        help="end the connection this time after the end of the input, even if the peer has not "
        "ended; TLS has no half-close here, so under TLS the peer ends the connection, or this "
        "does [default: wait for the peer]")  # fmt: skip
    add("--keep-sending", action="store_true",
        help="after the peer's end, send the rest of the input all the same")  # fmt: skip
    add("--progress", action="store_true", help="show the progress on standard error")
    add("--quiet", "-q", action="store_true",
        help="print no line about the connection at its end")  # fmt: skip
