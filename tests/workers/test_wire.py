"""
The wire: messages and sockets arrive in order, or their loss is told.
"""

from __future__ import annotations

import socket
from collections.abc import Generator
from typing import Any

import pytest

from tests.support.descriptors import noFreeDescriptor
from tests.support.waiting import until
from twisted_tcpdemo.workers.wire import MOST_MESSAGES, Message, Wire, pair


class End:
    """
    The owner of one end, which remembers.
    """

    def __init__(self, end: socket.socket) -> None:
        from twisted.internet import reactor

        self.messages: list[Message] = []
        self.sockets: list[socket.socket | None] = []
        self.isLost = False
        self.wire = Wire(end, self, reactor)  # type: ignore[arg-type]

    def received(self, message: Message, descriptor: int | None) -> None:
        """
        Remember a message, or raise as it says.
        """
        self.messages.append(message)
        self.sockets.append(None if descriptor is None else socket.socket(fileno=descriptor))
        if message[0] == "raise":
            raise ZeroDivisionError

    def wireLost(self) -> None:
        """
        Remember it.
        """
        self.isLost = True

    def close(self) -> None:
        """
        Close everything.
        """
        self.wire.close()
        for client in self.sockets:
            if client is not None:
                client.close()
        for _, client in self.wire.takeUnsent():
            client.close()


@pytest.fixture
def ends() -> Generator[tuple[End, End]]:
    """
    Both ends of a wire.
    """
    ours, theirs = map(End, pair())
    yield ours, theirs
    ours.close()
    theirs.close()


def clients(count: int) -> list[socket.socket]:
    """
    Some sockets to send.
    """
    return [socket.socket() for _ in range(count)]


async def test_order(ends: tuple[End, End]) -> None:
    """
    Messages arrive in order, each with its socket or without one.
    """
    ours, theirs = ends
    (client,) = clients(1)
    ours.wire.send(["one", 1])
    ours.wire.send(["two", b"\xff", None], client)
    ours.wire.send(["three", (1.5, "x")])
    await until(lambda: len(theirs.messages) == 3)
    assert theirs.messages == [["one", 1], ["two", b"\xff", None], ["three", (1.5, "x")]]
    assert [s is not None for s in theirs.sockets] == [False, True, False]
    assert client.fileno() == -1  # our copy is closed


async def test_many(ends: tuple[End, End]) -> None:
    """
    More sockets than fit into a packet, and more bytes than the kernel holds, arrive all the
    same.
    """
    ours, theirs = ends
    for client in clients(MOST_MESSAGES + 10):
        ours.wire.send(["client"], client)
    for number in range(100):
        ours.wire.send([number, "x" * 10_000])
    await until(lambda: len(theirs.messages) == MOST_MESSAGES + 110)
    assert sum(s is not None for s in theirs.sockets) == MOST_MESSAGES + 10
    assert [m[0] for m in theirs.messages[-100:]] == list(range(100))
    assert not ours.wire.waiting


async def test_noDescriptors(ends: tuple[End, End]) -> None:
    """
    A receiver without descriptors gets each message, and the last ones without their
    sockets.
    """
    ours, theirs = ends
    for client in clients(5):
        ours.wire.send(["client"], client)
    ours.wire.flush()
    with noFreeDescriptor(but=2):
        theirs.wire.doRead()
    assert len(theirs.messages) == 5
    assert [s is not None for s in theirs.sockets] == [True, True, False, False, False]


async def test_raise(ends: tuple[End, End], loggedErrors: Any) -> None:
    """
    An owner that raises is logged, and gets the next message.
    """
    ours, theirs = ends
    ours.wire.send(["raise"])
    ours.wire.send(["next"])
    await until(lambda: len(theirs.messages) == 2)
    loggedErrors.take(ZeroDivisionError)


async def test_lost(ends: tuple[End, End]) -> None:
    """
    The end of one side is told to the other, after the messages that were sent.
    """
    ours, theirs = ends
    ours.wire.send(["last"])
    ours.wire.flush()
    ours.wire.close()
    await until(lambda: theirs.isLost)
    assert theirs.messages == [["last"]] and not theirs.wire.open


async def test_unsent(ends: tuple[End, End]) -> None:
    """
    Sockets that the kernel has not taken are given back.
    """
    ours, theirs = ends
    theirs.wire.close()
    (client,) = clients(1)
    ours.wire.send(["client", 7], client)
    ours.wire.flush()
    assert ours.isLost
    assert ours.wire.takeUnsent() == [(["client", 7], client)]
    client.close()


async def test_readRest(ends: tuple[End, End]) -> None:
    """
    Reading the rest stops when there is no more, also if the other end is still open.
    """
    ours, theirs = ends
    ours.wire.send(["last"])
    ours.wire.flush()
    theirs.wire.readRest()
    assert theirs.messages == [["last"]]


@pytest.mark.parametrize("how", ["event", "rest", "write"])
async def test_lastWords(ends: tuple[End, End], how: str) -> None:
    """
    What an end has sent arrives after its death, though it has left something unread,
    and whether the other end reads or writes then.
    """
    ours, theirs = ends
    for number in range(40):
        ours.wire.send([number])
        ours.wire.flush()
    sent = 40 - ours.wire.waiting  # the kernel may hold fewer
    theirs.wire.send(["unread"])
    theirs.wire.flush()
    ours.wire.close()
    if how == "rest":
        theirs.wire.readRest()
    elif how == "write":
        theirs.wire.send(["for nobody"])
        theirs.wire.flush()
        assert theirs.isLost
    else:
        await until(lambda: theirs.isLost)
    assert [message[0] for message in theirs.messages] == list(range(sent))
