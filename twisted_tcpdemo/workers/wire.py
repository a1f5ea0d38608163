"""
The wire between the parent and a worker: messages, some of which carry a socket.

Facts that shape it:

  - It is a SOCK_SEQPACKET pair: a packet arrives whole or not at all, together with its
    descriptors (unix(7)).  So nothing is framed, and no descriptor loses its message.
  - A packet holds the messages of one turn of the reactor.  A crowd of clients costs two
    system calls, not two for each client.
  - The kernel passes up to 253 descriptors at a time (SCM_MAX_FD).  A receiver without free
    descriptors gets fewer, and the message without its socket.
  - A sender's descriptors on their way are limited, too (ETOOMANYREFS), and no event
    tells when there is room again.
  - A packet that was sent can be read after the death of the sender.  But if that has left
    something unread, one call fails first, with ECONNRESET.
  - Both ends are the same Python and the same user, who could stop the other process
    anyway.  So C{marshal} is right: an eighth of the cost of JSON.
"""

from __future__ import annotations

import marshal
import os
from array import array
from collections import deque
from errno import ENOBUFS, ENOMEM, ETOOMANYREFS
from itertools import islice
from socket import (
    AF_UNIX,
    CMSG_SPACE,
    MSG_CMSG_CLOEXEC,
    SCM_RIGHTS,
    SOCK_SEQPACKET,
    SOL_SOCKET,
    socket,
    socketpair,
)
from typing import Any, Final, Protocol, TypeAlias

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.main import CONNECTION_LOST
from twisted.logger import Logger
from twisted.python import log
from twisted.python.failure import Failure

from twisted_tcpdemo.fast.descriptors import descriptorsIn
from twisted_tcpdemo.fast.poller import READ, WRITE, pollerOf
from twisted_tcpdemo.shapes import Reactor

_log = Logger(namespace="tcpdemo")

Message: TypeAlias = list[Any]
"""A word, and what belongs to it; plain values."""

MOST_MESSAGES: Final = 128
"""Messages, and so sockets, in a packet."""

FULL: Final = 65536
"""Bytes above which a packet of several messages is cut."""

PACKETS: Final = 16
"""Packets that are read in a row: connections wait meanwhile."""

LARGEST: Final = 212992
"""Bytes of the largest packet: the kernel's own limit for a message, by default."""

AGAIN: Final = 0.01
"""Seconds until a send is tried again that no event allows."""

_ROOM: Final = CMSG_SPACE(253 * 4)
_BUSY: Final = (ETOOMANYREFS, ENOBUFS, ENOMEM)


class Correspondent(Protocol):
    """
    The owner of one end.
    """

    def received(self, message: Message, descriptor: int | None) -> None:
        """
        Take a message.

        @param descriptor: the socket that came with it, which belongs to the owner from now
            on; L{None} if it carries none, or if this process has no descriptor left for it.
        """

    def wireLost(self) -> None:
        """
        The other end is gone.
        """


