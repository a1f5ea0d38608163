"""
Descriptors and the bytes that they go with.
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_tcpdemo.fast.descriptors import DescriptorQueue, descriptorsIn
from twisted_tcpdemo.fast.writebuffer import WriteBuffer

ROOM = socket.CMSG_SPACE(253 * 4)


@pytest.fixture
def resources() -> Any:
    """
    Things to be closed after the test.
    """
    with ExitStack() as stack:
        yield stack


def inodeOf(descriptor: int) -> int:
    """
    Tells descriptors of different files apart.
    """
    return os.fstat(descriptor).st_ino


def pipes(stack: ExitStack, count: int) -> list[int]:
    """
    Descriptors of different pipes.
    """
    found = []
    for _ in range(count):
        read, write = os.pipe()
        stack.callback(os.close, read)
        os.close(write)
        found.append(read)
    return found


def received(peer: socket.socket) -> list[int | bytes]:
    """
    What has arrived, in its order: an inode for each descriptor, and single bytes.
    """
    got: list[int | bytes] = []
    peer.setblocking(False)
    while True:
        try:
            # One byte in a read, so that each descriptor is told before its own.
            data, ancillary, _, _ = peer.recvmsg(1, ROOM)
        except BlockingIOError:
            return got
        for descriptor in descriptorsIn(ancillary):
            got.append(inodeOf(descriptor))
            os.close(descriptor)
        got.append(data)


@given(st.lists(st.one_of(st.none(), st.binary(min_size=1, max_size=5)), max_size=12))
def test_anyOrder(written: list[bytes | None]) -> None:
    """
    However descriptors (C{None} here) and pieces of bytes follow one another, each
    descriptor arrives before the next byte after it that has none yet.
    """
    with ExitStack() as stack:
        ours, theirs = (stack.enter_context(s) for s in socket.socketpair())
        files = iter(pipes(stack, written.count(None)))
        queue, pending = DescriptorQueue(), WriteBuffer()
        expected: list[int | bytes] = []
        free: list[int] = []
        for piece in written:
            if piece is None:
                file = next(files)
                queue.append(file, pending.size)
                free.append(inodeOf(file))
            else:
                pending.keep([piece], len(piece))
                for byte in piece:
                    expected += [free.pop(0)] if free else []
                    expected.append(bytes([byte]))
        while queue and pending.size:
            queue.sendTo(ours, pending)
        while pending.size:
            pending.sendTo(ours)
        assert received(theirs) == expected
        assert len(queue) == len(free)


def test_movesForward(resources: ExitStack) -> None:
    """
    Descriptors that no byte follows go with the last bytes before them.
    """
    ours, theirs = (resources.enter_context(s) for s in socket.socketpair())
    first, second = pipes(resources, 2)
    queue, pending = DescriptorQueue(), WriteBuffer()
    pending.keep([b"abc"], 3)
    queue.append(first, 3)
    queue.append(second, 3)
    assert queue.settle(3)
    while queue:
        queue.sendTo(ours, pending)
    assert received(theirs) == [b"a", inodeOf(first), b"b", inodeOf(second), b"c"]


def test_tooFewBytes() -> None:
    """
    Two descriptors cannot share a byte.
    """
    queue = DescriptorQueue()
    for descriptor in (0, 1):
        queue.append(descriptor, 1)
    assert not queue.settle(1)
    assert queue.settle(2)


def test_refused(resources: ExitStack) -> None:
    """
    A send that the kernel refuses changes nothing.
    """
    ours, _ = (resources.enter_context(s) for s in socket.socketpair())
    ours.setblocking(False)
    queue, pending = DescriptorQueue(), WriteBuffer()
    [file] = pipes(resources, 1)
    with pytest.raises(BlockingIOError):
        while True:
            ours.send(bytes(100_000))
    queue.append(file, 0)
    pending.keep([b"x"], 1)
    with pytest.raises(BlockingIOError):
        queue.sendTo(ours, pending)
    assert (len(queue), pending.size) == (1, 1)


def test_otherAncillary() -> None:
    """
    Other control messages are no descriptors.
    """
    rights = socket.SOL_SOCKET, socket.SCM_RIGHTS
    messages = [(socket.IPPROTO_IP, 1, b"abcd"), (*rights, b"\1\0\0\0\2\0\0\0"), (*rights, b"\3")]
    assert descriptorsIn(messages) == [1, 2]
