"""
Byte counts for foreign transports, which do not count by themselves.

Twisted's transports hold unsent bytes in private buffers, and do not tell when
the operating system takes them.  A L{Meter} patches the few methods of a transport
through which bytes, pauses and ends pass (see L{twisted_tcpdemo.transports.patches}), stands
before the hooks of the protocol (see L{twisted_tcpdemo.transports.hooks}) and reads
those buffers.  So TCP, UNIX sockets, TLS, PROXY wrappers and the transports of unit
tests all look like an L{ICountingTransport}.

Under TLS the buffers hold ciphertext.  There C{bytesPending} is an estimate: it
exceeds the truth at most by the overhead of the records, and is zero exactly when
the operating system has taken everything.

It is one file because a meter is one object: each patch and each front shares its state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorTime, ITransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_tcpdemo.interfaces import (
    IConnectionHooks,
    ICountingTransport,
    ITransportWatcher,
)
from twisted_tcpdemo.transports.counts import Counts
from twisted_tcpdemo.transports.halfclose import relayHalfClose
from twisted_tcpdemo.transports.hooks import Fronts, front, unfront
from twisted_tcpdemo.transports.layers import (
    accepts,
    bottomOf,
    countsItself,
    heldBy,
    queuedBytes,
    tlsOf,
)
from twisted_tcpdemo.transports.patches import Patches, methodOf
from twisted_tcpdemo.transports.watchers import innermost, joined, without
from twisted_tcpdemo.values.sendqueue import queuedBytes as kernelQueue

_log = Logger(namespace="tcpdemo")


def _nothing() -> None:
    """
    A method of a transport whose connection is over.
    """


class Meter:
    """
    The counts of one connection over a foreign transport.

    It has the counting attributes of L{ICountingTransport}, and serves an
    L{ITransportWatcher} in the same way.

    A protocol may feed bytes back to its own C{dataReceived} while it handles data,
    as C{LineReceiver.setLineMode(extra)} does.  They are not counted again.  It may
    also replace its hooks at any time.
    """

    __slots__ = (
        "_abort",
        "_aborted",
        "_below",
        "_bottom",
        "_bottomWrite",
        "_delivering",
        "_descriptor",
        "_doRead",
        "_doWrite",
        "_endReading",
        "_fileno",
        "_fronts",
        "_holds",
        "_isClosing",
        "_isCut",
        "_isLosing",
        "_isPaused",
        "_lastActivity",
        "_left",
        "_lose",
        "_loseBottom",
        "_loseTransport",
        "_lost",
        "_patches",
        "_pause",
        "_protocol",
        "_relays",
        "_resume",
        "_seconds",
        "_settled",
        "_startTLS",
        "_telling",
        "_tellsItself",
        "_transport",
        "_untaken",
        "_write",
        "bytesRead",
        "bytesWritten",
        "watcher",
    )

    def __init__(
        self, transport: ITransport, watcher: ITransportWatcher, clock: IReactorTime
    ) -> None:
        self.bytesRead = self.bytesWritten = self._settled = 0
        self.watcher = watcher
        self._seconds: Callable[[], float] = clock.seconds
        self._lastActivity = self._seconds()
        self._transport: Any = transport
        self._holds: object = None
        self._bottom: Any = None
        self._below: ITransportWatcher | None = None
        self._delivering = False
        self._telling = False
        self._lost = self._isLosing = self._tellsItself = False
        self._aborted = False
        self._isPaused = self._isClosing = self._isCut = False
        self._left: int | None = None
        self._untaken = 0
        self._patches = Patches()
        self._relays: Patches | None = None

    def attach(self, protocol: IConnectionHooks) -> None:
        """
        Begin to count between the transport and a protocol.
        """
        place, transport = self._patches.place, self._transport
        self._protocol: Any = protocol
        self._holds = heldBy(transport)
        self._fronts: Fronts = {
            "dataReceived": self._dataReceived,
            "readConnectionLost": self._readEnded,
            "writeConnectionLost": self._writeEnded,
            "connectionLost": self._protocolLost,
        }
        front(protocol, self._fronts)
        self._relays = relayHalfClose(transport, self._readEndedUnheard)
        self._write = methodOf(transport, "write")
        place(transport, "write", self._countWrite)
        place(transport, "writeSequence", self._countWriteSequence)
        self._lose = methodOf(transport, "loseConnection")
        place(transport, "loseConnection", self._loseConnection)
        if hasattr(transport, "pauseProducing"):
            self._pause = methodOf(transport, "pauseProducing")
            place(transport, "pauseProducing", self._pauseProducing)
            self._resume = methodOf(transport, "resumeProducing")
            place(transport, "resumeProducing", self._resumeProducing)
        if hasattr(transport, "abortConnection"):
            self._abort = methodOf(transport, "abortConnection")
            place(transport, "abortConnection", self._abortConnection)
        if hasattr(transport, "startTLS"):
            self._startTLS = methodOf(transport, "startTLS")
            place(transport, "startTLS", self._encrypt)
        self._tellsItself = hasattr(transport, "connectionLost")
        if self._tellsItself:
            self._loseTransport = methodOf(transport, "connectionLost")
            place(transport, "connectionLost", self._connectionLost)
        bottom = bottomOf(transport)
        self._fileno = getattr(bottom, "fileno", lambda: -1)
        if ICountingTransport.providedBy(bottom):
            self._bottom = bottom
            self._below = _BottomWatcher(self._moved)
            bottom.watcher = joined(bottom.watcher, self._below)
            if bottom is not transport:
                self._bottomWrite = methodOf(bottom, "write")
                place(bottom, "write", self._writeBelow)
        elif isinstance(bottom, FileDescriptor):
            self._descriptor = bottom
            self._doWrite = methodOf(bottom, "doWrite")
            place(bottom, "doWrite", self._flush)
            self._doRead = methodOf(bottom, "doRead")
            place(bottom, "doRead", self._read)
            if hasattr(bottom, "readConnectionLost"):
                self._endReading = methodOf(bottom, "readConnectionLost")
                place(bottom, "readConnectionLost", self._bottomReadEnded)
            if bottom is not transport:
                self._loseBottom = methodOf(bottom, "connectionLost")
                place(bottom, "connectionLost", self._bottomLost)

    def serve(self, protocol: IConnectionHooks) -> None:
        """
        Stand before another protocol, to which the transport has been given.
        """
        fronts = self._fronts
        self._holds = heldBy(self._transport)
        unfront(self._protocol, fronts)
        self._protocol = protocol
        front(protocol, fronts)

    def goOnFrom(self, counts: Counts) -> None:
        """
        Count on from the counts of the same socket, by what stood there before.
        """
        self.bytesRead, self.bytesWritten = counts.bytesRead, counts.bytesWritten
        self._settled = self.bytesWritten - counts.bytesPending

    def detach(self) -> None:
        """
        Take every patch away, and the fronts.
        """
        self.leave()
        self._patches.remove()
        if self._relays is not None:
            self._relays.remove()
        if self._bottom is not None:
            self._bottom.watcher = without(self._bottom.watcher, self._below)

    def end(self) -> None:
        """
        Let go of a connection that is over.

        Twisted's transports raise from two methods when the socket has gone, and a
        program need not know that it has.  They do nothing from now on.
        """
        self.detach()
        if isinstance(bottomOf(self._transport), FileDescriptor):
            for name in ("abortConnection", "loseWriteConnection"):
                if hasattr(self._transport, name):
                    setattr(self._transport, name, _nothing)

    def leave(self) -> None:
        """
        Let the protocol have its own methods back, for another connection.
        """
        unfront(self._protocol, self._fronts)
        self._fronts = {}  # they refer to this meter

    @property
    def lastActivity(self) -> float:
        """
        See L{ICountingTransport}.
        """
        below: float = self._bottom.lastActivity if self._bottom is not None else 0.0
        return max(self._lastActivity, below)

    @property
    def bytesPending(self) -> int:
        """
        Bytes accepted that the operating system has not taken.
        """
        if self._left is not None:
            return self._left
        unsettled = self.bytesWritten - self._settled
        if not unsettled:
            return 0
        queued = queuedBytes(self._transport)
        if not queued:
            self._settled = self.bytesWritten
        return min(unsettled, queued)

    # Between the transport and the protocol.

    def _dataReceived(self, deliver: Callable[[bytes], None], data: bytes) -> None:
        if self._delivering:
            return deliver(data)
        if self._isPaused and self._waitsForEnd():
            self._isCut = True
        if self._isCut:
            return None
        self._delivering = True
        self.bytesRead += len(data)
        self._lastActivity = self._seconds()
        try:
            return deliver(data)
        except BaseException:
            self.watcher.deliveryFailed()
            raise
        finally:
            self._delivering = False

    def _protocolLost(
        self, lose: Callable[[Failure], None], reason: Failure = connectionDone
    ) -> None:
        # A protocol may call its own hook, as some do to clean up: the socket is open.
        if self._isLosing or not self._tellsItself:
            self._tellLost(reason)
        lose(reason)

    def _readEnded(self, tell: Callable[[], None]) -> None:
        if self._tellOnce(self.watcher.transportReadEnded, tell):
            self._transport.loseConnection()

    def _writeEnded(self, tell: Callable[[], None]) -> None:
        self._tellOnce(self.watcher.transportWriteEnded, tell)

    def _tellOnce(self, watcher: Callable[..., bool | None], tell: Callable[[], None]) -> bool:
        """
        Let the watcher tell the protocol.  A hook may call the one that it has
        replaced; the watcher need not hear of that.
        """
        if self._telling:
            tell()
            return False
        self._telling = True
        try:
            return bool(watcher(tell))
        finally:
            self._telling = False

    def _readEndedUnheard(self) -> None:
        """
        The peer's FIN, where something that cannot be half-closed has taken the
        protocol's place.
        """
        self.watcher.transportReadEnded(self._transport.loseConnection)

    def _countWrite(self, data: bytes) -> None:
        if self._aborted:
            return  # Twisted would keep the bytes until the end of the turn
        accepted = accepts(self._transport)
        self._write(self._transport, data)
        if accepted:
            self.bytesWritten += len(data)
            self.watcher.transportWaiting()

    def _countWriteSequence(self, iovec: Iterable[bytes]) -> None:
        # Some transports call their own write() from here, which is patched:
        # joining first counts every byte once.
        self._countWrite(b"".join(iovec))

    def _loseConnection(self, *args: Any) -> None:
        self._isClosing = True
        self.watcher.transportClosing()
        self._lose(self._transport, *args)
        if self._isPaused and self._waitsForEnd():
            self._resume(self._transport)

    def _waitsForEnd(self) -> bool:
        """
        Whether this side has closed and the layer of TLS waits for the peer's end, which
        it has to read.  What comes before that is discarded while the program has paused
        the transport, and after that: a stream has no gaps.
        """
        return self._isClosing and tlsOf(self._transport) is not None

    def _pauseProducing(self) -> None:
        self._isPaused = True
        if not self._waitsForEnd():
            self._pause(self._transport)

    def _resumeProducing(self) -> None:
        self._isPaused = False
        self._resume(self._transport)

    def _abortConnection(self) -> None:
        self.watcher.transportAborting()
        self._aborted = True
        self._abort(self._transport)

    def _encrypt(self, *args: Any) -> object:
        self.watcher.transportEncrypting()
        return self._startTLS(self._transport, *args)

    def _read(self) -> object:
        """
        C{doRead} of the socket.  Its transport may have been given to a protocol that
        knows nothing of this meter.
        """
        holds = heldBy(self._transport)
        if holds is not self._holds:
            self._holds = holds
            # A layer that takes the place of a protocol, as of TLS, has it behind it.
            if hasattr(holds, "__dict__") and not isinstance(holds, ProtocolWrapper):
                self.serve(holds)
        return self._doRead(self._descriptor)

    def _bottomReadEnded(self, reason: Failure) -> None:
        """
        C{readConnectionLost} of the socket: the peer's FIN.  The protocol may adapt itself
        to what takes halves, and raise.  Twisted would leave the socket open.
        """
        try:
            self._endReading(self._descriptor, reason)
        except BaseException:
            _log.failure("the peer's FIN could not be told")
            self._descriptor.connectionLost(Failure())

    def _flush(self) -> object:
        """
        C{doWrite} of the socket: the kernel has taken bytes.
        """
        result = self._doWrite(self._descriptor)
        if not isinstance(result, Exception):
            self._moved()
        return result

    def _writeBelow(self, data: bytes) -> None:
        """
        C{write} of a transport that writes at once: a layer above it may have
        kept the bytes until now.
        """
        self._bottomWrite(self._bottom, data)
        self._bottom.tellFlushedSoon()

    def _moved(self) -> None:
        """
        Note that the operating system has taken bytes.
        """
        self._lastActivity = self._seconds()
        self.watcher.transportFlushed()

    def _connectionLost(self, reason: Failure) -> None:
        """
        C{connectionLost} of the transport.  It tells the protocol, before whose
        hook the meter stands too; this one is for a transport that delivers to
        another protocol by now.
        """
        self._isLosing = True
        self._stopProducer()
        # The transport takes its layers apart before it tells the protocol.
        if self._bottom is None:
            self._askKernel(reason)
            self._left = min(self.bytesWritten, self.bytesPending + self._untaken)
        else:
            self._left = min(self.bytesWritten, queuedBytes(self._transport))
        try:
            self._loseTransport(self._transport, reason)
        finally:
            self._tellLost(reason)

    def _stopProducer(self) -> None:
        """
        Stop the producer of a transport of Twisted's, which would keep the socket open
        if that raises.
        """
        bottom = bottomOf(self._transport)
        if not isinstance(bottom, FileDescriptor) or self._bottom is not None:
            return
        producer, bottom.producer = bottom.producer, None
        if producer is not None:
            try:
                producer.stopProducing()
            except BaseException:
                _log.failure("a producer could not be stopped")

    def _bottomLost(self, reason: Failure) -> None:
        """
        C{connectionLost} of the transport below layers, which closes the socket first.
        """
        self._askKernel(reason)
        self._stopProducer()
        self._loseBottom(self._descriptor, reason)

    def _askKernel(self, reason: Failure) -> None:
        """
        Note what the peer has not taken, unless the connection ends in order: then the
        system goes on with it.
        """
        if not reason.check(ConnectionDone):
            self._untaken = self._untaken or kernelQueue(self._fileno()) or 0

    def _tellLost(self, reason: Failure) -> None:
        """
        Tell the watcher of the loss, once.
        """
        if not self._lost:
            self._lost = True
            self.watcher.transportLost(reason)


def watcherOf(transport: object) -> object:
    """
    The newest watcher that a transport, or the meter on it, serves; L{None} if there is
    none.
    """
    patch = getattr(transport, "__dict__", {}).get("write")
    meter = getattr(patch, "__self__", None)
    if isinstance(meter, Meter):
        return meter.watcher
    return innermost(transport.watcher) if countsItself(transport) else None  # type: ignore[attr-defined]


@implementer(ITransportWatcher)
class _BottomWatcher:
    """
    Hears when a counting transport below other layers has sent bytes.  For all
    else the meter asks the topmost transport.
    """

    __slots__ = ("transportFlushed",)

    def __init__(self, flushed: Callable[[], None]) -> None:
        self.transportFlushed = flushed

    def transportWaiting(self) -> None:
        """
        Nothing: the meter asks the topmost layer at each write.
        """

    def transportClosing(self) -> None:
        """
        Nothing: the topmost layer closes by itself.
        """

    def transportAborting(self) -> None:
        """
        Nothing: the topmost layer aborts by itself.
        """

    def transportReadEnded(self, tell: Callable[[], object]) -> bool:
        """
        Let the layers pass the peer's FIN on, and end this side.
        """
        tell()
        return False

    def transportWriteEnded(self, tell: Callable[[], object]) -> None:
        """
        Let the layers pass the end of our half on.
        """
        tell()

    def transportEncrypting(self) -> None:
        """
        Nothing: there is one more layer.
        """

    def deliveryFailed(self) -> None:
        """
        Nothing: a layer has raised, not the protocol.
        """

    def transportLost(self, reason: Failure) -> None:
        """
        Nothing: the layers hear of the loss.
        """
