"""
The options of the command line: strings to values, checked when they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from inspect import signature
from ipaddress import ip_network
from typing import Any, ClassVar, Final, NoReturn

from twisted.internet.interfaces import IProtocol
from twisted.python.reflect import namedAny
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from twisted_tcpdemo.connection.hosting import hosted
from twisted_tcpdemo.connection.protocol import TCPDemoProtocol
from twisted_tcpdemo.monitoring.logbudget import LogBudget
from twisted_tcpdemo.server.factory import OVERFLOWS
from twisted_tcpdemo.service.startup import giveUp
from twisted_tcpdemo.transports.socketoptions import LONGEST_KEEP_ALIVE_DELAY
from twisted_tcpdemo.twistd.programs import Discard, Echo, ReportProtocol

PROGRAMS: dict[str, type[TCPDemoProtocol]] = {
    "report": ReportProtocol,
    "echo": Echo,
    "discard": Discard,
}

TRANSPORTS = ("fast", "twisted")

RULES: Final = ("allow", "deny", "max-per-peer", "peer-rate")

NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "interface": ("port",),
    "backlog": ("port",),
    "transport": ("port",),
    "keep-alive-delay": ("keep-alive",),
    "peer-burst": ("peer-rate",),
    "exempt": RULES,
    "dry-run": RULES,
    "control-token-file": ("control",),
}
"""Options that have no effect without one of some others: who gives one alone
believes that it holds."""

DEFAULTS: Final = {"backlog": 511, "transport": "fast", "peer-burst": 10}
"""The defaults of those which have one; it does not count as given."""


def _number(option: str, kind: type[int] | type[float], low: float, high: float) -> Any:
    """
    A coercion for a number in a range, whose errors name the option.
    """

    def coerce(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            what = "a whole number" if kind is int else "a number"
            upTo = f"{low} to {high}" if high < float("inf") else f"{low} or more"
            raise ValueError(f"--{option} must be {what}, {upTo}, not {text!r}")
        return value

    return coerce


def _refusalMessage(text: str) -> bytes:
    """
    A coercion for what the shell may have passed on in another encoding.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"--refusal-message must be UTF-8, not {text!r}") from None


def _count(
    option: str,
    default: int | None,
    text: str,
    *,
    short: str = "",
    low: int = 0,
    high: float = float("inf"),
) -> list[Any]:
    """
    An option that takes a whole number.
    """
    return [option, short, default, text, _number(option, int, low, high)]


def _rate(option: str, default: float, text: str) -> list[Any]:
    """
    An option that takes a number of times a second.
    """
    return [option, "", default, text, _number(option, float, 0, 10**6)]


def _seconds(option: str, default: float, text: str) -> list[Any]:
    """
    An option that takes a time.
    """
    return [option, "", default, text, _number(option, float, 0, 10**9)]


