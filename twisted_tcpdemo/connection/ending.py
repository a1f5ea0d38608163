"""
Why a connection ended: which side began, and what really ended it.

The first cause counts.  Two causes only say which side began to close; whatever
happens after that (a budget, an error, a reset) counts for more.  The reason that
the transport gives is asked last: it tells a clean end from a broken one, but
not which side wanted it.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from twisted_tcpdemo.transports.counts import Counts
from twisted_tcpdemo.values.report import CloseReason

PRESUMED: Final = (None, CloseReason.PEER_CLOSED, CloseReason.LOCAL_CLOSE)
"""Causes that only say which side began to close."""

GRACEFUL: Final = (CloseReason.FIRST_BYTE, CloseReason.LIFETIME)
"""Budgets that may have caught a live peer: written bytes are flushed to it."""

MOMENT: Final = 1.0
"""Seconds in which a client that sends nothing and ends its connection is a probe."""

_TLS_PACKAGES: Final = ("OpenSSL", "service_identity", "ssl")


def blame(known: CloseReason | None, cause: CloseReason) -> CloseReason:
    """
    Choose between the cause so far and another.

    @param known: the cause so far, or L{None}.
    @return: the one that counts for more.
    """
    if known is None or (known in PRESUMED and cause not in PRESUMED):
        return cause
    return known


def classify(cause: CloseReason | None, reason: Failure, bytesPending: int) -> CloseReason:
    """
    Name the reason of an end that has come.

    @param cause: the cause that L{blame} has chosen.
    @param reason: the reason that the transport gives the protocol.
    @param bytesPending: bytes that the operating system, or as far as it tells the
        peer's, has not taken.
    """
    if cause is not None and cause not in PRESUMED:
        return cause
    error = reason.value
    if isinstance(error, ConnectionAborted):
        return CloseReason.ABORTED
    if isinstance(error, ConnectionDone):
        isInVain = cause is CloseReason.LOCAL_CLOSE and bytesPending
        # The peer has been waited for, and has not taken all.
        return CloseReason.CLOSE_FLUSH if isInVain else cause or CloseReason.PEER_CLOSED
    if cause is CloseReason.PEER_CLOSED and not bytesPending:
        # The kernel reports the end as an error when the socket is not read
        # any more; nothing was broken off.
        return CloseReason.PEER_CLOSED
    if isinstance(error, ConnectionLost):
        return CloseReason.RESET
    # The errors of pyOpenSSL and of the standard library, and service_identity's about
    # a certificate.  None is imported here: without TLS they need not be installed.
    origin = type(error).__module__.partition(".")[0]
    return CloseReason.TLS_FAILED if origin in _TLS_PACKAGES else CloseReason.ERROR


def isProbe(cause: CloseReason | None, reason: CloseReason, counts: Counts, age: float) -> bool:
    """
    Whether a client has only looked whether somebody listens, as the health check of a
    load balancer does: it has connected and left, by FIN or RST, before it said anything.

    This side did not begin to close, and the client did not leave in the midst of an
    answer.

    @param cause: the cause that L{blame} has chosen.
    @param reason: the reason that L{classify} has found.
    @param age: how long the connection has lasted, in seconds.
    """
    isPeers = reason is CloseReason.PEER_CLOSED or reason is CloseReason.RESET
    if not isPeers or cause is CloseReason.LOCAL_CLOSE:
        return False
    isCut = 0 < counts.bytesPending < counts.bytesWritten
    return not counts.bytesRead and not isCut and age < MOMENT
