"""
Whether a socket has something to read: bytes, or the peer's FIN.
"""

from __future__ import annotations

import select


def isReadable(descriptor: int) -> bool:
    """
    Ask the kernel whether a read would return at once.

    @param descriptor: the number of a socket.
    @return: C{False} for a closed one, and where the system does not tell (poll(2)).
    """
    if descriptor < 0 or not hasattr(select, "poll"):
        return False
    asked = select.poll()
    asked.register(descriptor, select.POLLIN)
    return any(events & select.POLLIN for _, events in asked.poll(0))