class Options(UsageOptions):
    """
    The options of C{twistd tcpdemo}.
    """

    synopsis = "[options]"
    longdesc = (
        "A TCP server that reports who connects, from where, and how many bytes. "
        "Times are in seconds, and 0 switches one off. "
        "Example: twistd -n tcpdemo --port 18001 --max-connections 100 --idle-timeout 60"
    )
    # fmt: off
    optParameters: ClassVar[list[list[Any]]] = [
        _count("port", None, "TCP port; 0 takes a free one. [default: 18001, unless --listen]",
               short="p", high=65535),
        ["interface", "", None, "Address to listen on. [default: all, IPv6 and IPv4]"],
        _count("backlog", None, "Connections that the kernel holds until they are accepted. "
               "[default: 511]", low=1, high=2**31 - 1),
        _count("max-connections", None, "How many may connect; 0: nobody. "
               "[default: as descriptors allow]", short="m"),
        ["overflow", "", "refuse",
         "What a client sees for whom there is no slot: refuse, reset or wait."],
        ["refusal-message", "", None,
         "Text that a refused client is sent before the FIN. [default: none]", _refusalMessage],
        _count("max-per-peer", 0, "How many one peer (IPv4, or IPv6 /64) may have; 0: no limit."),
        _rate("peer-rate", 0, "Connections a second of one peer, in the long run; 0: no limit."),
        _count("peer-burst", None, "How many one peer may make before --peer-rate holds. "
               "[default: 10]", low=1),
        _seconds("idle-timeout", 300, "Close a connection on which no byte moves for this long."),
        _seconds("first-byte-timeout", 120, "Close a connection whose client has sent nothing."),
        _seconds("max-lifetime", 86400, "Close a connection this old, or up to a tenth younger."),
        _seconds("write-timeout", 60, "Reset a connection whose client takes nothing that waits."),
        _seconds("close-timeout", 30, "Reset a closing connection whose client reads nothing."),
        _seconds("handshake-timeout", 10, "Reset a connection whose TLS handshake does not end."),
        _count("max-pending", 2**24, "Reset a connection for which more wait; 0: no limit."),
        _seconds("pause-on-connect", 0, "Read nothing from a new connection for this long."),
        _count("keep-alive-delay", 0, "Silence before a keep-alive probe; 0: the system's.",
               high=LONGEST_KEEP_ALIVE_DELAY),
        ["transport", "", None,
         "What --port runs on: fast (writes at once) or twisted. [default: fast]"],
        ["protocol", "", "report", "report, echo, discard, or the dotted name of a class."],
        ["status", "", None, "Endpoint of a read-only status page. [default: none]"],
        _count("preview", 256, "Bytes of received data that report shows."),
        _count("log-rate", 100, "Lines a second about connections; 0: no bound."),
        _seconds("drain", 10, "Time that connections have to end when the server stops."),
        _seconds("drain-spread", 0, "Close idle connections over this time when the server stops."),
        ["control", "", None, "UNIX socket or endpoint to be controlled on. [default: none]"],
        ["control-token-file", "", None,
         "File with the token for --control; TCP needs one. [default: none]"],
    ]
    optFlags: ClassVar[list[list[str]]] = [
        ["allow-half-open", "", "Keep a connection after its client's FIN."],
        ["nagle", "", "Leave Nagle's algorithm on; otherwise TCP_NODELAY is set."],
        ["keep-alive", "", "Probe idle connections (SO_KEEPALIVE)."],
        ["dry-run", "", "Refuse nobody by peer or network, and count whom it would have been."],
    ]
    # fmt: on

    def __init__(self) -> None:
        super().__init__()
        for repeatable in ("listen", "allow", "deny", "exempt"):
            self[repeatable] = []
        self.logBudget = LogBudget()

    def opt_listen(self, endpoint: str) -> None:
        """
        Twisted server endpoint (tcp: ssl: tls: unix: systemd: haproxy:) to listen on; repeatable.
        """
        self["listen"].append(endpoint)

    def opt_allow(self, network: str) -> None:
        """
        Network from which clients may come, such as 192.0.2.0/24; repeatable. [default: all]
        """
        self["allow"].append(_network("allow", network))

    def opt_deny(self, network: str) -> None:
        """
        Network from which no client may come; repeatable.
        """
        self["deny"].append(_network("deny", network))

    def opt_exempt(self, network: str) -> None:
        """
        Network whose clients no rule about peers and networks concerns; repeatable.
        """
        self["exempt"].append(_network("exempt", network))

    def opt_version(self) -> NoReturn:
        """
        Show the version, and exit.
        """
        print(f"twisted-tcpdemo {version('twisted-tcpdemo')}")
        raise SystemExit(0)

    def parseArgs(self, *arguments: str) -> None:
        """
        There are none.

        @raise UsageError: if there are.
        """
        if arguments:
            raise UsageError(f"unexpected argument {arguments[0]!r}")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Parse, or end the process with one line.

        C{twistd} would answer a C{UsageError} with all of its help.
        """
        try:
            super().parseOptions(options)
        except UsageError as error:
            message = str(error).removeprefix("Parameter type enforcement failed: ")
            giveUp(message)

    def postOptions(self) -> None:
        """
        Complete and check what has to do with more than one option.
        """
        if self["port"] is None and not self["listen"]:
            self["port"] = 18001
        self._checkNeeds()
        for option, default in DEFAULTS.items():
            if self[option] is None:
                self[option] = default
        self._oneOf("overflow", OVERFLOWS)
        self._oneOf("transport", TRANSPORTS)
        self.logBudget = LogBudget(self["log-rate"])
        self["protocol"] = _protocolNamed(self["protocol"], self["preview"], self.logBudget)

    def _checkNeeds(self) -> None:
        for option, needed in NEEDS.items():
            if self[option] and not any(map(self._isOn, needed)):
                others = " or ".join(f"--{other}" for other in needed)
                raise UsageError(f"--{option} goes with {others}")

    def _isOn(self, option: str) -> bool:
        """
        Whether an option has an effect; a port of 0 is a free one.
        """
        return self[option] is not None if option == "port" else bool(self[option])

    def _oneOf(self, option: str, known: Sequence[str]) -> None:
        if self[option] not in known:
            raise UsageError(f"--{option} must be one of {', '.join(known)}, not {self[option]!r}")


def _network(option: str, text: str) -> str:
    """
    @raise UsageError: if it is none.
    """
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise UsageError(f"--{option}: {error}") from None


def _protocolNamed(name: str, preview: int, logBudget: LogBudget) -> Callable[[], TCPDemoProtocol]:
    """
    @raise UsageError: if there is no such protocol.
    """
    if name == "report":
        return partial(ReportProtocol, preview, logBudget)
    if name in PROGRAMS:
        return PROGRAMS[name]
    known = f"{', '.join(PROGRAMS)}, or the dotted name of a protocol class"
    if "." not in name:
        raise UsageError(f"--protocol must be one of {known}, not {name!r}")
    try:
        protocol = namedAny(name)
    except (Exception, SystemExit) as error:  # a script that exits when it is imported
        why = error if isinstance(error, Exception) else repr(error)
        raise UsageError(
            f"--protocol {name!r} cannot be imported: {why} "
            "(twistd does not look in the current folder: set PYTHONPATH=.)"
        ) from None
    if not isinstance(protocol, type) or not IProtocol.implementedBy(protocol):
        raise UsageError(f"--protocol {name!r} is no protocol class")
    if not _takesNoArguments(protocol):
        raise UsageError(f"--protocol {name!r} cannot be built without arguments")
    return protocol if issubclass(protocol, TCPDemoProtocol) else hosted(protocol)


def _takesNoArguments(protocol: type) -> bool:
    try:
        signature(protocol).bind()
    except TypeError:
        return False
    except ValueError:  # a class that does not tell
        return True
    return True
