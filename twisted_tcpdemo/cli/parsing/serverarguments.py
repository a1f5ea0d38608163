"""
The arguments of the commands that look after a server: status, control.
"""

from __future__ import annotations

import argparse

from twisted_tcpdemo.cli.outcome import statuses
from twisted_tcpdemo.cli.parsing import kinds
from twisted_tcpdemo.cli.showing.columns import COLUMNS

STATUS_EXAMPLES = """
examples:
  tcpdemo status http://127.0.0.1:18080
  tcpdemo status /run/tcpdemo/control.sock --watch
  tcpdemo status /run/tcpdemo/control.sock --sort read --filter 192.0.2.

"""

CONTROL_EXAMPLES = """
examples:
  tcpdemo control /run/tcpdemo/control.sock limit 100
  tcpdemo control /run/tcpdemo/control.sock limit none
  tcpdemo control /run/tcpdemo/control.sock drain 30
  tcpdemo control http://127.0.0.1:18081 --token-file token connections

"""


def addStatus(commands: kinds.Commands) -> None:
    """
    Add C{status}.
    """
    command = commands.add_parser(
        "status",
        help="show the status of a server",
        description="Show the status of a server as a table, from its status page or its control.",
        epilog=STATUS_EXAMPLES.lstrip() + statuses(),
    )
    _server(command)
    add = command.add_argument
    add("--watch", "-w", action="store_true", help="repeat until Ctrl-C, with rates")
    add("--interval", metavar="SECONDS", type=kinds.interval, default=2.0,
        help="pause of --watch between two requests [default: %(default)g]")  # fmt: skip
    add("--all", "-a", action="store_true",
        help="show all connections, even if they do not fit on the terminal")  # fmt: skip
    _choice(command)
    _json(command)


def addControl(commands: kinds.Commands) -> None:
    """
    Add C{control}.
    """
    command = commands.add_parser(
        "control",
        help="control a running server",
        description="Control a running server, through its --control.",
        epilog=CONTROL_EXAMPLES.lstrip() + statuses(),
    )
    _server(command)
    verbs = command.add_subparsers(metavar="VERB", dest="verb", required=True)

    def verb(name: str, about: str) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = verbs.add_parser(name, help=about, description=about)
        _json(added)
        return added

    limit = verb("limit", "show or set the limit of connections")
    limit.add_argument("limit", metavar="N", nargs="?", type=kinds.limit, default=False,
                       help="a number, or none for no limit")  # fmt: skip
    overflow = verb("overflow", "set the answer to a client over the limit")
    overflow.add_argument("overflow", choices=("refuse", "reset", "wait"))
    verb("suspend", "stop accepting; clients wait in the queue")
    verb("resume", "accept again")
    verb("restart", "replace the workers by new ones, and let the old ones drain")
    drain = verb("drain", "stop listening, and let the connections end")
    drain.add_argument("deadline", metavar="SECONDS", nargs="?", type=kinds.seconds, default=None,
                       help="abort the remaining connections after this time [default: never]"
                       )  # fmt: skip
    drain.add_argument("--spread", metavar="SECONDS", type=kinds.seconds, default=0.0,
                       help="close idle connections over this time")  # fmt: skip
    for name, about in {"close": "close one connection", "abort": "abort one connection"}.items():
        verb(name, about).add_argument("id", metavar="ID", type=kinds.identity)
    _choice(verb("connections", "list the connections"))


def _server(command: argparse.ArgumentParser) -> None:
    command.add_argument("server", metavar="SERVER",
                         help="http://HOST:PORT, or the path of a UNIX socket")  # fmt: skip
    command.add_argument("--token-file", metavar="FILE", help="file with the token for control")
    command.add_argument("--timeout", metavar="SECONDS", type=kinds.interval, default=10.0,
                         help="time to wait for an answer [default: %(default)g]")  # fmt: skip


def _choice(command: argparse.ArgumentParser) -> None:
    """
    Add which connections to show, and in which order.
    """
    add = command.add_argument
    names = [column.name for column in COLUMNS]
    add("--sort", choices=names, metavar="COLUMN", default="id",
        help=f"the order of the connections, by {', '.join(names)}: the greatest first, addresses "
        "in their own order [default: %(default)s, the newest first]")  # fmt: skip
    add("--reverse", "-r", action="store_true", help="turn the order round")
    add("--filter", metavar="TEXT", default="",
        help="only connections with this text in an address, or with this number, or with "
        "peer:ADDRESS those of one peer")  # fmt: skip


def _json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print the answer as one line of JSON")
