"""
The two halves of a client's connection: whether each is wanted, and whether one
outlives the other.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from twisted_tcpdemo.connection.protocol import TCPDemoProtocol
from twisted_tcpdemo.values.checks import flag


@dataclass(frozen=True, slots=True)
class Halves:
    """
    The wanted halves of a connection.  For each of the three values see
    L{ClientEndpoint <twisted_tcpdemo.client.endpoint.ClientEndpoint>}.

    @raise TypeError: for a value of the wrong type.
    @raise ValueError: if neither half is wanted.
    """

    allowHalfOpen: bool | None = None
    readable: bool = True
    writable: bool = True

    def __post_init__(self) -> None:
        if self.allowHalfOpen is not None:
            flag("allowHalfOpen", self.allowHalfOpen)
        flag("readable", self.readable)
        flag("writable", self.writable)
        if not (self.readable or self.writable):
            raise ValueError("a connection that is neither readable nor writable has no use")

    def prepare(self, protocol: object) -> None:
        """
        Set C{allowHalfOpen} of a protocol that is not yet connected, if a value is
        given here.

        @raise TypeError: if a value is given, and the protocol is no
            L{TCPDemoProtocol}.
        """
        if self.allowHalfOpen is None:
            return
        if not isinstance(protocol, TCPDemoProtocol):
            raise TypeError(
                f"allowHalfOpen is for a TCPDemoProtocol, and {protocol!r} is none; "
                "mix it in: class P(YourProtocol, TCPDemoProtocol)"
            )
        protocol.allowHalfOpen = self.allowHalfOpen

    def apply(self, transport: Any) -> None:
        """
        End the halves of a connection that are not wanted.
        """
        if not self.readable:
            transport.pauseProducing()
            with suppress(OSError):  # the peer may have gone already
                transport.getHandle().shutdown(socket.SHUT_RD)
        if not self.writable:
            transport.loseWriteConnection()
