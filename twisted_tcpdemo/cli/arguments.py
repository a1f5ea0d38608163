"""
What can be said on the command line.

Nothing of what carries it out is imported until it is known what is wanted.
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
input ends, the sending half of the connection is closed, and what the peer
still sends is read to its end.  When the peer ends first, what has been read
of the input is sent, and the connection is closed.
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
    What C{add_subparsers} returns; its class has no public name.
    """

    def add_parser(
        self, name: str, *, help: str, description: str, epilog: str
    ) -> argparse.ArgumentParser:
        """
        Add one more command.
        """


class Parser(argparse.ArgumentParser):
    """
    A parser whose errors are one line.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options
        )

    def error(self, message: str) -> NoReturn:
        """
        Say what is wrong, in one line.
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
    add("port", metavar="PORT", nargs="?", type=_port, help="with HOST: 1 to 65535")
    add("--timeout", metavar="SECONDS", type=_seconds, default=30.0,
        help="time to connect; 0: for ever [default: %(default)g]")  # fmt: skip
    add("--idle-timeout", metavar="SECONDS", type=_seconds, default=0.0,
        help="end when nothing moves for so long; 0: never [default: %(default)g]")  # fmt: skip
    add("--linger", metavar="SECONDS", type=_seconds, default=None,
        help="end so long after the end of the input, whether the peer has ended or not; under "
        "TLS, which has no half-close here, it is what ends the connection [default: wait for "
        "the peer]")  # fmt: skip
    add("--keep-sending", action="store_true",
        help="when the peer ends first, send the rest of the input all the same")  # fmt: skip
    add("--progress", action="store_true", help="show on standard error how it goes")
    add("--quiet", "-q", action="store_true", help="no line about the connection at its end")
    command.set_defaults(command="connect")


def _status(commands: Commands) -> None:
    command = commands.add_parser(
        "status",
        help="show what a server is doing",
        description="The status of a server, from its status page or its control, as a table.",
        epilog=STATUS_EXAMPLES.lstrip() + statuses(),
    )
    _server(command)
    add = command.add_argument
    add("--watch", "-w", action="store_true", help="go on until Ctrl-C, with rates")
    add("--interval", metavar="SECONDS", type=_interval, default=2.0,
        help="how often to look [default: %(default)g]")  # fmt: skip
    add("--all", "-a", action="store_true", help="all connections, not only what fits")
    add("--json", action="store_true", help="as JSON, in one line")
    command.set_defaults(command="status")


def _control(commands: Commands) -> None:
    command = commands.add_parser(
        "control",
        help="change what a server is doing",
        description="Change what a server is doing, through its --control.",
        epilog=CONTROL_EXAMPLES.lstrip() + statuses(),
    )
    _server(command)
    verbs = command.add_subparsers(metavar="VERB", required=True, parser_class=Parser)

    def verb(name: str, about: str) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = verbs.add_parser(name, help=about, description=about)
        added.set_defaults(command="control", verb=name)
        return added

    limit = verb("limit", "show or set how many may be connected")
    limit.add_argument("limit", metavar="N", nargs="?", type=_limit, default=False,
                       help="a number, or none for no limit")  # fmt: skip
    overflow = verb("overflow", "set what a client sees for whom there is no slot")
    overflow.add_argument("overflow", choices=("refuse", "reset", "wait"))
    verb("suspend", "stop accepting; clients wait in the queue")
    verb("resume", "go on accepting")
    drain = verb("drain", "stop listening, and let the connections end")
    drain.add_argument("deadline", metavar="SECONDS", nargs="?", type=_seconds, default=None,
                       help="abort what is left then [default: wait as long as it takes]"
                       )  # fmt: skip
    drain.add_argument("--spread", metavar="SECONDS", type=_seconds, default=0.0,
                       help="close idle connections over this time")  # fmt: skip
    for name, about in {"close": "close one connection", "abort": "break one off"}.items():
        verb(name, about).add_argument("id", metavar="ID", type=_identity)
    verb("connections", "list the connections")


def _server(command: argparse.ArgumentParser) -> None:
    command.add_argument("server", metavar="SERVER", help="http://HOST:PORT, or a UNIX socket")
    command.add_argument("--token-file", metavar="FILE", help="the token that control asks for")
    command.add_argument("--timeout", metavar="SECONDS", type=_interval, default=10.0,
                         help="time for an answer [default: %(default)g]")  # fmt: skip


# Values.


def _value(text: str, kind: Callable[[str], N], low: float, high: float, what: str) -> N:
    try:
        value = kind(text)
        number("it", value, low, high)
    except ValueError:
        # In words of its own: argparse puts the argument's name before them.
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
