"""
The load generator in Python, for machines without a compiler: C{python -m
tests.benchmarks.load CASE tcp PORT CONNECTIONS SIZE COUNTER}.

It does the first two cases of C{load.c}, and comes as close to never keeping the server
waiting as Python can.
"""

from __future__ import annotations

import mmap
import select
import socket
import sys
from collections.abc import Callable, Iterator
from itertools import count
from typing import Final

HOST: Final = "127.0.0.1"


def echo(port: int, connections: int, size: int) -> Iterator[int]:
    """
    Send a message on each connection, and the next one when it has come back.

    @return: the number of messages that have come back, now and then, without end.
    """
    message = memoryview(bytes(size - 1) + b"\n")  # for servers that read lines
    buffer = bytearray(min(size, 1 << 18))
    epoll = select.epoll()
    peers: dict[int, socket.socket] = {}
    left: dict[int, int] = {}
    unsent: dict[int, int] = {}
    for _ in range(connections):
        peer = socket.create_connection((HOST, port))
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.setblocking(False)
        peers[peer.fileno()] = peer
        left[peer.fileno()] = size
        epoll.register(peer, select.EPOLLIN)

    def push(descriptor: int, offset: int) -> None:
        try:
            while offset < size:
                offset += peers[descriptor].send(message[offset:])
        except BlockingIOError:
            if descriptor not in unsent:
                epoll.modify(descriptor, select.EPOLLIN | select.EPOLLOUT)
            unsent[descriptor] = offset
        else:
            if unsent.pop(descriptor, None) is not None:
                epoll.modify(descriptor, select.EPOLLIN)

    done = 0
    for descriptor in peers:
        push(descriptor, 0)
    while True:
        for descriptor, event in epoll.poll(-1, 512):
            if event & select.EPOLLOUT:
                push(descriptor, unsent[descriptor])
            if event & ~select.EPOLLOUT:
                try:
                    got = peers[descriptor].recv_into(buffer)
                except BlockingIOError:
                    continue
                if not got:
                    raise SystemExit("the server has closed a connection")
                left[descriptor] -= got
                if not left[descriptor]:
                    left[descriptor] = size
                    done += 1
                    push(descriptor, 0)
        yield done


def connect(port: int, connections: int, size: int) -> Iterator[int]:
    """
    Keep a number of clients at work: connect, one message, close.

    @return: the number of visits, now and then, without end.
    """
    message = bytes(size)
    epoll = select.epoll()
    peers: dict[int, socket.socket] = {}
    # A closed connection keeps its port for a minute, so many addresses are used.
    sources = (f"127.{1 + n // 200 % 100}.{n % 200}.1" for n in count())

    def start() -> None:
        peer = socket.socket()
        peer.setblocking(False)
        peer.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
        peer.bind((next(sources), 0))
        peer.connect_ex((HOST, port))
        peers[peer.fileno()] = peer
        epoll.register(peer, select.EPOLLOUT)

    done = 0
    for _ in range(connections):
        start()
    while True:
        for descriptor, event in epoll.poll(-1, 512):
            peer = peers[descriptor]
            if event & select.EPOLLOUT:
                peer.send(message)
                epoll.modify(descriptor, select.EPOLLIN)
            else:
                peer.recv(65536)
                del peers[descriptor]
                peer.close()
                done += 1
                start()
        yield done


CASES: Final[dict[str, Callable[[int, int, int], Iterator[int]]]] = {
    "echo": echo,
    "connect": connect,
}


def main(case: str, _: str, port: str, *rest: str) -> None:
    """
    Run one case, and write the count into a mapped file.
    """
    connections, size, counter = rest
    with open(counter, "r+b") as file:
        mapped = mmap.mmap(file.fileno(), 8)
    for done in CASES[case](int(port), int(connections), int(size)):
        mapped[:] = done.to_bytes(8, sys.byteorder)


if __name__ == "__main__":
    main(*sys.argv[1:])
