"""
The command line: commands, options and their help.

This module imports no command, so that only the chosen one is imported.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NoReturn, Protocol, TypeVar

from twisted_tcpdemo.cli.outcome import CommandError, Outcome, statuses
from twisted_tcpdemo.values.checks import number

N = TypeVar("N", int, float)

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

STATUS_EXAMPLES = """
examples:
  tcpdemo status http://127.0.0.1:18080
  tcpdemo status /run/tcpdemo/control.sock --watch

"""

CONTROL_EXAMPLES = """
examples:
  tcpdemo control /run/tcpdemo/control.sock limit 100
  tcpdemo control /run/tcpdemo/control.sock limit none
  tcpdemo control /run/tcpdemo/control.sock drain 30
  tcpdemo control http://127.0.0.1:18081 --token-file token connections

"""


class Commands(Protocol):
    """
    The result of C{add_subparsers}; its class has no public name.
    """

    def add_parser(
        self, name: str, *, help: str, description: str, epilog: str
    ) -> argparse.ArgumentParser:
        """
        Add a command.
        """


class Parser(argparse.ArgumentParser):
    """
    A parser with errors of one line.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options
        )

    def error(self, message: str) -> NoReturn:
        """
        Raise an error as a L{CommandError} of one line.
        """
        raise CommandError(Outcome.BAD_INPUT, f"{message} (see {self.prog} --help)")


def parser() -> argparse.ArgumentParser:
    """
    The parser for all commands.
    """
    top = Parser(
        prog="tcpdemo",
        description="Connect to a TCP server, and look after one.",
        epilog=statuses(),
    )
    top.add_argument("--version", action="version", version=version("twisted-tcpdemo"))
    commands = top.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    _connect(commands)
    _status(commands)
    _control(commands)
    return top


def _connect(commands: Commands) -> None:
    command = commands.add_parser(
        "connect",
        help="pipe standard input and output through a connection",
        description=CONNECT,
        epilog=CONNECT_EXAMPLES.lstrip() + statuses(),
    )
    add = command.add_argument
    add("where", metavar="HOST", help="a name, an address, a client endpoint such as "
        "tls:HOST:PORT, or the path of a UNIX socket")  # fmt: skip
    add("port", metavar="PORT", nargs="?", type=_port, help="the port of HOST, 1 to 65535")
    add("--timeout", metavar="SECONDS", type=_seconds, default=30.0,
        help="time to connect; 0: no limit [default: %(default)g]")  # fmt: skip
    add("--idle-timeout", metavar="SECONDS", type=_seconds, default=0.0,
        help="end the connection after this time without a byte in either direction; 0: never "
        "[default: %(default)g]")  # fmt: skip
    add("--linger", metavar="SECONDS", type=_seconds, default=None,
        help="end the connection this time after the end of the input, even if the peer has not "
        "ended; TLS has no half-close here, so under TLS the peer ends the connection, or this "
        "does [default: wait for the peer]")  # fmt: skip
    add("--keep-sending", action="store_true",
        help="after the peer's end, send the rest of the input all the same")  # fmt: skip
    add("--progress", action="store_true", help="show the progress on standard error")
    add("--quiet", "-q", action="store_true",
        help="print no line about the connection at its end")  # fmt: skip
    command.set_defaults(command="connect")


def _status(commands: Commands) -> None:
    command = commands.add_parser(
        "status",
        help="show the status of a server",
        description="Show the status of a server as a table, from its status page or its control.",
        epilog=STATUS_EXAMPLES.lstrip() + statuses(),
    )
    _server(command)
    add = command.add_argument
    add("--watch", "-w", action="store_true", help="repeat until Ctrl-C, with rates")
    add("--interval", metavar="SECONDS", type=_interval, default=2.0,
        help="pause of --watch between two requests [default: %(default)g]")  # fmt: skip
    add("--all", "-a", action="store_true",
        help="show all connections, even if they do not fit on the terminal")  # fmt: skip
    add("--json", action="store_true", help="print the status as one line of JSON")
    command.set_defaults(command="status")


def _control(commands: Commands) -> None:
    command = commands.add_parser(
        "control",
        help="control a running server",
        description="Control a running server, through its --control.",
        epilog=CONTROL_EXAMPLES.lstrip() + statuses(),
    )
    _server(command)
    verbs = command.add_subparsers(metavar="VERB", required=True, parser_class=Parser)

    def verb(name: str, about: str) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = verbs.add_parser(name, help=about, description=about)
        added.set_defaults(command="control", verb=name)
        return added

    limit = verb("limit", "show or set the limit of connections")
    limit.add_argument("limit", metavar="N", nargs="?", type=_limit, default=False,
                       help="a number, or none for no limit")  # fmt: skip
    overflow = verb("overflow", "set the answer to a client over the limit")
    overflow.add_argument("overflow", choices=("refuse", "reset", "wait"))
    verb("suspend", "stop accepting; clients wait in the queue")
    verb("resume", "accept again")
    verb("restart", "replace the workers by new ones, and let the old ones drain")
    drain = verb("drain", "stop listening, and let the connections end")
    drain.add_argument("deadline", metavar="SECONDS", nargs="?", type=_seconds, default=None,
                       help="abort the remaining connections after this time [default: never]"
                       )  # fmt: skip
    drain.add_argument("--spread", metavar="SECONDS", type=_seconds, default=0.0,
                       help="close idle connections over this time")  # fmt: skip
    for name, about in {"close": "close one connection", "abort": "abort one connection"}.items():
        verb(name, about).add_argument("id", metavar="ID", type=_identity)
    verb("connections", "list the connections")


def _server(command: argparse.ArgumentParser) -> None:
    command.add_argument("server", metavar="SERVER",
                         help="http://HOST:PORT, or the path of a UNIX socket")  # fmt: skip
    command.add_argument("--token-file", metavar="FILE", help="file with the token for control")
    command.add_argument("--timeout", metavar="SECONDS", type=_interval, default=10.0,
                         help="time to wait for an answer [default: %(default)g]")  # fmt: skip


# Values.


def _value(text: str, kind: Callable[[str], N], low: float, high: float, what: str) -> N:
    try:
        value = kind(text)
        number("it", value, low, high)
    except ValueError:
        # The text is of our own: argparse puts the argument's name before it.
        raise argparse.ArgumentTypeError(f"it must be {what}, not {text!r}") from None
    return value


def _port(text: str) -> int:
    return _value(text, int, 1, 65535, "a port, 1 to 65535")


def _seconds(text: str) -> float:
    return _value(text, float, 0, 10**9, "a number of seconds, 0 or more")


def _interval(text: str) -> float:
    return _value(text, float, 0.05, 10**6, "a number of seconds, 0.05 or more")


def _identity(text: str) -> int:
    return _value(text, int, 1, 2**63, "the number of a connection")


def _limit(text: str) -> int | None:
    if text == "none":
        return None
    return _value(text, int, 0, 2**31 - 1, "none or a whole number, 0 or more")
