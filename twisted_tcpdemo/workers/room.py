"""
The worker's side: it serves the sockets that the parent sends, and tells of them.

Its factory has no limits of its own and refuses nobody: the parent has decided.  It keeps
the budgets, tells the hooks, and counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from socket import socket
from typing import Any, Final

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.logger import Logger

from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.connection.record import Connection
from twisted_tcpdemo.fast.accepting import AcceptingPort
from twisted_tcpdemo.fast.poller import pollerOf
from twisted_tcpdemo.fast.port import WriteThroughPort
from twisted_tcpdemo.fast.reactor import FastReactor
from twisted_tcpdemo.fast.unix import UNIXPort
from twisted_tcpdemo.server.drain import IdleCloser
from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.server.rounds import Rounds
from twisted_tcpdemo.shapes import AnyReactor, Clock
from twisted_tcpdemo.tls.context import EngineMaker
from twisted_tcpdemo.values.addresses import Endpoint, endpointOf
from twisted_tcpdemo.values.budgets import Budgets
from twisted_tcpdemo.values.descriptors import mostDescriptors
from twisted_tcpdemo.values.report import CloseReason
from twisted_tcpdemo.workers.messages import headerFrom
from twisted_tcpdemo.workers.program import Program
from twisted_tcpdemo.workers.wire import Message, Wire

_log = Logger(namespace="tcpdemo")

ROWS: Final = 400
"""Connections in one message about counts."""

ASKED: Final = 25
"""Connections about which one report asks the kernel, each in its turn: 0.1 ms."""

SHARE: Final = 0.02
"""The share of its time that a worker spends on telling counts, at the most."""


class RoomFactory(TCPDemoFactory):
    """
    The factory of a worker.

    @ivar arriving: the number of the client that is about to be connected, until it has
        its record.
    """

    descriptorReserve = None
    arriving: int | None = None
    told: Callable[[Connection], object] = staticmethod(lambda connection: None)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.numbered: dict[int, Connection] = {}
        self.listeners: list[Endpoint] = []

    def admit(self, connection: Connection) -> bool:
        """
        Number a connection as the parent does.
        """
        number, self.arriving = self.arriving, None
        if number is not None:
            connection.connectionID = number
            self.numbered[number] = connection
        return super().admit(connection)

    def release(self, connection: Connection) -> None:
        """
        Tell the parent of an end.
        """
        super().release(connection)
        if self.numbered.pop(connection.connectionID, None) is not None:
            self.told(connection)

    def addresses(self) -> list[Endpoint]:
        """
        The address, port and family of every listener of the parent.
        """
        return list(self.listeners)

    def listenerOf(self, host: IAddress) -> Endpoint | None:
        """
        The listener of the parent through which a connection came.
        """
        own = endpointOf(host)
        for listener in self.listeners:
            same = listener.port == own.port if own.port else listener.address == own.address
            if same:
                return listener
        return next(iter(self.listeners), None)


class Room:
    """
    What a worker does.
    """

    def __init__(self, factory: RoomFactory, reactor: AnyReactor, interval: float) -> None:
        """
        @param interval: seconds between two reports.
        """
        self._factory = factory
        self._reactor = reactor
        self._clock: Clock = steady(reactor)
        self._interval = interval
        self._ports: dict[int, AcceptingPort] = {}
        self._counts: dict[int, tuple[float, int, int]] = {}
        self._rounds = Rounds(self._factory.numbered.values)
        self._expected = self._mayTellAt = 0.0
        self._wire: Wire | None = None
        self._words: dict[str, Callable[..., object]] = {
            "port": self.open,
            "update": partial(update, factory),
            "close": partial(self._do, Connection.close),
            "abort": partial(self._do, Connection.abort),
            "idle": partial(self._do, self._closeIdle),
            "drain": partial(self._do, lambda connection, _: connection.drainStarted()),
            "stop": reactor.stop,
        }
        factory.told = self._ended

    def begin(self, wire: Wire) -> None:
        """
        Serve: the program is there.
        """
        self._wire = wire
        wire.send(["ready"])
        self._reportLater()

    def open(
        self, index: int, family: str, noDelay: bool, where: list[Any], description: str | None
    ) -> None:
        """
        Take the clients of a port of the parent.

        @param where: its address, port and family.
        @param description: the string of an endpoint with TLS, whose context is made here.
        """
        factory, reactor = self._factory, self._reactor
        port: AcceptingPort
        if family == "UNIX":
            port = UNIXPort(b"", factory, reactor=reactor)
        else:
            interface = "::" if family == "IPv6" else ""
            port = WriteThroughPort(0, factory, interface=interface, reactor=reactor)
            port.noDelay = noDelay
        if description is not None:
            port.engineMaker = _engineMakerOf(description, factory, reactor)
        port.poller = pollerOf(reactor)
        self._ports[index] = port
        factory.listeners.append(Endpoint(*where))

    # What the parent tells.

    def received(self, message: Message, descriptor: int | None) -> None:
        """
        See L{Correspondent<twisted_tcpdemo.workers.wire.Correspondent>}.
        """
        if message[0] == "serve":
            self._serve(descriptor, *message[1:])
        else:
            self._words[message[0]](*message[1:])

    def _serve(
        self, descriptor: int | None, number: int, index: int, name: Any, header: Any
    ) -> None:
        if descriptor is None:
            # There was no descriptor left for it.
            self._send(["end", number, CloseReason.WORKER_LOST.name])
            return
        factory, port = self._factory, self._ports.get(index)
        if port is None:
            # It could not be opened, as the log has said.
            os.close(descriptor)
            self._send(["end", number, CloseReason.ERROR.name])
            return
        factory.arriving = number
        try:
            client = socket(port.addressFamily, port.socketType, 0, descriptor)
            port.connect(client, name, port.addressOf(name), headerFrom(header))
        except BaseException:
            _log.failure("a client could not be connected")
        if factory.arriving is not None:
            factory.arriving = None  # no protocol that counts was connected
            self._send(["end", number, CloseReason.ERROR.name])

    def _do(
        self, act: Callable[[Connection, CloseReason], object], number: int, cause: str | None
    ) -> None:
        connection = self._factory.numbered.get(number)
        if connection is not None:
            act(connection, CloseReason[cause or "LOCAL_CLOSE"])

    def _closeIdle(self, connection: Connection, cause: CloseReason) -> None:
        now = self._clock.seconds()
        IdleCloser(connection, self._clock, now).visit(now)

    def wireLost(self) -> None:
        """
        End: the parent is gone.
        """
        if self._reactor.running:
            self._reactor.stop()

    # What it tells.

    def _send(self, message: Message) -> None:
        if self._wire is not None:
            self._wire.send(message)

    def _ended(self, connection: Connection) -> None:
        number, reason = connection.connectionID, connection.closeReason
        assert reason is not None
        self._counts.pop(number, None)
        self._send(["end", number, reason.name, *self._row(connection)])

    def _row(self, connection: Connection) -> list[Any]:
        counts = connection.counts
        idle = max(0.0, self._clock.seconds() - counts.lastActivity)
        return [counts.bytesRead, counts.bytesWritten, counts.bytesPending, round(idle, 3)]

    def _reportLater(self) -> None:
        self._expected = self._clock.seconds() + self._interval
        self._clock.callLater(self._interval, self._report)

    def _report(self) -> None:
        """
        Tell of this process, without which the parent would take it for one that hangs, and
        of all counts that have changed, unless that has taken long the last time.
        """
        began = self._clock.seconds()
        if began >= self._mayTellAt:
            self._tellCounts()
            ended = self._clock.seconds()
            self._mayTellAt = ended + (ended - began) / SHARE
        lateness = round(max(0.0, began - self._expected), 4)
        self._send(["state", lateness, round(time.process_time(), 4), descriptorsLeft()])
        self._reportLater()

    def _tellCounts(self) -> None:
        rows = self._changes()
        for start in range(0, len(rows), ROWS):
            self._send(["counts", rows[start : start + ROWS]])
        times = self._roundTripTimes()
        if times:
            self._send(["times", times])

    def _roundTripTimes(self) -> list[list[Any]]:
        asked = self._rounds.next(ASKED)
        times = ((c.connectionID, c.roundTripTime) for c in asked)
        return [[number, round(time, 6)] for number, time in times if time is not None]

    def _changes(self) -> list[list[Any]]:
        rows, known = [], self._counts
        for number, connection in self._factory.numbered.items():
            counts = connection.counts
            look = counts.lastActivity, counts.bytesWritten, counts.bytesPending
            if known.get(number) != look:
                known[number] = look
                rows.append([number, *self._row(connection)])
        return rows


class _Unbound(FastReactor):
    """
    A view of a reactor whose ports have no socket, for endpoints that are asked for their
    TLS.
    """

    made: EngineMaker | None = None

    def _listenTCP(
        self,
        port: Any,
        factory: IProtocolFactory,
        maker: EngineMaker | None,
        backlog: int,
        interface: str,
    ) -> WriteThroughPort:
        self.made = maker
        return WriteThroughPort(0, factory, reactor=self.viewed)


def _engineMakerOf(
    description: str, factory: RoomFactory, reactor: AnyReactor
) -> EngineMaker | None:
    """
    What makes the TLS engines of an endpoint.

    @raise Exception: if the endpoint cannot be made here; its parser raises what it likes.
    """
    view = _Unbound(reactor)
    serverFromString(view, description).listen(factory)
    return view.made


def descriptorsLeft() -> int | None:
    """
    How many descriptors this process has left, at the most; L{None} for any number.

    The kernel gives the lowest free number, so all below it are in use.
    """
    most = mostDescriptors()
    if most is None:
        return None
    try:
        lowest = os.dup(0)
    except OSError:
        return 0
    os.close(lowest)
    return most - lowest


def factoryFrom(settings: dict[str, Any]) -> RoomFactory:
    """
    The factory that the parent has described.

    @raise ProgramError: if its program cannot be imported.
    """
    factory = RoomFactory(Program.told(settings["program"]).load())
    update(factory, settings)
    return factory


def update(factory: RoomFactory, settings: dict[str, Any]) -> None:
    """
    Give a factory the settings of the parent's, for clients that come from now on.
    """
    factory.protocol = Program.told(settings["program"]).load()
    factory.budgets = Budgets(**settings["budgets"])
    for name, value in settings["factory"].items():
        setattr(factory, name, value)
