"""
The two halves of a client's connection.
"""

from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.internet.protocol import Protocol

from twisted_tcpdemo import TCPDemoProtocol
from twisted_tcpdemo.client.halves import Halves


class Transport:
    """
    A transport that remembers what is done to it; so does its socket.
    """

    def __init__(self, error: OSError | None = None) -> None:
        self.done: list[object] = []
        self._error = error

    def pauseProducing(self) -> None:
        """
        Remember it.
        """
        self.done.append("paused")

    def loseWriteConnection(self) -> None:
        """
        Remember it.
        """
        self.done.append("FIN")

    def getHandle(self) -> Transport:
        """
        This object, as its own socket.
        """
        return self

    def shutdown(self, how: int) -> None:
        """
        Remember it, or fail.
        """
        if self._error is not None:
            raise self._error
        self.done.append(how)


@pytest.mark.parametrize(
    ("halves", "done"),
    [
        (Halves(), []),
        (Halves(readable=False), ["paused", socket.SHUT_RD]),
        (Halves(writable=False), ["FIN"]),
    ],
    ids=str,
)
def test_apply(halves: Halves, done: list[object]) -> None:
    """
    A half that is not to be is ended, and the other is left alone.
    """
    transport = Transport()
    halves.apply(transport)
    assert transport.done == done


def test_peerHasGone() -> None:
    """
    A socket whose peer has gone may refuse to be shut down; its end will tell.
    """
    transport = Transport(OSError("not connected"))
    Halves(readable=False).apply(transport)
    assert transport.done == ["paused"]


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("given", [None, False, True])
def test_prepare(own: bool, given: bool | None) -> None:
    """
    What the client says of half-open connections prevails over the protocol's
    own; what it leaves open stays as it is.
    """
    protocol = TCPDemoProtocol()
    protocol.allowHalfOpen = own
    Halves(given).prepare(protocol)
    assert protocol.allowHalfOpen is (own if given is None else given)


@pytest.mark.parametrize("given", [False, True])
def test_foreignProtocol(given: bool) -> None:
    """
    What a foreign protocol does at a FIN cannot be said here, and is not
    silently ignored.
    """
    Halves().prepare(Protocol())
    with pytest.raises(TypeError, match="mix it in"):
        Halves(given).prepare(Protocol())


@pytest.mark.parametrize("name", ["allowHalfOpen", "readable", "writable"])
def test_badSwitch(name: str) -> None:
    """
    A switch is True or False where it is given.
    """
    wrong: Any = {name: "no"}
    with pytest.raises(TypeError, match=f"{name} must be True or False, not 'no'"):
        Halves(**wrong)


def test_neither() -> None:
    """
    A connection of which nothing is left is refused.
    """
    with pytest.raises(ValueError, match="neither readable nor writable"):
        Halves(readable=False, writable=False)
