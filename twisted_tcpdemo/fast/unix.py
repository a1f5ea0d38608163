"""
UNIX sockets: the port, the connector and the transports of both sides.

Facts that shape them:

  - A descriptor travels with a byte: it goes with the next byte that is written
    after it, and arrives before that byte (unix(7)).  Bytes of a C{write} before it
    have most often left already.
  - The kernel drops descriptors for which the process has no number left, and tells it
    (MSG_CTRUNC); their bytes come all the same.  A protocol would take each descriptor
    after that for another, so the connection ends.
  - C{recv} drops descriptors.  So only a protocol that takes them is served by
    C{recvmsg}; descriptors sent to any other never reach this process.
  - A send fails as soon as the peer has closed its socket (EPIPE), while bytes that
    the peer has sent before can still be read.  TCP drops those.
  - There is no RST.  An aborted connection is closed at once; the peer reads
    ECONNRESET if it had sent bytes that were not read, else an end of file.
  - While the queue of a listening socket is full, a client's C{connect} fails with
    EAGAIN, and no event tells when there is room.
  - A bound path stays when its socket is closed.  The port removes a path that it has
    made itself, and only that: not one of systemd's, and not one by which another
    process has replaced it.

It is one file, for one family of sockets: the port, the connector and both transports
share these facts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from errno import EMFILE, EPIPE
from socket import (
    CMSG_SPACE,
    MSG_CMSG_CLOEXEC,
    MSG_CTRUNC,
    MSG_PEEK,
    SO_ACCEPTCONN,
    SOL_SOCKET,
    socket,
)
from stat import S_ISSOCK
from typing import Final

from twisted.internet import tcp
from twisted.internet.address import UNIXAddress
from twisted.internet.error import (
    BadFileError,
    CannotListenError,
    ConnectBindError,
    FileDescriptorOverrun,
)
from twisted.internet.interfaces import (
    IDelayedCall,
    IFileDescriptorReceiver,
    IProtocol,
    IUNIXTransport,
)
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.unix import Client, Connector, Port, Server
from twisted.logger import Logger
from twisted.python import log
from twisted.python.failure import Failure
from twisted.python.lockfile import FilesystemLock, isLocked
from zope.interface import implementer

from twisted_tcpdemo.fast.accepting import AcceptingPort
from twisted_tcpdemo.fast.connecting import Connecting, SteadyConnector
from twisted_tcpdemo.fast.descriptors import DescriptorQueue, descriptorsIn
from twisted_tcpdemo.fast.offered import handOverOf
from twisted_tcpdemo.fast.poller import pollerOf
from twisted_tcpdemo.fast.transport import A_LOT, WriteThroughTransport, brokenBy
from twisted_tcpdemo.fast.writebuffer import WriteBuffer
from twisted_tcpdemo.shapes import Reactor
from twisted_tcpdemo.tls.context import EngineMaker
from twisted_tcpdemo.tls.securesocket import SecureSocket
from twisted_tcpdemo.values.text import printable

_log = Logger(namespace="tcpdemo")

PRIVATE_NAMES: Final = {
    "twisted.internet.tcp": ("_reservedFD",),
    "twisted.internet.unix.Port": (
        "_buildAddr",
        "_fromListeningDescriptor",
        "_getLogPrefix",
        "_shouldShutdown",
    ),
    "twisted.internet.unix.Client": ("_commonConnection", "_finishInit"),
    "twisted.internet.unix.Connector": ("_makeTransport",),
}

MANY: Final = 64
"""Waiting descriptors above which a producer is paused, as Twisted has it."""

ANCILLARY_SIZE: Final = CMSG_SPACE(253 * 4)
"""Room for the descriptors of one message: Linux passes up to 253 (SCM_MAX_FD)."""

AGAIN: Final = 0.01
"""Seconds until a client tries again to enter a full queue."""

UNNAMED: Final = UNIXAddress(None)
"""The address of a socket without a name, such as most clients have."""

_takesDescriptors: Final = IFileDescriptorReceiver.providedBy


def addressOf(name: str | bytes) -> UNIXAddress:
    """
    The address of a socket, from its name as the kernel tells it.
    """
    return UNIXAddress(name) if name else UNNAMED


@implementer(IUNIXTransport)
class UNIXTransport(WriteThroughTransport):
    """
    A connection over a UNIX socket, of either side.

    @ivar _descriptors: descriptors that wait for their bytes, while there are any.
    """

    _host: UNIXAddress | None  # type: ignore[assignment]
    peerAddress: UNIXAddress | None = None  # type: ignore[assignment]

    _descriptors: DescriptorQueue | None = None

    # Reading.

    def startReading(self) -> None:
        """
        Read bytes as they arrive, and descriptors if the protocol takes them now.
        """
        if self._linger is None and self._secure is None and _takesDescriptors(self.protocol):
            # Not a method of the class: other protocols do not pay for it.
            self.doRead = self._receive  # type: ignore[method-assign]
        elif "doRead" in self.__dict__:
            self._takeNone()
        super().startReading()

    def encrypt(self, secure: SecureSocket) -> None:
        """
        Put TLS between this transport and its socket.  A descriptor goes with a byte, and
        none of the bytes is the protocol's own any more.
        """
        self._takeNone()
        super().encrypt(secure)

    def _takeNone(self) -> None:
        """
        Read bytes alone from now on, if anything is read.
        """
        if self._linger is None:
            self.__dict__.pop("doRead", None)

    def _receive(self) -> BaseException | None:
        """
        Read once, and deliver descriptors and then bytes.
        """
        try:
            data, ancillary, flags, _ = self.socket.recvmsg(A_LOT, ANCILLARY_SIZE, MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        except OSError as error:
            return brokenBy(error)
        if not data:
            return CONNECTION_LOST if self._sendFailed else CONNECTION_DONE
        descriptors = descriptorsIn(ancillary)
        if flags & MSG_CTRUNC:
            _closeAll(descriptors)
            return OSError(EMFILE, os.strerror(EMFILE))
        self.bytesRead += len(data)
        self.lastActivity = self._poller.now
        descriptors.reverse()
        try:
            while descriptors and _takesDescriptors(self.protocol):
                self.protocol.fileDescriptorReceived(descriptors.pop())  # type: ignore[attr-defined]
            self.protocol.dataReceived(data)
        except BaseException:
            if self.watcher is not None:
                self.watcher.deliveryFailed()
            raise
        finally:
            if descriptors:
                _closeAll(descriptors)  # nobody takes these
        return None

    def _peerLeft(self) -> BaseException:
        """
        The reason of the loss when the peer breaks off while it is waited for.  It has
        closed over bytes that it had not read, and the kernel has forgotten them; under
        TLS they may be no more than our C{close_notify}.
        """
        return CONNECTION_LOST if self._secure is None else super()._peerLeft()

    # Writing.

    def sendFileDescriptor(self, descriptor: int) -> None:
        """
        Send a descriptor with the next byte that is written after it, or with one
        that waits already.  It has to stay open until then.
        """
        if not self.connected or self._writeDisconnected or self._aborting:
            return
        if self._descriptors is None:
            self._descriptors = DescriptorQueue()
        self._descriptors.append(descriptor, self.bytesPending)
        self._direct = False
        self._maybePauseProducer()
        self.startWriting()

    def _haveBytes(self) -> bool:
        """
        Whether each waiting descriptor has a byte to go with.  Under TLS none has.
        """
        waiting = self._descriptors
        if waiting is None or self._sendFailed:
            return True
        return self._secure is None and waiting.settle(self.bytesPending)

    def _send(self, pending: WriteBuffer) -> None:
        """
        Send from the write buffer, each descriptor with its byte.
        """
        waiting, before = self._descriptors, pending.size
        try:
            while waiting and pending.size and self._secure is None:
                waiting.sendTo(self.socket, pending)
        except BlockingIOError:
            if pending.size == before:
                raise
            self.lastActivity = self._poller.now or self._poller.seconds()
            return
        if not waiting:
            self._descriptors = None
        if pending.size:
            super()._send(pending)
        else:
            self.lastActivity = self._poller.now or self._poller.seconds()
            self._pending = None
            self._redirect()

    def _redirect(self) -> None:
        super()._redirect()
        self._direct = self._direct and self._descriptors is None

    def _refused(self, error: OSError) -> int:
        """
        Note a failed send.  While bytes of a peer that has closed can still be read,
        it is as if the buffer were full: the read that finds the end tells it.
        """
        if error.errno == EPIPE and self.reading and self._secure is None:
            with suppress(OSError):  # else the peer only reads no more
                self.socket.recv(1, MSG_PEEK)
                return 0
        return super()._refused(error)

    def doWrite(self) -> BaseException | None:  # type: ignore[override]
        """
        Send pending bytes: the kernel has room.
        """
        return super().doWrite() if self._haveBytes() else FileDescriptorOverrun()

    def doSoon(self) -> BaseException | None:
        """
        Finish what a call has asked for and could not do while it ran.
        """
        if self.disconnected or self._aborting or self._haveBytes():
            return super().doSoon()
        return FileDescriptorOverrun()

    def _isSendBufferFull(self) -> bool:
        waiting = self._descriptors
        return super()._isSendBufferFull() or (waiting is not None and len(waiting) > MANY)

    def connectionLost(self, reason: Failure) -> None:
        """
        Free everything, then tell the watcher and the protocol.
        """
        self._takeNone()  # or the transport would hold itself
        self._descriptors = None
        super().connectionLost(reason)

    # Identity.

    def getHost(self) -> UNIXAddress:  # type: ignore[override]
        """
        This side's address, after the loss too.
        """
        if self._host is None:
            self._rememberHost()
        assert self._host is not None
        return self._host

    def _rememberHost(self) -> None:
        """
        Ask the kernel for the local address, once.
        """
        if self._host is None:
            try:
                self._host = addressOf(self.socket.getsockname())
            except OSError:
                self._host = UNNAMED

    def getPeer(self) -> UNIXAddress:  # type: ignore[override]
        """
        The other side's address, after the loss too.
        """
        if self.peerAddress is None:
            self.peerAddress = addressOf(self._path())
        return self.peerAddress

    def _path(self) -> str | bytes:
        """
        The name of the other side's socket.
        """
        raise NotImplementedError

    def getTcpNoDelay(self) -> bool:
        """
        Return C{False}: a UNIX socket delays nothing.
        """
        return False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        Do nothing.  Applications may take any transport for one of TCP.
        """


