"""
The kernel's queues of a connection: bytes that its peer has not taken, and bytes that
have not been read.

The send queue: for TCP it holds the bytes that the peer's system has not acknowledged, and counts a
FIN as one (SIOCOUTQ, tcp(7)).  For a UNIX socket it is the memory of all that the
peer has not read, some bytes of overhead for each write included.  It only ever
becomes zero when the peer has taken all.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

try:
    from fcntl import ioctl
    from termios import FIONREAD, TIOCOUTQ
except ImportError:  # pragma: no cover
    _isPosix = False
else:
    _isPosix = True

_ROOM: Final = bytes(4)
_unpacked: Final = Struct("i").unpack


def queuedBytes(descriptor: int) -> int | None:
    """
    Ask the kernel how much its send queue holds.

    @param descriptor: the number of a socket.
    @return: bytes; L{None} where the system does not tell, and for a closed socket.
    """
    return _asked(descriptor, TIOCOUTQ) if _isPosix else None


def unreadBytes(descriptor: int) -> int | None:
    """
    Ask the kernel how much has come that has not been read.

    @param descriptor: the number of a socket.
    @return: bytes; L{None} as for L{queuedBytes}.
    """
    return _asked(descriptor, FIONREAD) if _isPosix else None


def _asked(descriptor: int, question: int) -> int | None:
    try:
        answer: int = _unpacked(ioctl(descriptor, question, _ROOM))[0]
    except (OSError, ValueError):  # not a socket any more, or the descriptor -1
        return None
    return answer
