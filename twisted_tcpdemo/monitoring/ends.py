"""
The two ends of a connection, prepared for sorting, filtering and grouping.

To translate addresses is most of the cost of a look at many connections (90 ms for ten
thousand, each second), and they hardly ever change.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import NamedTuple
from weakref import WeakKeyDictionary

from twisted.internet.interfaces import IAddress

from twisted_tcpdemo.connection.record import Connection
from twisted_tcpdemo.values.addresses import Endpoint, endpointOf


class Ends(NamedTuple):
    """
    The two ends of a connection.

    @ivar name: the peer without its port.
    @ivar text: both ends, as they are searched.
    @ivar peerKey: sorts peers by their numbers; C{hostKey}: the same for this side.
    """

    peer: IAddress
    host: IAddress
    name: str
    text: str
    peerKey: tuple[str, bytes, int]
    hostKey: tuple[str, bytes, int]


_known: WeakKeyDictionary[Connection, Ends] = WeakKeyDictionary()


def endsOf(connection: Connection) -> Ends:
    """
    The ends of a connection.
    """
    peer, host = connection.peer, connection.host
    ends = _known.get(connection)
    if ends is None or ends.peer is not peer or ends.host is not host:
        remote, local = endpointOf(peer), endpointOf(host)
        name = remote.address if remote.port is not None and remote.address else str(remote)
        text = f"{remote}\n{local}".casefold()
        ends = Ends(peer, host, name, text, _keyOf(remote), _keyOf(local))
        _known[connection] = ends
    return ends


def _keyOf(end: Endpoint) -> tuple[str, bytes, int]:
    """
    A key that sorts addresses by their numbers: 10.0.0.9 before 10.0.0.10.
    """
    address = end.address or ""
    family = {"IPv4": socket.AF_INET, "IPv6": socket.AF_INET6}.get(end.family or "")
    packed = address.encode("utf-8", "backslashreplace")
    if family is not None:
        with suppress(OSError, ValueError):  # the latter for a NUL
            packed = socket.inet_pton(family, address.partition("%")[0])
    return end.family or "", packed, end.port or 0
