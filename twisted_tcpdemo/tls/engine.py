"""
The contract of an engine of TLS: it encrypts and decrypts in memory, and knows no
socket.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

RECORD: Final = 16384
"""The most bytes of plaintext in a record (RFC 8446, section 5.1)."""


class Engine(Protocol):
    """
    Encrypts and decrypts, in memory.

    @ivar handle: the object of its library.
    @ivar isClient: whether it is the client's side, which speaks first.
    @ivar over: whether the peer's stream has ended: by its C{close_notify}, or by an
        error that the next call will raise.
    """

    handle: Any
    isClient: bool
    over: bool

    def shake(self, data: bytes) -> bool:
        """
        Go on with the handshake.

        @param data: ciphertext from the peer, perhaps none.
        @return: whether the handshake is done.
        @raise StreamBrokenError: if it has failed.
        """

    def decrypt(self, data: bytes) -> bytes:
        """
        Take ciphertext from the peer.

        @return: all plaintext that is complete.
        @raise StreamBrokenError: for what is no TLS.  Plaintext before that is
            returned first, and the error is raised by the next call.
        """

    def encrypt(self, data: bytes | memoryview) -> int:
        """
        Encrypt.

        @return: how many bytes; C{0} if the engine has to read first.
        @raise StreamBrokenError: if it cannot.
        """

    def end(self) -> None:
        """
        Encrypt a C{close_notify}, if there can be one.
        """

    def take(self, expected: int) -> bytes:
        """
        The ciphertext that is to be sent, perhaps none.

        @param expected: bytes of plaintext in it, about.
        """

    def peerCertificate(self) -> Any:
        """
        The peer's certificate as the library has it, or L{None}.
        """

    def negotiatedProtocol(self) -> bytes | None:
        """
        The application's protocol that ALPN has chosen, or L{None}.
        """


class StreamBrokenError(OSError):
    """
    TLS cannot go on.

    @ivar cause: the error of the engine's library, or of a protocol that was told of
        the end of the handshake.
    """

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        # Protocols keep the reason of a loss.  A traceback in it would keep the transport.
        self.cause = cause.with_traceback(None)


def nothingMore(failure: BaseException | None) -> bytes:
    """
    What an engine decrypts after the end of the peer's stream: nothing.

    @param failure: what has ended it, if it was no C{close_notify}.
    @raise StreamBrokenError: if there is such a failure.
    """
    if failure is not None:
        raise StreamBrokenError(failure)
    return b""
