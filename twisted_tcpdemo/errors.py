"""
The errors of this package: one base and one class for each condition.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectingCancelledError

from twisted_tcpdemo.values.report import CloseReason


class TCPDemoError(Exception):
    """
    The base of every error that this package raises or delivers.
    """


class WriteFailedError(TCPDemoError):
    """
    Bytes given to C{write()} can no longer reach the operating system.

    @ivar reason: why the connection ended, or L{None} if it is still open and
        only its write side has ended.
    """

    def __init__(self, reason: CloseReason | None) -> None:
        self.reason = reason
        cause = "the write side was closed" if reason is None else reason.value
        super().__init__(f"the bytes were not sent: {cause}")


class NotConnectedError(TCPDemoError):
    """
    The protocol was used before it had a connection.
    """


class ListeningStoppedError(TCPDemoError):
    """
    A listener has opened after the server had been told to stop, and is closed.
    """

    def __init__(self) -> None:
        super().__init__("the server was told to stop before it could listen")


class TLSNotInstalledError(TCPDemoError, ImportError):
    """
    TLS is asked for, and what it needs is not installed.
    """

    def __init__(self) -> None:
        super().__init__(
            "TLS needs pyOpenSSL and service_identity: pip install 'twisted-tcpdemo[tls]'"
        )


class ConnectCancelledError(TCPDemoError, ConnectingCancelledError, CancelledError):
    """
    C{connect()} was cancelled.

    It is what endpoints fail with, and what C{Deferred.addTimeout} turns into a
    C{TimeoutError}.

    @ivar address: where it was connecting to; L{None} where that is known only
        to an endpoint's string, or is a descriptor.
    """


def needTLS() -> None:
    """
    Check that there is TLS: Twisted would tell of names that it has not
    imported.

    @raise TLSNotInstalledError: if there is none.
    """
    try:
        import OpenSSL  # noqa: F401
    except ImportError:
        raise TLSNotInstalledError from None
