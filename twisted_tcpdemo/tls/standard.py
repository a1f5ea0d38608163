"""
The engine of the standard library, for an C{ssl.SSLContext}.

It needs no other package, and is the faster one.
"""

from __future__ import annotations

import ssl
from contextlib import suppress

from twisted_tcpdemo.tls.engine import RECORD, StreamBrokenError, nothingMore


class StandardEngine:
    """
    The engine of the standard library.
    """

    __slots__ = ("_failure", "_incoming", "_outgoing", "handle", "isClient", "over")

    def __init__(self, context: ssl.SSLContext, isClient: bool, hostname: str | None) -> None:
        """
        @param hostname: the name that the server's certificate has to have.
        """
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.isClient = isClient
        self.handle = context.wrap_bio(
            self._incoming, self._outgoing, not isClient, hostname if isClient else None
        )
        self.over = False
        self._failure: ssl.SSLError | None = None

    def shake(self, data: bytes) -> bool:
        """
        See L{Engine<twisted_tcpdemo.tls.engine.Engine>}.
        """
        self._incoming.write(data)
        try:
            self.handle.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise StreamBrokenError(error) from error
        return True

    def decrypt(self, data: bytes) -> bytes:
        """
        See L{Engine<twisted_tcpdemo.tls.engine.Engine>}.
        """
        if self.over:
            return nothingMore(self._failure)
        incoming, read = self._incoming, self.handle.read
        if data:
            incoming.write(data)
        elif not (incoming.pending or self.handle.pending()):
            return b""  # the exception that says so costs more
        # A small buffer is taken from Python's own memory.
        asked = min(len(data), RECORD) or RECORD
        try:
            plain: bytes = read(asked)
        except ssl.SSLError as error:
            return self._stopped(error, [])
        if plain and (incoming.pending or len(plain) == asked):
            pieces = [plain]
            try:
                while (incoming.pending or self.handle.pending()) and not self.over:
                    plain = read(RECORD)
                    pieces.append(plain)
                    self.over = not plain
            except ssl.SSLError as error:
                return self._stopped(error, pieces)
            return b"".join(pieces)
        self.over = not plain
        return plain

    def _stopped(self, error: ssl.SSLError, pieces: list[bytes]) -> bytes:
        """
        No plaintext is left, for now or for ever.
        """
        if isinstance(error, ssl.SSLZeroReturnError):
            self.over = True
        elif not isinstance(error, ssl.SSLWantReadError):
            self._failure = error
            self.over = True
            if not pieces:
                raise StreamBrokenError(error) from error
        return b"".join(pieces)

    def encrypt(self, data: bytes | memoryview) -> int:
        """
        See L{Engine<twisted_tcpdemo.tls.engine.Engine>}.
        """
        try:
            return self.handle.write(data)
        except ssl.SSLWantReadError:
            return 0
        except ssl.SSLError as error:
            raise StreamBrokenError(error) from error

    def end(self) -> None:
        """
        See L{Engine<twisted_tcpdemo.tls.engine.Engine>}.
        """
        with suppress(ssl.SSLError):
            self.handle.unwrap()

    def take(self, expected: int) -> bytes:
        """
        See L{Engine<twisted_tcpdemo.tls.engine.Engine>}.
        """
        return self._outgoing.read()

    def peerCertificate(self) -> object:
        """
        What C{SSLObject.getpeercert} returns; L{None} before the handshake is done.
        """
        try:
            return self.handle.getpeercert()
        except ValueError:
            return None

    def negotiatedProtocol(self) -> bytes | None:
        """
        See L{Engine<twisted_tcpdemo.tls.engine.Engine>}.
        """
        name = self.handle.selected_alpn_protocol()
        return None if name is None else name.encode("ascii")
