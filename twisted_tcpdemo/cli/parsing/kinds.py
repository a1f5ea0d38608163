"""
The kinds of values on the command line: from a word to a value, or an error that says
what the word must be.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from ipaddress import ip_address
from typing import Protocol, TypeVar

from twisted_tcpdemo.values.checks import number

N = TypeVar("N", int, float)

Address = tuple[str, int]
"""An IP address and a port; C{0} stands for no port."""


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


def _value(text: str, kind: Callable[[str], N], low: float, high: float, what: str) -> N:
    try:
        value = kind(text)
        number("it", value, low, high)
    except ValueError:
        raise _wrong(text, what) from None
    return value


def _wrong(text: str, what: str) -> argparse.ArgumentTypeError:
    # The text is of our own: argparse puts the argument's name before it.
    return argparse.ArgumentTypeError(f"it must be {what}, not {text!r}")


def port(text: str) -> int:
    """
    A port to connect to.
    """
    return _value(text, int, 1, 65535, "a port, 1 to 65535")


def listeningPort(text: str) -> int:
    """
    A port to listen on.
    """
    return _value(text, int, 0, 65535, "a port, 0 to 65535")


def seconds(text: str) -> float:
    """
    A time, or none.
    """
    return _value(text, float, 0, 10**9, "a number of seconds, 0 or more")


def interval(text: str) -> float:
    """
    A time that passes.
    """
    return _value(text, float, 0.05, 10**6, "a number of seconds, 0.05 or more")


def positive(text: str) -> int:
    """
    How many.
    """
    return _value(text, int, 1, 10**9, "a whole number, 1 or more")


def messageSize(text: str) -> int:
    """
    The bytes of a message.
    """
    return _value(text, int, 1, 2**30, "a number of bytes, 1 to 1073741824")


def rate(text: str) -> float:
    """
    How many a second.
    """
    return _value(text, float, 0.001, 10**7, "a number a second, 0.001 to 10000000")


def identity(text: str) -> int:
    """
    The number of a connection.
    """
    return _value(text, int, 1, 2**63, "the number of a connection")


def limit(text: str) -> int | None:
    """
    A limit of connections, or none.
    """
    if text == "none":
        return None
    return _value(text, int, 0, 2**31 - 1, "none or a whole number, 0 or more")


def writable(text: str) -> str:
    """
    The path of a file to write, which need not be there.
    """
    folder = os.path.join(os.path.dirname(text) or ".", "")
    place = text if os.path.exists(text) else folder
    if not os.path.basename(text) or os.path.isdir(text) or not os.access(place, os.W_OK):
        raise _wrong(text, "a file that can be written")
    return text


def address(text: str) -> Address:
    """
    An IP address, with a port or without: C{192.0.2.1}, C{192.0.2.1:80}, C{::1},
    C{[::1]:80}.
    """
    host, separator, tail = text.rpartition(":")
    if not separator or text.endswith("]") or (":" in host and not host.endswith("]")):
        host, separator = text, ""
    try:
        ip_address(host.strip("[]"))
        number("port", int(tail) if separator else 0, 0, 65535)
    except ValueError:
        raise _wrong(text, "ADDRESS or ADDRESS:PORT") from None
    return host.strip("[]"), int(tail) if separator else 0
