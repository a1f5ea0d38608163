"""
Reports: values about a connection, a refusal, a server, a drain.

All of them are frozen.  Addresses are Twisted's own L{IAddress} objects; the
plain words that Node has for them are properties.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from twisted.internet.interfaces import IAddress

from twisted_tcpdemo.values.addresses import Endpoint, endpointOf


class CloseReason(Enum):
    """
    Why a connection ended.  The list is closed, and each connection has exactly
    one reason; logs and metrics show its value.
    """

    __hash__ = object.__hash__  # Enum has one in Python, which each look-up calls

    PEER_CLOSED = "peer closed"
    """The peer ended its side first, by a FIN."""

    LOCAL_CLOSE = "local close"
    """This side closed first, with C{loseConnection}, and the peer took all."""

    PROBE = "probe"
    """The peer ended it within a moment, and had sent nothing: a health check, most often."""

    RESET = "reset"
    """The peer or the network broke it off: RST, or a TLS stream cut short."""

    ABORTED = "aborted"
    """This side broke it off, with C{abortConnection}."""

    TLS_FAILED = "tls failed"
    """The TLS handshake or a TLS record was wrong."""

    ERROR = "error"
    """A hook of the protocol raised."""

    IDLE = "idle timeout"
    """No byte moved for as long as C{setTimeout} allows."""

    FIRST_BYTE = "first byte timeout"
    """The peer sent nothing at all."""

    LIFETIME = "maximum lifetime"
    """The connection was as old as a connection may become."""

    WRITE_STALL = "write stall"
    """Bytes were pending and the peer took none of them."""

    CLOSE_FLUSH = "close timeout"
    """This side closed, and the peer did not read what was left."""

    HANDSHAKE = "handshake timeout"
    """The TLS handshake did not end."""

    MAX_PENDING = "too much pending"
    """More bytes waited for the peer than may wait."""

    DRAIN = "drain deadline"
    """The server drained, and the deadline came."""

    WORKER_LOST = "worker lost"
    """The worker process that served it has ended."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """
    The two ends of a connection.

    @ivar host: this side.
    @ivar peer: the other side.
    """

    host: IAddress
    peer: IAddress

    @property
    def local(self) -> Endpoint:
        """
        This side as address, port and family.
        """
        return endpointOf(self.host)

    @property
    def remote(self) -> Endpoint:
        """
        The other side as address, port and family.
        """
        return endpointOf(self.peer)


@dataclass(frozen=True, slots=True)
class TCPInfo:
    """
    The kernel's own figures of a connection.  Those that an old kernel does not
    have are L{None}.

    @ivar roundTripTime: smoothed, in seconds.
    @ivar roundTripVariance: the mean deviation from it, in seconds.
    @ivar minimumRoundTripTime: the lowest measured, in seconds; on a path without
        queues, about the time of the wire.
    @ivar retransmits: segments sent more than once, since the beginning.
    @ivar bytesUnacknowledged: bytes that the kernel has taken and the peer's
        has not acknowledged.  A FIN counts as one of them.
    @ivar bytesUnsent: of those, not sent yet.
    @ivar congestionWindow: segments that may be on their way at a time.
    @ivar segmentSize: bytes in a full segment.
    @ivar deliveryRate: the latest rate at which bytes have reached the peer, in
        bytes a second; C{0} before there was one.
    """

    roundTripTime: float
    roundTripVariance: float
    minimumRoundTripTime: float | None
    retransmits: int
    bytesUnacknowledged: int
    bytesUnsent: int | None
    congestionWindow: int
    segmentSize: int
    deliveryRate: int | None


@dataclass(frozen=True, slots=True)
class ConnectionReport(Addresses):
    """
    One connection at one moment.

    @ivar connectionID: a number that no other connection of this process has.
    @ivar bytesRead: bytes delivered to the protocol.
    @ivar bytesWritten: bytes accepted for the peer.
    @ivar bytesPending: of those, not yet taken by the operating system.  In a final
        report: never taken, nor acknowledged by the peer's if the connection did not
        end in order.
    @ivar age: seconds since it was made; in a final report, its duration.
    @ivar idle: seconds since a byte last moved.
    @ivar closeReason: why it ended, L{None} while it is open.
    @ivar tcpInfo: the kernel's own figures; L{None} on other systems than Linux,
        on UNIX sockets, in unit tests, and in the events of a connection of
        which no report was asked for.
    """

    connectionID: int
    bytesRead: int
    bytesWritten: int
    bytesPending: int
    age: float
    idle: float
    closeReason: CloseReason | None = None
    tcpInfo: TCPInfo | None = None


@dataclass(frozen=True, slots=True)
class Refusal(Addresses):
    """
    A client that was not admitted.

    @ivar rule: the name of the rule that refused it, such as
        C{"maxConnections"}.
    @ivar detail: what was wrong, where the rule does not say it; safe in a log.
    """

    rule: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class WatermarkCrossing:
    """
    The connection count has risen to a share of the limit, or fallen from it.

    @ivar fraction: the watermark, as a fraction of the limit.
    @ivar above: C{True} if the count has risen to it, C{False} if it has fallen
        from it.
    @ivar connectionCount: how many connections are open now.
    @ivar limit: how many may be; L{None} if the limit was taken away.
    """

    fraction: float
    above: bool
    connectionCount: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class Totals:
    """
    The bytes of all connections of a server, open and closed.

    @ivar bytesRead: bytes that they have delivered.
    @ivar bytesWritten: bytes that they have accepted.
    @ivar bytesPending: of these, bytes that the operating system has not taken.
    """

    bytesRead: int = 0
    bytesWritten: int = 0
    bytesPending: int = 0


@dataclass(frozen=True, slots=True)
class ServerReport:
    """
    A server at one moment.

    @ivar connectionCount: how many connections are open.
    @ivar maxConnections: how many may be; L{None} for no limit.
    @ivar acceptedCount: connections admitted since the start.
    @ivar refusedCount: connections refused since the start.
    @ivar closedCount: connections that have ended since the start.
    @ivar bytesRead: bytes that all connections have delivered.
    @ivar bytesWritten: bytes that all connections have accepted.
    @ivar refusedBy: refusals by the name of the rule.
    @ivar closedBy: ended connections by their reason.
    """

    connectionCount: int
    maxConnections: int | None
    acceptedCount: int
    refusedCount: int
    closedCount: int
    bytesRead: int
    bytesWritten: int
    refusedBy: Mapping[str, int]
    closedBy: Mapping[CloseReason, int]


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """
    A worker process at one moment.

    @ivar number: its number, from 1 on; the process that replaces it has the same.
    @ivar pid: the number of the process.
    @ivar state: C{"starting"}, C{"serving"}, C{"leaving"} (it has been replaced, and serves
        the connections that it has), or C{"gone"}.
    @ivar connectionCount: its open connections.
    @ivar bytesRead: bytes that all its connections have delivered.
    @ivar bytesWritten: bytes that all its connections have accepted.
    @ivar cpu: the share of one processor that it has.
    @ivar cpuSeconds: CPU time since its start.
    @ivar lateness: seconds by which its reactor is late.
    @ivar age: seconds since its start.
    @ivar startCount: processes that have had its number, itself included.
    """

    number: int
    pid: int | None
    state: str
    connectionCount: int
    bytesRead: int
    bytesWritten: int
    cpu: float
    cpuSeconds: float
    lateness: float
    age: float
    startCount: int


DRAIN_SUMMARY: Final = (
    "{finished} finished, {aborted} aborted with {bytesUnsent} bytes unsent, in {duration:.3f} s"
)
"""A L{DrainReport} in a log line; its fields are those of the event."""


@dataclass(frozen=True, slots=True)
class DrainProgress:
    """
    A drain under way.

    @ivar left: connections that it waits for.
    @ivar ended: connections that it has waited for, and that have ended.
    @ivar aborted: connections that the deadline has ended, or is about to.
    @ivar age: seconds since its beginning.
    @ivar timeLeft: seconds until the deadline; L{None} if it has none.
    """

    left: int
    ended: int
    aborted: int
    age: float
    timeLeft: float | None


@dataclass(frozen=True, slots=True)
class DrainReport:
    """
    The end of a drain.

    @ivar finished: connections that ended by themselves or were idle.
    @ivar aborted: connections that the deadline ended.
    @ivar bytesUnsent: bytes pending on aborted connections, which are lost, those
        included that were with the operating system and not acknowledged.
    @ivar duration: seconds from the beginning to the end.
    """

    finished: int
    aborted: int
    bytesUnsent: int
    duration: float
