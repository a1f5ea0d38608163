"""
The loopback interface, and a link-local address of this machine.  Bytes from the
address to itself take the loopback.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

LOOPBACK = "lo" if sys.platform.startswith("linux") else "lo0"
"""The name of the loopback interface."""


def linkLocal() -> tuple[str, int, str]:
    """
    A link-local address of this machine, and the number and the name of its
    interface; empty texts if there is none.
    """
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:
        return "", 0, ""
    for line in lines:
        digits, number, _, scope, flags, name = line.split()
        if scope == "20" and not int(flags, 16) & 0x40:  # it is not tentative
            address = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits))
            return address, int(number, 16), name
    return "", 0, ""


LINK, NUMBER, NAME = linkLocal()

needsLink = pytest.mark.skipif(not LINK, reason="there is no link-local address here")
