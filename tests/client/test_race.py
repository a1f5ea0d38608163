"""
The race of the addresses of a server.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from zope.interface import directlyProvides

from tests.support.clients import (
    Client,
    Resolver,
    closed,
    freePort,
    installedReactor,
    silentServer,
    to,
)
from tests.support.contexts import TwistedContexts
from tests.support.links import LINK, NUMBER, needsLink
from tests.support.peers import Peer, serving
from tests.support.waiting import failureOf
from twisted_tcpdemo import ClientEndpoint, TCPDemoFactory
from twisted_tcpdemo.client.race import Race, isItself, refuseItself
from twisted_tcpdemo.client.targets import HostTarget
from twisted_tcpdemo.errors import ConnectFailedError
from twisted_tcpdemo.fast.reactor import fastReactor
from twisted_tcpdemo.twistd.programs import Discard


class Course:
    """
    A race of some addresses, whose connections the test makes.
    """

    def __init__(self, *numbers: int, delay: float = 0.3) -> None:
        self.clock = Clock()
        self.tried: dict[int, Deferred[Any]] = {}
        self.given: list[int] = []
        self.refused: set[int] = set()
        addresses = [IPv4Address("TCP", f"192.0.2.{n}", 80) for n in numbers]
        self.race = Race(
            addresses,
            self._connectTo,
            self.clock,
            name="example.test:80",
            address=addresses[0],
            attemptDelay=delay,
        )
        self.result = self.race.result

    def _connectTo(self, address: IPv4Address) -> Deferred[Any]:
        number = int(address.host.rpartition(".")[2])
        if number in self.refused:
            self.tried[number] = fail(ConnectionRefusedError())
        else:
            self.tried[number] = Deferred(lambda _: self.given.append(number))
        return self.tried[number]


def test_delay() -> None:
    """
    One address starts after the other, and the first to connect wins; the others are
    given up.
    """
    course = Course(1, 2, 3, 4, delay=0.5)
    course.race.start()
    course.clock.advance(0.4)
    assert list(course.tried) == [1]
    course.clock.advance(0.1)
    assert list(course.tried) == [1, 2]
    course.clock.advance(0.5)
    assert list(course.tried) == [1, 2, 3] and course.given == []
    winner = Peer()
    course.tried[2].callback(winner)
    assert course.result.result is winner
    assert course.given == [1, 3]
    assert course.clock.getDelayedCalls() == []


def test_nextAtOnce() -> None:
    """
    After a refusal the next address starts at once, and its successor a whole delay
    later.
    """
    course = Course(1, 2, 3)
    course.race.start()
    course.clock.advance(0.2)
    course.tried[1].errback(ConnectionRefusedError())
    assert list(course.tried) == [1, 2]
    course.clock.advance(0.2)
    assert list(course.tried) == [1, 2]
    course.clock.advance(0.1)
    assert list(course.tried) == [1, 2, 3]
    course.result.addErrback(lambda _: None)
    course.result.cancel()
    assert course.given == [2, 3]
    assert course.clock.getDelayedCalls() == []


async def test_manyFailAtOnce() -> None:
    """
    Any number of addresses may fail at once; each is in the error, in order, and the
    text is short.
    """
    course = Course(*range(250))
    course.refused = set(range(250))
    course.race.start()
    error = await failureOf(course.result)
    assert isinstance(error, ConnectFailedError)
    assert [a.reason for a in error.attempts] == ["was refused"] * 250
    assert course.clock.getDelayedCalls() == []


async def test_errorOfTheApplication() -> None:
    """
    An error that is not the network's ends the race, and is left as it is.
    """
    course = Course(1, 2)
    course.race.start()
    course.tried[1].errback(ZeroDivisionError())
    assert isinstance(await failureOf(course.result), ZeroDivisionError)
    assert list(course.tried) == [1]
    assert course.clock.getDelayedCalls() == []


async def test_ofAName(resolver: Resolver, resources: ExitStack) -> None:
    """
    An error of a name has each address once, each with its reason, and is of the
    class of the last one.
    """
    ports = freePort(), freePort()
    first, second = [IPv4Address("TCP", "127.0.0.1", port) for port in ports]
    resolver.addresses = [first, second, first]
    error = await failureOf(to(80, "example.test", attemptDelay=5).connectProtocol(Client()))
    assert isinstance(error, ConnectFailedError) and isinstance(error, ConnectionRefusedError)
    assert [attempt.address for attempt in error.attempts] == [first, second]
    assert str(error) == (
        f"connection to example.test:80 failed: 127.0.0.1:{ports[0]} was refused; "
        f"127.0.0.1:{ports[1]} was refused"
    )


async def test_timeout(resolver: Resolver, resources: ExitStack) -> None:
    """
    A timeout tells which addresses were tried.
    """
    ports = freePort(), silentServer(resources, full=True)
    resolver.addresses = [IPv4Address("TCP", "127.0.0.1", port) for port in ports]
    error = await failureOf(to(80, "example.test", timeout=0.2).connectProtocol(Client()))
    assert str(error) == (
        f"connection to example.test:80 timed out after 0.2 s: 127.0.0.1:{ports[0]} was "
        f"refused; 127.0.0.1:{ports[1]} did not answer"
    )


async def test_stringsRaceToo(resolver: Resolver) -> None:
    """
    The addresses of a name in a string race, too, and its errors name them.
    """
    async with serving(TCPDemoFactory(Discard)) as server:
        bad, good = [IPv4Address("TCP", "127.0.0.1", p) for p in (freePort(), server.port)]
        resolver.addresses = [bad, good]
        endpoint = ClientEndpoint.fromString("tcp:my_server:80", attemptDelay=60)
        await closed(await endpoint.connectProtocol(Client()))
        resolver.addresses = [bad]
        error = await failureOf(endpoint.connectProtocol(Client()))
        expected = f"connection to tcp:my_server:80 failed: 127.0.0.1:{bad.port} was refused"
        assert str(error) == expected


# Connections to oneself.


@pytest.mark.parametrize("lane", ["fast", "twisted"])
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
        pytest.param(f"{LINK}%{NUMBER}", marks=needsLink),
    ],
)
async def test_itself(lane: str, host: str) -> None:
    """
    A connection to itself is a refused one, and leaves its port free.
    """
    reactor = fastReactor(installedReactor()) if lane == "fast" else installedReactor()
    port = freePort()
    target = HostTarget(reactor, host, port, localAddress=host, localPort=port)
    target._mayBeItself = False  # as if the kernel had chosen the port
    endpoint = to(port)
    endpoint._endpoint = target
    client = Client()
    error = await failureOf(endpoint.connectProtocol(client))
    assert isinstance(error, ConnectionRefusedError)
    assert "was refused" in str(error)
    assert client.transport is None
    async with serving(TCPDemoFactory(Discard), f"tcp:{port}:interface=127.0.0.1"):
        await closed(await to(port).connectProtocol(Client()))


async def test_itselfTLS() -> None:
    """
    Under TLS it is one as well.
    """
    port = freePort()
    endpoint = to(port, tls=TwistedContexts.client(), localAddress="127.0.0.1", localPort=port)
    inner: Any = endpoint._endpoint
    getattr(inner, "_wrappedEndpoint", inner)._mayBeItself = False
    assert isinstance(await failureOf(endpoint.connectProtocol(Client())), ConnectionRefusedError)


async def test_itselfByChoice() -> None:
    """
    An application that chooses its own port may connect to itself.
    """
    port = freePort()
    endpoint = to(port, localAddress="127.0.0.1", localPort=port)
    client = await endpoint.connectProtocol(Client())
    client.transport.write(b"echo")
    await client.whenReceived(4)
    assert client.localPort == client.remotePort == port
    await closed(client)


def test_isItself() -> None:
    """
    Only a TCP connection with the same address at both ends is one; a lost one is not
    asked, and one without a transport has not been made.
    """
    here, there = (IPv4Address("TCP", "127.0.0.1", port) for port in (1, 2))
    for host, peer, itself in ((here, here, True), (here, there, False)):
        transport = StringTransport(host, peer)
        assert not isItself(transport)
        directlyProvides(transport, ITCPTransport)
        assert isItself(transport) is itself
    lost = Peer()
    directlyProvides(lost, ITCPTransport)
    assert not isItself(lost)
    protocol = Peer()
    assert refuseItself(protocol) is protocol


@pytest.mark.parametrize(
    ("delay", "kind"),
    [(0, ValueError), (0.001, ValueError), (float("nan"), ValueError), ("1", TypeError)],
)
def test_badDelay(delay: Any, kind: type[Exception]) -> None:
    """
    A delay shorter than RFC 8305 allows is refused, whatever is to be connected to.
    """
    with pytest.raises(kind, match="attemptDelay must be"):
        to(80, "example.test", attemptDelay=delay)
    with pytest.raises(kind, match="attemptDelay must be"):
        ClientEndpoint(installedReactor(), path="/p", attemptDelay=delay)
    with pytest.raises(kind, match=r"^attemptDelay must be"):
        ClientEndpoint.fromString("unix:/p", attemptDelay=delay)
