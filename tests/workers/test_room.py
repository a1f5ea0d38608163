"""
The worker's side; the rest of it is tested with real processes.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.testing import MemoryReactorClock

from tests.support.staff import Telling
from twisted_tcpdemo.transports.counts import FinalCounts
from twisted_tcpdemo.workers.room import Room, RoomFactory
from twisted_tcpdemo.workers.wire import Message


class Parent:
    """
    The other end of a wire, which remembers.
    """

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def send(self, message: Message) -> None:
        """
        Remember a message.
        """
        self.messages.append(message)

    def words(self) -> list[str]:
        """
        The words of the messages since the last look.
        """
        words = [message[0] for message in self.messages]
        self.messages.clear()
        return words


class Slow:
    """
    A connection whose counts take a second of work, and change each time.
    """

    connectionID = 1
    closeReason = roundTripTime = None

    def __init__(self, clock: MemoryReactorClock) -> None:
        self._clock = clock

    @property
    def counts(self) -> FinalCounts:
        """
        The counts.
        """
        self._clock.rightNow += 0.5
        return FinalCounts(0, 0, 0, self._clock.seconds())


def roomWith(parent: Parent, reactor: MemoryReactorClock) -> tuple[Room, RoomFactory]:
    """
    A room that has begun, and its factory.
    """
    factory = RoomFactory(Telling)
    room = Room(factory, reactor, 0.25)
    room.begin(parent)  # type: ignore[arg-type]
    return room, factory


def test_costlyCounts() -> None:
    """
    A worker whose counts take long to tell tells them seldom, and that it is alive as often
    as ever.
    """
    reactor, parent = MemoryReactorClock(), Parent()
    connection: Any = Slow(reactor)
    roomWith(parent, reactor)[1].numbered[1] = connection
    reactor.advance(0.25)
    assert parent.words() == ["ready", "counts", "state"]
    for _ in range(190):
        reactor.advance(0.25)
    assert parent.words() == ["state"] * 190
    for _ in range(20):
        reactor.advance(0.25)
    assert parent.words().count("counts") == 1


def test_noPort() -> None:
    """
    A client of a port that a worker could not open is closed, and the parent hears of it.
    """
    parent = Parent()
    room, _ = roomWith(parent, MemoryReactorClock())
    ours, theirs = socket.socketpair()
    with ours:
        room.received(["serve", 7, 0, ("192.0.2.1", 80), None], theirs.detach())
        assert parent.messages[-1] == ["end", 7, "ERROR"]
        ours.settimeout(5)
        assert ours.recv(1) == b""
