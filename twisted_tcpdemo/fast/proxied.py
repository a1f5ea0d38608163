"""
Behind a proxy: the stage that reads the PROXY header of each client.

An accepted socket stays here until its header is whole.  Then the port connects it,
with the addresses of the header, and everything above sees the client alone.

  - All clients have the same time, so only the oldest has a deadline.
  - A header that is not whole holds a descriptor and no slot.  Its descriptor counts
    in the factory's account (L{IHeldClients}), and the port accepts nobody
    while it has L{MOST_UNFINISHED} of them.
  - Where clients wait for a slot, one with a whole header waits here, as others do in
    the kernel's queue.

A wrong header closes the socket (HAProxy and nginx do the same).  The kernel sends
RST if there are unread bytes, else FIN.
"""

from __future__ import annotations

from socket import AF_INET, AF_INET6, IPPROTO_TCP, socket
from typing import Any, Final, Protocol

from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort
from twisted.logger import Logger
from twisted.python import log

from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.errors import ProxyHeaderError
from twisted_tcpdemo.fast.accepting import AcceptingPort
from twisted_tcpdemo.fast.offered import accountOf
from twisted_tcpdemo.fast.poller import Poller
from twisted_tcpdemo.fast.proxy import Proxy
from twisted_tcpdemo.fast.proxyheader import FIRST_LOOK, ProxyHeader, headerIn
from twisted_tcpdemo.fast.unserved import LOOK, STOPPED, TAKE, Unserved
from twisted_tcpdemo.shapes import Reactor
from twisted_tcpdemo.values.addresses import endpointOf
from twisted_tcpdemo.values.descriptors import NO_DESCRIPTOR

_log = Logger(namespace="tcpdemo")

TCP_DEFER_ACCEPT: Final = 9
"""An option of Linux, by its number: other systems have no such name."""

UNTRUSTED: Final = "proxyUntrusted"
"""The rule that refuses a peer that may send no header."""

LATE: Final = "proxyTimeout"
"""The rule that refuses a client whose header takes too long."""

MOST_UNFINISHED: Final = 256
"""Clients of one port whose headers may be unfinished at a time."""

KNOWN: Final = 256
"""Addresses of trusted proxies that need no search among the networks."""

LOG_INTERVAL: Final = 1.0
"""Seconds between two lines about refusals of a factory that has no account."""


class Door(Protocol):
    """
    A port, as its stage sees it: L{AcceptingPort
    <twisted_tcpdemo.fast.accepting.AcceptingPort>}.
    """

    reactor: Reactor
    poller: Poller | None
    factory: Any

    def connect(self, client: socket, name: Any, peer: IAddress, header: ProxyHeader) -> None:
        """
        Give a client its protocol and its transport, and connect them.
        """

    def setFull(self, isFull: bool) -> None:
        """
        Accept nobody as long as it is full.
        """

    def hostOf(self, client: socket) -> IAddress:
        """
        This side's address of a client that has no transport.
        """

    def logPrefix(self) -> str:
        """
        The prefix of its log lines.
        """


