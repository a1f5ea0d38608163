"""
L{twisted_tcpdemo.server.held}: clients behind a proxy, and the limits of a server.
"""

from __future__ import annotations

import socket

import pytest
from twisted.internet.address import UNIXAddress
from zope.interface.verify import verifyObject

from tests.support.proxied import (
    isOver,
    line,
    proxiedServer,
    received,
    stageOf,
)
from tests.support.proxies import CLIENT, LINE, Stage
from tests.support.waiting import turn, until
from twisted_tcpdemo import (
    TCPDemoFactory,
)
from twisted_tcpdemo.fast.unserved import Unserved
from twisted_tcpdemo.interfaces import IHeldClient, IHeldClients
from twisted_tcpdemo.twistd.programs import Discard, Echo


async def test_refuse() -> None:
    """
    A client beyond the limit is refused with its own address; a client without a
    header takes no slot.
    """
    factory = TCPDemoFactory(Echo, maxConnections=1, refusalMessage=b"full")
    async with proxiedServer(factory) as (server, client):
        client(LINE[:1])
        await until(lambda: stageOf(server).heldCount)
        await received(client(LINE + b"1"), 1)
        assert await received(client(line("192.0.2.8")), 4) == b"full"
        [refusal] = server.events.of("connectionRefused")
        assert (str(refusal.remote), refusal.rule) == ("192.0.2.8:4711", "maxConnections")


async def test_wait() -> None:
    """
    Where clients wait, one whose header becomes whole while there is no slot waits
    too: never one too many, and none refused.
    """
    factory = TCPDemoFactory(Echo, maxConnections=2, overflow="wait")
    async with proxiedServer(factory) as (server, client):
        slow = [client(LINE[:10]) for _ in range(4)]
        await until(lambda: stageOf(server).heldCount == 4)
        served = [client(LINE + b"x"), client(LINE + b"x")]
        for raw in served:
            await received(raw, 1)
        for raw in slow:
            raw.send(LINE[10:] + b"y")
        for _ in range(10):
            await turn()
        assert (factory.connectionCount, stageOf(server).heldCount) == (2, 4)
        for last, raw in zip([*served, *slow], slow, strict=False):
            last.close()
            assert await received(raw, 1) == b"y"
            assert factory.connectionCount <= 2
        assert factory.refusedCount == 0
        await until(lambda: stageOf(server).heldCount == 0)


async def test_waitInOrder() -> None:
    """
    A client that waits comes in before those in the kernel's queue.
    """
    factory = TCPDemoFactory(Echo, maxConnections=1, overflow="wait")
    async with proxiedServer(factory) as (server, client):
        early = client(LINE[:10])
        await until(lambda: stageOf(server).heldCount)
        first = client(LINE + b"1")
        await received(first, 1)
        early.send(LINE[10:] + b"2")
        for _ in range(5):
            await turn()
        queued = client(LINE + b"3")
        first.close()
        assert await received(early, 1) == b"2"
        assert not factory.refusedCount
        early.close()
        assert await received(queued, 1) == b"3"


@pytest.mark.parametrize("change", ["maxConnections", "overflow"])
async def test_changed(change: str) -> None:
    """
    A waiting client comes in, or is refused, as soon as a change allows it.
    """
    factory = TCPDemoFactory(Echo, maxConnections=1, overflow="wait")
    async with proxiedServer(factory) as (server, client):
        early = client(LINE[:10])
        await until(lambda: stageOf(server).heldCount)
        await received(client(LINE + b"1"), 1)
        early.send(LINE[10:] + b"2")
        for _ in range(5):
            await turn()
        if change == "overflow":
            factory.overflow = "refuse"
            await until(lambda: factory.refusedCount)
            assert server.events.of("connectionRefused")[0].peer == CLIENT
        else:
            factory.maxConnections = 2
            assert await received(early, 1) == b"2"


async def test_suspended() -> None:
    """
    A header that becomes whole while the server is suspended keeps its client
    waiting until it resumes.
    """
    factory = TCPDemoFactory(Echo)
    async with proxiedServer(factory) as (server, client):
        raw = client(LINE[:10])
        await until(lambda: stageOf(server).heldCount)
        factory.suspend()
        raw.send(LINE[10:] + b"x")
        for _ in range(5):
            await turn()
        assert factory.acceptedCount == 0
        factory.resume()
        assert await received(raw, 1) == b"x"


async def test_descriptors() -> None:
    """
    A client without a whole header counts in the descriptors, and is refused where
    none is left for it.
    """
    factory = TCPDemoFactory(Echo)
    async with proxiedServer(factory) as (server, client):
        factory.descriptorLimit = 2
        held = client(LINE[:1])
        await until(lambda: stageOf(server).heldCount)
        await received(client(LINE + b"1"), 1)
        client(LINE[:1])
        await until(lambda: factory.refusedCount == 1)
        client(LINE)
        await until(lambda: factory.refusedCount == 2)
        assert factory.report().refusedBy == {"descriptorLimit": 2}
        held.close()
        await until(lambda: not stageOf(server).heldCount)
        await received(client(LINE + b"2"), 1)


async def test_drain() -> None:
    """
    A drain serves the clients whose headers have come, and refuses the others.
    """
    factory = TCPDemoFactory(Echo)
    async with proxiedServer(factory) as (server, client):
        unfinished = client(LINE[:10])
        await until(lambda: stageOf(server).heldCount)
        whole = client(LINE + b"x")  # still in the kernel's queue
        drained = factory.drain(5)
        assert await received(whole, 1) == b"x"
        await until(lambda: isOver(unfinished))
        whole.close()
        report = await drained
        assert (report.finished, report.aborted) == (1, 0)
        assert factory.report().refusedBy == {"proxyStopped": 1}


async def test_drainWaiting() -> None:
    """
    A drain refuses a client that has waited for a slot, as it does those in the
    kernel's queue.
    """
    factory = TCPDemoFactory(Echo, maxConnections=1, overflow="wait", refusalMessage=b"full")
    async with proxiedServer(factory) as (server, client):
        waiting = client(LINE[:10])
        await until(lambda: stageOf(server).heldCount)
        first = client(LINE + b"x")
        await received(first, 1)
        waiting.send(LINE[10:])
        for _ in range(5):
            await turn()
        drained = factory.drain(5)
        assert await received(waiting, 4) == b"full"
        first.close()
        await drained


def test_interfaces() -> None:
    """
    The stage and the factory keep their contracts.
    """
    stage = Stage()
    ours, theirs = socket.socketpair()
    verifyObject(IHeldClient, Unserved(stage.stage, ours, "", UNIXAddress(None)))
    verifyObject(IHeldClients, TCPDemoFactory(Discard).heldClients)
    ours.close()
    theirs.close()
    stage.close()