class UNIXServerTransport(UNIXTransport, Server):
    """
    The server's side of a connection.
    """

    # Twisted's types never leave out the server.
    server: UNIXPort | None  # type: ignore[assignment]
    client: tuple[str | bytes, None]

    def __init__(  # noqa: PLR0917
        self,
        sock: socket,
        protocol: IProtocol,
        client: str | bytes,
        server: UNIXPort | None,
        sessionno: int,
        reactor: Reactor,
    ) -> None:
        """
        See L{Server<twisted.internet.unix.Server>}.
        """
        UNIXTransport.__init__(self, sock, protocol, reactor)
        self.server = server
        self.client = (client, None)
        self.sessionno = sessionno
        # As Twisted has it for an adopted socket: its client has no name most often.
        self.hostname = client if server is not None else _shown(self.getHost().name)
        self.descriptor = sock.fileno()
        self._poller.add(self)
        self.connected = 1
        self._direct = True
        self.startReading()

    @staticmethod
    def peerOf(sock: socket) -> tuple[str | bytes, UNIXAddress]:
        """
        The name of the other side's socket, and the same as an address.
        """
        name = sock.getpeername()
        return name, addressOf(name)

    def __repr__(self) -> str:
        return f"<{self._name} #{self.sessionno} on {_shown(self.getHost().name)}>"

    def _madeLogstr(self) -> str:
        # The peer has chosen its path.
        return f"{self._prefix()},{self.sessionno},{printable(str(self.hostname))}"

    def _rememberHost(self) -> None:
        """
        Take the local address from the port: all its connections have the same.
        """
        if self._host is None:
            self._host = getattr(self.server, "commonHost", None)
        super()._rememberHost()

    def _path(self) -> str | bytes:
        name: str | bytes = self.client[0]
        return name


