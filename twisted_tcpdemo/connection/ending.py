"""
Why a connection ended: who began, and what really ended it.

The first cause counts.  Two causes only say which side began to close; what
then happens to the connection (a budget, an error, a reset) counts for more.
What a transport gives as its reason is asked last: it tells a clean end from a
broken one, but not who wanted it.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from twisted_tcpdemo.values.report import CloseReason

PRESUMED: Final = (None, CloseReason.PEER_CLOSED, CloseReason.LOCAL_CLOSE)
"""Causes that only say who began."""

GRACEFUL: Final = (CloseReason.FIRST_BYTE, CloseReason.LIFETIME)
"""Budgets that may have caught a live peer: it gets what was written."""

_TLS_PACKAGES: Final = ("OpenSSL", "service_identity")


def blame(known: CloseReason | None, cause: CloseReason) -> CloseReason:
    """
    The cause of an end, after one more has come up.

    @param known: the cause so far, or L{None}.
    """
    if known is None or (known in PRESUMED and cause not in PRESUMED):
        return cause
    return known


def classify(cause: CloseReason | None, reason: Failure, bytesPending: int) -> CloseReason:
    """
    The reason of an end that has come.

    @param cause: what L{blame} has found.
    @param reason: what the transport tells the protocol.
    @param bytesPending: bytes that the operating system has not taken.
    """
    if cause is not None and cause not in PRESUMED:
        return cause
    error = reason.value
    if isinstance(error, ConnectionAborted):
        return CloseReason.ABORTED
    if isinstance(error, ConnectionDone):
        return cause or CloseReason.PEER_CLOSED
    if cause is CloseReason.PEER_CLOSED and not bytesPending:
        # The kernel tells of the end in another way when nobody reads any
        # more; nothing was broken off.
        return CloseReason.PEER_CLOSED
    if isinstance(error, ConnectionLost):
        return CloseReason.RESET
    # pyOpenSSL's errors, and service_identity's about a certificate.  Neither
    # is imported here: without TLS they need not be installed.
    origin = type(error).__module__.partition(".")[0]
    return CloseReason.TLS_FAILED if origin in _TLS_PACKAGES else CloseReason.ERROR