class HeaderStage:
    """
    The stage of one port.
    """

    def __init__(self, door: Door, proxy: Proxy) -> None:
        """
        @param door: the port.
        """
        self.door = door
        self._proxy = proxy
        self._clock = steady(door.reactor)
        self._call: IDelayedCall | None = None
        self._trusted: set[str] = set()
        self._unfinished: dict[Unserved, float] = {}
        self._waiting: dict[Unserved, None] = {}
        self._stopping = False
        self._account = accountOf(door.factory)
        self._told = -LOG_INTERVAL
        self._untold = 0

    @property
    def poller(self) -> Poller | None:
        """
        The poller of the port.
        """
        return self.door.poller

    def logPrefix(self) -> str:
        """
        The prefix of the port's log lines.
        """
        return self.door.logPrefix()

    @property
    def heldCount(self) -> int:
        """
        How many clients it holds.
        """
        return len(self._unfinished) + len(self._waiting)

    def receive(self, client: socket, name: Any, peer: IAddress) -> None:
        """
        Take an accepted client.  Most have sent their header, and come in at once.

        @param name: its address, as C{accept} returns it.
        """
        host = getattr(peer, "host", None)
        if host not in self._trusted and not self._trusts(peer, host):
            self.refuse(Unserved(self, client, name, peer), UNTRUSTED)
            return
        header = self._headerOf(client)
        if header is None:
            Unserved(self, client, name, peer).doRead()
        else:
            self.door.connect(client, name, peer, header)

    def _headerOf(self, client: socket) -> ProxyHeader | None:
        """
        The header of a client that can come in, if it has come and is right.
        """
        if self._account is not None and not self._account.mayEnter(None):
            return None
        try:
            header, size = headerIn(client.recv(FIRST_LOOK, LOOK))
        except (OSError, ProxyHeaderError):
            return None  # which is met again, and told
        if header is not None:
            client.recv(size, TAKE)
        return header

    def _trusts(self, peer: IAddress, host: str | None) -> bool:
        """
        Whether a peer is trusted.  A few addresses are kept: proxies are few.
        """
        if not self._proxy.trusts(peer):
            return False
        if host is not None and len(self._trusted) < KNOWN:
            self._trusted.add(host)
        return True

    def wait(self, client: Unserved) -> None:
        """
        Hold a client whose header is not whole.
        """
        if client in self._unfinished:
            return
        if self._stopping:
            self.refuse(client, STOPPED)
        elif self._account is not None and not self._account.hold(client):
            self.refuse(client, NO_DESCRIPTOR)
        elif not client.poll():
            self.refuse(client, NO_DESCRIPTOR, "the kernel watches no more descriptors")
        else:
            timeout = self._proxy.timeout
            self._unfinished[client] = self._clock.seconds() + timeout
            if self._call is None:
                self._call = self._clock.callLater(timeout, self._expire)
            if len(self._unfinished) == MOST_UNFINISHED:
                self.door.setFull(True)

    def enter(self, client: Unserved) -> None:
        """
        Let a client with a whole header in, or hold it until there is room.
        """
        account = self._account
        wasHeld = self._finished(client) or client in self._waiting
        if account is not None and not self._stopping and not account.mayEnter(client):
            if client not in self._waiting:
                self._waiting[client] = None
                account.wait(client)
                if not client.poll():
                    self.refuse(client, NO_DESCRIPTOR, "the kernel watches no more descriptors")
                else:
                    client.pause()
            return
        if wasHeld:
            self._waiting.pop(client, None)
            if account is not None:
                account.letGo(client)
        assert client.parser.header is not None
        self.door.connect(client.take(), client.name, client.peer, client.parser.header)
        if wasHeld and account is not None:
            account.retry()

    def refuse(self, client: Unserved, rule: str, detail: str = "") -> None:
        """
        Refuse a client, and close its socket.
        """
        host = self.door.hostOf(client.socket)
        self.drop(client)
        if self._account is not None:
            self._account.refuse(host, client.peer, rule, detail)
        else:
            self._log(client.peer, rule, detail)

    def drop(self, client: Unserved) -> None:
        """
        Close the socket of a client, and say nothing.
        """
        self._finished(client)
        self._waiting.pop(client, None)
        client.take().close()
        if self._account is not None:
            self._account.letGo(client)

    def _finished(self, client: Unserved) -> bool:
        """
        Expect no more of a client's header.

        @return: whether more was expected.
        """
        if self._unfinished.pop(client, None) is None:
            return False
        if len(self._unfinished) == MOST_UNFINISHED - 1 and not self._stopping:
            self.door.setFull(False)
        return True

    def _expire(self) -> None:
        """
        Refuse the clients whose time is over, and look again when the next one's is.
        """
        self._call = None
        now = self._clock.seconds()
        for client, deadline in list(self._unfinished.items()):
            if client not in self._unfinished:
                continue  # an observer has stopped the port meanwhile
            if deadline > now:
                self._call = self._clock.callLater(deadline - now, self._expire)
                break
            # Something may have held the reactor up, and the header has come.
            self._tried(client, Unserved.doRead)
            if client in self._unfinished:
                self.refuse(client, LATE, f"no whole header in {self._proxy.timeout:g} s")

    def stop(self, isOrderly: bool) -> None:
        """
        Hold nobody: the port closes.

        @param isOrderly: whether clients whose headers have come meanwhile are let
            in; not when the reactor stops.
        """
        self._stopping = True
        for client in [*self._waiting, *self._unfinished]:
            if not client.isHeld:
                continue
            if not isOrderly:
                self.drop(client)
            elif client in self._waiting:
                self._tried(client, self.enter)
            else:
                self._tried(client, Unserved.lookLast)
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _tried(self, client: Unserved, act: Any) -> None:
        """
        Act on one client; what its factory raises harms no other.
        """
        try:
            act(client)
        except BaseException:
            log.err()

    def _log(self, peer: IAddress, rule: str, detail: str) -> None:
        """
        Log a refusal, unless another was logged a moment ago.
        """
        now = self._clock.seconds()
        if now - self._told < LOG_INTERVAL:
            self._untold += 1
            return
        because = " ({detail})" if detail else ""
        more = "; {untold} more before" if self._untold else ""
        _log.info(
            "refused: {remote} by {rule}" + because + more,
            event="refused",
            remote=str(endpointOf(peer)),
            rule=rule,
            detail=detail,
            untold=self._untold,
        )
        self._told, self._untold = now, 0


def putBehind(port: Any, proxy: Proxy, isOwn: bool = False) -> IListeningPort:
    """
    Put a port that has just begun to listen behind proxies.

    @param isOwn: whether this process has made the socket.  The kernel then tells of a
        client when its first bytes have come, or after a second (tcp(7),
        TCP_DEFER_ACCEPT).  That saves the wait for each header, a sixth of the cost of a
        connection.  Another process may have the socket after this one, and clients
        that do not speak first.
    @raise ValueError: if it is none of ours, or has accepted a client already.  It is
        closed then.
    """
    if not isinstance(port, AcceptingPort) or port.sessionno:
        port.stopListening()
        raise ValueError("a proxy needs a POSIX reactor of Twisted's, and epoll (Linux)")
    port.stage = HeaderStage(port, proxy)
    if isOwn and port.addressFamily in {AF_INET, AF_INET6}:
        port.socket.setsockopt(IPPROTO_TCP, TCP_DEFER_ACCEPT, 1)
    listening: IListeningPort = port
    return listening
