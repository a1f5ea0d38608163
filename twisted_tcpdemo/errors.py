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


class ProxyHeaderError(TCPDemoError, ValueError):
    """
    A PROXY header is wrong.  Its text is bounded, and safe in a log.
    """


class TLSNotInstalledError(TCPDemoError, ImportError):
    """
    TLS is asked for, and the packages that it needs are not installed.
    """

    def __init__(self) -> None:
        super().__init__(
            "TLS needs pyOpenSSL and service_identity: pip install 'twisted-tcpdemo[tls]'"
        )


class NoEngineError(TCPDemoError, ValueError):
    """
    An C{ssl.SSLContext} is given for a reactor that is none of Twisted's POSIX
    reactors, or on a system without epoll: only our own transport can use it.
    """

    def __init__(self) -> None:
        super().__init__(
            "an SSLContext needs a POSIX reactor of Twisted's and epoll; use CertificateOptions"
        )


class ConnectCancelledError(TCPDemoError, ConnectingCancelledError, CancelledError):
    """
    C{connect()} was cancelled.

    Twisted's endpoints fail with its bases, and C{Deferred.addTimeout} turns it
    into a C{TimeoutError}.

    @ivar address: the address of the server; L{None} where only an endpoint's
        string has it, and for a descriptor.
    """


def needTLS() -> None:
    """
    Check that TLS is installed.  Twisted's own error would be about names that it
    could not import.

    @raise TLSNotInstalledError: if it is not.
    """
    try:
        import OpenSSL  # noqa: F401
    except ImportError:
        raise TLSNotInstalledError from None