class UNIXClientTransport(Connecting, UNIXTransport, Client):
    """
    The client's side of a connection, from the attempt to connect on.
    """

    _commonConnection = UNIXTransport  # type: ignore[assignment]
    _again: IDelayedCall | None = None

    def __init__(
        self, path: str | bytes, connector: Connector, reactor: Reactor, checkPID: bool | int = 0
    ) -> None:
        """
        @param path: the path, or an abstract name, which begins with NUL.
        @param checkPID: whether a path without a living process's lock is refused.
        """
        self.connector = connector
        self.peerAddress = UNIXAddress(path)
        self._host = UNNAMED
        # Twisted's types know TCP only.
        self.realAddress = self.addr = name = self.peerAddress.name or b""  # type: ignore[assignment]
        if checkPID and not _isLocked(name):
            self._finishInit(None, None, BadFileError(name), reactor)
            return
        try:
            skt = self.createInternetSocket()
        except OSError as error:
            failure = ConnectBindError(error.errno, error.strerror)
            self._finishInit(None, None, failure, reactor)
        else:
            self._finishInit(self.doConnect, skt, None, reactor)

    def startWriting(self) -> None:
        """
        Send pending bytes; while it connects, try again a little later.
        """
        if self.connected:
            super().startWriting()
        elif self._again is None:
            self._again = self._poller.clock.callLater(AGAIN, self._connectAgain)

    def _connectAgain(self) -> None:
        self._again = None
        self.doConnect()

    def _stopReadingAndWriting(self) -> None:
        super()._stopReadingAndWriting()
        if self._again is not None:
            self._again.cancel()
            self._again = None


