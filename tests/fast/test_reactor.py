"""
The view of a reactor on which TCP connections write through.
"""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest
from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    serverFromString,
)
from twisted.internet.interfaces import (
    IReactorFDSet,
    IReactorPluggableNameResolver,
    IReactorSocket,
    IReactorTCP,
    IReactorTime,
    IReactorUNIX,
)
from twisted.internet.protocol import ClientFactory, Factory
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock

from tests.support.certificates import clientContext, pemFile, serverContext
from tests.support.clients import installedReactor, to
from tests.support.peers import Peer, serving
from tests.support.waiting import until
from twisted_tcpdemo import TCPDemoFactory, fastReactor
from twisted_tcpdemo.fast.connector import ClientTransport
from twisted_tcpdemo.fast.port import ServerTransport, WriteThroughPort
from twisted_tcpdemo.twistd.programs import Echo


@pytest.mark.parametrize(
    "interface",
    [
        IReactorFDSet,
        IReactorPluggableNameResolver,
        IReactorSocket,
        IReactorTCP,
        IReactorTime,
        IReactorUNIX,
    ],
)
def test_provides(interface: Any) -> None:
    """
    The view provides the interfaces of its reactor.
    """
    view = fastReactor(installedReactor())
    assert interface.providedBy(view) == interface.providedBy(installedReactor())


def test_passesOn() -> None:
    """
    Everything but ports and connectors is the reactor's own.
    """
    reactor = installedReactor()
    view = fastReactor(reactor)
    assert view.callLater == reactor.callLater and view.running
    assert repr(reactor) in repr(view)
    with pytest.raises(AttributeError):
        view.nothingOfTheKind  # noqa: B018


@pytest.mark.parametrize("reactor", [Clock(), MemoryReactorClock(), object()])
def test_givenBack(reactor: Any) -> None:
    """
    A reactor that cannot have a poller is returned as it is.
    """
    assert fastReactor(reactor) is reactor


def test_viewOfView() -> None:
    """
    A view is returned as it is.
    """
    view = fastReactor(installedReactor())
    assert fastReactor(view) is view


@pytest.mark.parametrize("tls", [False, True])
async def test_strings(tls: bool) -> None:
    """
    Twisted's endpoint strings make our ports, and their clients connect.
    """
    view = fastReactor(installedReactor())
    text = f"ssl:0:privateKey={pemFile()}" if tls else "tcp:0"
    endpoint = serverFromString(view, f"{text}:interface=127.0.0.1")
    async with serving(TCPDemoFactory(Echo), endpoint, tls=tls) as server:
        [port] = server.factory.ports
        assert isinstance(port, WriteThroughPort)
        peer = await server.connect()
        peer.transport.write(b"hello")
        await peer.whenReceived(5)


async def test_SSL() -> None:
    """
    C{listenSSL} and C{connectSSL} encrypt over our transports.
    """
    view: Any = fastReactor(installedReactor())
    server: Any = Factory.forProtocol(Peer)
    server.noisy = False
    port = view.listenSSL(0, server, serverContext(), interface="127.0.0.1")
    made: list[Any] = []

    class Connecting(ClientFactory):
        noisy = False

        def buildProtocol(self, addr: Any) -> Peer:
            made.append(Peer())
            return made[0]

    view.connectSSL("127.0.0.1", port.getHost().port, Connecting(), clientContext())
    try:
        await until(lambda: made and made[0].transport)
        assert isinstance(made[0].transport.transport, ClientTransport)
        made[0].transport.write(b"hello")
        made[0].transport.loseConnection()
        await made[0].whenLost()
    finally:
        await port.stopListening()


async def test_wrapClientTLS() -> None:
    """
    A client with TLS has our transport below.
    """
    async with serving(
        TCPDemoFactory(Echo), f"ssl:0:interface=127.0.0.1:privateKey={pemFile()}", tls=True
    ) as server:
        client = await to(server.port, tls=clientContext()).connectProtocol(Peer())
        assert isinstance(client.transport.transport, ClientTransport)
        client.transport.loseConnection()
        await client.whenLost()


async def test_adoptStreamPort() -> None:
    """
    A listening socket of another program becomes one of our ports.
    """
    view = fastReactor(installedReactor())
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        endpoint = AdoptedStreamServerEndpoint(view, os.dup(listener.fileno()), socket.AF_INET)
        factory = TCPDemoFactory(Echo)
        async with serving(factory, endpoint) as server:
            peer = await server.connect()
            await until(lambda: factory.connectionCount == 1)
            [protocol] = factory.connections
            assert isinstance(protocol.transport, ServerTransport)
            peer.transport.loseConnection()
            await peer.whenLost()


async def test_adoptUNIX() -> None:
    """
    UNIX sockets are the reactor's own.
    """
    view: Any = fastReactor(installedReactor())
    ours, theirs = socket.socketpair()
    with ours, theirs:
        protocols: list[Peer] = []

        class One(Factory[Any]):
            noisy = False

            def buildProtocol(self, addr: Any) -> Peer:
                protocols.append(Peer())
                return protocols[0]

        view.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, One())
        theirs.sendall(b"hello")
        await protocols[0].whenReceived(5)
        protocols[0].transport.loseConnection()
        await protocols[0].whenLost()
