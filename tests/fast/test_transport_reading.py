"""
L{twisted_tcpdemo.fast.transport}: how much it reads, and when it stops.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import Any

import pytest

from tests.support.fast import Remembering, accepted, closed, fastServer
from tests.support.peers import rawConnection
from tests.support.waiting import turn
from twisted_tcpdemo.fast import transport as module


class Plenty:
    """
    A socket that always has more to read, in pieces of one size.
    """

    def __init__(self, real: socket.socket, size: int) -> None:
        self._real = real
        self._size = size

    def recv(self, most: int) -> bytes:
        """
        The next piece.
        """
        return bytes(min(most, self._size))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.mark.parametrize(
    ("size", "reads"), [(64, 1), (module.A_LOT, 1), (module.A_LOT + 1, module.READS)]
)
async def test_readsOn(size: int, reads: int) -> None:
    """
    Large reads follow each other a few times, and no more.
    """
    async with fastServer() as server:
        with rawConnection(server.port):
            protocol = await accepted(server)
            protocol.transport.socket = Plenty(protocol.transport.socket, size)
            assert protocol.transport.doRead() is None
            assert protocol.transport.bytesRead == len(protocol.received) == reads * size
            await closed(protocol)


async def test_asksForWhatIsLikely() -> None:
    """
    After a small read the transport asks for few bytes.  If it gets that many, it
    reads the rest at once, and asks for many bytes until the next small read.
    """
    asked: list[int] = []

    class Recording(Plenty):
        """
        Notes how many bytes are asked for, and has C{size} bytes in all.
        """

        def recv(self, most: int) -> bytes:
            asked.append(most)
            piece = super().recv(most)
            self._size -= len(piece)
            if not piece:
                raise BlockingIOError
            return piece

    async with fastServer() as server:
        with rawConnection(server.port):
            protocol = await accepted(server)
            transport, real = protocol.transport, protocol.transport.socket
            little, much = module.SMALL, module.READ_SIZE
            steps = {
                64: [module.FIRST_SIZE],
                65: [little],
                little - 1: [little],
                little: [little, much],
                66: [much],
                9000: [little, much],
                67: [much],
                68: [little],
            }
            for size, expected in steps.items():
                asked.clear()
                transport.socket = Recording(real, size)
                assert transport.doRead() is None
                assert asked == expected
            assert transport.bytesRead == len(protocol.received) == sum(steps)
            transport.socket = real
            await closed(protocol)


async def test_readsOnUnlessPaused() -> None:
    """
    No read follows one in which the protocol has paused.
    """

    class Pausing(Remembering):
        """
        Pauses at the first bytes.
        """

        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            self.transport.pauseProducing()

    async with fastServer(Pausing) as server:
        with rawConnection(server.port):
            protocol = await accepted(server)
            protocol.transport.socket = Plenty(protocol.transport.socket, module.FIRST_SIZE)
            assert protocol.transport.doRead() is None
            assert protocol.transport.bytesRead == module.FIRST_SIZE
            await closed(protocol)


KEEPING = """
import socket
from twisted_tcpdemo.fast.transport import READ_SIZE
def mappings():
    with open("/proc/self/maps") as maps:
        return len(list(maps))
ours, theirs = socket.socketpair()
kept, before = [], mappings()
for _ in range(200):
    theirs.send(b"little")
    kept.append(ours.recv(READ_SIZE))
print(mappings() - before)
"""


def test_keptReadsAreSmall() -> None:
    """
    A protocol that keeps the bytes of many small reads does not exhaust the memory
    mappings of its process.

    The C library takes large pieces of memory from the system as mappings, and a
    process can have no more than 65,530 of them.  It stops doing so for a size once
    it has freed a piece of it, which the imports have done by then (mallopt(3),
    M_MMAP_THRESHOLD).
    """
    command = [sys.executable, "-c", KEEPING]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) < 20


async def test_pauseInDataReceived() -> None:
    """
    After pauseProducing() in dataReceived no bytes are delivered until
    resumeProducing().
    """

    class Pausing(Remembering):
        def dataReceived(self, data: bytes) -> None:
            self.transport.pauseProducing()
            super().dataReceived(data)

    async with fastServer(Pausing) as server:
        with rawConnection(server.port) as peer:
            protocol = await accepted(server)
            peer.send(b"one")
            await protocol.whenReceived(3)
            peer.send(b"two")
            for _ in range(5):
                await turn()
            assert protocol.received == b"one"
            protocol.transport.resumeProducing()
            await protocol.whenReceived(6)
            await closed(protocol)


async def test_noDataAfterAbort() -> None:
    """
    After abortConnection() no bytes are delivered, not even those that have
    arrived.
    """
    async with fastServer() as server:
        with rawConnection(server.port) as peer:
            protocol = await accepted(server)
            peer.send(b"too late")
            protocol.transport.abortConnection()
            await protocol.whenLost()
            assert not protocol.received


async def test_eofIsToldOnce() -> None:
    """
    The peer's FIN is told once, even if reading is resumed afterwards.
    """

    class Counting(Remembering):
        ends = 0

        def readConnectionLost(self) -> None:
            self.ends += 1
            super().readConnectionLost()

    async with fastServer(Counting) as server:
        with rawConnection(server.port) as peer:
            protocol = await accepted(server)
            peer.shutdown(socket.SHUT_WR)
            await protocol.whenEnded()
            protocol.transport.pauseProducing()
            protocol.transport.resumeProducing()
            for _ in range(5):
                await turn()
            assert protocol.ends == 1
            protocol.transport.write(b"still")
            assert peer.recv(100) == b"still"
            await closed(protocol)
