"""
A server in a world of its own: a reactor that only turns when it is told to, a clock that
only moves when it is told to, and programs that do the worst at the worst moment.

The sockets are real, in memory only for the kind C{"memory"}.  Time is a fake clock: a
budget of an hour is over at once.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import TCP4ServerEndpoint, UNIXServerEndpoint
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.support.peers import reset
from twisted_tcpdemo import Budgets, Proxy, ServerEndpoint, TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.errors import NotConnectedError
from twisted_tcpdemo.interfaces import IAdmissionPolicy
from twisted_tcpdemo.server.observers import ConnectionObserver

KINDS: Final = ("memory", "twisted", "fast", "unix", "twistedUnix", "proxy")
HOOKS: Final = (
    "connectionMade",
    "dataReceived",
    "readConnectionLost",
    "timeoutConnection",
    "drainStarted",
    "connectionLost",
    "logPrefix",
)
OBSERVED: Final = ("connectionOpened", "connectionRefused", "connectionClosed")
ASKED: Final = ("decide", "opened", "closed")

HEADER: Final = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n"
IDLE: Final = 30.0
LONG: Final = 1000.0
"""Seconds after which every budget is used up."""

_ADDRESS: Final = IPv4Address("TCP", "192.0.2.1", 1)


class ScriptedError(Exception):
    """
    What a script raises.
    """


class ScriptedExit(SystemExit):
    """
    What a script raises that is no C{Exception}.
    """


EXPECTED: Final = (
    *(ScriptedError, ScriptedExit),
    *(KeyboardInterrupt, GeneratorExit, asyncio.CancelledError),
)


class Successor(Protocol):
    """
    What a connection is upgraded to.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Echo.
        """
        assert self.transport is not None
        self.transport.write(data)


def _raise(error: type[BaseException]) -> Callable[..., None]:
    def do(world: World, protocol: Any) -> None:
        raise error("on purpose")

    return do


def _switch(world: World, protocol: Any) -> None:
    """
    The usual way of an upgrade.
    """
    transport, successor = protocol.transport, Successor()
    transport.protocol = successor
    successor.makeConnection(transport)


def _upgrade(world: World, protocol: Any) -> None:
    """
    The same, to another protocol of the factory: one client, and one slot.
    """
    transport, successor = protocol.transport, Scripted(world, {})
    successor.factory = protocol.factory
    transport.protocol = successor
    with suppress(AttributeError):  # Twisted's transport, when its socket is closed
        successor.makeConnection(transport)


def _lose(world: World, protocol: Any) -> None:
    protocol.connectionLost(Failure(ConnectionDone()))


def _everybody(world: World, protocol: Any) -> None:
    for other in world.factory.connections:
        if other.transport is not None:  # an observer of arrivals comes before that
            other.transport.abortConnection()


ACTIONS: Final[Mapping[str, Callable[[Any, Any], object]]] = {
    "raise": _raise(ScriptedError),
    "exit": _raise(ScriptedExit),
    "interrupt": _raise(KeyboardInterrupt),
    "end a generator": _raise(GeneratorExit),
    "be cancelled": _raise(asyncio.CancelledError),
    "close": lambda world, protocol: protocol.transport.loseConnection(),
    "abort": lambda world, protocol: protocol.transport.abortConnection(),
    "write": lambda world, protocol: protocol.transport.write(b"hello"),
    "write much": lambda world, protocol: protocol.transport.write(bytes(3_000_000)),
    "pause": lambda world, protocol: protocol.pause(),
    "lose itself": _lose,
    "switch": _switch,
    "upgrade": _upgrade,
    "abort everybody": _everybody,
    "drain": lambda world, protocol: world.drain(5),
    "drain at once": lambda world, protocol: world.drain(0),
    "close the limit": lambda world, protocol: setattr(world.factory, "maxConnections", 0),
    "suspend": lambda world, protocol: world.suspend(),
}
"""What a hook may do, by name; it gets the world and the protocol."""

REENTRANT: Final[Mapping[str, Callable[[Any, Any], object]]] = {
    "let another in": lambda world, protocol: world.connect()
}
"""What only a world in memory can do inside of a call."""

UPGRADES: Final = ("switch", "upgrade")
"""Those that a transport in memory, which has no protocol, knows nothing of."""

EXITS: Final = ("exit", "interrupt", "end a generator", "be cancelled")
"""Those that raise what is no C{Exception}."""

GLOBAL: Final = ("raise", *EXITS, "abort everybody", "drain", "drain at once", "close the limit")
"""Those that make sense for an observer or a policy, which have no transport."""


class Scripted(TCPDemoProtocol):
    """
    A protocol whose hooks do what a script says.
    """

    def __init__(self, world: World, script: Mapping[str, str]) -> None:
        self.world = world
        self.script = dict(script)
        self.told = False

    @property
    def isMade(self) -> bool:
        """
        Whether it has, or had, a connection.
        """
        try:
            return bool(self.connectionID)
        except NotConnectedError:
            return False

    def makeConnection(self, transport: Any) -> None:
        """
        Remember the transport, whatever comes of it.
        """
        self.world.transports.append((self, transport))
        super().makeConnection(transport)

    def act(self, hook: str) -> None:
        """
        Follow the script; each order once, or a hook that calls itself would never
        end.
        """
        if self.transport is None:
            return  # Twisted's transport asks for the prefix before that
        action = self.script.pop(hook, None)
        if action is not None:
            ACTIONS[action](self.world, self)

    def connectionMade(self) -> None:
        """
        Follow the script.
        """
        self.told = True
        self.act("connectionMade")

    def dataReceived(self, data: bytes) -> None:
        """
        Follow the script, and echo.
        """
        self.act("dataReceived")
        if self.transport is not None:
            self.transport.write(data)

    def readConnectionLost(self) -> None:
        """
        Follow the script.
        """
        self.act("readConnectionLost")

    def timeoutConnection(self) -> None:
        """
        Follow the script, and close.
        """
        self.act("timeoutConnection")
        if self.transport is not None:
            super().timeoutConnection()

    def drainStarted(self) -> None:
        """
        Follow the script.
        """
        self.act("drainStarted")

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]
        """
        Follow the script.
        """
        self.act("connectionLost")

    def logPrefix(self) -> str:
        """
        Follow the script.
        """
        self.act("logPrefix")
        return "Scripted"


class Observing(ConnectionObserver):
    """
    An observer that follows a script, and remembers how full it was at each arrival.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.script: dict[str, str] = {}
        self.over: list[str] = []
        self.opened: set[int] = set()

    def act(self, event: str) -> None:
        """
        Follow the script, each order once.
        """
        action = self.script.pop(event, None)
        if action is not None:
            ACTIONS[action](self.world, None)

    def connectionOpened(self, report: Any) -> None:
        """
        Compare with the limit.
        """
        factory = self.world.factory
        self.opened.add(report.connectionID)
        limit = self.world.policy.limit  # lowering it afterwards closes nobody
        if limit is not None and factory.connectionCount > limit:
            self.over.append(f"{factory.connectionCount} connections, past {limit}")
        self.act("connectionOpened")

    def connectionRefused(self, refusal: object) -> None:
        """
        Follow the script.
        """
        self.act("connectionRefused")

    def connectionClosed(self, report: object) -> None:
        """
        Follow the script.
        """
        self.act("connectionClosed")


