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
    A transport that remembers the calls to it and to its socket.
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
        The transport itself, as its own socket.
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
    An unwanted half is ended, and the other is left alone.
    """
    transport = Transport()
    halves.apply(transport)
    assert transport.done == done


def test_peerHasGone() -> None:
    """
    A socket whose peer has gone may refuse the shutdown; the connection's end
    reports the loss.
    """
    transport = Transport(OSError("not connected"))
    Halves(readable=False).apply(transport)
    assert transport.done == ["paused"]


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("given", [None, False, True])
def test_prepare(own: bool, given: bool | None) -> None:
    """
    The client's allowHalfOpen prevails over the protocol's own; without one, the
    protocol's holds.
    """
    protocol = TCPDemoProtocol()
    protocol.allowHalfOpen = own
    Halves(given).prepare(protocol)
    assert protocol.allowHalfOpen is (own if given is None else given)


@pytest.mark.parametrize("given", [False, True])
def test_foreignProtocol(given: bool) -> None:
    """
    Setting allowHalfOpen for a foreign protocol is an error: it would have no
    effect.
    """
    Halves().prepare(Protocol())
    with pytest.raises(TypeError, match="mix it in"):
        Halves(given).prepare(Protocol())


@pytest.mark.parametrize("name", ["allowHalfOpen", "readable", "writable"])
def test_badSwitch(name: str) -> None:
    """
    A switch has to be True or False.
    """
    wrong: Any = {name: "no"}
    with pytest.raises(TypeError, match=f"{name} must be True or False, not 'no'"):
        Halves(**wrong)


def test_neither() -> None:
    """
    A connection without either half is refused.
    """
    with pytest.raises(ValueError, match="neither readable nor writable"):
        Halves(readable=False, writable=False)
