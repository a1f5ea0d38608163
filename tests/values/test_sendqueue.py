"""
The kernel's send queue.
"""

from __future__ import annotations

from collections.abc import Iterator
from socket import AF_UNIX, SHUT_WR, SOCK_STREAM, socket, socketpair

import pytest

from tests.support.waiting import until
from twisted_tcpdemo.values.sendqueue import queuedBytes, unreadBytes


def tcpPair() -> tuple[socket, socket]:
    """
    Two ends of one TCP connection.
    """
    with socket() as port:
        port.bind(("127.0.0.1", 0))
        port.listen(1)
        client = socket()
        client.connect(port.getsockname())
        return client, port.accept()[0]


@pytest.fixture(params=["tcp", "unix"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket, socket]]:
    """
    Two connected sockets.
    """
    one, two = tcpPair() if request.param == "tcp" else socketpair(AF_UNIX, SOCK_STREAM)
    with one, two:
        yield one, two


async def test_taken(pair: tuple[socket, socket]) -> None:
    """
    The queue holds what the peer does not take, and nothing when it has taken all.
    """
    one, two = pair
    one.setblocking(False)
    assert queuedBytes(one.fileno()) == 0
    sent = 0
    try:
        while sent < 64_000_000:
            sent += one.send(bytes(65536))
    except BlockingIOError:
        pass
    assert queuedBytes(one.fileno())
    while sent:
        sent -= len(two.recv(1_000_000))
    await until(lambda: queuedBytes(one.fileno()) == 0)


async def test_ended(pair: tuple[socket, socket]) -> None:
    """
    A FIN that the peer's system has is not counted any more.
    """
    one, _ = pair
    one.send(b"hello")
    one.shutdown(SHUT_WR)
    if one.family != AF_UNIX:
        await until(lambda: queuedBytes(one.fileno()) == 0)


def test_closed() -> None:
    """
    A closed socket tells nothing.
    """
    one, two = socketpair()
    number = one.fileno()
    one.close()
    two.close()
    assert queuedBytes(number) is None
    assert queuedBytes(-1) is None


async def test_unread(pair: tuple[socket, socket]) -> None:
    """
    The bytes that have come are told until they are read; a FIN is none.
    """
    one, two = pair
    one.send(b"hello")
    await until(lambda: unreadBytes(two.fileno()) == 5)
    two.recv(3)
    one.shutdown(SHUT_WR)
    assert unreadBytes(two.fileno()) == 2
    two.recv(2)
    assert unreadBytes(two.fileno()) == 0
    assert unreadBytes(-1) is None
