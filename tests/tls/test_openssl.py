"""
L{twisted_tcpdemo.tls.openssl}: it counts records, and so need not ask for what is not
there.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL.SSL import Error, SysCallError, WantReadError

from tests.support.engines import engine, shaken
from twisted_tcpdemo.tls.engine import StreamBrokenError
from twisted_tcpdemo.tls.openssl import HEADER, OpenSSLEngine


def record(body: bytes) -> bytes:
    """
    A record, with its length where TLS has it.
    """
    return b"\x17\x03\x03" + len(body).to_bytes(2, "big") + body


class Reference:
    """
    Stands for a connection of pyOpenSSL's, and does not encrypt.

    @ivar refused: how many reads found nothing.
    """

    def __init__(self) -> None:
        self._stream = b""
        self.refused = 0

    def bio_write(self, data: bytes) -> None:
        """
        Take ciphertext.
        """
        self._stream += data

    def recv(self, _: int) -> bytes:
        """
        The next record with plaintext in it.
        """
        while True:
            end = HEADER + int.from_bytes(self._stream[3:HEADER], "big")
            if len(self._stream) < max(end, HEADER):
                self.refused += 1
                raise WantReadError
            body, self._stream = self._stream[HEADER:end], self._stream[end:]
            if body:
                return body


@given(st.lists(st.binary(max_size=300), max_size=8), st.data())
def test_anySplit(bodies: list[bytes], data: st.DataObject) -> None:
    """
    After each piece of a stream, split anywhere, exactly the plaintext of the records
    that are complete has been returned; and a read is in vain only when no record has
    come whole, or one without plaintext.
    """
    stream = b"".join(map(record, bodies))
    ends = {0, *accumulate(HEADER + len(body) for body in bodies)}
    splits = data.draw(st.lists(st.integers(0, len(stream)), max_size=12).map(sorted))
    reference: Any = Reference()
    tested = OpenSSLEngine(reference, False)
    got, before = b"", 0
    for split in [*splits, len(stream)]:
        refused = reference.refused
        if split > before:
            got += tested.decrypt(stream[before:split])
        whole, end, empty = b"", 0, False
        for body in bodies:
            end += HEADER + len(body)
            if end <= split:
                whole += body
                empty = empty or (end > before and not body)
        assert got == whole
        assert empty or split not in ends or reference.refused == refused
        before = split


class Failing(Reference):
    """
    A connection whose library fails.
    """

    def recv(self, size: int) -> bytes:
        """
        Fail after the first record.
        """
        if not self._stream:
            raise Error
        return super().recv(size)

    def send(self, data: bytes) -> int:
        """
        Fail.
        """
        raise SysCallError(-1, "Unexpected EOF")

    shutdown = do_handshake = send


def test_failures() -> None:
    """
    An error of the library's becomes one of the contract's, after the plaintext that
    came before it; the end of a stream that cannot be ended is no error.
    """
    connection: Any = Failing()
    tested = OpenSSLEngine(connection, False)
    assert tested.decrypt(record(b"one") + record(b"")) == b"one"
    for _ in range(2):
        with pytest.raises(StreamBrokenError):
            tested.decrypt(b"")
    with pytest.raises(StreamBrokenError, match="Unexpected EOF") as caught:
        tested.encrypt(b"data")
    assert isinstance(caught.value.cause, SysCallError)
    connection.shutdown = lambda: connection.send(b"")
    tested.end()


def test_needsToRead() -> None:
    """
    Before the handshake nothing can be encrypted, and that is no error.
    """
    tested = engine("openssl", True)
    assert tested.encrypt(b"data") == 0
    shaken(tested, engine("openssl", False))
    assert tested.encrypt(b"data") == 4
