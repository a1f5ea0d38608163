"""
Standard input and output in a reactor.

The process shares these files with other processes.  O_NONBLOCK belongs to an
open file and not to a descriptor, so setting it would break the shell, or the next
program of a pipeline.  It is never set on a shared file:

  - A pipe, a terminal or a socket is read when the kernel reports it readable.
    Such a read returns the bytes that are there, and does not wait.
  - A pipe or a terminal is opened again for writing, through /proc, and this open
    file is our own.  A socket is written with MSG_DONTWAIT.  Where neither works,
    a piece of PIPE_BUF bytes is written when the kernel reports room, for room
    means that many bytes (pipe(7)).
  - A regular file can always be read and written, and epoll refuses it.  It is
    read in pieces, as the peer takes them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import stat
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_tcpdemo.nextturn import NextTurn
from twisted_tcpdemo.shapes import Reactor

PIECE: Final = 2**18
"""Bytes of one read."""

PIECES: Final = 16
"""Pieces of a file to read before the reactor has its turn."""

PIPE_SIZE: Final = 2**20
"""Bytes for a pipe to hold: the most that Linux gives without a privilege (pipe(7)).
The larger a pipe is, the less often the programs at its ends wake one another."""


class _Descriptor:
    """
    A descriptor for a reactor.
    """

    def __init__(self, reactor: Reactor, fd: int) -> None:
        self._reactor = reactor
        self._fd = fd

    def fileno(self) -> int:
        """
        The descriptor.
        """
        return self._fd

    def logPrefix(self) -> str:
        """
        A name for the log.
        """
        return "tcpdemo"


@implementer(IReadDescriptor)
class Source(_Descriptor):
    """
    A file to read in pieces, between C{resume} and C{pause}.
    """

    def __init__(
        self,
        reactor: Reactor,
        fd: int,
        received: Callable[[bytes], None],
        ended: Callable[[OSError | None], None],
    ) -> None:
        """
        @param fd: the descriptor of the file; it stays open.
        @param received: called with each piece.
        @param ended: called once, with the error of a read, or with L{None} at the
            end of the file.
        """
        super().__init__(reactor, fd)
        self._received = received
        self._ended = ended
        mode = os.fstat(fd).st_mode
        self._watchable = _watchable(fd, mode)
        self._wanted = False
        self._next: NextTurn | None = None
        self.open = True
        self.size = os.fstat(fd).st_size if stat.S_ISREG(mode) else None
        if stat.S_ISFIFO(mode):
            _enlarge(fd)

    def resume(self) -> None:
        """
        Read from now on.
        """
        if not self.open or self._wanted:
            return
        self._wanted = True
        if self._watchable:
            self._reactor.addReader(self)
        elif self._next is None:
            self._readFile()

    def pause(self) -> None:
        """
        Read nothing until C{resume}.
        """
        if self._wanted:
            self._wanted = False
            if self._watchable:
                self._reactor.removeReader(self)

    def stop(self) -> None:
        """
        Stop reading for good.
        """
        self.pause()
        self.open = False
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def hasMore(self) -> bool:
        """
        Whether the file has a byte to read at this moment.
        """
        if not self.open:
            return False
        try:
            if self.size is not None:
                return os.lseek(self._fd, 0, os.SEEK_CUR) < os.fstat(self._fd).st_size
            if self._watchable:
                return _readable(self._fd) > 0
            return bool(os.read(self._fd, 1))  # a device: it has enough of them
        except OSError:
            return False

    def doRead(self) -> None:
        """
        Read a piece, or notice the end.
        """
        self._readOnce()

    def _readOnce(self) -> None:
        try:
            data = os.read(self._fd, PIECE)
        except (BlockingIOError, InterruptedError):
            return  # another process has read the bytes
        except OSError as error:
            # EIO: the other end of a terminal is closed.
            self._finish(None if error.errno == errno.EIO and self._watchable else error)
            return
        if data:
            self._received(data)
        else:
            self._finish(None)

    def _readFile(self) -> None:
        self._next = None
        for _ in range(PIECES):
            if not self._wanted:
                return
            self._readOnce()
        if self._wanted:
            self._next = NextTurn(self._reactor, self._readFile)

    def connectionLost(self, reason: Failure) -> None:
        """
        End: the pipe is empty, and its writers have closed it.
        """
        self._finish(None)

    def _finish(self, error: OSError | None) -> None:
        if self.open:
            self.stop()
            self._ended(error)


class NoSource:
    """
    No input at all, which has no end either.
    """

    open = False
    size: int | None = None

    def resume(self) -> None:
        """
        Do nothing.
        """

    def pause(self) -> None:
        """
        Do nothing.
        """

    def stop(self) -> None:
        """
        Do nothing.
        """

    def hasMore(self) -> bool:
        """
        Never.
        """
        return False


@implementer(IWriteDescriptor)
class Sink(_Descriptor):
    """
    A file to write to, and the bytes that it has not taken.

    @ivar pending: these bytes.
    """

    def __init__(
        self,
        reactor: Reactor,
        fd: int,
        emptied: Callable[[], None],
        failed: Callable[[OSError], None],
    ) -> None:
        """
        @param fd: the descriptor of the file; it stays open.
        @param emptied: called when the file has taken all pending bytes.
        @param failed: called once, with the first error; nothing can be written
            afterwards.
        """
        super().__init__(reactor, fd)
        self._emptied = emptied
        self._failed = failed
        self.pending: memoryview = memoryview(b"")
        self._broken = False
        self._own: int | None = None
        self._socket: socket.socket | None = None
        mode = os.fstat(fd).st_mode
        self._watchable = _watchable(fd, mode)
        if stat.S_ISFIFO(mode):
            _enlarge(fd)
        if stat.S_ISSOCK(mode):
            self._socket = socket.socket(fileno=os.dup(fd))
        elif self._watchable:
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            with suppress(OSError):
                self._own = self._fd = os.open(f"/proc/self/fd/{fd}", flags)

    def write(self, data: bytes) -> bool:
        """
        Write the bytes that the file takes at once, and keep the rest.

        The caller should not write while bytes are pending.  If it does, these
        bytes are kept too.

        @return: whether no byte is pending.
        """
        if self._broken:
            return True
        if self.pending:
            self.pending = memoryview(bytes(self.pending) + data)
            return False
        self.pending = memoryview(data)
        self._flush()
        if self.pending:
            self._reactor.addWriter(self)
        return not self.pending

    def _flush(self) -> None:
        while self.pending:
            try:
                taken = self._send(self.pending)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._break(error)
                return
            if not taken:
                return
            self.pending = self.pending[taken:]

    def _send(self, data: memoryview) -> int:
        if self._socket is not None:
            return self._socket.send(data, socket.MSG_DONTWAIT)
        if self._watchable and self._own is None:
            if not select.select([], [self._fd], [], 0)[1]:
                return 0
            data = data[: select.PIPE_BUF]
        return os.write(self._fd, data)

    def doWrite(self) -> None:
        """
        Write pending bytes, and call C{emptied} after the last.
        """
        self._flush()
        if not self.pending and not self._broken:
            self._reactor.removeWriter(self)
            self._emptied()

    def connectionLost(self, reason: Failure) -> None:
        """
        Fail: the reader of a pipe has closed it.
        """
        self._break(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))

    def _break(self, error: OSError) -> None:
        if not self._broken:
            self._broken = True
            self.pending = memoryview(b"")
            self._reactor.removeWriter(self)
            self._failed(error)

    def close(self) -> None:
        """
        Close the descriptors that were opened here.  Pending bytes are lost.
        """
        self._reactor.removeWriter(self)
        if self._own is not None:
            os.close(self._own)
        if self._socket is not None:
            self._socket.close()
        self._own = self._socket = None
        self._broken = True
        self.pending = memoryview(b"")


def _watchable(fd: int, mode: int) -> bool:
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)


def _readable(fd: int) -> int:
    """
    The bytes that a pipe, a socket or a terminal has to read (FIONREAD).
    """
    answer = fcntl.ioctl(fd, termios.FIONREAD, bytes(4))
    return int.from_bytes(answer, sys.byteorder)


def _enlarge(fd: int) -> None:
    """
    Make a pipe larger, where the system can.
    """
    command = getattr(fcntl, "F_SETPIPE_SZ", None)
    if command is not None:
        with suppress(OSError):
            fcntl.fcntl(fd, command, PIPE_SIZE)
