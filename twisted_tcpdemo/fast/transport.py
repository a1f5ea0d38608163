"""
A TCP transport that writes at once.

Twisted's own transport keeps each write until the reactor reports a writable
socket.  The socket nearly always is writable, so every answer costs two changes
to the epoll object and one more turn of the reactor (twisted #5303).  This
transport gives the bytes to the kernel in C{write()}, and keeps only those that
the kernel does not take.

Three consequences are easily got wrong:

  - A send may fail inside C{write()}.  The connection is then lost a little
    later, never from inside the application's call.
  - A pull producer must be asked for more although no byte ever waited.
  - After the peer's FIN the socket stays readable for ever.

In everything else the transport behaves as L{twisted.internet.tcp.Server}.  It
inherits all code there that does not move bytes, and passes Twisted's tests of
it.  L{PRIVATE_NAMES} lists the private names of Twisted's that it needs; a test
compares the list with the installed Twisted.

The transport is one file because it is one object: reading, writing, producers,
the two halves and the end share the same flags.  A split would put one state
into several files.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from errno import ENOBUFS, ENOMEM
from socket import NI_NUMERICHOST, NI_NUMERICSERV, SHUT_WR, getnameinfo, socket
from typing import Any, Final, TypeAlias

from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IProducer,
    IProtocol,
)
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_tcpdemo.fast.encrypting import Encrypting
from twisted_tcpdemo.fast.lingering import ENDED, Linger
from twisted_tcpdemo.fast.poller import READ, WRITE, pollerOf
from twisted_tcpdemo.fast.proxyheader import Proxied, ProxyHeader
from twisted_tcpdemo.fast.writebuffer import WriteBuffer
from twisted_tcpdemo.interfaces import ICountingTransport, ITransportWatcher
from twisted_tcpdemo.shapes import Reactor
from twisted_tcpdemo.values.budgets import DEFAULT_BUDGETS
from twisted_tcpdemo.values.sendqueue import queuedBytes, unreadBytes

Name: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
"""An address of an IPv4 or IPv6 socket, as C{accept} returns it."""

_log = Logger(namespace="tcpdemo")

PRIVATE_NAMES: Final = {
    "twisted.internet.tcp.Server": (
        "_addressType",
        "_getLogPrefix",
        "_closeSocket",
        "_shouldShutdown",
        "_aborting",
    ),
    "twisted.internet.abstract.FileDescriptor": (
        "_writeDisconnecting",
        "_writeDisconnected",
        "_isSendBufferFull",
        "_maybePauseProducer",
    ),
    "twisted.internet.tcp.Port": ("_addressType", "_realPortNumber"),
}

READ_SIZE: Final = 262144
"""Bytes asked of the kernel in one read.  The result is most often shorter, and
takes no more memory than its own length."""

FIRST_SIZE: Final = 98304
"""Bytes asked of the kernel until a read has returned as many.  Memory of this size
comes from the heap.  From 128 KiB on glibc may map pages for a read and unmap them
again, which a short connection would pay for its one message."""

SMALL: Final = 448
"""Bytes asked for after a read that returned fewer.  Python has memory of such a
size at hand (pymalloc serves up to 512 bytes), which saves one part in thirty of a
small round trip."""

_AGAIN: Final = (ENOBUFS, ENOMEM)
"""Errors of this system's, not of the connection: it has no memory.  send(2) may succeed
later, as when the buffer is full."""

A_LOT: Final = 65536
"""A read larger than this probably left data in the socket buffer."""

READS: Final = 4
"""Large reads in a row.  Reading and sending bytes while they are in the processor's
cache takes a quarter less time, and no other connection waits longer than a
millisecond."""

JOINED: Final = 65536
"""Bytes of a sequence up to which its pieces are cheaper to join than to give to the
kernel one by one."""


def brokenBy(error: OSError) -> BaseException:
    """
    Why a connection ends whose socket cannot be read.
    """
    cause: BaseException = getattr(error, "cause", CONNECTION_LOST)
    return error if error.errno in _AGAIN else cause


@implementer(ICountingTransport)
class WriteThroughTransport(Encrypting):
    """
    A TCP connection, of either side; see L{ServerTransport
    <twisted_tcpdemo.fast.port.ServerTransport>} and L{ClientTransport
    <twisted_tcpdemo.fast.connector.ClientTransport>}.

    Under TLS its socket is a L{SecureSocket
    <twisted_tcpdemo.tls.securesocket.SecureSocket>}, and all that is said of bytes
    here is said of plaintext.

    @ivar proxied: the PROXY header that came before the first byte, and the proxy's
        own addresses; L{None} without one.
    @ivar descriptor: the number of its socket while a poller serves it, else -1.
    """

    reactor: Reactor

    watcher: ITransportWatcher | None = None
    writing = False
    interest = 0
    descriptor = -1
    hasWaited = False

    _addressType: type[IPv4Address | IPv6Address] = IPv4Address
    _pending: WriteBuffer | None = None
    _logstr: str | None = None
    _sendFailed = False
    _readEnded = False
    _isDueSoon = False
    _owesFlushed = False
    _linger: Linger | None = None
    budgets = DEFAULT_BUDGETS
    inheritedNoDelay: bool | None = None
    _host: IPv4Address | IPv6Address | Name | None = None
    peerAddress: IPv4Address | IPv6Address | None = None
    proxied: Proxied | None = None

    def __init__(self, sock: socket, protocol: IProtocol | None, reactor: Reactor) -> None:
        """
        @param sock: the socket; it becomes non-blocking.
        @param protocol: the protocol, if it is there already.
        """
        sock.setblocking(False)
        self.reading = False
        self.socket = sock
        self.bytesRead = 0
        self._poller = poller = pollerOf(reactor)
        self.lastActivity = poller.now or poller.seconds()
        self.protocol = protocol  # type: ignore[assignment]  # None until it connects
        self._direct = False
        self.bytesWritten = 0
        self._readSize = FIRST_SIZE
        self.reactor = reactor
        self._name = protocol.__class__.__name__

    @property
    def logstr(self) -> str:
        """
        The prefix of this connection's log lines; settable.  It is made at its
        first use: most connections log nothing.
        """
        if self._logstr is None:
            self._logstr = self._madeLogstr()
        return self._logstr

    @logstr.setter
    def logstr(self, prefix: str) -> None:
        self._logstr = prefix

    def _madeLogstr(self) -> str:
        return self._prefix()

    def _prefix(self) -> str:
        if not hasattr(self, "socket"):
            return self._name
        try:
            return f"{self._getLogPrefix(self.protocol)}"
        except BaseException:
            # Logging the exception would ask for the prefix again.
            return f"{self._name} (its logPrefix raises)"

    def __getitem__(self, key: object) -> dict[str, object]:
        """
        See L{Polled<twisted_tcpdemo.fast.poller.Polled>}.
        """
        if key is not log.ILogContext:
            raise KeyError(key)
        return {**self._poller.logContext, "system": self.logPrefix()}

    def fileno(self) -> int:
        """
        The descriptor, or C{-1} when it is closed.
        """
        return self.socket.fileno() if hasattr(self, "socket") else -1

    # Reading.

    def doRead(self) -> BaseException | None:  # type: ignore[override]
        """
        Read and deliver once, or up to L{READS} times while reads are large.
        """
        reads = READS
        wanted = self._readSize
        while True:
            try:
                data = self.socket.recv(wanted)
            except BlockingIOError:
                return None
            except OSError as error:
                if self._secure is None:
                    self._shouldShutdown = False  # it is broken: shutdown(2) would raise
                return brokenBy(error)
            size = len(data)
            if not size:
                # A failed send has used up the socket's error: this end is a reset.
                return CONNECTION_LOST if self._sendFailed else CONNECTION_DONE
            self.bytesRead += size
            self.lastActivity = self._poller.now
            try:
                self.protocol.dataReceived(data)
            except BaseException:
                if self.watcher is not None:
                    self.watcher.deliveryFailed()
                raise
            if size < SMALL:
                self._readSize = SMALL
                return None
            if size == wanted:
                self._readSize = wanted = READ_SIZE
            elif size <= A_LOT:
                return None
            reads -= 1
            if not (reads and self.reading) or self._linger is not None:
                return None
            # The next read then gets the same memory.  One buffer stays in the
            # processor's cache, two would not.
            del data

    def readConnectionLost(self, reason: Failure) -> None:
        """
        Handle the peer's FIN: tell a protocol that can be half-closed, and end the
        connection of any other.
        """
        self.reading = False
        self._readEnded = True
        if self._linger is not None:
            if self._linger.hasBegun:
                self.connectionLost(reason)
            else:  # the peer may go on reading
                self._poller.watch(self, WRITE if self.writing else 0)
                self.startWriting()
            return
        if self._secure is not None:
            self._poller.watch(self, WRITE if self.writing else 0)
            self._secureEnded(reason)
            return
        isEnd = False
        try:
            protocol = halfCloseable(self.protocol)  # it may adapt itself
            if protocol is not None and self.watcher is not None:
                isEnd = self.watcher.transportReadEnded(protocol.readConnectionLost)
            elif protocol is not None:
                protocol.readConnectionLost()
        except BaseException:
            log.err()
            self.connectionLost(Failure())
            return
        if protocol is None:
            self.connectionLost(reason)
            return
        if isEnd and self._direct and self.producer is None:
            self.connectionLost(reason)  # the most common end: nothing is left to do
            return
        self._poller.watch(self, WRITE if self.writing else 0)
        if isEnd:
            self.loseConnection()

    def startReading(self) -> None:
        """
        Read bytes as they arrive.  After the peer's FIN this does nothing.
        """
        if not self._readEnded and not self._aborting:
            self.reading = True
            if not self.interest & READ:
                self._poller.watch(self, self.interest | READ)
            if self._secure is not None and self._secure.more:
                self.readSoon()

    def stopReading(self) -> None:
        """
        Stop reading.  The epoll object hears of it only if bytes arrive meanwhile.
        """
        self.reading = self._linger is not None and not self._readEnded

    # Writing.

    def write(self, data: bytes) -> None:
        """
        Send at once; keep the bytes that the kernel does not take, and send them
        later.
        """
        if self._direct and data.__class__ is bytes:
            try:
                sent = self.socket.send(data)
            except OSError as error:
                sent = self._refused(error)
            size = len(data)
            self.bytesWritten += size
            if sent:
                self.lastActivity = self._poller.now or self._poller.seconds()
            if sent != size:
                self._keep([memoryview(data)[sent:]], size - sent)
                self.startWriting()  # first: a producer may raise
                self._maybePauseProducer()
                if self.watcher is not None:
                    self.watcher.transportWaiting()
        else:
            self.writeSequence((data,))

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """
        Write several pieces as one.
        """
        pieces = list(iovec)
        for piece in pieces:
            if not isinstance(piece, bytes):
                raise TypeError("Data must be bytes")
        size = sum(map(len, pieces))
        if not (size and self.connected) or self._writeDisconnected or self._aborting:
            return
        if self._secure is not None and self._secure.ended:
            return
        self.bytesWritten += size
        isFirst = self._pending is None
        self._keep([b"".join(pieces)] if size <= JOINED else filter(None, pieces), size)
        if isFirst and not self._sendFailed:
            assert self._pending is not None
            try:
                self._send(self._pending)
            except OSError as error:
                self._refused(error)
        isLeft = self._pending is not None or not (self.producer is None or self.streamingProducer)
        if isLeft:
            self.startWriting()
        self._maybePauseProducer()
        if isLeft and self.watcher is not None:
            self.watcher.transportWaiting()

    @property
    def bytesPending(self) -> int:  # type: ignore[override]  # it is not settable
        """
        See L{ICountingTransport}.
        """
        return 0 if self._pending is None else self._pending.size

    def _keep(self, pieces: Iterable[bytes | memoryview], size: int) -> None:
        """
        Add bytes to the write buffer, and begin one if there is none.
        """
        if self._pending is None:
            self._pending = WriteBuffer()
            self._direct = False
        self._pending.keep(pieces, size)

    def _refused(self, error: OSError) -> int:
        """
        Note a failed send: the socket buffer is full, or the connection broken.

        @return: the number of bytes sent: 0.
        """
        if not isinstance(error, BlockingIOError) and error.errno not in _AGAIN:
            self._sendFailed = True
            self._direct = False
            self._failure = getattr(error, "cause", None)
        return 0

    def _send(self, pending: WriteBuffer) -> None:
        """
        Send once from the write buffer, and drop the buffer when it is empty.
        """
        pending.sendTo(self.socket)
        self.lastActivity = self._poller.now or self._poller.seconds()
        if not pending.size:
            self._pending = None
            self._redirect()

    def _redirect(self) -> None:
        """
        Decide whether C{write} may give its bytes straight to the kernel.
        """
        self._direct = bool(
            self.connected
            and self._pending is None
            and not (self._sendFailed or self._writeDisconnected or self._aborting)
            and (self._secure is None or (self._secure.ready and not self._secure.ended))
            and (self.producer is None or self.streamingProducer)
        )

    def doWrite(self) -> BaseException | None:  # type: ignore[override]
        """
        Send pending bytes: the kernel has room.
        """
        if self._isWaiting():
            try:
                if self._pending is not None:
                    self._send(self._pending)
                elif self._secure is not None:
                    self._secure.flush()
            except OSError as error:
                self._refused(error)
                return (self._failure or CONNECTION_LOST) if self._sendFailed else None
            if self.watcher is not None:
                self.watcher.transportFlushed()
            if self._isWaiting() or self._aborting:
                return None
        self.writing = False
        why = self._drained() if self._pending is None else None
        if not self.writing:
            self._poller.watch(self, self.interest & ~WRITE)
        return why

    def _isWaiting(self) -> bool:
        """
        Whether bytes wait for the kernel, and not for TLS.
        """
        secure = self._secure
        if secure is None:
            return self._pending is not None
        return secure.waiting or (self._pending is not None and not secure.held)

    def doSoon(self) -> BaseException | None:
        """
        Finish what a call has asked for and could not do while it ran.
        """
        if self._owesFlushed:
            self._owesFlushed = False
            if self.watcher is not None:
                self.watcher.transportFlushed()
        if self._secure is not None:
            self._secure.settle()
            if self._secure.more:
                self._readAgain()
        if self.disconnected or not self._isDueSoon:
            return None
        self._isDueSoon = False
        if self._aborting:
            return ConnectionAborted()
        if self._sendFailed:
            return self._failure or CONNECTION_LOST
        return self._drained() if self._pending is None else None

    def _drained(self) -> BaseException | None:
        """
        Ask the producer for more, or close as was asked: all bytes are sent.
        """
        if self.disconnecting and self._writeDisconnected:
            return self._goodbye()  # a producer's bytes could no longer be sent
        if self.producer is not None and (not self.streamingProducer or self.producerPaused):
            self.producerPaused = False
            self.producer.resumeProducing()  # type: ignore[attr-defined]
        elif self.disconnecting:
            return self._goodbye()
        elif self._writeDisconnecting and not self._writeDisconnected:
            self._writeDisconnected = True
            self._direct = False
            self._closeWriteConnection()
        return None

    def _closeWriteConnection(self) -> None:
        """
        Send the FIN, and tell a protocol that can be half-closed.
        """
        with suppress(OSError):
            self.socket.shutdown(SHUT_WR)
        protocol = halfCloseable(self.protocol)
        if protocol is None:
            return
        try:
            if self.watcher is None:
                protocol.writeConnectionLost()
            else:
                self.watcher.transportWriteEnded(protocol.writeConnectionLost)
        except BaseException:
            log.err()
            self.connectionLost(Failure())

    def startWriting(self) -> None:
        """
        Arrange that pending bytes are sent, or that the producer or a close goes on.
        """
        if self._aborting:
            return
        if self._isWaiting() and not self._sendFailed:
            if not self.writing:
                self.writing = True
                self._poller.watch(self, self.interest | WRITE)
            if self.disconnecting and self._linger is None and not self._mustRead():
                self._discard()
        elif self._pending is None or self._sendFailed:
            self._dueSoon()

    def stopWriting(self) -> None:
        """
        Send no pending bytes until C{startWriting}.
        """
        self.writing = False

    def _isSendBufferFull(self) -> bool:
        return self.bytesPending > self.bufferSize

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """
        See L{IConsumer<twisted.internet.interfaces.IConsumer>}.
        """
        if self.producer is None and not streaming:
            self._direct = False  # a pull producer is asked for more after each write
        FileDescriptor.registerProducer(self, producer, streaming)
        if not streaming:
            # Bytes written before would make Twisted ask again when they have left.
            self.startWriting()

    def unregisterProducer(self) -> None:
        """
        See L{IConsumer<twisted.internet.interfaces.IConsumer>}.
        """
        FileDescriptor.unregisterProducer(self)
        self._redirect()

    # Ending.

    def loseConnection(self) -> None:
        """
        Close when all written bytes are sent and the producer is done.
        """
        if self.connected and not self.disconnecting:
            if self.watcher is not None:
                self.watcher.transportClosing()
            self.reading = self.reading and self._mustRead()
            self.disconnecting = 1
            self.startWriting()

    def _mustRead(self) -> bool:
        """
        Whether TLS has to read before it can write.
        """
        return self._secure is not None and self._secure.held

    def _discard(self) -> Linger:
        """
        Read and forget what comes from now on.
        """
        linger = self._linger
        if linger is None:
            self._linger = linger = Linger(self, self._poller.clock)
            self.doRead = linger.discard  # type: ignore[method-assign]
        self.startReading()
        return linger

    def _goodbye(self) -> BaseException | None:
        """
        End this side, and wait for the peer's end: all bytes are sent.

        @return: the reason of the loss, if the connection can be closed now.
        """
        linger = self._linger
        if linger is not None and linger.hasBegun:
            return ENDED if linger.isOver else None
        period, untaken = self.budgets.linger, self.untaken
        if period is None or self._mayClose(untaken):
            return CONNECTION_DONE
        self._direct = False
        with suppress(OSError):
            self.socket.shutdown(SHUT_WR)
        self._writeDisconnected = True
        self._shouldShutdown = False  # both halves have their own end
        self._discard().begin(period, untaken)
        return None

    def _mayClose(self, untaken: int) -> bool:
        """
        Whether closing now can destroy nothing: the peer sends no more, or it has
        taken all and has not sent more than the protocol has read.
        """
        if self._secure is not None:
            # Its close_notify would meet a closed socket.
            return self._secure.over or self._readEnded or not self._secure.ready
        isSending = self._linger is not None and not self._linger.isSilent
        return self._readEnded or not (isSending or untaken or unreadBytes(self.descriptor))

    @property
    def untaken(self) -> int:
        """
        Bytes that have been given to the kernel and that the peer's has not taken, as
        far as it tells; under TLS, of ciphertext.
        """
        queued = (queuedBytes(self.descriptor) or 0) - self._writeDisconnected  # a FIN is one
        if queued > 0:
            return queued
        return int(self._secure is not None and self._secure.waiting)

    @property
    def lingering(self) -> bool:
        """
        See L{ICountingTransport}.
        """
        return self._linger is not None and self._linger.hasBegun and not self.untaken

    def _peerLeft(self) -> BaseException:
        """
        The reason of the loss when the peer breaks off while it is waited for.
        """
        isUntaken = self._pending is not None or self.untaken
        return CONNECTION_LOST if isUntaken else CONNECTION_DONE

    def abortConnection(self) -> None:
        """
        End the connection with RST, and drop pending bytes.
        """
        if not self.disconnected and not self._aborting:
            if self.watcher is not None:
                self.watcher.transportAborting()
            self._aborting = True
            self.reading = self.writing = self._direct = False
            self._dueSoon()

    def connectionLost(self, reason: Failure) -> None:
        """
        Free everything, then tell the watcher and the protocol.
        """
        if not hasattr(self, "socket"):
            return
        self.disconnected = 1
        self.connected = 0
        self.reading = self.writing = self._direct = False
        if reason.value is not CONNECTION_DONE and self.bytesWritten:
            untaken = self.untaken  # no system goes on with these bytes, or nobody knows
            if untaken:
                self._keep((), min(untaken, self.bytesWritten - self.bytesPending))
        self._poller.remove(self)
        if self._linger is not None:
            self._linger.stop()
            self._linger = None
            del self.doRead  # the class has its own
        if self._host is None:
            self._rememberHost()
        self._closeSocket(not isinstance(reason.value, ConnectionAborted))
        if getattr(type(self.protocol), "logPrefix", None) is not Protocol.logPrefix:
            self.logstr = self.logstr  # while there is a protocol to ask for its prefix
        if self._pending is not None:
            self._pending.drop()
        if self._secure is not None:
            self._released()
        protocol, watcher, producer = self.protocol, self.watcher, self.producer
        self.watcher = self.producer = None
        del self.socket, self.protocol
        # The accounts first: a producer, too, is code of the application.
        if watcher is not None:
            watcher.transportLost(reason)
        if producer is not None:
            try:
                producer.stopProducing()
            except BaseException:
                _log.failure("a producer could not be stopped")
        protocol.connectionLost(reason)

    # Identity.

    def getHost(self) -> IPv4Address | IPv6Address:
        """
        This side's address, after the loss too.
        """
        if self._host is None:
            self._rememberHost()
        if self._host.__class__ is tuple:
            self._host = self._addressType("TCP", *scoped(self._host))
        host: IPv4Address | IPv6Address = self._host  # type: ignore[assignment]
        return host

    def _rememberHost(self) -> None:
        """
        Ask the kernel for the local address, once.  The address object itself is
        built only at its first use.
        """
        if self._host is None:
            try:
                self._host = self.socket.getsockname()
            except OSError:
                self._host = ("", 0)

    def getPeer(self) -> IPv4Address | IPv6Address:
        """
        The other side's address, after the loss too.
        """
        if self.peerAddress is None:
            self.peerAddress = self._addressType("TCP", *self._peerName())
        return self.peerAddress

    def _peerName(self) -> Name:
        raise NotImplementedError

    def tellProxied(self, header: ProxyHeader) -> None:
        """
        Have the addresses of a header, if it has any, in place of the socket's.
        """
        self.proxied = Proxied(header, self.getPeer(), self.getHost())
        if header.source is not None:
            # Twisted's types know no client of another family than the socket's.
            self.peerAddress = header.source  # type: ignore[assignment]
            self._host = header.destination  # type: ignore[assignment]

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        Set TCP_NODELAY.  A first call that asks for the setting inherited from the
        port costs no system call.
        """
        if self.inheritedNoDelay != enabled:
            super().setTcpNoDelay(enabled)
        self.inheritedNoDelay = None

    def tellFlushedSoon(self) -> None:
        """
        See L{ICountingTransport}.
        """
        if self.watcher is not None and not self._owesFlushed:
            self._owesFlushed = True
            self._poller.soon(self)

    def _dueSoon(self) -> None:
        if not self._isDueSoon:
            self._isDueSoon = True
            self._poller.soon(self)

    # For the part that has to do with TLS.

    def _unsent(self) -> Iterable[bytes | memoryview]:
        return () if self._pending is None else self._pending.pieces

    def readSoon(self) -> None:
        """
        Read what TLS has left, outside any application's call.
        """
        self._poller.soon(self)

    def _tellEnd(self) -> None:
        self._poller.peerEnded(self)

    def secureMoved(self) -> None:
        """
        Note that bytes have come which are no plaintext yet.
        """
        self.hasBegunTLS = True
        self.lastActivity = self._poller.now or self._poller.seconds()


def halfCloseable(protocol: object) -> Any:
    """
    The protocol, or its adapter, that can be half-closed; L{None} if there is none.

    An adaptation asks for C{__conform__} first, and makes an exception each time.
    """
    if IHalfCloseableProtocol.providedBy(protocol):
        return protocol
    return IHalfCloseableProtocol(protocol, None)


def scoped(name: Name) -> Name:
    """
    Translate a socket's name into the form of Twisted's addresses, which spell the
    scope of an IPv6 address out (C{fe80::1%eth0}).
    """
    if len(name) == 4 and name[3]:
        host = getnameinfo(name, NI_NUMERICHOST | NI_NUMERICSERV)[0]
        return (host, *name[1:])
    return name
