"""
Showing what a peer has sent without letting it write.

A peer chooses the bytes it sends, and on a UNIX socket or in a PROXY header even
its address.  What goes to a log or a terminal passes through here: no line of
the log can be forged, no escape sequence reaches the screen, no direction mark
reorders it.
"""

from __future__ import annotations

import unicodedata

_UNSAFE = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
"""Control and format characters, unassigned, private and lone surrogates, line
and paragraph separators (Unicode Standard, section 4.5)."""


def printable(data: str | bytes, limit: int | None = None) -> str:
    r"""
    Text that is safe on one line of a log or a terminal.

    Bytes are taken as UTF-8.  Whatever is not valid, or not a character with a
    shape, appears as a Python escape such as C{\n}, C{\x1b} or C{\u202e}; a
    backslash is doubled, so that no escape can be faked.

    @param limit: how many bytes (or characters) of C{data} to show at the
        most; what is left out is told as C{... (+123 more)}.
    """
    total = len(data)
    shown = data if limit is None else data[:limit]
    if isinstance(shown, bytes):
        if len(shown) < total:
            # Not the sender's fault: the limit has cut the character.
            shown = splitCharacter(shown)[0]
        shown = shown.decode("utf-8", "surrogateescape")
    text = "".join(map(_shape, shown)) if not _plain(shown) else shown
    rest = 0 if limit is None else max(0, total - limit)
    return f"{text}... (+{rest} more)" if rest else text


def splitCharacter(data: bytes) -> tuple[bytes, bytes]:
    """
    Split off a UTF-8 character that is not complete at the end of C{data}.

    @return: what is complete, and zero to three bytes of a character whose
        rest may be still to come.
    """
    for tail in range(1, min(3, len(data)) + 1):
        lead = data[-tail]
        if lead & 0b1100_0000 != 0b1000_0000:  # not a continuation byte
            if lead >= 0b1100_0000 and _lengthFor(lead) > tail:
                return data[:-tail], data[-tail:]
            break
    return data, b""


def _lengthFor(lead: int) -> int:
    """
    How many bytes a UTF-8 sequence has that begins with C{lead} (RFC 3629).
    """
    return 4 if lead >= 0b1111_0000 else 3 if lead >= 0b1110_0000 else 2


def _plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and "\\" not in text


def _shape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, by surrogateescape
        return f"\\x{code - 0xDC00:02x}"
    if character == "\\":
        return "\\\\"
    if unicodedata.category(character) not in _UNSAFE:
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
