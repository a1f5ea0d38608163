"""
Whether a socket has something to read.
"""

from __future__ import annotations

import socket

from twisted_tcpdemo.values.readiness import isReadable


def test_isReadable() -> None:
    """
    Bytes and a FIN can be read; a silent or a closed socket has nothing.
    """
    ours, peers = socket.socketpair()
    assert not isReadable(ours.fileno())
    peers.send(b"x")
    assert isReadable(ours.fileno())
    ours.recv(1)
    assert not isReadable(ours.fileno())
    peers.close()
    assert isReadable(ours.fileno())
    closed = ours.fileno()
    ours.close()
    assert not isReadable(closed) and not isReadable(-1)
