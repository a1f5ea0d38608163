"""
Behind a proxy: the stage that reads the PROXY header of each client.

An accepted socket stays here until its header is whole.  Then the port connects it,
with the addresses of the header, and everything above sees the client alone.

  - The header is looked at (MSG_PEEK) before it is read, and exactly its bytes are
    read.  What follows it stays in the kernel, in order, for the transport: data,
    the client's FIN, or the beginning of TLS.
  - Most headers have come when the client is accepted, and cost two system calls.
    Only the others are given to the poller.
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

from collections.abc import Iterable
from dataclasses import dataclass, field
from socket import MSG_DONTWAIT, MSG_PEEK, socket
from typing import Any, Final, Protocol

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_tcpdemo.errors import ProxyHeaderError
from twisted_tcpdemo.fast.poller import Poller
from twisted_tcpdemo.fast.proxyheader import HeaderParser, ProxyHeader
from twisted_tcpdemo.fast.transport import scoped
from twisted_tcpdemo.interfaces import IHeldClient, IHeldClients
from twisted_tcpdemo.shapes import Reactor
from twisted_tcpdemo.transports.deadlines import deadlinesOf
from twisted_tcpdemo.values.addresses import endpointOf
from twisted_tcpdemo.values.checks import positive
from twisted_tcpdemo.values.networks import Network, Networks

_log = Logger(namespace="tcpdemo")

UNTRUSTED: Final = "proxyUntrusted"
"""The rule that refuses a peer that may send no header."""

WRONG: Final = "proxyHeader"
"""The rule that refuses a client whose header is wrong or breaks off."""

LATE: Final = "proxyTimeout"
"""The rule that refuses a client whose header takes too long."""

STOPPED: Final = "proxyStopped"
"""The rule that refuses a client whose header is not whole when its port closes."""

NO_DESCRIPTOR: Final = "descriptorLimit"
"""The factory's own rule, for a client that cannot be held."""

MOST_UNFINISHED: Final = 256
"""Clients of one port whose headers may be unfinished at a time."""

KNOWN: Final = 256
"""Addresses of trusted proxies that need no search among the networks."""

LOG_INTERVAL: Final = 1.0
"""Seconds between two lines about refusals of a factory that has no account."""

_UNIX: Final = "unix"


@dataclass(frozen=True, slots=True)
class Proxy:
    """
    Proxies before a server: who may send a PROXY header, and how long it may take.

    Behind them every connection begins with a header, of version 1 or 2.

    @ivar trusted: the networks and addresses of the proxies; C{"unix"} stands for
        every peer on a UNIX socket.
    @ivar timeout: seconds until the header has to be whole.
    """

    trusted: Iterable[str | Network]
    timeout: float = 5.0
    networks: Networks = field(init=False, repr=False, compare=False)
    trustsUNIX: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """
        @raise TypeError: for a value of the wrong type.
        @raise ValueError: for text that is no network, if nobody is trusted, and
            for a time that is not positive.
        """
        given = (self.trusted,) if isinstance(self.trusted, str) else self.trusted
        if not isinstance(given, Iterable):
            raise TypeError(f"trusted must be a list of networks, not {given!r}")
        trusted = tuple(given)
        for network in trusted:
            if not isinstance(network, str | Network):
                raise TypeError(f"trusted must hold networks such as '10.0.0.0/8', not {network!r}")
        if not trusted:
            raise ValueError("trusted must name the proxies; nobody could connect")
        positive("timeout", self.timeout)
        object.__setattr__(self, "trusted", trusted)
        networks = Networks(network for network in trusted if network != _UNIX)
        object.__setattr__(self, "networks", networks)
        object.__setattr__(self, "trustsUNIX", _UNIX in trusted)

    def trusts(self, peer: IAddress) -> bool:
        """
        Whether a peer may send a header.
        """
        return self.trustsUNIX if isinstance(peer, UNIXAddress) else peer in self.networks


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

    def getHost(self) -> IAddress:
        """
        The address on which it listens.
        """

    def logPrefix(self) -> str:
        """
        The prefix of its log lines.
        """


