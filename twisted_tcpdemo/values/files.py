"""
Files that an operator names: a configuration, a token.
"""

from __future__ import annotations

import os
import stat


def contentOf(path: str, most: int) -> tuple[bytes, int]:
    """
    Read a regular file.  Nothing else that may have the path is waited for.

    @param most: bytes.  Of a larger file one byte more is read.
    @return: the bytes, and the mode of the file.
    @raise ValueError: if there are none; the text goes on after the name of the file.
    """
    try:
        # O_NONBLOCK: a FIFO without a writer must not block.
        nonBlock = getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(path, os.O_RDONLY | nonBlock | getattr(os, "O_CLOEXEC", 0))
        try:
            mode = os.fstat(descriptor).st_mode
            isRegular = stat.S_ISREG(mode)
            content = _read(descriptor, most + 1) if isRegular else b""
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ValueError(f"it cannot be read: {why}") from None
    if not isRegular:
        raise ValueError("it is no regular file")
    return content, mode


def _read(descriptor: int, size: int) -> bytes:
    with open(descriptor, "rb", closefd=False) as file:
        return file.read(size)
