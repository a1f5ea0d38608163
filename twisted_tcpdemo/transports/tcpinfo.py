"""
The kernel's own figures of a connection (Linux).

C{TCP_INFO} (tcp(7)) fills in a C{struct tcp_info} (C{linux/tcp.h}) as far as there
is room.  The structure has only ever grown at its end, so each figure keeps its
place, and the answer of an old kernel is a shorter one.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import Final

from twisted_tcpdemo.transports.layers import bottomOf
from twisted_tcpdemo.values.report import TCPInfo
from twisted_tcpdemo.values.sendqueue import queuedBytes

SUPPORTED: Final = sys.platform == "linux"
"""Elsewhere the option is missing, or its structure is another one."""

_ROOM: Final = 168
"""Bytes of the structure up to the last field that is read."""

_SEGMENT_SIZE: Final = 16  # tcpi_snd_mss, and the rest by their names there
_UNACKED: Final = 24
_SACKED: Final = 28
_RTT: Final = 68
_RTTVAR: Final = 72
_SND_CWND: Final = 80
_TOTAL_RETRANS: Final = 100
_NOTSENT_BYTES: Final = 144
_MIN_RTT: Final = 148
_DELIVERY_RATE: Final = 160

_NO_MIN_RTT: Final = 2**32 - 1
"""What tcpi_min_rtt is before the first measurement."""


def tcpInfoOf(transport: object) -> TCPInfo | None:
    """
    Ask the kernel about a connection, through any wrappers.

    @return: L{None} on other systems, for anything but TCP, and when the socket
        is closed.
    """
    handle = _tcpSocketOf(transport)
    if handle is None:
        return None
    try:
        raw = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ROOM)
    except OSError:  # closed meanwhile
        return None
    queued = queuedBytes(handle.fileno())
    return None if queued is None else parse(raw, queued)


def roundTripTimeOf(transport: object) -> float | None:
    """
    Ask the kernel for the round trip time of a connection alone, at a third of the cost of
    L{tcpInfoOf}.

    @return: seconds; L{None} as there.
    """
    handle = _tcpSocketOf(transport)
    if handle is None:
        return None
    try:
        raw = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT + 4)
    except OSError:
        return None
    return _word(raw, _RTT) / 1e6 if len(raw) == _RTT + 4 else None


def parse(raw: bytes, queued: int) -> TCPInfo | None:
    """
    Read a C{struct tcp_info}.

    @param raw: the structure, as far as the kernel knows it.
    @param queued: bytes in the send queue (SIOCOUTQ, tcp(7)).
    @return: L{None} if it is too short to be one.
    """
    if len(raw) < _TOTAL_RETRANS + 4:  # what every kernel since 2.6.12 has
        return None
    minimum = _number(raw, "I", _MIN_RTT)
    return TCPInfo(
        roundTripTime=_word(raw, _RTT) / 1e6,
        roundTripVariance=_word(raw, _RTTVAR) / 1e6,
        minimumRoundTripTime=None if minimum in (None, _NO_MIN_RTT) else minimum / 1e6,
        retransmits=_word(raw, _TOTAL_RETRANS),
        bytesUnacknowledged=queued,
        bytesUnsent=_number(raw, "I", _NOTSENT_BYTES),
        congestionWindow=_word(raw, _SND_CWND),
        segmentSize=_word(raw, _SEGMENT_SIZE),
        deliveryRate=_number(raw, "Q", _DELIVERY_RATE),
    )


def acceptQueueOf(port: object) -> tuple[int, int] | None:
    """
    The queue of connections that the kernel has made and the server has not
    accepted.

    @param port: a listening port.
    @return: the length of the queue and its limit (the backlog, or the system's
        C{somaxconn} if that is lower); L{None} where the kernel does not tell.
    """
    handle = _tcpSocketOf(port)
    if handle is None:
        return None
    try:
        raw = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ROOM)
    except OSError:
        return None
    # For a listening socket these two fields are the queue: tcp_get_info() in
    # net/ipv4/tcp.c, the source of ss(8).
    return _word(raw, _UNACKED), _word(raw, _SACKED)


def _tcpSocketOf(transport: object) -> socket.socket | None:
    """
    The TCP socket of a connection or a port; L{None} for any other.
    """
    if not SUPPORTED:
        return None
    bottom = bottomOf(transport)
    try:
        # With TLS inside the transport, its handle is the engine's.
        handle = bottom.socket if hasattr(bottom, "socket") else bottom.getHandle()
    except AttributeError:  # in a unit test, or after the end
        return None
    family = getattr(handle, "family", None)
    return handle if family in (socket.AF_INET, socket.AF_INET6) else None


def _word(raw: bytes, offset: int) -> int:
    value: int = struct.unpack_from("I", raw, offset)[0]
    return value


def _number(raw: bytes, kind: str, offset: int) -> int | None:
    """
    A field that older kernels do not have: L{None} there.
    """
    if len(raw) < offset + struct.calcsize(kind):
        return None
    value: int = struct.unpack_from(kind, raw, offset)[0]
    return value
