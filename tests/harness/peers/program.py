"""
The program that every peer serves: an echo, and some orders.

An order is a chunk that begins with C{!} and a letter.  The same orders are in
C{net.js} and C{limited.go}.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Final

from twisted_tcpdemo.connection.protocol import TCPDemoProtocol
from twisted_tcpdemo.connection.writes import LOW_WATER

FLOOD: Final = b"!f"
"""Send more bytes than a socket takes."""

RAISE: Final = b"!r"
"""Raise an exception, with what the client has sent."""

EXIT: Final = b"!x"
"""Raise what is no C{Exception}: C{sys.exit()}."""

HANG: Final = b"!h"
"""Block for a second."""

STOP: Final = b"!z"
"""Block for ever."""

EAT: Final = b"!e"
"""Use up all descriptors that are left."""

SPIT: Final = b"!s"
"""Give them back."""

MUCH: Final = bytes(8_000_000)

_eaten: Final[list[int]] = []


class ProgramError(Exception):
    """
    What the program raises when it is told to.
    """


def answer(data: bytes) -> bytes:
    """
    What the program answers, if it does.
    """
    order = data[:2]
    if not order.startswith(b"!"):
        return data
    if order == FLOOD:
        return MUCH
    if order == RAISE:
        raise ProgramError(data.decode("latin-1"))
    if order == EXIT:
        sys.exit(data.decode("latin-1"))
    if order == HANG:
        time.sleep(1)
    while order == STOP:
        time.sleep(1)
    if order == EAT:
        _eat()
    if order == SPIT:
        while _eaten:
            os.close(_eaten.pop())
    return data


def _eat() -> None:
    try:
        while True:
            _eaten.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return


class Attacked(TCPDemoProtocol):
    """
    The program on our protocol.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Answer, and pause while the client does not take the bytes.
        """
        self.transport.write(answer(data))
        if self.bytesPending > LOW_WATER:
            self.pause()
            self.whenWritable().addCallbacks(self._goOn, self._goOn)

    def _goOn(self, _: Any) -> None:
        self.resume()