class UNIXConnector(SteadyConnector, Connector):
    """
    Makes a L{UNIXClientTransport} for each attempt to connect.

    @ivar engineMaker: makes the TLS engine of the connection, if it is to be
        encrypted.
    """

    engineMaker: EngineMaker | None = None

    def _makeTransport(self) -> UNIXClientTransport:  # type: ignore[override]
        return UNIXClientTransport(self.address, self, self.reactor, self.checkPID)


class UNIXPort(AcceptingPort, Port):
    """
    A listening UNIX socket.

    @ivar commonHost: the local address of all its connections.
    @ivar _made: device and inode of the path, while this port has made it.
    """

    transport = UNIXServerTransport
    commonHost: UNIXAddress | None = None
    lockFile: FilesystemLock | None
    _made: tuple[int, int] | None = None

    def startListening(self) -> None:
        """
        Bind and listen, or take the socket of another program as it is.

        Nothing is left behind if it cannot, or if the factory raises when it is started.

        @raise CannotListenError: if it cannot.
        """
        self.poller = pollerOf(self.reactor)
        self.handOver = handOverOf(self.factory)
        tcp._reservedFD.reserve()
        listening, self._preexistingSocket = self._preexistingSocket, None
        if listening is None:
            listening = self._bound()
        else:
            self._shouldShutdown = False  # it would end for the other program, too
            if not listening.getsockopt(SOL_SOCKET, SO_ACCEPTCONN):
                listening.listen(self.backlog)
        log.msg(f"{self._getLogPrefix(self.factory)} starting on {_shown(self._bindPath)!r}")
        try:
            self.factory.doStart()  # type: ignore[union-attr]
        except BaseException:
            listening.close()
            self._leave()
            raise
        self.connected = True
        self.socket = listening
        self.fileno = listening.fileno  # type: ignore[method-assign]
        self.numberAccepts = 100
        self.commonHost = addressOf(listening.getsockname())
        self.startReading()

    def _bound(self) -> socket:
        """
        A socket that listens on the path.  Nobody can connect before it has its mode.
        """
        path, hasFile = self._bindPath, not self._bindPath.startswith(b"\0")
        if self.wantPID and hasFile:
            self._lock()
        listening: socket | None = None
        try:
            listening = self.createInternetSocket()
            listening.bind(path)
            if hasFile:
                self._made = _identityOf(path)
                os.chmod(path, self.mode)
            listening.listen(self.backlog)
        except OSError as error:
            if listening is not None:
                listening.close()
            self._leave()
            raise CannotListenError(None, path, error) from None
        return listening

    def _lock(self) -> None:
        """
        Make the lock file.  The path of a process that has died is removed.
        """
        lock = FilesystemLock(self._bindPath + b".lock")
        try:
            isOurs = lock.lock()
        except OSError as error:
            raise CannotListenError(None, self._bindPath, error) from None
        if not isOurs:
            raise CannotListenError(None, self._bindPath, "Cannot acquire lock")
        self.lockFile = lock
        if not lock.clean:
            with suppress(OSError):  # bind() will tell
                if S_ISSOCK(os.lstat(self._bindPath).st_mode):
                    os.unlink(self._bindPath)

    def _leave(self) -> None:
        """
        Remove what this port has made: the path, and the lock file.
        """
        made, self._made = self._made, None
        lock, self.lockFile = self.lockFile, None
        try:
            with suppress(FileNotFoundError):
                if made is not None and _identityOf(self._bindPath) == made:
                    os.unlink(self._bindPath)
            with suppress(FileNotFoundError):
                if lock is not None:
                    lock.unlock()
        except (OSError, ValueError) as error:
            path = _shown(self._bindPath)
            _log.warn("{path} cannot be removed: {error}", path=path, error=error)

    def connectionLost(self, reason: Failure) -> None:
        """
        Close the socket, and remove the path if this port has made it.
        """
        self._leave()
        AcceptingPort.connectionLost(self, reason)

    def hostOf(self, client: socket) -> UNIXAddress:
        """
        This side's address of a client that has no transport.
        """
        return UNNAMED if self.commonHost is None else self.commonHost

    def _accepted(self, client: socket, name: str | bytes) -> None:
        (self.connect if self.stage is None else self._stage)(client, name, addressOf(name))

    def addressOf(self, name: str | bytes) -> UNIXAddress:
        """
        The address of a client as one of Twisted's.
        """
        return addressOf(name)


def _closeAll(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _isLocked(path: bytes) -> bool:
    try:
        return bool(isLocked(path + b".lock"))
    except OSError:  # there is no such folder, most often
        return False


def _identityOf(path: bytes) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _shown(name: bytes | None) -> str:
    return os.fsdecode(name or b"")
