"""
Clients on loopback, and endpoints for their tests.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress
from random import SystemRandom
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IHostnameResolver, IStreamClientEndpoint
from twisted.internet.protocol import ClientFactory, Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.support.certificates import pemFile
from tests.support.peers import Peer
from tests.support.waiting import failureOf
from twisted_tcpdemo import ClientEndpoint, TCPDemoProtocol
from twisted_tcpdemo.client.attempt import Attempt, Placeholder
from twisted_tcpdemo.errors import ConnectCancelledError

TLS = f"ssl:0:interface=127.0.0.1:privateKey={pemFile()}"


def installedReactor() -> Any:
    """
    The reactor that runs the tests.
    """
    from twisted.internet import reactor

    return reactor


class Client(Peer, TCPDemoProtocol):
    """
    A counted protocol that remembers its events.
    """


def to(port: int, host: str = "127.0.0.1", **options: Any) -> ClientEndpoint:
    """
    An endpoint on this machine.
    """
    return ClientEndpoint(installedReactor(), host, port, **options)


def freePort() -> int:
    """
    A port on which nobody listens.  The system gives it to no other socket meanwhile:
    it is below those that it chooses by itself, so that no client gets it either, or
    connects to itself.
    """
    for port in SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def silentServer(resources: ExitStack, full: bool = False) -> int:
    """
    A port that accepts and never sends a byte.

    @param full: whether the kernel's queue is full, so that no client gets
        connected.
    @return: the port.
    """
    listener = resources.enter_context(socket.socket())
    listener.bind(("127.0.0.1", 0))
    listener.listen(0 if full else 5)
    for _ in range(3 if full else 0):
        waiting = resources.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(listener.getsockname())
    port: int = listener.getsockname()[1]
    return port


@implementer(IHostnameResolver)
class Resolver:
    """
    A resolver whose answers the test gives.
    """

    def __init__(self) -> None:
        self.addresses: list[Any] | None = None
        self.asked: list[tuple[str, Any]] = []

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        """
        Answer, if there are answers.
        """
        self.asked.append((hostName, addressTypes))
        if self.addresses is not None:
            resolutionReceiver.resolutionBegan(None)
            for address in self.addresses:
                if addressTypes is None or type(address) in addressTypes:
                    resolutionReceiver.addressResolved(address)
            resolutionReceiver.resolutionComplete()


async def closed(client: Any) -> None:
    """
    Close a client and wait for its end.
    """
    client.transport.loseConnection()
    await client.whenLost()


async def cancelled(connecting: Deferred[Any]) -> ConnectCancelledError:
    """
    Cancel, and return the error.
    """
    connecting.cancel()
    error = await failureOf(connecting)
    assert isinstance(error, ConnectCancelledError)
    assert isinstance(error, (ConnectingCancelledError, CancelledError))
    return error


@implementer(IStreamClientEndpoint)
class Stubborn:
    """
    A foreign endpoint that connects in memory, late, and cannot be cancelled.
    """

    def __init__(self) -> None:
        self.factory: Any = None
        self.connected: Deferred[Any] = Deferred()

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """
        Wait until the test connects it.
        """
        self.factory = protocolFactory
        return self.connected

    def reach(self) -> tuple[Any, StringTransport]:
        """
        Connect, and do not fire yet.
        """
        protocol = self.factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        return protocol, transport


class Starting(Factory[Any]):
    """
    Remembers how often it was started and stopped; asking it for a protocol fails.
    """

    noisy = False
    protocol = None
    told: tuple[str, ...] = ()

    def startFactory(self) -> None:
        """
        Remember it.
        """
        self.told += ("start",)

    def stopFactory(self) -> None:
        """
        Remember it.
        """
        self.told += ("stop",)


class Failing(ClientFactory):
    """
    Remembers why its attempt has failed.

    @ivar failed: fails then.
    """

    noisy = False

    def __init__(self) -> None:
        self.failed: Deferred[Any] = Deferred()

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """
        Remember it.
        """
        self.failed.errback(reason)


class Tried:
    """
    An attempt with an endpoint of the test's, and its outcome.
    """

    def __init__(self, timeout: float | None = None) -> None:
        self.clock = Clock()
        self.endpoint = Stubborn()
        self.factory = Starting()
        self.ready: list[Placeholder] = []
        self.failures: list[Failure] = []
        self.attempt = Attempt(self.factory, self.ready.append, self.failures.append)
        self.attempt.start(self.endpoint, self.clock, timeout)

    def reach(self) -> tuple[Placeholder, StringTransport]:
        """
        Let the endpoint connect, and fire.
        """
        placeholder, transport = self.endpoint.reach()
        self.endpoint.connected.callback(placeholder)
        return placeholder, transport
