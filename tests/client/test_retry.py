"""
Retries of a connection.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from tests.support.clients import TLS, Client, cancelled, closed, freePort, installedReactor, to
from tests.support.contexts import TwistedContexts
from tests.support.peers import serving
from tests.support.waiting import failureOf, turn, until
from twisted_tcpdemo import ClientEndpoint, TCPDemoFactory
from twisted_tcpdemo.client.retry import Retry
from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.twistd.programs import Discard, Echo


async def test_retry() -> None:
    """
    A refused connection is tried again, with the pauses of the policy; the protocol
    is connected once.
    """
    clock = MemoryReactorClock()
    retry = Retry(attempts=3, initialDelay=2, factor=3, jitter=lambda: 0.5)
    client = Client()
    connecting = ClientEndpoint(clock, "192.0.2.1", 80, retry=retry).connectProtocol(client)
    for attempt, pause in (1, 2.5), (2, 6.5):
        assert len(clock.tcpClients) == attempt
        refuse(clock)
        clock.advance(pause - 0.1)
        assert len(clock.tcpClients) == attempt
        clock.advance(0.1)
    factory: Any = clock.tcpClients[-1][2]
    factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 80)).makeConnection(StringTransport())
    assert await connecting is client
    assert clock.getDelayedCalls() == []


def refuse(clock: Any) -> None:
    """
    Let the last attempt of a reactor in memory fail.
    """
    factory, connector = clock.tcpClients[-1][2], clock.connectors[-1]
    factory.clientConnectionFailed(connector, Failure(ConnectionRefusedError()))


async def test_retryGivesUp() -> None:
    """
    After the last attempt its failure is the result.
    """
    clock = MemoryReactorClock()
    connecting = ClientEndpoint(clock, "192.0.2.1", 80, retry=2).connectProtocol(Client())
    refuse(clock)
    clock.advance(3)
    refuse(clock)
    assert isinstance(await failureOf(connecting), ConnectionRefusedError)
    assert len(clock.tcpClients) == 2
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    ("jitter", "kind"), [(lambda: 1 / 0, ZeroDivisionError), (lambda: "x", TypeError)]
)
async def test_jitterThatRaises(jitter: Any, kind: type[Exception]) -> None:
    """
    A jitter that raises ends the call with its error.
    """
    clock = MemoryReactorClock()
    retry = Retry(jitter=jitter)
    connecting = ClientEndpoint(clock, "192.0.2.1", 80, retry=retry).connectProtocol(Client())
    refuse(clock)
    assert isinstance(await failureOf(connecting), kind)
    assert clock.getDelayedCalls() == []


async def test_retryForReal() -> None:
    """
    A server that starts late is found.
    """
    port = freePort()
    retry = Retry(initialDelay=0.02, jitter=lambda: 0)
    connecting = to(port, retry=retry).connectProtocol(Client())
    await turn()
    await turn()
    async with serving(TCPDemoFactory(Echo), f"tcp:{port}:interface=127.0.0.1"):
        client = await connecting
        client.transport.write(b"hello")
        await client.whenReceived(5)
        await closed(client)


async def test_retryAfterFailedHandshake(resources: ExitStack) -> None:
    """
    A connection that breaks during the handshake is tried again, with the same
    protocol.
    """
    port = freePort()
    listener = resources.enter_context(socket.create_server(("127.0.0.1", port)))
    listener.setblocking(False)
    retry = Retry(initialDelay=0.05, jitter=lambda: 0)
    client = Client()
    connecting = to(port, tls=TwistedContexts.client(), retry=retry).connectProtocol(client)

    def accepted() -> bool:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    await until(accepted)
    listener.close()
    async with serving(TCPDemoFactory(Discard), TLS.replace("ssl:0", f"ssl:{port}")):
        assert await connecting is client
        await closed(client)


def test_retryForever() -> None:
    """
    Without a number of attempts the pauses go on, up to the longest.
    """
    delays = Retry(initialDelay=1, maxDelay=5, factor=2, jitter=lambda: -0.5).delays()
    assert [next(delays) for _ in range(5)] == [0.5, 1.5, 3.5, 4.5, 4.5]
    assert list(Retry(attempts=1).delays()) == []


# Cancelling.


async def test_cancelRetry() -> None:
    """
    A pause between two attempts can be cancelled.
    """
    connecting = to(freePort(), retry=Retry(initialDelay=60)).connectProtocol(Client())
    clock = steady(installedReactor())
    calls = clock.getDelayedCalls
    await until(lambda: any(call.getTime() - clock.seconds() > 35 for call in calls()))
    await cancelled(connecting)


# Bad arguments.


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"attempts": 0}, ValueError),
        ({"attempts": 1.5}, TypeError),
        ({"initialDelay": -1}, ValueError),
        ({"initialDelay": None}, TypeError),
        ({"maxDelay": "1"}, TypeError),
        ({"maxDelay": None}, TypeError),
        ({"factor": 0.5}, ValueError),
        ({"jitter": 1}, TypeError),
    ],
    ids=str,
)
def test_badRetry(arguments: dict[str, Any], kind: type[Exception]) -> None:
    """
    A malformed policy is a clear error.
    """
    with pytest.raises(kind, match=next(iter(arguments))):
        Retry(**arguments)
