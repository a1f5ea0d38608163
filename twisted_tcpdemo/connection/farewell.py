"""
Refusing a client.

Twisted's way is to return L{None} from C{buildProtocol}.  That breaks every
factory that wraps another (twisted #6640): TLS, PROXY, the policies.  A small
protocol that closes works under all of them.

A plain C{close(2)} is not enough.  When the client has sent anything, the kernel
answers a close over unread bytes with RST, which also destroys the message sent
before (RFC 1122, section 4.2.2.13).  So a L{Farewell} sends its FIN, discards the
bytes that arrive, and closes when the client does.  The limits are those of every
other connection that lingers: C{linger} seconds, and C{lingerBytes}.  Besides, at most
L{LINGERING} of them wait at a time, for they hold no slot; beyond that, the client may
see RST in place of FIN.  Under TLS it does, and gets no message, which would have to
wait for the handshake.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from math import inf
from typing import Any, Final

from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_tcpdemo.interfaces import ICountingTransport
from twisted_tcpdemo.shapes import Clock
from twisted_tcpdemo.transports.deadlines import deadlinesOf
from twisted_tcpdemo.transports.halfclose import relayHalfClose
from twisted_tcpdemo.transports.layers import bottomOf, clockOf, isEncrypted
from twisted_tcpdemo.transports.patches import Patches
from twisted_tcpdemo.values.budgets import DEFAULT_BUDGETS, Budgets

LINGERING: Final = 256
"""Refused clients that may linger at a time."""

FLUSH: Final = 2.0
"""Seconds for the message of a client that may not linger."""

_HOOKS: Final = (
    "dataReceived",
    "fileDescriptorReceived",
    "handshakeCompleted",
    "readConnectionLost",
    "writeConnectionLost",
)
"""What a transport may call on a protocol between its beginning and its end."""


@implementer(IHalfCloseableProtocol)
class Farewell(Protocol):
    """
    The protocol of a refused client.

    @ivar tick: see L{Watched<twisted_tcpdemo.transports.deadlines.Watched>}.
    """

    transport: Any

    def __init__(
        self,
        told: Callable[[IAddress, IAddress], None],
        lingering: set[Farewell],
        *,
        gone: Callable[[], object] = lambda: None,
        message: bytes = b"",
        reset: bool = False,
        linger: bool = True,
        budgets: Budgets = DEFAULT_BUDGETS,
        clock: Clock | None = None,
    ) -> None:
        """
        @param told: is called with the addresses of both sides.
        @param lingering: the farewells that wait; this one adds itself while it
            does.
        @param gone: is called when it waits no more.
        @param message: bytes sent to the client before the FIN.
        @param reset: send RST instead, and no message.
        @param linger: whether it may wait at all.
        @param budgets: how long it may, and for how many bytes.
        """
        self.tick = 0
        self._told = told
        self._lingering = lingering
        self._gone = gone
        self._message = message
        self._reset = reset
        self._linger = linger and budgets.linger is not None
        self._budgets = budgets
        self._clock = clock
        self._discarded = 0
        self._relays: Patches | None = None

    def standInFor(self, protocol: Any, transport: ITransport) -> None:
        """
        Take the place of a protocol that was built before its client was
        refused.  The protocol hears nothing of the connection, and may be
        connected again.
        """
        patches = Patches()

        def lost(reason: Failure = connectionDone) -> None:
            patches.remove()
            self.connectionLost(reason)

        def connectAgain(transport: ITransport) -> None:
            patches.remove()
            protocol.makeConnection(transport)

        for hook in _HOOKS:
            patches.place(protocol, hook, getattr(self, hook))
        patches.place(protocol, "connectionLost", lost)
        patches.place(protocol, "makeConnection", connectAgain)
        self.makeConnection(transport)

    def connectionMade(self) -> None:
        """
        Send the message, and end our side.
        """
        self._told(self.transport.getHost(), self.transport.getPeer())
        self._relays = relayHalfClose(self.transport, self.end)
        bottom = bottomOf(self.transport)
        mayLinger = self._mayLinger(bottom)
        encrypted = isEncrypted(self.transport)
        if self._reset or (encrypted and not mayLinger):
            self.end()
            return
        if self._message:
            self.transport.write(self._message)
        if mayLinger:
            self._lingering.add(self)
        if _canWait(bottom):
            # A farewell that may not linger may still have a message to flush.
            clock = self._clock or clockOf(bottom)
            seconds = (mayLinger and self._budgets.linger) or FLUSH
            deadlinesOf(clock).watch(self, clock.seconds() + seconds)
        if mayLinger and not (self._message and encrypted):
            bottom.loseWriteConnection()
        else:
            # TLS sends a message after its handshake, and then ends the stream; on the
            # fast lane it lingers by itself.
            if ICountingTransport.providedBy(bottom):
                bottom.budgets = self._budgets
            self.transport.loseConnection()

    def _mayLinger(self, bottom: object) -> bool:
        return self._linger and len(self._lingering) < LINGERING and _canWait(bottom)

    def visit(self, now: float) -> None:
        """
        End it: the client has not closed in time.
        """
        self.end()

    def end(self) -> None:
        """
        Wait no longer: send RST.
        """
        bottom = bottomOf(self.transport)
        getattr(bottom, "abortConnection", bottom.loseConnection)()

    def dataReceived(self, data: bytes) -> None:
        """
        Discard the bytes, up to their limit.
        """
        self._discarded += len(data)
        if self._discarded > (self._budgets.lingerBytes or inf):
            self.end()

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """
        Close a descriptor: it came for the protocol whose place this is.
        """
        os.close(descriptor)

    def handshakeCompleted(self) -> None:
        """
        Say nothing: the message goes by itself.
        """

    def readConnectionLost(self) -> None:
        """
        Close, as the client has.
        """
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """
        Wait for the client: our FIN is on its way.
        """

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Give up the place among those that wait.
        """
        if self._relays is not None:
            self._relays.remove()
        if self.tick:
            deadlinesOf(self._clock or clockOf(bottomOf(self.transport))).forget(self)
        if self in self._lingering:
            self._lingering.discard(self)
            self._gone()


def _canWait(bottom: object) -> bool:
    """
    Whether a transport can end its own side alone, and be aborted after that.
    The transport of C{stdio:} can do only one of the two.
    """
    return hasattr(bottom, "loseWriteConnection") and hasattr(bottom, "abortConnection")
