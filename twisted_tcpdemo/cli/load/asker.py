"""
One connection of a load: what it sends, and when an answer is complete.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet import protocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from twisted_tcpdemo.shapes import Transport


class Client(Protocol):
    """
    Who has the connections.
    """

    @property
    def answered(self) -> Callable[[Asker], None]:
        """
        Is called with a connection that has its answer.
        """

    def surprised(self) -> None:
        """
        More has come than was asked for.
        """

    def lost(self, asker: Asker, reason: Failure) -> None:
        """
        A connection is over.
        """


class Asker(protocol.Protocol):
    """
    One connection: it sends a message, and waits for its answer.

    @ivar due: when its message was due, in nanoseconds.
    @ivar sentAt: when it was sent; C{0} if none is on the way.
    @ivar bytesRead: bytes of answers.
    """

    transport: Transport  # type: ignore[assignment]

    def __init__(
        self, size: int, client: Client, preface: Callable[[Transport], None] | None
    ) -> None:
        """
        @param size: the bytes of a message.
        @param client: is told of each answer.
        @param preface: what begins the connection.
        """
        self._preface = preface
        self.due = self.sentAt = self.bytesRead = 0
        self._answered = client.answered
        self._client = client
        self._size = self._left = size

    def connectionMade(self) -> None:
        """
        Begin the connection.
        """
        if self._preface is not None:
            self._preface(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """
        Count the bytes of an answer.
        """
        self._left -= len(data)
        if self._left <= 0:
            if self._left < 0 or not self.sentAt:
                self._client.surprised()
            self._left = self._size
            self.bytesRead += self._size
            if self.sentAt:
                self._answered(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Tell it.
        """
        self._client.lost(self, reason)


class LineAsker(Asker):
    """
    One connection whose answers are lines.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Look for the end of a line.
        """
        self.bytesRead += len(data)
        if data.endswith(b"\n") and self.sentAt:
            self._answered(self)