@implementer(IAdmissionPolicy)
class Deciding:
    """
    A policy that admits everybody and follows a script.

    @ivar inside: how many it counts.
    @ivar limit: the factory's limit when it was asked the last time.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.script: dict[str, str] = {}
        self.inside = 0
        self.limit: int | None = None

    def _act(self, call: str) -> None:
        action = self.script.pop(call, None)
        if action is not None:
            {**ACTIONS, **REENTRANT}[action](self.world, None)

    def decide(self, host: IAddress, peer: IAddress, now: float) -> str | None:
        """
        Admit.
        """
        self.limit = self.world.factory.maxConnections
        self._act("decide")
        return None

    def opened(self, host: IAddress, peer: IAddress, now: float) -> None:
        """
        Count.
        """
        self._act("opened")
        self.inside += 1

    def adopted(self, peer: IAddress) -> None:
        """
        Count.
        """
        self.inside += 1

    def closed(self, peer: IAddress) -> None:
        """
        Count.
        """
        self.inside -= 1
        self._act("closed")


class Turning(EPollReactor):
    """
    A reactor whose time is a fake clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        super().__init__()  # type: ignore[no-untyped-call]

    def seconds(self) -> float:
        """
        The clock's time.
        """
        return self._clock.seconds()


class Person(NamedTuple):
    """
    A client of the world: a socket, or in memory a protocol.
    """

    socket: Any = None
    protocol: Any = None


