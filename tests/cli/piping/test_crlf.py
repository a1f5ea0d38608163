"""
Newlines as CR LF.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted_tcpdemo.cli.piping.crlf import ToCRLF


@given(st.lists(st.binary(max_size=5).map(lambda b: b.replace(b"\0", b"\r").replace(b"\1", b"\n"))))
def test_pieces(pieces: list[bytes]) -> None:
    """
    Wherever the input is cut, each LF gets one CR, and no CR LF a second one.
    """
    whole = b"".join(pieces)
    expected = whole.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    translate = ToCRLF()
    assert b"".join(map(translate, pieces)) == expected


def test_cut() -> None:
    """
    A CR LF that is cut in two stays as it is.
    """
    translate = ToCRLF()
    assert [translate(b"a\r"), translate(b"\nb\n"), translate(b"\n")] == [
        *(b"a\r", b"\nb\r\n", b"\r\n")
    ]
