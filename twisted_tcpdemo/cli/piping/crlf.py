"""
Newlines for protocols that end their lines with CR LF.
"""

from __future__ import annotations


class ToCRLF:
    """
    Makes CR LF of each LF, across the pieces of a stream.  One that has its CR already
    stays as it is.
    """

    def __init__(self) -> None:
        self._endsWithCR = False

    def __call__(self, data: bytes) -> bytes:
        """
        Translate a piece.
        """
        if not data:
            return data
        begun = data[:1] == b"\n" and self._endsWithCR
        self._endsWithCR = data[-1:] == b"\r"
        head, rest = (data[:1], data[1:]) if begun else (b"", data)
        return head + rest.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
