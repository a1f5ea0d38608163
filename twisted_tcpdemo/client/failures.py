"""
What went wrong, in a sentence that names the address.

Twisted's errors name neither.  Each error of an attempt is replaced here by one of
ours, which is still an instance of the same class of Twisted's.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from socket import gaierror
from typing import Final

from twisted.internet import error as twistedErrors
from twisted.internet.address import HostnameAddress
from twisted.internet.error import (
    ConnectBindError,
    ConnectError,
    ConnectionClosed,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
    TCPTimedOutError,
    TimeoutError,
    UnknownHostError,
)
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure

from twisted_tcpdemo.errors import ConnectFailedError, FailedAttempt, NoAddressError
from twisted_tcpdemo.values.addresses import endpointOf

NO_DESCRIPTOR: Final = (errno.EMFILE, errno.ENFILE)
"""The process, or the system, has no free descriptor."""

SCARCE: Final = (*NO_DESCRIPTOR, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN)
"""The numbers of errors by which a system says that it has no more of something."""

_SHOWN: Final = 8
"""Addresses of a name whose reasons stand in the text; C{attempts} has all."""


_classes: Final[dict[type[BaseException], type[ConnectFailedError]]] = {
    ConnectError: ConnectFailedError
}


def _like(kind: type[BaseException]) -> type[ConnectFailedError]:
    """
    The class of ours for a class of Twisted's: an error of it is one of both.
    """
    if kind not in _classes:
        both = {"__doc__": kind.__doc__, "__module__": ConnectFailedError.__module__}
        _classes[kind] = type(kind.__name__, (ConnectFailedError, kind), both)
    return _classes[kind]


def isNetworks(error: BaseException | None) -> bool:
    """
    Whether an error is about the network or what the system has, not about the
    application or TLS.
    """
    if isinstance(error, (ConnectError, ConnectionClosed)):
        return type(error).__module__ == twistedErrors.__name__
    return isinstance(error, gaierror) or (type(error) is OSError and error.errno in SCARCE)


def failed(
    name: str,
    error: BaseException,
    address: IAddress | None = None,
    localAddress: str | None = None,
    attempts: tuple[FailedAttempt, ...] = (),
) -> ConnectFailedError:
    """
    The error of ours for an error of one attempt.

    @param name: the name of the other side.
    @param error: an error of Twisted's, or of the operating system.
    @param localAddress: the address to connect from, if one was given.
    @param attempts: the addresses that had been tried, to be listed.
    """
    text = f"connection to {name} {reasonOf(error, name, localAddress)}"
    if attempts:
        text = f"{text}: {listed(attempts)}"
    return _made(text, error, address, localAddress, attempts)


def allFailed(
    name: str,
    address: IAddress | None,
    attempts: Sequence[FailedAttempt],
    localAddress: str | None = None,
) -> ConnectFailedError:
    """
    The error of a server all whose addresses have failed.

    @param name: the name of the other side.
    @param address: the name that was looked up, or the only address.
    """
    last = attempts[-1]
    text = f"connection to {name} failed: {listed(attempts)}"
    if not isinstance(address, HostnameAddress):
        text = f"connection to {name} {last.reason}"
    return _made(text, last.error, address, localAddress, tuple(attempts))


def _made(
    text: str,
    error: BaseException,
    address: IAddress | None,
    localAddress: str | None,
    attempts: tuple[FailedAttempt, ...],
) -> ConnectFailedError:
    made = _like(_kindOf(error))(
        text, numberOf(error), address=address, localAddress=localAddress, attempts=attempts
    )
    made.__cause__ = error
    return made


def _kindOf(error: BaseException) -> type[BaseException]:
    if isinstance(error, (ConnectError, ConnectionClosed)):
        return type(error)
    return UnknownHostError if isinstance(error, gaierror) else ConnectError


def listed(attempts: Sequence[FailedAttempt]) -> str:
    """
    The reasons of several attempts on one line.
    """
    shown = "; ".join(map(str, attempts[:_SHOWN]))
    more = len(attempts) - _SHOWN
    return f"{shown}; and {more} more" if more > 0 else shown


def attemptOf(
    address: IAddress, error: BaseException, localAddress: str | None = None
) -> FailedAttempt:
    """
    The record of one attempt.
    """
    return FailedAttempt(address, reasonOf(error, str(endpointOf(address)), localAddress), error)


def explained(failure: Failure, name: str, address: IAddress | None) -> Failure:
    """
    A failure of an attempt, with an error of ours in place of one of Twisted's.

    Any other error is left as it is: those of OpenSSL, of the application and of
    foreign endpoints have facts of their own.
    """
    error = failure.value
    if type(error) is DNSLookupError:
        return Failure(NoAddressError(name, " ".join(map(str, error.args))))
    if error is None or not isNetworks(error):
        return failure
    return Failure(failed(name, error, address, None, getattr(error, "attempts", ())))


def numberOf(error: BaseException) -> int | None:
    """
    The operating system's number of an error, or L{None}.
    """
    number = getattr(error, "errno", None) or getattr(error, "osError", None)
    return number if isinstance(number, int) else None


def reasonOf(error: BaseException, name: str = "", localAddress: str | None = None) -> str:
    """
    The reason of a failure, as the rest of a sentence: C{"was refused"}.

    @param name: the name of the other side, which may have a zone.
    """
    number = numberOf(error)
    if number in NO_DESCRIPTOR:
        return "failed: no file descriptor is free"
    if isinstance(error, ConnectBindError):
        local = "the local address" if localAddress is None else f"the local address {localAddress}"
        return f"failed: {local} cannot be used: {_words(error, localAddress or '')}"
    for kind, reason in _REASONS.items():
        if isinstance(error, kind):
            return reason
    if isinstance(error, TimeoutError):
        return f"timed out {_text(error)}".rstrip()
    return f"failed: {_words(error, name)}"


_REASONS: Final = {
    ConnectionRefusedError: "was refused",
    TCPTimedOutError: "timed out",
    ConnectionLost: "was lost before it was ready",
    ConnectionDone: "was closed by the other side before it was ready",
}


def _words(error: BaseException, name: str) -> str:
    """
    What the system says, in the middle of a sentence.

    @param name: the address that the system was given.
    """
    number = numberOf(error)
    if number is not None and number > 0:
        words = os.strerror(number)
    elif "%" in name and (number is not None or isinstance(error, gaierror)):
        # The numbers of getaddrinfo(3) are negative.
        return "there is no network interface of this name"
    else:
        words = _text(error) or getattr(error, "MESSAGE", type(error).__name__).strip()
    return words if words[1:2].isupper() else words[:1].lower() + words[1:]


def _text(error: BaseException) -> str:
    return next((arg for arg in reversed(error.args) if isinstance(arg, str)), "")
