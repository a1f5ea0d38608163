"""
Checks of the strings of client endpoints, before Twisted has them.

Twisted checks little of them.  A wrong host would raise in a thread, and a path that
is too long in the reactor; in neither case would C{connect()} ever fail.  A port out
of range would only fail to connect.
"""

from __future__ import annotations

import re

from twisted_tcpdemo.client.names import checkHost, encoded
from twisted_tcpdemo.errors import needTLS
from twisted_tcpdemo.values.checks import decimal, pathName, whole

_ARGUMENT = re.compile(r"((?:[^:\\]|\\.)*)(?::|$)", re.DOTALL)


def checkString(description: str) -> str:
    """
    Check host and port in a client's string for C{tcp:}, C{ssl:} or C{tls:},
    and the path in one for C{unix:}.

    @return: the string, with the host's name in ASCII.
    @raise ValueError: if they are missing or wrong.
    @raise TLSNotInstalledError: see L{needTLS}.
    """
    kind, *arguments = [re.sub(r"\\(.)", r"\1", part) for part in _ARGUMENT.findall(description)]
    del arguments[-1:]  # of the end, which always matches once more
    if kind.lower() == "unix":
        pathName(_named(arguments, "path").get("path", ""))
    elif kind.lower() in ("tcp", "ssl", "tls"):
        if kind.lower() != "tcp":
            needTLS()
        named = _named(arguments, "host", "port")
        try:
            _checkHostAndPort(kind, named)
        except ValueError as error:
            if "::" not in description and "[" not in description:
                raise
            spelling = rf"no brackets, and a backslash before each colon: {kind}:\:\:1:80"
            raise ValueError(f"{error}; an IPv6 address in a string has {spelling}") from None
        return _encoded(description, named["host"])
    return description


def _encoded(description: str, host: str) -> str:
    """
    A string with its host's name in ASCII.
    """
    if host.isascii():
        return description
    parts = list(_ARGUMENT.findall(description))
    for number, part in enumerate(parts):
        if part in (host, f"host={host}"):
            parts[number] = part.removesuffix(host) + encoded(host)
            break
    return ":".join(parts).removesuffix(":")


def _named(arguments: list[str], *order: str) -> dict[str, str]:
    """
    The arguments by their names.  An argument without a name has it from the order.
    """
    named = dict(part.split("=", 1) for part in arguments if "=" in part)
    inOrder = [part for part in arguments if "=" not in part]
    for name in order:
        if name not in named and inOrder:
            named[name] = inOrder.pop(0)
    return named


def _checkHostAndPort(kind: str, named: dict[str, str]) -> None:
    if "host" not in named or "port" not in named:
        raise ValueError(f"it must have a host and a port: {kind}:HOST:PORT")
    checkHost(named["host"])
    whole("port", decimal("port", named["port"]), 1, 65535)
