"""
Printable text from bytes that a peer has chosen.

A peer chooses the bytes it sends, and on a UNIX socket or in a PROXY header even
its address.  All of that passes through here on its way to a log or a terminal:
the peer cannot forge a line of the log, send an escape sequence to the screen, or
reorder a line with direction marks.
"""

from __future__ import annotations

import unicodedata

_UNSAFE = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
"""Control and format characters, unassigned, private and lone surrogates, line
and paragraph separators (Unicode Standard, section 4.5)."""


_LAYOUT = str.maketrans("", "", "\n\t")


def printable(data: str | bytes, limit: int | None = None) -> str:
    r"""
    Text that is safe on one line of a log or a terminal.

    Bytes are taken as UTF-8.  Invalid bytes and characters without a shape appear
    as Python escapes such as C{\n}, C{\x1b} or C{\u202e}.  A backslash is doubled,
    so that no escape can be faked.

    @param limit: how many bytes (or characters) of C{data} to show at the most;
        C{... (+123 more)} stands for the rest.
    """
    total = len(data)
    shown = data if limit is None else data[:limit]
    if isinstance(shown, bytes):
        if len(shown) < total:
            # The limit has cut the character, not the sender.
            shown = splitCharacter(shown)[0]
        shown = shown.decode("utf-8", "surrogateescape")
    text = "".join(map(_shape, shown)) if not _plain(shown) else shown
    rest = 0 if limit is None else max(0, total - limit)
    return f"{text}... (+{rest} more)" if rest else text


def printableLines(text: str, limit: int) -> str:
    r"""
    Lines that are safe in a log or a terminal, where others have composed them.

    As L{printable}, but newlines, tabs and backslashes stay as they are: the text may
    have escapes already.

    @param limit: how many characters to show at the most; C{... (+123 more)} stands for
        the rest.
    """
    shown = text[:limit]
    if not shown.translate(_LAYOUT).isprintable():
        shown = "".join(c if c in "\n\t\\" else _shape(c) for c in shown)
    rest = len(text) - limit
    return f"{shown}... (+{rest} more)" if rest > 0 else shown


def splitCharacter(data: bytes) -> tuple[bytes, bytes]:
    """
    Split an incomplete UTF-8 character off the end of C{data}.

    @return: the complete characters, and zero to three bytes of one whose rest
        may be still to come.
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
    The length in bytes of a UTF-8 sequence that begins with C{lead} (RFC 3629).
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
