"""
The kernel's send queue of a connection: the bytes that its peer has not taken.

For TCP it holds the bytes that the peer's system has not acknowledged, and counts a
FIN as one (SIOCOUTQ, tcp(7)).  For a UNIX socket it is the memory of all that the
peer has not read, some bytes of overhead for each write included.  It only ever
becomes zero when the peer has taken all.
"""

from __future__ import annotations

import struct

try:
    from fcntl import ioctl
    from termios import TIOCOUTQ
except ImportError:  # pragma: no cover
    _isPosix = False
else:
    _isPosix = True


def queuedBytes(descriptor: int) -> int | None:
    """
    Ask the kernel how much its send queue holds.

    @param descriptor: the number of a socket.
    @return: bytes; L{None} where the system does not tell, and for a closed socket.
    """
    if not _isPosix:  # pragma: no cover
        return None
    try:
        queued: int = struct.unpack("i", ioctl(descriptor, TIOCOUTQ, bytes(4)))[0]
    except (OSError, ValueError):  # not a socket any more, or the descriptor -1
        return None
    return queued
