"""
Byte counts for transports that do not count by themselves.

Twisted's transports hold what they have not sent in private buffers and tell
nobody when the operating system takes it.  A L{Meter} shadows the few methods
through which bytes pass (see L{twisted_tcpdemo.shadows}) and reads those
buffers, so that TCP, UNIX sockets, TLS, PROXY wrappers and the transports of
unit tests all look like an L{ICountingTransport}.

Under TLS the buffers hold ciphertext.  There, C{bytesPending} is an estimate
that never exceeds the truth by more than the overhead of the records and is
zero exactly when everything has been taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IProtocol, IReactorTime, ITransport
from twisted.python.failure import Failure

from twisted_tcpdemo.interfaces import ITransportWatcher
from twisted_tcpdemo.shadows import Shadows
from twisted_tcpdemo.stack import accepts, bottomOf, queuedBytes


class Meter:
    """
    The counts of one connection over a foreign transport.

    It has the attributes of L{ICountingTransport} that concern counting, and
    serves an L{ITransportWatcher} in the same way.

    Bytes that a protocol feeds back to its own C{dataReceived} while it is
    handling data, as C{LineReceiver.setLineMode(extra)} does, have been
    counted already and are not counted again.
    """

    __slots__ = (
        "_abort",
        "_aborted",
        "_deliver",
        "_delivering",
        "_doWrite",
        "_lose",
        "_loseTransport",
        "_seconds",
        "_settled",
        "_shadows",
        "_transport",
        "_write",
        "_writeSequence",
        "bytesRead",
        "bytesWritten",
        "lastActivity",
        "watcher",
    )

    def __init__(self, transport: ITransport, watcher: ITransportWatcher, clock: IReactorTime):
        self.bytesRead = 0
        self.bytesWritten = 0
        self.watcher = watcher
        self._seconds: Callable[[], float] = clock.seconds
        self.lastActivity = self._seconds()
        self._transport: Any = transport
        self._settled = 0
        self._delivering = False
        self._aborted = False
        self._shadows = Shadows()

    def attach(self, protocol: IProtocol) -> None:
        """
        Begin to count what passes between the transport and C{protocol}.
        """
        place, transport = self._shadows.place, self._transport
        self._deliver = protocol.dataReceived
        place(protocol, "dataReceived", self._dataReceived)
        self._write = transport.write
        place(transport, "write", self._countWrite)
        self._writeSequence = transport.writeSequence
        place(transport, "writeSequence", self._countWriteSequence)
        self._lose = transport.loseConnection
        place(transport, "loseConnection", self._loseConnection)
        if hasattr(transport, "abortConnection"):
            self._abort = transport.abortConnection
            place(transport, "abortConnection", self._abortConnection)
        if hasattr(transport, "connectionLost"):
            self._loseTransport = transport.connectionLost
            place(transport, "connectionLost", self._connectionLost)
        bottom = bottomOf(transport)
        if isinstance(bottom, FileDescriptor):
            self._doWrite = bottom.doWrite
            place(bottom, "doWrite", self._flush)

    def detach(self) -> None:
        """
        Let go of transport and protocol.
        """
        self._shadows.remove()

    @property
    def bytesPending(self) -> int:
        """
        Bytes accepted that the operating system has not taken.
        """
        unsettled = self.bytesWritten - self._settled
        if not unsettled:
            return 0
        queued = queuedBytes(self._transport)
        if not queued:
            self._settled = self.bytesWritten
        return min(unsettled, queued)

    # Between the transport and the protocol.

    def _dataReceived(self, data: bytes) -> None:
        if self._delivering:
            return self._deliver(data)
        self._delivering = True
        self.bytesRead += len(data)
        self.lastActivity = self._seconds()
        try:
            return self._deliver(data)
        except BaseException:
            self.watcher.deliveryFailed()
            raise
        finally:
            self._delivering = False

    def _countWrite(self, data: bytes) -> None:
        if self._aborted:
            return  # Twisted would keep them until the end of the turn
        accepted = accepts(self._transport)
        self._write(data)
        if accepted:
            self.bytesWritten += len(data)
            self.watcher.transportWaiting()

    def _countWriteSequence(self, iovec: Iterable[bytes]) -> None:
        # Some transports implement this one by their own write(), which is
        # shadowed: joining first counts every byte once, whoever calls whom.
        self._countWrite(b"".join(iovec))

    def _loseConnection(self, *args: Any) -> None:
        self.watcher.transportClosing()
        self._lose(*args)

    def _abortConnection(self) -> None:
        self.watcher.transportAborting()
        self._aborted = True
        self._abort()

    def _flush(self) -> object:
        """
        C{doWrite} of the socket: the kernel has room, so bytes have moved.
        """
        result = self._doWrite()
        if not isinstance(result, Exception):
            self.lastActivity = self._seconds()
            self.watcher.transportFlushed()
        return result

    def _connectionLost(self, reason: Failure) -> None:
        """
        The transport ends.  It tells the protocol, where the watcher listens
        already; this is for a protocol that has put another C{connectionLost}
        in place after it was connected.
        """
        try:
            self._loseTransport(reason)
        finally:
            self.watcher.transportLost(reason)