class Wire:
    """
    One end of a wire; the poller serves it as
    L{Polled<twisted_tcpdemo.fast.poller.Polled>}.
    """

    lastActivity = -1.0
    hasWaited = TLS = False

    def __init__(self, end: socket, owner: Correspondent, reactor: Reactor) -> None:
        """
        @param end: one of a pair of sockets.
        """
        end.setblocking(False)
        self.reading = True
        self.writing = False
        self.interest = 0
        self.descriptor = end.fileno()
        self.socket = end
        self._owner = owner
        self._queue: deque[tuple[Message, socket | None]] = deque()
        self._isDueSoon = False
        self._isEmpty = False
        self._again: IDelayedCall | None = None
        self._view = memoryview(bytearray(LARGEST))
        self._poller = pollerOf(reactor)
        self._poller.add(self)

    def __getitem__(self, key: object) -> dict[str, object]:
        """
        See L{Polled<twisted_tcpdemo.fast.poller.Polled>}.
        """
        if key is not log.ILogContext:
            raise KeyError(key)
        return {**self._poller.logContext, "system": self.logPrefix()}

    def logPrefix(self) -> str:
        """
        The prefix of its log lines.
        """
        return "Wire"

    @property
    def waiting(self) -> int:
        """
        How many messages the kernel has not taken.
        """
        return len(self._queue)

    @property
    def open(self) -> bool:
        """
        Whether it is not closed.
        """
        return self.descriptor >= 0

    def send(self, message: Message, client: socket | None = None, isFlushed: bool = False) -> None:
        """
        Send a message at the end of this turn.

        @param client: a socket that goes with it, and is closed on this side when it has
            gone.
        @param isFlushed: whether L{flush} will be called before that.
        """
        self._queue.append((message, client))
        if not (isFlushed or self._isDueSoon or self.writing or self._again) and self.open:
            self._isDueSoon = True
            self._poller.soon(self)

    def flush(self) -> None:
        """
        Send what the kernel takes now.
        """
        if self._queue and self.open and self._flush() is not None:
            self.connectionLost(Failure(CONNECTION_LOST))

    def takeUnsent(self) -> list[tuple[Message, socket]]:
        """
        Give back the sockets that have not gone, with their messages.
        """
        unsent = [(message, client) for message, client in self._queue if client is not None]
        self._queue.clear()
        return unsent

    def readRest(self) -> None:
        """
        Read all that has come: the sender is gone.
        """
        self._isEmpty = False
        while self.open and not self._isEmpty and self.doRead() is None:
            pass

    def close(self) -> None:
        """
        Close this end, and tell nobody.
        """
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self.open:
            self._poller.remove(self)
            self.socket.close()
        self.reading = self.writing = False

    # What the poller calls.

    def doRead(self) -> BaseException | None:
        """
        Take some packets.
        """
        for _ in range(PACKETS):
            try:
                size, ancillary, _, _ = self.socket.recvmsg_into(
                    [self._view], _ROOM, MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                # Also after the sender's death, if a child of its own has the other end.
                self._isEmpty = True
                return None
            except ConnectionResetError:
                continue  # what was sent before comes now
            except OSError:
                return CONNECTION_LOST
            if not size:
                return CONNECTION_LOST
            descriptors = deque(descriptorsIn(ancillary))
            try:
                for message, carries in marshal.loads(self._view[:size]):
                    descriptor = descriptors.popleft() if carries and descriptors else None
                    self._deliver(message, descriptor)
                    if not self.open:
                        return None
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
        return None

    def _deliver(self, message: Message, descriptor: int | None) -> None:
        """
        Give a message to the owner.  What that raises harms no other message.
        """
        try:
            self._owner.received(message, descriptor)
        except BaseException:
            _log.failure("a message could not be served: {word}", word=message[0])

    def doWrite(self) -> BaseException | None:
        """
        Go on sending: there is room.
        """
        return self._flush()

    def doSoon(self) -> BaseException | None:
        """
        Send the messages of this turn.
        """
        self._isDueSoon = False
        return self._flush() if self.open else None

    def _flush(self) -> BaseException | None:
        queue = self._queue
        while queue:
            packet, count = self._packet()
            clients = [client for _, client in islice(queue, count) if client is not None]
            rights = array("i", [client.fileno() for client in clients])
            try:
                if clients:
                    self.socket.sendmsg([packet], [(SOL_SOCKET, SCM_RIGHTS, rights)])
                else:
                    self.socket.send(packet)
            except BlockingIOError:
                self._expectRoom(True)
                return None
            except OSError as error:
                if error.errno in _BUSY:
                    self._tryAgain()
                    return None
                self.readRest()
                return CONNECTION_LOST
            for _ in range(count):
                queue.popleft()
            for client in clients:
                client.close()
        self._expectRoom(False)
        return None

    def _packet(self) -> tuple[bytes, int]:
        """
        The next packet, and how many messages it has.
        """
        count = min(len(self._queue), MOST_MESSAGES)
        while True:
            some = islice(self._queue, count)
            packet = marshal.dumps([(message, client is not None) for message, client in some])
            if count == 1 or len(packet) <= FULL:
                return packet, count
            count //= 2

    def _expectRoom(self, isFull: bool) -> None:
        if self.writing != isFull:
            self.writing = isFull
            self._poller.watch(self, READ | WRITE if isFull else READ)

    def _tryAgain(self) -> None:
        if self._again is None:
            self._again = self._poller.clock.callLater(AGAIN, self._sendAgain)

    def _sendAgain(self) -> None:
        self._again = None
        self.flush()

    def readConnectionLost(self, reason: Failure) -> None:
        """
        End: the other side is closed.
        """
        self.connectionLost(reason)

    def connectionLost(self, reason: Failure) -> None:
        """
        Close, and tell the owner.
        """
        if self.open:
            self.close()
            self._owner.wireLost()


def pair() -> tuple[socket, socket]:
    """
    Both ends of a new wire.
    """
    return socketpair(AF_UNIX, SOCK_SEQPACKET)