class World:
    """
    A server, its clients, and the time.

    @ivar transports: each protocol that got a transport, with the transport.
    @ivar drains: the Deferreds of all drains.
    """

    def __init__(self, kind: str, folder: Path, **options: Any) -> None:
        self.kind = kind
        self.clock = Clock()
        self.reactor: Any = None if kind == "memory" else Turning(self.clock)
        self.transports: list[tuple[Scripted, Any]] = []
        self.people: list[Person] = []
        self.drains: list[Any] = []
        self.fired: list[object] = []
        self.script: Mapping[str, str] = {}
        budgets = Budgets(idle=IDLE, closeFlush=5, writeStall=10, lifetime=500)
        self.factory = TCPDemoFactory(
            lambda: Scripted(self, self.script), budgets=budgets, clock=self.clock, **options
        )
        self.observer = Observing(self)
        self.policy = Deciding(self)
        self.factory.addObserver(self.observer)
        self.factory.admission = self.policy
        self._path = str(folder / "world")
        self._address: Any = None
        if self.reactor is not None:
            self.listen()

    def _endpoint(self) -> Any:
        reactor = self.reactor
        if self.kind == "twisted":
            return TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        if self.kind == "unix":
            return ServerEndpoint(reactor, path=self._path)
        if self.kind == "twistedUnix":
            return UNIXServerEndpoint(reactor, self._path)
        proxy = Proxy(trusted=["127.0.0.0/8"]) if self.kind == "proxy" else None
        return ServerEndpoint(reactor, 0, "127.0.0.1", proxy=proxy)

    def listen(self) -> None:
        """
        Listen, or listen again.
        """
        if self.reactor is None or self.factory.listening:
            return
        found: list[Any] = []
        self.factory.listen(self._endpoint()).addCallbacks(found.append, lambda failure: None)
        self.settle()
        if found:
            host = found[0].getHost()
            self._address = self._path if "nix" in self.kind else ("127.0.0.1", host.port)

    # What clients do.

    def connect(self, script: Mapping[str, str] | None = None) -> Person | None:
        """
        Connect a client, which is served by a script.

        @return: L{None} if nobody listens.
        """
        self.script = script or {}
        if self.reactor is None:
            person = Person(protocol=self._inMemory())
        else:
            family = socket.AF_UNIX if "nix" in self.kind else socket.AF_INET
            raw = socket.socket(family)
            raw.setblocking(False)
            try:
                raw.connect(self._address)
            except BlockingIOError:
                pass
            except OSError:
                raw.close()
                return None
            person = Person(socket=raw)
        self.people.append(person)
        self.settle()
        if self.kind == "proxy":
            self.send(person, HEADER)
        return person

    def _inMemory(self) -> Any:
        protocol: Any = None
        with suppress(*EXPECTED):
            protocol = self.factory.buildProtocol(_ADDRESS)
            transport: Any = StringTransport(peerAddress=_ADDRESS)
            transport.protocol = protocol
            protocol.makeConnection(transport)
        return protocol

    def send(self, person: Person, data: bytes = b"hello") -> None:
        """
        Send bytes.
        """
        if person.socket is not None:
            with suppress(OSError):
                person.socket.send(data)
        else:
            self._drive(person, "dataReceived", data)
        self.settle()

    def finish(self, person: Person) -> None:
        """
        Send a FIN.
        """
        if person.socket is not None:
            with suppress(OSError):
                person.socket.shutdown(socket.SHUT_WR)
        else:
            self._drive(person, "readConnectionLost")
        self.settle()

    def leave(self, person: Person, abruptly: bool = False) -> None:
        """
        Go, in order or with a reset.
        """
        self.people.remove(person)
        if person.socket is None:
            self._lost(person)
        elif abruptly and person.socket.family != socket.AF_UNIX:
            reset(person.socket)
        else:
            person.socket.close()
        self.settle()

    def _drive(self, person: Person, hook: str, *arguments: object) -> None:
        """
        Call a hook as a transport does: what it raises ends the connection.
        """
        protocol = person.protocol
        transport = getattr(protocol, "transport", None)
        if transport is None or transport.disconnected or transport.disconnecting:
            return
        protocol = getattr(transport, "protocol", None) or protocol
        try:
            getattr(protocol, hook, lambda *_: None)(*arguments)
        except EXPECTED:
            self._lost(person)

    def _lost(self, person: Person) -> None:
        transport = getattr(person.protocol, "transport", None)
        if transport is None or getattr(transport, "gone", False):
            return
        transport.gone = True
        protocol = getattr(transport, "protocol", None) or person.protocol
        with suppress(*EXPECTED):
            protocol.connectionLost(Failure(ConnectionDone()))

    # What an operator does.

    def drain(self, deadline: float) -> None:
        """
        Drain; the end is remembered.
        """
        draining = self.factory.drain(deadline)
        self.drains.append(draining)
        draining.addBoth(self.fired.append)

    def suspend(self) -> None:
        """
        Stop accepting, if it listens.
        """
        if self.factory.listening:
            self.factory.suspend()

    # What happens by itself.

    def settle(self) -> None:
        """
        Let the reactor turn until nothing happens any more.
        """
        self.clock.advance(0)
        if self.reactor is None:
            for person in self.people:
                transport = getattr(person.protocol, "transport", None)
                if getattr(transport, "disconnecting", False) or getattr(
                    transport, "disconnected", False
                ):
                    self._lost(person)
            return
        for _ in range(8):
            # One that a hook raises leaves Twisted's own code; its main loop goes on.
            with suppress(KeyboardInterrupt):
                self.reactor.iterate(0)

    def wait(self, seconds: float) -> None:
        """
        Let time pass, in steps.
        """
        for _ in range(10):
            self.clock.advance(seconds / 10)
            self.settle()

    # What has to be so.

    def violations(self) -> list[str]:
        """
        What is wrong now; empty if all is right.
        """
        factory = self.factory
        found = [*factory.conservation(), *self.observer.over]
        if factory.acceptedCount != factory.connectionCount + factory.closedCount:
            found.append("accepted is not open and closed")
        taken = [connection.transport for connection in factory._ledger.open]
        if len({id(transport) for transport in taken}) < len(taken):
            found.append("a client has two slots")
        for protocol, transport in self.transports:
            isOpen = self._isOpen(transport)
            hasSlot = any(transport is other for other in taken)
            wasAdmitted = protocol.isMade and protocol.connectionID in self.observer.opened
            if hasSlot and not protocol.told:
                found.append("a connection is counted, and was never made")
            if hasSlot and not isOpen:
                found.append("a slot is taken, and its socket is closed")
            if wasAdmitted and isOpen and not hasSlot:
                found.append("a slot is free, and its socket is open")
        if self.policy.inside != factory.connectionCount:
            found.append(f"the policy counts {self.policy.inside}, not {factory.connectionCount}")
        return found

    def _isOpen(self, transport: Any) -> bool:
        if self.reactor is None:
            return not getattr(transport, "gone", False)
        raw = getattr(transport, "socket", None)
        return raw is not None and raw.fileno() >= 0

    def accepted(self) -> int:
        """
        How many accepted sockets are open in this process, counted or not.
        """
        return sum(_isAccepted(int(name), self._address) for name in os.listdir("/proc/self/fd"))

    def end(self) -> list[str]:
        """
        Let everybody leave, and drain.

        @return: what is wrong then.
        """
        for person in list(self.people):
            self.leave(person)
        self.wait(LONG)
        found = self.violations()
        self.drain(0)
        self.wait(LONG)
        if self.factory.connectionCount:
            found.append(f"{self.factory.connectionCount} connections are open, of nobody")
        if self.accepted():
            gc.collect()  # one that nobody knows any more is closed then
        if self.accepted():
            found.append(f"{self.accepted()} sockets are open, counted nowhere")
        if len(self.fired) != len(self.drains):
            found.append(f"{len(self.drains) - len(self.fired)} drains have not fired")
        failed = [r for r in self.fired if isinstance(r, Failure)]
        found += [f"a drain has failed: {failure.value!r}" for failure in failed]
        return found + self.violations()

    def close(self) -> None:
        """
        Leave nothing behind.
        """
        self.observer.script, self.policy.script = {}, {}
        for person in self.people:
            if person.socket is not None:
                person.socket.close()
        if self.reactor is None:
            return
        for selectable in self.reactor.removeAll():
            with suppress(Exception):
                selectable.connectionLost(Failure(ConnectionDone()))
        for _, transport in self.transports:
            if self._isOpen(transport):
                transport.socket.close()
        for internal in list(self.reactor._internalReaders):
            self.reactor.removeReader(internal)
            with suppress(Exception):
                internal.connectionLost(Failure(ConnectionDone()))
        self.reactor._poller.close()
        with suppress(OSError):
            os.unlink(self._path)


def _isAccepted(descriptor: int, address: Any) -> bool:
    """
    Whether a descriptor is a socket that came by way of a listener's address.
    """
    try:
        if not os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:"):
            return False
        with socket.socket(fileno=os.dup(descriptor)) as same:
            listens = same.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            return not listens and same.getsockname() == address
    except OSError:
        return False  # the descriptor of the listing itself, which is gone


@contextmanager
def worldOf(kind: str, **options: Any) -> Generator[World]:
    """
    A world, as long as the block lasts.
    """
    with tempfile.TemporaryDirectory() as folder:
        world = World(kind, Path(folder), **options)
        try:
            yield world
        finally:
            world.close()
