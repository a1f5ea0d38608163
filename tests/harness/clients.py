"""
Clients of every bad kind, and a good one: raw sockets, in crowds of thousands.

Each client comes from one of some hundred addresses of the loopback network, so that
the ports of one address do not run out.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Final

RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER for a close with RST."""

_sources: Final = count()


def opened(port: int, buffer: int = 0) -> socket.socket:
    """
    A socket that connects to a port, or waits in its queue.

    @param buffer: its SO_RCVBUF, or 0 for the system's.
    """
    client = socket.socket()
    client.setblocking(False)
    if buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.setsockopt(socket.SOL_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
    client.bind((f"127.0.0.{2 + next(_sources) % 200}", 0))
    failed = client.connect_ex(("127.0.0.1", port))
    if failed not in (0, errno.EINPROGRESS):
        client.close()
        raise OSError(failed, "connect failed")
    return client


class Client:
    """
    One of a crowd.

    @ivar received: bytes that it has got.
    @ivar ended: how it ended: C{"fin"}, C{"reset"}, or empty while it has not.
    @ivar unsent: bytes that it has still to send.
    """

    __slots__ = ("ended", "received", "socket", "unsent")

    def __init__(self, client: socket.socket, unsent: bytes) -> None:
        self.socket = client
        self.unsent = unsent
        self.received = 0
        self.ended = ""

    def send(self) -> None:
        """
        Send what it has still to send.
        """
        try:
            sent = self.socket.send(self.unsent)
        except BlockingIOError:
            return
        except OSError:
            # The socket tells of a reset once; a read after this would see an end.
            self.unsent, self.ended = b"", "reset"
            return
        self.unsent = self.unsent[sent:]

    def read(self) -> None:
        """
        Read, or notice the end.
        """
        try:
            data = self.socket.recv(262144)
        except BlockingIOError:
            return
        except OSError:
            self.ended = "reset"
            return
        self.received += len(data)
        if not data:
            self.ended = "fin"


class Crowd:
    """
    Clients that connect, say something, and look at what happens.

    @ivar reading: whether they read; a crowd that does not still notices a reset.
    """

    def __init__(self, port: int, reading: bool = True, buffer: int = 0) -> None:
        self.clients: list[Client] = []
        self.reading = reading
        self._port = port
        self._buffer = buffer
        self._epoll = select.epoll()
        self._byNumber: dict[int, Client] = {}

    def connect(self, number: int, say: bytes = b"") -> list[Client]:
        """
        Connect some more, which say something as soon as they can.
        """
        added = []
        for _ in range(number):
            client = Client(opened(self._port, self._buffer), say)
            self._byNumber[client.socket.fileno()] = client
            self._epoll.register(client.socket, self._interest(client))
            self.clients.append(client)
            added.append(client)
        return added

    def _interest(self, client: Client) -> int:
        read = select.EPOLLIN if self.reading else 0
        return read | (select.EPOLLOUT if client.unsent else 0)

    def say(self, data: bytes) -> None:
        """
        Let everyone who is there say something.
        """
        for client in self.clients:
            if not client.ended:
                client.unsent += data
                client.send()

    def look(self, seconds: float = 0.0) -> None:
        """
        Notice what happens, and wait for it no longer than this.
        """
        for number, event in self._epoll.poll(seconds):
            client = self._byNumber[number]
            if client.unsent and event & select.EPOLLOUT and not client.ended:
                client.send()
                self._epoll.modify(number, self._interest(client))
            if event & select.EPOLLIN and self.reading and not client.ended:
                client.read()
            elif event & (select.EPOLLERR | select.EPOLLHUP) and not client.ended:
                client.ended = "reset"
            if client.ended:
                self._epoll.unregister(number)

    def until(
        self,
        condition: Callable[[], object],
        seconds: float,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> bool:
        """
        Look until something is so, or the time is over.

        @return: whether it is so.
        """
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            meanwhile()
            self.look(0.01)
        return True

    @property
    def ends(self) -> Counter[str]:
        """
        How many have ended in which way; C{""} stands for those that have not.
        """
        return Counter(client.ended for client in self.clients)

    @property
    def left(self) -> int:
        """
        How many have not ended.
        """
        return sum(not client.ended for client in self.clients)

    @property
    def served(self) -> int:
        """
        How many have got an answer.
        """
        return sum(client.received > 0 for client in self.clients)

    def drop(self, leaving: list[Client], reset: bool = False) -> None:
        """
        Let some leave.

        @param reset: whether they go with RST.
        """
        for client in leaving:
            if client.socket.fileno() < 0:
                continue
            if reset:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            del self._byNumber[client.socket.fileno()]
            client.socket.close()
        gone = set(leaving)
        self.clients = [client for client in self.clients if client not in gone]

    def leave(self, reset: bool = False) -> None:
        """
        Close all of them.
        """
        self.drop(self.clients, reset)

    def close(self) -> None:
        """
        Leave, and be no crowd any more.
        """
        self.leave()
        self._epoll.close()


@contextmanager
def crowd(port: int, reading: bool = True, buffer: int = 0) -> Generator[Crowd]:
    """
    A crowd, as long as the block lasts.
    """
    people = Crowd(port, reading, buffer)
    try:
        yield people
    finally:
        people.close()


class Good:
    """
    A client that behaves, and expects to be served all the time.

    @ivar worst: the longest time in seconds until an answer.
    @ivar asked: how often it has asked.
    """

    def __init__(self, port: int) -> None:
        self.worst = 0.0
        self.asked = 0
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)

    def ask(self, question: bytes = b"hello") -> float:
        """
        Ask, and wait for the answer.

        @return: the seconds it took.
        @raise EOFError: if the connection has ended.
        """
        began = time.monotonic()
        self.socket.sendall(question)
        got = 0
        while got < len(question):
            data = self.socket.recv(65536)
            if not data:
                raise EOFError("the good client was closed")
            got += len(data)
        took = time.monotonic() - began
        self.worst = max(self.worst, took)
        self.asked += 1
        return took

    def close(self) -> None:
        """
        Close it.
        """
        self.socket.close()


@contextmanager
def good(port: int) -> Generator[Good]:
    """
    A good client, as long as the block lasts.
    """
    client = Good(port)
    try:
        yield client
    finally:
        client.close()


def isServed(port: int, seconds: float = 5.0) -> bool:
    """
    Whether a new client is served now.
    """
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), seconds) as client:
        client.settimeout(seconds)
        client.sendall(b"hello")
        return client.recv(10) == b"hello"
    return False


def soon(
    condition: Callable[[], object],
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    pause: float = 0.02,
) -> float | None:
    """
    Wait for what no event tells.

    @param clock: tells the time in which the seconds are counted.
    @return: the seconds it took; L{None} if it did not come true.
    """
    began = clock()
    while not condition():
        if clock() - began > seconds:
            return None
        time.sleep(pause)
    return clock() - began