class HeaderStage:
    """
    The stage of one port.

    @ivar tick: see L{Watched<twisted_tcpdemo.transports.deadlines.Watched>}.
    """

    def __init__(self, door: Door, proxy: Proxy) -> None:
        """
        @param door: the port.
        """
        self.tick = 0
        self.door = door
        self._proxy = proxy
        self._deadlines = deadlinesOf(door.reactor)
        self._trusted: set[str] = set()
        self._unfinished: dict[Unserved, float] = {}
        self._waiting: dict[Unserved, None] = {}
        self._stopping = False
        self._account = _accountOf(door.factory)
        self._told = -LOG_INTERVAL
        self._untold = 0

    @property
    def heldCount(self) -> int:
        """
        How many clients it holds.
        """
        return len(self._unfinished) + len(self._waiting)

    def receive(self, client: socket, name: Any, peer: IAddress) -> None:
        """
        Take an accepted client.

        @param name: its address, as C{accept} returns it.
        """
        unserved = Unserved(self, client, name, peer)
        host = getattr(peer, "host", None)
        if host in self._trusted or self._trusts(peer, host):
            unserved.doRead()
        else:
            self.refuse(unserved, UNTRUSTED)

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
            deadline = self.door.reactor.seconds() + self._proxy.timeout
            self._unfinished[client] = deadline
            if not self.tick:
                self._deadlines.watch(self, deadline)
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
        host = self._hostOf(client)
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

    def visit(self, now: float) -> None:
        """
        Refuse the clients whose time is over, and look again when the next one's is.
        """
        for client, deadline in list(self._unfinished.items()):
            if deadline > now:
                self._deadlines.watch(self, deadline)
                break
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
        self._deadlines.forget(self)

    def _tried(self, client: Unserved, act: Any) -> None:
        """
        Act on one client; what its factory raises harms no other.
        """
        try:
            act(client)
        except Exception:
            log.err()

    def _hostOf(self, client: Unserved) -> IAddress:
        kind = client.peer.__class__
        if kind not in {IPv4Address, IPv6Address}:
            return self.door.getHost()
        try:
            return kind("TCP", *scoped(client.socket.getsockname()))
        except OSError:
            return self.door.getHost()

    def _log(self, peer: IAddress, rule: str, detail: str) -> None:
        """
        Log a refusal, unless another was logged a moment ago.
        """
        now = self.door.reactor.seconds()
        if now - self._told < LOG_INTERVAL:
            self._untold += 1
            return
        _log.info(
            "refused: {remote} by {rule}{detail}{more}",
            remote=str(endpointOf(peer)),
            rule=rule,
            detail=f" ({detail})" if detail else "",
            more=f"; {self._untold} more before" if self._untold else "",
        )
        self._told, self._untold = now, 0


@implementer(IHeldClient)
class Unserved:
    """
    An accepted client that has no protocol yet; the poller serves it as
    L{Polled<twisted_tcpdemo.fast.poller.Polled>}.

    @ivar socket: its socket, as long as the stage has it.
    """

    __slots__ = (
        "_isDueSoon",
        "_poller",
        "_stage",
        "descriptor",
        "interest",
        "name",
        "parser",
        "peer",
        "reading",
        "socket",
    )

    writing = False
    lastActivity = -1.0

    def __init__(self, stage: HeaderStage, client: socket, name: Any, peer: IAddress) -> None:
        self.reading = True
        self.descriptor = -1
        self.interest = 0
        self.socket = client
        self.name = name
        self.peer = peer
        self.parser = HeaderParser()
        self._stage = stage
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
        return self._stage.door.logPrefix()

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
        poller = self._stage.door.poller
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
            self._stage.refuse(self, STOPPED)

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
        stage = self._stage
        try:
            isWhole = self._read()
        except ProxyHeaderError as error:
            stage.refuse(self, WRONG, str(error))
        except (OSError, EOFError):
            if self.parser.started:
                stage.refuse(self, WRONG, "the header breaks off")
            else:
                stage.drop(self)  # the proxy has only looked whether somebody listens
        else:
            if isWhole:
                stage.enter(self)
            else:
                stage.wait(self)

    def _read(self) -> bool:
        parser, recv = self.parser, self.socket.recv
        while True:
            wanted = parser.wanted
            try:
                seen = recv(wanted, MSG_PEEK | MSG_DONTWAIT)
            except BlockingIOError:
                return False
            if not seen:
                raise EOFError
            isWhole = parser.feed(seen)
            recv(len(seen) - len(parser.rest), MSG_DONTWAIT)
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
            self._stage.enter(self)

    def readConnectionLost(self, reason: Failure) -> None:
        """
        Do nothing: L{doRead} has seen the end.
        """

    def connectionLost(self, reason: Failure) -> None:
        """
        Close the socket: the reactor has stopped.
        """
        if self.isHeld:
            self._stage.drop(self)


def _accountOf(factory: Any) -> IHeldClients | None:
    """
    The account of a factory, or of the one that it wraps; L{None} if it has none.
    """
    while factory is not None:
        account = getattr(factory, "heldClients", None)
        if IHeldClients.providedBy(account):
            return account
        factory = getattr(factory, "wrappedFactory", None)
    return None
