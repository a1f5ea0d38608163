"""
Showing a peer's bytes without letting them act on a log or a terminal.
"""

from __future__ import annotations

import ast
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as some

from twisted_tcpdemo.values.text import printable, printableLines, splitCharacter


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"", ""),
        (b"plain", "plain"),
        ("grüße, 世界".encode(), "grüße, 世界"),
        (b"a\nb\r\n\tc\0", r"a\nb\r\n\tc\x00"),
        (b"\x1b[2J\x7f", r"\x1b[2J\x7f"),
        ("\x9b2J\x85".encode(), r"\x9b2J\x85"),
        (b"\xff\xfe", r"\xff\xfe"),
        (b"\xc0\xaf", r"\xc0\xaf"),
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),
        (rb"\n is no newline", r"\\n is no newline"),
        ("a\u2028b\u2029c".encode(), r"a\u2028b\u2029c"),
        ("\u202etxt.exe\u2066".encode(), r"\u202etxt.exe\u2066"),
        ("\u200b\ufeff\ue000".encode(), r"\u200b\ufeff\ue000"),
        ("\U000e0041\U0010ffff".encode(), r"\U000e0041\U0010ffff"),
        ("lone \ud800", r"lone \ud800"),
        ("from a path \udcff", r"from a path \xff"),
    ],
)
def test_printable(data: str | bytes, shown: str) -> None:
    """
    Characters that have no shape, or would act on a terminal, are escaped.
    """
    assert printable(data) == shown


@given(some.binary() | some.text(some.characters(exclude_categories=[])))
def test_harmless(data: str | bytes) -> None:
    """
    Any input gives one line, without a character that acts on a terminal.
    """
    shown = printable(data)
    assert len(shown.splitlines()) <= 1
    assert not any(unicodedata.category(c).startswith("C") for c in shown)
    shown.encode()


@given(some.text(some.characters(exclude_categories=[])), some.integers(0, 20))
def test_lines(text: str, limit: int) -> None:
    """
    Lines of others keep their layout and their backslashes, and lose all that acts on a
    terminal, and what is too long.
    """
    shown = printableLines(text, limit)
    assert not any(unicodedata.category(c).startswith("C") for c in shown if c not in "\n\t")
    assert shown.count("\n") == text[:limit].count("\n")
    shown.encode()
    if len(text) > limit:
        assert shown.endswith(f"... (+{len(text) - limit} more)")
    assert printableLines(shown, 1000) == shown


@given(some.text(some.characters(exclude_categories=["Cs"])))
def test_faithful(text: str) -> None:
    """
    Nothing is lost: the escapes are Python's, and give back the text.
    """
    shown = printable(text.encode())
    escaped = "".join(c if c.isascii() and c != "'" else f"\\U{ord(c):08x}" for c in shown)
    assert ast.literal_eval(f"'{escaped}'") == text


@given(some.binary(), some.integers(0, 300))
def test_limit(data: bytes, limit: int) -> None:
    """
    At most C{limit} bytes are shown, and the rest are counted.
    """
    shown = printable(data, limit)
    if len(data) <= limit:
        assert shown == printable(data)
    else:
        assert shown.endswith(f"... (+{len(data) - limit} more)")
        assert printable(data).startswith(shown.removesuffix(f"... (+{len(data) - limit} more)"))


@pytest.mark.parametrize(
    ("data", "limit", "shown"),
    [
        (b"abcdef", 3, "abc... (+3 more)"),
        (b"abcdef", 0, "... (+6 more)"),
        (b"abcdef", 6, "abcdef"),
        ("aü".encode(), 2, "a... (+1 more)"),
        (b"a\xc3", 2, r"a\xc3"),
        ("aüü", 2, "aü... (+1 more)"),
    ],
)
def test_limits(data: str | bytes, limit: int, shown: str) -> None:
    """
    A character that the limit cuts is left out; one that the sender has cut is
    shown as it came.
    """
    assert printable(data, limit) == shown


@pytest.mark.parametrize("character", ["a", "ü", "世", "😀"])
def test_split(character: str) -> None:
    """
    An incomplete character waits for its rest; a complete one does not.
    """
    data = character.encode()
    assert splitCharacter(b"x" + data) == (b"x" + data, b"")
    for cut in range(1, len(data)):
        assert splitCharacter(b"x" + data[:cut]) == (b"x", data[:cut])


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\x80\x80\x80", b"a\x80", b"\xff\x80\x80\x80"])
def test_splitBroken(data: bytes) -> None:
    """
    Bytes that can never become a character do not wait.
    """
    assert splitCharacter(data) == (data, b"")


@given(some.text(), some.data())
def test_splitAnywhere(text: str, data: some.DataObject) -> None:
    """
    Text that comes in pieces is the same text, wherever it was cut.
    """
    encoded = text.encode("utf-8", "replace")
    cuts = sorted(data.draw(some.lists(some.integers(0, len(encoded)), max_size=5)))
    seen, partial = "", b""
    for start, end in zip([0, *cuts], [*cuts, len(encoded)], strict=True):
        whole, partial = splitCharacter(partial + encoded[start:end])
        assert len(partial) <= 3
        seen += whole.decode()
    assert (seen, partial) == (encoded.decode(), b"")
