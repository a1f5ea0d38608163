"""
An accepted client that has no protocol yet, and the reading of its PROXY header.

The header is looked at (MSG_PEEK) before it is read, and exactly its bytes are read.
What follows it stays in the kernel, in order, for the transport: data, the client's
FIN, or the beginning of TLS.  Most headers have come when the client is accepted, and
cost two system calls: the stage takes them itself.  Only the others come here.
"""

from __future__ import annotations

from socket import MSG_DONTWAIT, MSG_PEEK, socket
from typing import Any, Final, Protocol

from twisted.internet.interfaces import IAddress
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_tcpdemo.errors import ProxyHeaderError
from twisted_tcpdemo.fast.poller import Poller
from twisted_tcpdemo.fast.proxyheader import HeaderParser
from twisted_tcpdemo.interfaces import IHeldClient

WRONG: Final = "proxyHeader"
"""The rule that refuses a client whose header is wrong or breaks off."""

STOPPED: Final = "proxyStopped"
"""The rule that refuses a client whose header is not whole when its port closes."""

# Plain numbers: to add and to convert the enumeration's takes a microsecond each time.
LOOK: Final = int(MSG_PEEK) | int(MSG_DONTWAIT)
TAKE: Final = int(MSG_DONTWAIT)
"""Flags of C{recv} for a header."""


class Holder(Protocol):
    """
    What holds a client: L{HeaderStage<twisted_tcpdemo.fast.proxied.HeaderStage>}.
    """

    @property
    def poller(self) -> Poller | None:
        """
        The poller of its port.
        """

    def logPrefix(self) -> str:
        """
        The prefix of its port's log lines.
        """

    def wait(self, client: Unserved) -> None:
        """
        Hold a client whose header is not whole.
        """

    def enter(self, client: Unserved) -> None:
        """
        Let a client with a whole header in, or hold it until there is room.
        """

    def refuse(self, client: Unserved, rule: str, detail: str = "") -> None:
        """
        Refuse a client, and close its socket.
        """

    def drop(self, client: Unserved) -> None:
        """
        Close the socket of a client, and say nothing.
        """


@implementer(IHeldClient)
class Unserved:
    """
    An accepted client that has no protocol yet; the poller serves it as
    L{Polled<twisted_tcpdemo.fast.poller.Polled>}.

    @ivar socket: its socket, as long as the stage has it.
    """

    __slots__ = (
        "_holder",
        "_isDueSoon",
        "_poller",
        "descriptor",
        "interest",
        "name",
        "parser",
        "peer",
        "reading",
        "socket",
    )

    writing = hasWaited = TLS = False
    lastActivity = -1.0

    def __init__(self, holder: Holder, client: socket, name: Any, peer: IAddress) -> None:
        self.reading = True
        self.descriptor = -1
        self.interest = 0
        self.socket = client
        self.name = name
        self.peer = peer
        self.parser = HeaderParser()
        self._holder = holder
        self._poller: Poller | None = None
        self._isDueSoon = False

    def __getitem__(self, key: object) -> dict[str, object]:
        """
        See L{Polled<twisted_tcpdemo.fast.poller.Polled>}.
        """
        if key is not log.ILogContext or self._poller is None:
            raise KeyError(key)
        return {**self._poller.logContext, "system": self.logPrefix()}

    def logPrefix(self) -> str:
        """
        The prefix of the port: the client has no protocol yet.
        """
        return self._holder.logPrefix()

    @property
    def isHeld(self) -> bool:
        """
        Whether the stage still has it.
        """
        return hasattr(self, "socket")

    # What the stage asks.

    def poll(self) -> bool:
        """
        Wait for bytes.

        @return: whether the kernel watches the socket.
        """
        poller = self._holder.poller
        if self._poller is not None or poller is None:
            return poller is not None
        self.descriptor = self.socket.fileno()
        try:
            poller.add(self)
        except OSError:
            self.descriptor = -1
            return False
        self._poller = poller
        return True

    def pause(self) -> None:
        """
        Wait for no bytes: they are the protocol's, which has to wait for a slot.
        """
        self.reading = False
        if self._poller is not None:
            self._poller.watch(self, 0)

    def take(self) -> socket:
        """
        Give the socket away.
        """
        if self._poller is not None:
            self._poller.remove(self)
        client = self.socket
        del self.socket
        return client

    def lookLast(self) -> None:
        """
        Look once more: the port closes.
        """
        self.doRead()
        if self.isHeld:
            self._holder.refuse(self, STOPPED)

    def enterSoon(self) -> None:
        """
        See L{IHeldClient}.
        """
        if not self._isDueSoon and self._poller is not None:
            self._isDueSoon = True
            self._poller.soon(self)

    # What the poller calls.

    def doRead(self) -> None:
        """
        Read the header, and not a byte more.
        """
        holder = self._holder
        try:
            isWhole = self._read()
        except ProxyHeaderError as error:
            holder.refuse(self, WRONG, str(error))
        except (OSError, EOFError):
            if self.parser.started:
                holder.refuse(self, WRONG, "the header breaks off")
            else:
                holder.drop(self)  # the proxy has only looked whether somebody listens
        else:
            if isWhole:
                holder.enter(self)
            else:
                holder.wait(self)

    def _read(self) -> bool:
        parser, recv = self.parser, self.socket.recv
        while True:
            wanted = parser.wanted
            try:
                seen = recv(wanted, LOOK)
            except BlockingIOError:
                return False
            if not seen:
                raise EOFError
            isWhole = parser.feed(seen)
            recv(len(seen) - len(parser.rest), TAKE)
            if isWhole:
                return True
            if len(seen) < wanted:
                return False

    def doWrite(self) -> None:
        """
        Do nothing: it never writes.
        """

    def doSoon(self) -> None:
        """
        Come in: there may be room.
        """
        self._isDueSoon = False
        if self.isHeld:
            self._holder.enter(self)

    def readConnectionLost(self, reason: Failure) -> None:
        """
        Do nothing: L{doRead} has seen the end.
        """

    def connectionLost(self, reason: Failure) -> None:
        """
        Close the socket: the reactor has stopped.
        """
        if self.isHeld:
            self._holder.drop(self)
