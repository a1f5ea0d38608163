"""
The engine of pyOpenSSL, for every context of Twisted's: C{CertificateOptions},
C{optionsForClientTLS} and their like.

pyOpenSSL tells by an exception that nothing is left to read, which is a tenth of a
small round trip.  So the engine counts the records that have come; their headers say
how long they are (RFC 8446, section 5.1).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from OpenSSL.SSL import Connection, Error, WantReadError, ZeroReturnError

from twisted_tcpdemo.tls.engine import RECORD, StreamBrokenError, nothingMore

HEADER: Final = 5
"""Bytes of a record's header; the last two are the length of the rest."""

OVERHEAD: Final = 160
"""Bytes of ciphertext asked for beyond the plaintext in a record and a hundredth of it."""

FLIGHT: Final = 2048
"""Bytes asked for of what the engine says by itself, as in a handshake."""


class OpenSSLEngine:
    """
    The engine of pyOpenSSL.

    @ivar _rest: bytes to come of the last record that has begun.
    @ivar _head: the beginning of a header that has been split.
    """

    __slots__ = ("_failure", "_head", "_rest", "handle", "isClient", "over")

    def __init__(self, connection: Connection, isClient: bool) -> None:
        """
        @param connection: a connection over memory, of that side.
        """
        self.handle = connection
        self.isClient = isClient
        self.over = False
        self._rest = 0
        self._head = b""
        self._failure: Exception | None = None

    def _completed(self, data: bytes) -> int:
        """
        Count the records whose last byte is in some ciphertext.
        """
        if self._head:
            data, self._head = self._head + data, b""
        size, end = len(data), self._rest
        completed = int(0 < end <= size)
        while end + HEADER <= size:
            end += HEADER + (data[end + 3] << 8 | data[end + 4])
            completed += end <= size
        if end < size:
            self._head, end = data[end:], size
        self._rest = end - size
        return completed

    def shake(self, data: bytes) -> bool:
        """
        See L{Engine<twisted_tcpdemo.tls.engine.Engine>}.
        """
        if data:
            self._completed(data)
            self.handle.bio_write(data)
        try:
            self.handle.do_handshake()
        except WantReadError:
            return False
        except Error as error:
            raise StreamBrokenError(error) from error
        return True

    def decrypt(self, data: bytes) -> bytes:
        """
        See L{Engine<twisted_tcpdemo.tls.engine.Engine>}.
        """
        if self.over:
            return nothingMore(self._failure)
        recv = self.handle.recv
        asked, completed = RECORD, -1  # as many as there are
        if data:
            size, isFresh = len(data), not (self._rest or self._head)
            if isFresh:
                asked = min(size, RECORD)  # Python has small buffers at hand
            if isFresh and size > HEADER and data[3] << 8 | data[4] == size - HEADER:
                completed = 1  # the most common: one record
            else:
                completed = self._completed(data)
            self.handle.bio_write(data)
            if self._rest or self._head:
                completed = -1  # OpenSSL sees by its header whether the next is a record
        pieces: list[bytes] = []
        try:
            if completed == 1:
                return recv(asked)
            while completed:
                pieces.append(recv(RECORD))
                completed -= 1
        except WantReadError:
            pass
        except ZeroReturnError:
            self.over = True
        except Error as error:
            if not pieces:
                raise StreamBrokenError(error) from error
            self._failure = error
            self.over = True
        return b"".join(pieces)

    def encrypt(self, data: bytes | memoryview) -> int:
        """
        See L{Engine<twisted_tcpdemo.tls.engine.Engine>}.
        """
        send, size = self.handle.send, len(data)
        taken = 0
        try:
            taken = send(data)
            while taken < size:  # a record at a time
                taken += send(memoryview(data)[taken:])
        except WantReadError:
            pass
        except Error as error:
            raise StreamBrokenError(error) from error
        return taken

    def end(self) -> None:
        """
        See L{Engine<twisted_tcpdemo.tls.engine.Engine>}.
        """
        with suppress(Error):
            self.handle.shutdown()

    def take(self, expected: int) -> bytes:
        """
        See L{Engine<twisted_tcpdemo.tls.engine.Engine>}.
        """
        asked = expected + expected // 128 + OVERHEAD if expected else FLIGHT
        try:
            made = self.handle.bio_read(asked)
        except WantReadError:
            return b""
        return made if len(made) < asked else made + self.take(expected)

    def peerCertificate(self) -> object:
        """
        An C{OpenSSL.crypto.X509}.
        """
        return self.handle.get_peer_certificate()

    def negotiatedProtocol(self) -> bytes | None:
        """
        See L{Engine<twisted_tcpdemo.tls.engine.Engine>}.
        """
        return self.handle.get_alpn_proto_negotiated() or None
