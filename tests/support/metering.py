"""
A meter between a protocol and a transport of Twisted's, and its watcher.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.support.fast import drainPeer
from tests.support.peers import Peer, rawConnection
from tests.support.waiting import until
from twisted_tcpdemo.interfaces import ICountingTransport, ITransportWatcher
from twisted_tcpdemo.transports.meter import Meter
from twisted_tcpdemo.values.budgets import Budgets


@implementer(ITransportWatcher)
class Watcher:
    """
    Remembers the calls to it, and the reason of the loss.
    """

    def __init__(self) -> None:
        self.told: list[str] = []
        self.reason: BaseException | None = None
        self.asked: Callable[[], object] = lambda: None

    def transportFlushed(self) -> None:
        """
        Remember it.
        """
        self.told.append("flushed")

    def transportWaiting(self) -> None:
        """
        Remember it.
        """
        self.told.append("waiting")

    def transportClosing(self) -> None:
        """
        Remember it, and call the test.
        """
        self.told.append("closing")
        self.asked()

    def transportAborting(self) -> None:
        """
        Remember it.
        """
        self.told.append("aborting")

    def deliveryFailed(self) -> None:
        """
        Remember it.
        """
        self.told.append("failed")

    def transportEncrypting(self) -> None:
        """
        Remember it.
        """
        self.told.append("encrypting")

    def transportReadEnded(self, tell: Callable[[], object]) -> bool:
        """
        Remember it, and tell.
        """
        self.told.append("readEnded")
        tell()
        return False

    def transportWriteEnded(self, tell: Callable[[], object]) -> None:
        """
        Remember it, and tell.
        """
        self.told.append("writeEnded")
        tell()

    def transportLost(self, reason: Failure) -> None:
        """
        Remember it, and call the test.
        """
        self.told.append("lost")
        self.reason = reason.value
        self.asked()


@implementer(ICountingTransport)
class Counting(StringTransport):
    """
    A transport in memory that counts; the test sets the counts.
    """

    bytesRead = bytesWritten = bytesPending = 0
    lastActivity = 0.0
    handshaking = lingering = False

    def __init__(self, *addresses: Any) -> None:
        super().__init__(*addresses)
        self.watcher: Any = None
        self.budgets = Budgets()
        self.soon = 0

    def tellFlushedSoon(self) -> None:
        """
        Remember the request.
        """
        self.soon += 1


def wrapped(transport: Any, protocol: Any = None) -> Any:
    """
    A wrapper of Twisted's on a transport, connected.
    """
    wrapper = ProtocolWrapper(WrappingFactory(None), protocol or Peer())  # type: ignore[arg-type]
    wrapper.makeConnection(transport)
    return wrapper


class Metered:
    """
    A protocol, its transport, and the meter between them.

    @ivar send: lets the other side send, and waits until the bytes are delivered.
    @ivar taken: waits until the other side has so many bytes, and returns them.
    """

    def __init__(self, protocol: Any, transport: Any) -> None:
        self.protocol = protocol
        self.transport = transport
        self.clock = Clock()
        self.watcher = Watcher()
        self.meter = Meter(transport, self.watcher, self.clock)
        self.meter.attach(protocol)
        self.send: Callable[[bytes], Awaitable[None]] = self._deliver
        self.taken: Callable[[int], Awaitable[bytes]] = self._written

    async def _deliver(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    async def _written(self, count: int) -> bytes:
        value: bytes = self.transport.value()
        return value


def inMemory(protocol: Any = None, transport: Any = None) -> Metered:
    """
    Connect over a transport in memory.
    """
    protocol, transport = protocol or Peer(), transport or StringTransport()
    protocol.makeConnection(transport)
    return Metered(protocol, transport)


@asynccontextmanager
async def metered(kind: str, protocol: Any = None) -> AsyncGenerator[Metered]:
    """
    Connect over one kind of transport: C{"memory"} or C{"tcp"}.
    """
    if kind == "memory":
        yield inMemory(protocol)
    else:
        async with overTCP(protocol) as served:
            yield served


@asynccontextmanager
async def overTCP(protocol: Any = None) -> AsyncGenerator[Metered]:
    """
    Connect over Twisted's TCP, with a plain socket at the other end.
    """
    from twisted.internet import reactor

    served: Any = protocol or Peer()
    factory: Factory[Any] = Factory()
    factory.noisy = False
    factory.protocol = lambda: served
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[attr-defined]
    try:
        with rawConnection(port.getHost().port) as other:
            await until(lambda: served.transport is not None)
            over = Metered(served, served.transport)

            async def send(data: bytes) -> None:
                expected = over.meter.bytesRead + len(data)
                other.sendall(data)
                await until(lambda: over.meter.bytesRead >= expected)

            over.send = send
            over.taken = lambda count: drainPeer(other, count)
            yield over
            served.transport.abortConnection()
            await served.whenLost()
    finally:
        await port.stopListening()
