"""
One attempt to connect: its duration, and what a failure leaves behind.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import Any

import pytest
from twisted.internet.address import HostnameAddress, IPv4Address
from twisted.internet.defer import fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost, TimeoutError
from twisted.internet.interfaces import IHandshakeListener
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.support.clients import (
    TLS,
    Client,
    Resolver,
    Stubborn,
    Tried,
    cancelled,
    closed,
    installedReactor,
    silentServer,
    to,
)
from tests.support.contexts import TwistedContexts
from tests.support.peers import Peer, serving
from tests.support.waiting import failureOf, turn, until
from twisted_tcpdemo import ClientEndpoint, CloseReason, TCPDemoFactory
from twisted_tcpdemo.client.retry import Retry
from twisted_tcpdemo.fast.poller import pollerOf
from twisted_tcpdemo.twistd.programs import Discard, Echo

# TLS.


async def test_TLS() -> None:
    """
    Under TLS, connectionMade comes when the handshake is done, and counts are
    plaintext.
    """

    class Verifier(Client):
        def connectionMade(self) -> None:
            self.certificate = self.transport.getPeerCertificate()
            super().connectionMade()

    async with serving(TCPDemoFactory(Echo), TLS) as server:
        client = await to(server.port, tls=TwistedContexts.client()).connectProtocol(Verifier())
        assert client.certificate is not None
        await client.write("hello")
        await client.whenReceived(5)
        assert (client.bytesRead, client.bytesWritten) == (5, 5)
        await closed(client)


@implementer(IHandshakeListener)
class Listener(Client):
    """
    A protocol that wants to hear of the handshake.
    """

    order: tuple[str, ...] = ()

    def connectionMade(self) -> None:
        """
        Remember it.
        """
        self.order += ("made",)
        super().connectionMade()

    def handshakeCompleted(self) -> None:
        """
        Remember it.
        """
        self.order += ("handshake",)


async def test_handshakeListener() -> None:
    """
    A protocol that wants to hear of the handshake does, after connectionMade.
    """
    async with serving(TCPDemoFactory(Discard), TLS) as server:
        client = await to(server.port, tls=TwistedContexts.client()).connectProtocol(Listener())
        assert client.order == ("made", "handshake")
        await closed(client)


async def test_TLSNotTrusted() -> None:
    """
    An untrusted certificate fails the Deferred; the protocol hears nothing, and
    there is no second attempt.
    """
    async with serving(TCPDemoFactory(Discard), TLS) as server:
        client = Client()
        endpoint = to(server.port, tls=True, retry=Retry(initialDelay=60))
        error = await failureOf(endpoint.connectProtocol(client))
        assert "certificate" in repr(error)
        assert client.transport is None and client.reason is None
        await server.factory.whenEmpty()


async def test_TLSWrongName() -> None:
    """
    A certificate for another name fails the Deferred.
    """
    async with serving(TCPDemoFactory(Discard), TLS) as server:
        endpoint = to(server.port, tls=TwistedContexts.client(name="elsewhere.test"))
        error = await failureOf(endpoint.connectProtocol(Client()))
        assert "service_identity" in type(error).__module__
        await server.factory.whenEmpty()


async def test_TLSPeerEndsDuringHandshake(resources: ExitStack) -> None:
    """
    A peer that leaves during the handshake is a lost connection.
    """
    listener = resources.enter_context(socket.create_server(("127.0.0.1", 0)))
    connecting = to(listener.getsockname()[1], tls=TwistedContexts.client()).connectProtocol(
        Client()
    )
    listener.setblocking(False)
    await turn()
    await turn()
    listener.accept()[0].close()
    assert isinstance(await failureOf(connecting), ConnectionLost)


# One attempt by itself.


def test_succeeds() -> None:
    """
    An attempt succeeds once, with a placeholder that has a connection, and its
    timeout is switched off.
    """
    tried = Tried(timeout=5)
    placeholder, transport = tried.reach()
    assert (tried.ready, tried.failures) == ([placeholder], [])
    assert placeholder.ready and not placeholder.secured
    tried.attempt.progress()
    placeholder.connectionLost(Failure(ConnectionLost()))
    assert (len(tried.ready), tried.failures) == (1, [])
    assert tried.clock.getDelayedCalls() == []
    assert not transport.disconnecting


def test_failsOnce() -> None:
    """
    A timeout is the failure; a connection that the endpoint has not reported, or
    reports too late, is aborted and no success.
    """
    tried = Tried(timeout=5)
    _, untold = tried.endpoint.reach()
    tried.clock.advance(4.9)
    assert tried.failures == [] and not untold.disconnected
    tried.clock.advance(0.1)
    _, late = tried.endpoint.reach()
    [failure] = tried.failures
    assert failure.check(TimeoutError)
    assert untold.disconnected and late.disconnected
    assert tried.ready == []


def test_abandoned() -> None:
    """
    An abandoned attempt reports nothing, and its connection is aborted.
    """
    tried = Tried(timeout=5)
    _, transport = tried.endpoint.reach()
    tried.attempt.abandon()
    assert transport.disconnected
    assert (tried.ready, tried.failures, tried.clock.getDelayedCalls()) == ([], [], [])


def test_factoryHearsOfTheAttempt() -> None:
    """
    The application's factory is started and stopped with the attempt.
    """
    tried = Tried()
    tried.attempt.doStart()
    tried.attempt.doStop()
    assert tried.factory.told == ("start", "stop")


def test_giveWay() -> None:
    """
    The protocol gets the transport, and then everything that came before it, in
    order.
    """
    tried = Tried()
    placeholder, transport = tried.reach()
    placeholder.dataReceived(b"early")
    placeholder.dataReceived(b" bird")
    client = Client()
    placeholder.giveWay(client, client)
    assert client.transport is transport
    assert client.received == b"early bird"
    placeholder.dataReceived(b"!")
    assert client.received == b"early bird!"


def test_takeBack() -> None:
    """
    A connection taken back is aborted, and the protocol hears of that loss; a proxy
    before it does not, and no more bytes are delivered to either.
    """
    tried = Tried()
    placeholder, transport = tried.reach()
    proxy, client = Peer(), Peer()
    placeholder.giveWay(proxy, client)
    placeholder.takeBack()
    assert transport.disconnected
    placeholder.connectionLost(Failure(ConnectionLost()))
    assert proxy.reason is None
    assert isinstance(client.reason, ConnectionLost)


def test_takeBackBeforehand() -> None:
    """
    Before the placeholder has given way no protocol hears of the loss, and bytes
    are dropped.
    """
    tried = Tried()
    placeholder, transport = tried.reach()
    placeholder.takeBack()
    placeholder.dataReceived(b"late")
    assert transport.disconnected
    assert placeholder._early == []


# Timeouts.


@pytest.mark.parametrize("stage", ["look-up", "connection", "handshake"])
async def test_timeout(stage: str, resolver: Resolver, resources: ExitStack) -> None:
    """
    The timeout covers every stage, with one error.
    """
    port = silentServer(resources, full=stage == "connection")
    host = "example.test" if stage == "look-up" else "127.0.0.1"
    endpoint = to(
        port, host, timeout=0.1, tls=TwistedContexts.client() if stage == "handshake" else None
    )
    error = await failureOf(endpoint.connectProtocol(Client()))
    assert isinstance(error, TimeoutError) and "0.1 s" in str(error)


async def test_noTimeout() -> None:
    """
    Without a timeout, and without TLS, there is no timer to switch off.
    """
    async with serving(TCPDemoFactory(Discard)) as server:
        endpoint = to(server.port, timeout=None, tls=False)
        await closed(await endpoint.connectProtocol(Client()))


async def test_fromStringTimeout(resources: ExitStack) -> None:
    """
    The timeout covers the handshake of a string's endpoint; Twisted's own does not.
    """
    description = f"tls:127.0.0.1:{silentServer(resources)}"
    endpoint = ClientEndpoint.fromString(description, timeout=0.1)
    assert isinstance(await failureOf(endpoint.connectProtocol(Client())), TimeoutError)


# Cancelling.


async def test_cancelLookUp(resolver: Resolver) -> None:
    """
    The look-up of a name can be cancelled.
    """
    error = await cancelled(to(80, "example.test").connectProtocol(Client()))
    assert error.address == HostnameAddress(b"example.test", 80)


async def test_cancelConnecting(resources: ExitStack) -> None:
    """
    A connection in the making can be cancelled.
    """
    connecting = to(silentServer(resources, full=True)).connectProtocol(Client())
    await turn()
    await turn()
    await cancelled(connecting)


async def test_cancelRace(resolver: Resolver, resources: ExitStack) -> None:
    """
    A race of two addresses can be cancelled.
    """
    resolver.addresses = [
        IPv4Address("TCP", "127.0.0.1", silentServer(resources, full=True)) for _ in range(2)
    ]
    connecting = to(80, "example.test").connectProtocol(Client())
    poller = pollerOf(installedReactor())
    before = poller.connectionCount
    await until(lambda: poller.connectionCount == before + 2)
    await cancelled(connecting)


async def test_cancelHandshake(resources: ExitStack) -> None:
    """
    A TLS handshake can be cancelled, and the protocol hears nothing.
    """
    client = Client()
    connecting = to(silentServer(resources), tls=TwistedContexts.client()).connectProtocol(client)
    poller = pollerOf(installedReactor())
    before = poller.connectionCount
    await until(lambda: poller.connectionCount > before)
    await turn()
    await cancelled(connecting)
    assert client.transport is None


@pytest.fixture
def stubborn(monkeypatch: pytest.MonkeyPatch) -> Stubborn:
    """
    The endpoint of C{fromString("stubborn:")}.
    """
    endpoint = Stubborn()
    monkeypatch.setattr("twisted_tcpdemo.client.endpoint.clientFromString", lambda *_: endpoint)
    return endpoint


async def test_foreignEndpointEarlyData(stubborn: Stubborn) -> None:
    """
    Bytes that a foreign endpoint delivers before it reports its connection are not
    lost.
    """
    connecting = ClientEndpoint.fromString("stubborn:").connectProtocol(Client())
    placeholder, transport = stubborn.reach()
    placeholder.dataReceived(b"early")
    assert not connecting.called
    stubborn.connected.callback(placeholder)
    client = await connecting
    placeholder.dataReceived(b" bird")
    assert client.received == b"early bird"
    assert client.bytesRead == 10
    placeholder.readConnectionLost()
    placeholder.writeConnectionLost()
    assert client.ended and transport.disconnecting
    placeholder.connectionLost(Failure(ConnectionDone()))
    assert client.closeReason is CloseReason.PEER_CLOSED


async def test_foreignEndpointLostEarly(stubborn: Stubborn) -> None:
    """
    A connection lost before the endpoint reports it is a failure.
    """
    connecting = ClientEndpoint.fromString("stubborn:").connectProtocol(Client())
    placeholder, _ = stubborn.reach()
    placeholder.connectionLost(Failure(ConnectionLost()))
    stubborn.connected.callback(placeholder)
    assert isinstance(await failureOf(connecting), ConnectionLost)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_foreignEndpointNotCancelled(stubborn: Stubborn, when: str) -> None:
    """
    A connection of an endpoint that ignores its cancellation is aborted.
    """
    connecting = ClientEndpoint.fromString("stubborn:").connectProtocol(Client())
    if when == "before":
        _, transport = stubborn.reach()
        await cancelled(connecting)
    else:
        await cancelled(connecting)
        _, transport = stubborn.reach()
    assert transport.disconnected or transport.disconnecting


async def test_foreignEndpointRaises(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    An endpoint may raise, or return a Deferred that has already fired.
    """
    endpoint: Any = Stubborn()
    monkeypatch.setattr("twisted_tcpdemo.client.endpoint.clientFromString", lambda *_: endpoint)

    def raising(factory: Any) -> Any:
        raise ZeroDivisionError

    def atOnce(factory: Any) -> Any:
        endpoint.factory = factory
        return succeed(endpoint.reach()[0])

    for connect in raising, lambda _: fail(ZeroDivisionError()):
        endpoint.connect = connect
        connecting = ClientEndpoint.fromString("stubborn:").connectProtocol(Client())
        assert isinstance(await failureOf(connecting), ZeroDivisionError)
    endpoint.connect = atOnce
    client = Client()
    assert await ClientEndpoint.fromString("stubborn:").connectProtocol(client) is client
