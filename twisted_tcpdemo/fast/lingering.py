"""
Lingering: from our FIN to the peer's.

A plain C{close(2)} over bytes that have not been read makes the kernel send RST, and so
do bytes that come after it.  A RST destroys what the peer has not read yet (RFC 1122,
section 4.2.2.13): the end of an answer, or all of it.  So this side ends with a FIN, and
a L{Linger} reads and forgets what still comes until the peer ends its side too.

Written bytes that wait for the peer are sent before the FIN.  What comes is forgotten
then already: a peer that sends all of its own before it reads would wait for us, as we
for it.

The waiting ends.  A peer that has taken all and sends nothing loses nothing by a close, and
is not waited for.  One that sends has a period of time, and a number of bytes.  While a
peer has not taken all, the close budget of the connection holds, as far as it has one.  A
connection that nobody counts has none: a period without progress is its end.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, Final, Protocol

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.main import CONNECTION_DONE

from twisted_tcpdemo.interfaces import ITransportWatcher
from twisted_tcpdemo.shapes import Clock
from twisted_tcpdemo.values.budgets import CLOSE_RATE, Budgets

ENDED: Final = ConnectionDone("the peer has not ended its side in time")
"""The reason of a connection whose peer has been waited for in vain."""

READS: Final = 4
"""Reads in a row, as many as of bytes that are delivered."""

LOOK: Final = 0.5
"""Seconds from one look at the kernel's queue to the next: no event tells that it is
empty."""

_BIN: Final = bytearray(262144)
"""Where all that comes is thrown."""


class Lingering(Protocol):
    """
    A transport, as its L{Linger} sees it.

    @ivar socket: the socket, or what stands in its place.
    @ivar reading: whether C{doRead} is called when bytes have come.
    @ivar watcher: see L{ICountingTransport
        <twisted_tcpdemo.interfaces.ICountingTransport>}; so for C{budgets}.
    """

    socket: Any
    reading: bool
    watcher: ITransportWatcher | None
    budgets: Budgets

    @property
    def untaken(self) -> int:
        """
        Bytes that have been written and the peer has not taken.
        """

    def _peerLeft(self) -> BaseException:
        """
        The reason of the loss when the peer breaks off.
        """

    def _dueSoon(self) -> None:
        """
        Have the connection looked at soon: its waiting may be over.
        """


class Linger:
    """
    The end of one connection: what comes is forgotten, and from L{begin} on its peer is
    waited for.

    @ivar hasBegun: whether this side has sent its FIN.
    @ivar isSilent: whether nothing has come.
    @ivar isOver: whether it has waited long enough.
    """

    __slots__ = (
        "_call",
        "_callLater",
        "_left",
        "_period",
        "_room",
        "_transport",
        "_untaken",
        "hasBegun",
        "isOver",
        "isSilent",
    )

    def __init__(self, transport: Lingering, clock: Clock) -> None:
        self.hasBegun = self.isOver = False
        self.isSilent = True
        self._transport = transport
        self._room: float = transport.budgets.lingerBytes or inf
        self._callLater: Callable[..., IDelayedCall] = clock.callLater
        self._call: IDelayedCall | None = None

    def begin(self, period: float, untaken: int) -> None:
        """
        Wait for the peer: the FIN is on its way.

        @param period: seconds, C{budgets.linger}.
        @param untaken: C{transport.untaken}, which costs a system call.
        """
        self.hasBegun = True
        self._period = self._left = period
        self._untaken = untaken
        self._lookAgain()
        soonest = self._transport.budgets.closeFlush
        if untaken and soonest is not None and soonest < period:
            self._tell()

    def stop(self) -> None:
        """
        Wait no more: the connection is over.
        """
        if self._call is not None and self._call.active():
            self._call.cancel()

    def discard(self) -> BaseException | None:
        """
        Read and forget; this takes the place of the transport's C{doRead}.

        @return: the reason of the end, if it has come.
        """
        # Under TLS the plain socket receives: nothing is decrypted any more.
        receive = self._transport.socket.recv_into
        for _ in range(READS):
            try:
                size = receive(_BIN)
            except BlockingIOError:
                return None
            except OSError:
                return self._transport._peerLeft()
            if not size:
                return CONNECTION_DONE
            self.isSilent = False
            self._room -= size
            if self._room < 0:
                if self.hasBegun:
                    return ENDED
                self._transport.reading = False  # the peer has to wait for itself
                return None
        return None

    def _look(self) -> None:
        """
        End the waiting, unless the peer is still taking what was written.
        """
        untaken = self._transport.untaken
        if self._left <= 0 and untaken:
            isBudgeted = self._transport.watcher is not None
            if isBudgeted or self._untaken - untaken >= CLOSE_RATE:
                self._left, self._untaken = self._period, untaken
                self._tell()
        if self._left > 0 and (untaken or not self.isSilent):
            self._lookAgain()
        else:
            self.isOver = True
            self._transport._dueSoon()

    def _lookAgain(self) -> None:
        step = min(LOOK, self._left)
        self._left -= step
        self._call = self._callLater(step, self._look)

    def _tell(self) -> None:
        """
        Begin the close budget, if there is one: bytes wait in the kernel.
        """
        if self._transport.watcher is not None:
            self._transport.watcher.transportWaiting()
