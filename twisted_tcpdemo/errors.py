"""
The errors of this package: one base and one class for each condition.
"""

from __future__ import annotations

from typing import NamedTuple

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.interfaces import IAddress

from twisted_tcpdemo.values.addresses import endpointOf
from twisted_tcpdemo.values.report import CloseReason


class TCPDemoError(Exception):
    """
    The base of every error that this package raises or delivers.
    """


class WriteFailedError(TCPDemoError):
    """
    Bytes given to C{write()} can no longer reach the operating system.

    @ivar reason: why the connection has ended or is about to end; L{None} if it is
        still open and only its write side has ended.
    """

    def __init__(self, reason: CloseReason | None) -> None:
        self.reason = reason
        cause = "the write side was closed" if reason is None else reason.value
        super().__init__(f"the bytes were not sent: {cause}")


class EndOfStreamError(TCPDemoError, EOFError):
    """
    A stream has ended before what was to be read had come.

    @ivar partial: the bytes that had come.  They can still be read.
    @ivar reason: why the connection has ended; L{None} if the peer has ended its side
        in order.
    """

    def __init__(self, partial: bytes = b"", reason: CloseReason | None = None) -> None:
        self.partial = partial
        self.reason = reason
        cause = "the peer has ended it" if reason is None else reason.value
        left = f", after {len(partial)} bytes of something unfinished" if partial else ""
        super().__init__(f"the stream is over: {cause}{left}")


class LimitExceededError(TCPDemoError, ValueError):
    """
    The peer has sent more bytes than it may without a separator.

    @ivar limit: how many it may.
    @ivar separator: the separator.
    """

    def __init__(self, limit: int, separator: bytes) -> None:
        self.limit = limit
        self.separator = separator
        super().__init__(f"the peer has sent more than {limit} bytes before {separator!r}")


class ConcurrentReadError(TCPDemoError, RuntimeError):
    """
    A stream is read while another read of it waits.
    """

    def __init__(self) -> None:
        super().__init__("another read of this stream is waiting; one can at a time")


class UnreadInputError(TCPDemoError):
    """
    TLS is to begin, and bytes that the peer has sent in the clear are unread.  They could
    be taken for bytes that came under TLS.

    @ivar count: how many.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(f"TLS cannot begin: {count} bytes that came in the clear are unread")


class NotConnectedError(TCPDemoError):
    """
    The protocol was used before it had a connection.
    """

    def __init__(self, text: str = "there is no connection yet") -> None:
        super().__init__(text)


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


class FailedAttempt(NamedTuple):
    """
    One address of a server, and why there is no connection to it.

    @ivar address: the address.
    @ivar reason: the reason as the rest of a sentence: C{"was refused"}.
    @ivar error: the error of the attempt.
    """

    address: IAddress
    reason: str
    error: BaseException

    def __str__(self) -> str:
        return f"{endpointOf(self.address)} {self.reason}"


class ConnectFailedError(TCPDemoError, ConnectError):
    """
    There is no connection, and the text says why.

    Each of these errors is also an instance of Twisted's own class for its reason,
    such as C{ConnectionRefusedError}.  Where several addresses were tried, that of
    the last one to fail decides the class.

    @ivar osError: the number of the operating system's error, or L{None}.
    @ivar address: the address of the server: the one that was tried, else the name
        that was looked up; L{None} where only an endpoint's string has it, and for a
        descriptor.
    @ivar localAddress: the address to connect from, if one was given.
    @ivar attempts: the addresses that were tried, in the order of their failures.
    """

    osError: int | None

    def __init__(
        self,
        text: str,
        osError: int | None = None,
        *,
        address: IAddress | None = None,
        localAddress: str | None = None,
        attempts: tuple[FailedAttempt, ...] = (),
    ) -> None:
        super().__init__(osError, text)
        self.address = address
        self.localAddress = localAddress
        self.attempts = attempts

    def __str__(self) -> str:
        return str(self.args[0])


class NoAddressError(TCPDemoError, DNSLookupError):
    """
    A name has no address, or it could not be looked up.

    @ivar host: the name.
    @ivar why: what the resolver said; empty if it only found nothing.
    """

    def __init__(self, host: str, why: str = "", family: str = "") -> None:
        """
        @param why: what the resolver said.
        @param family: C{"IPv4"} or C{"IPv6"}, if no other address was wanted.
        """
        kind = f"{family} address" if family else "address"
        self._text = f"no {kind} was found for {host}" + (f": {why}" if why else "")
        super().__init__(self._text)
        self.host = host
        self.why = why

    def __str__(self) -> str:
        return self._text


class ConnectCancelledError(TCPDemoError, ConnectingCancelledError, CancelledError):
    """
    C{connect()} was cancelled.

    Twisted's endpoints fail with its bases, and C{Deferred.addTimeout} turns it
    into a C{TimeoutError}.

    @ivar address: the address of the server; L{None} where only an endpoint's
        string has it, and for a descriptor.
    @ivar attempts: the addresses that had been tried.
    """

    def __init__(
        self, address: IAddress | None, attempts: tuple[FailedAttempt, ...] = (), name: str = ""
    ) -> None:
        """
        @param name: the name of the other side, for the text.
        """
        super().__init__(address)
        self.attempts = attempts
        self._name = name

    def __str__(self) -> str:
        return (
            f"connection to {self._name} was cancelled"
            if self._name
            else "connecting was cancelled"
        )


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
