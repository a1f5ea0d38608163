"""
The socket options of TCP connections.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator
from dataclasses import FrozenInstanceError
from errno import EINVAL
from functools import partial
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IUNIXTransport
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import directlyProvides

from tests.support.clients import Client, closed, to
from tests.support.peers import serving
from twisted_tcpdemo import ClientEndpoint, TCPDemoFactory
from twisted_tcpdemo.transports.socketoptions import SocketOptions, socketOptionsOf
from twisted_tcpdemo.twistd.programs import Discard

HAS_KEEPIDLE = hasattr(socket, "TCP_KEEPIDLE")


def systemsOwn() -> int:
    """
    The delay of a new socket before a probe.
    """
    with socket.socket() as untouched:
        return untouched.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)


@pytest.mark.skipif(not HAS_KEEPIDLE, reason="the system does not tell")
@pytest.mark.parametrize("delay", [0, 1, 20.5, 32767])
async def test_keepAlive(delay: float) -> None:
    """
    A valid delay is set in the kernel; 0 leaves the kernel's own.
    """
    factory = TCPDemoFactory(Discard, keepAlive=True, keepAliveInitialDelay=delay)
    async with serving(factory) as server:
        await server.connect()
        handle = (await server.protocol()).transport.getHandle()
        assert handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        kept = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        assert kept == (int(delay) or systemsOwn())


@pytest.mark.skipif(not HAS_KEEPIDLE, reason="the system does not tell")
@pytest.mark.parametrize("side", ["server", "client"])
@pytest.mark.parametrize("given", [None, (7, 3)])
async def test_keepAliveProbes(side: str, given: tuple[int, int] | None) -> None:
    """
    Probes are sent as often as given.  By default a dead peer is found ten seconds
    after the first one, as Node finds it.
    """
    options: dict[str, Any] = {"keepAlive": True}
    if given is not None:
        options.update(keepAliveInterval=given[0], keepAliveCount=given[1])
    factory = TCPDemoFactory(Discard, **(options if side == "server" else {}))
    async with serving(factory) as server:
        client = await to(server.port, **(options if side == "client" else {})).connectProtocol(
            Client()
        )
        protocol = client if side == "client" else await server.protocol()
        handle = protocol.transport.getHandle()
        probes = [
            handle.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        ]
        assert tuple(probes) == (given or (1, 10))
        await closed(client)


@pytest.mark.parametrize(
    ("name", "value", "kind", "why"),
    [
        ("keepAliveInterval", 0.5, ValueError, "1 to 32767 seconds"),
        ("keepAliveInterval", 32768, ValueError, "1 to 32767 seconds"),
        ("keepAliveInterval", "1", TypeError, "a number or None"),
        ("keepAliveCount", 128, ValueError, "from 0 to 127"),
        ("keepAliveCount", -1, ValueError, "from 0 to 127"),
        ("keepAliveCount", 1.5, TypeError, "a whole number"),
    ],
)
def test_badProbes(name: str, value: Any, kind: type[Exception], why: str) -> None:
    """
    An interval or a number that the kernel would refuse is refused when it is given.
    """
    for make in takers():
        with pytest.raises(kind, match=f"{name} must be {why}"):
            make(**{name: value})


def takers() -> list[Callable[..., object]]:
    """
    Everything that takes socket options by their names.
    """
    from twisted.internet import reactor

    return [SocketOptions, TCPDemoFactory, partial(ClientEndpoint, reactor, path="/p")]


BAD_DELAYS: list[tuple[Any, type[Exception], str]] = [
    (-1, ValueError, "a finite number, 0 or more, not -1"),
    (float("nan"), ValueError, "a finite number, 0 or more, not nan"),
    (float("inf"), ValueError, "a finite number, 0 or more, not inf"),
    (0.5, ValueError, "1 to 32767 seconds, or 0 for the system's own, not 0.5"),
    (32768, ValueError, "1 to 32767 seconds, or 0 for the system's own, not 32768"),
    ("5", TypeError, "a number or None, not '5'"),
    (True, TypeError, "a number or None, not True"),
]


@pytest.mark.parametrize(("delay", "kind", "why"), BAD_DELAYS)
def test_badKeepAliveDelay(delay: Any, kind: type[Exception], why: str) -> None:
    """
    A delay that the kernel would refuse is refused when it is given, on either
    side, and the error tells the range.
    """
    for make in takers():
        with pytest.raises(kind) as raised:
            make(keepAliveInitialDelay=delay)
        assert str(raised.value) == f"keepAliveInitialDelay must be {why}"


@pytest.mark.parametrize("name", ["noDelay", "keepAlive"])
@pytest.mark.parametrize("value", [None, 1, 0, "no"])
def test_badSwitch(name: str, value: object) -> None:
    """
    A switch has to be True or False, on either side: "no" would count as true.
    """
    for make in takers():
        with pytest.raises(TypeError) as raised:
            make(**{name: value})
        assert str(raised.value) == f"{name} must be True or False, not {value!r}"


def test_options() -> None:
    """
    The options are an immutable value: equal if all are, with Nagle's
    algorithm and probes off by default; no delay is a delay of 0.
    """
    assert SocketOptions() == SocketOptions(True, False, 0.0)
    assert SocketOptions(keepAliveInitialDelay=None) == SocketOptions()  # type: ignore[arg-type]
    assert len({SocketOptions(), SocketOptions(False), SocketOptions(True, True, 5)}) == 3
    with pytest.raises(FrozenInstanceError):
        SocketOptions().noDelay = False  # type: ignore[misc]


class Socket:
    """
    A transport that remembers the options set, and whose socket may be dead.
    """

    def __init__(self, refused: str = "") -> None:
        """
        @param refused: the name of the method that fails.
        """
        self.set: list[object] = []
        self.socket = self
        self._refused = refused

    def _setBy(self, method: str, *what: object) -> None:
        if method == self._refused:
            raise OSError(EINVAL, "Invalid argument")
        self.set.append(what)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        Remember it, or fail.
        """
        self._setBy("setTcpNoDelay", "noDelay", enabled)

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """
        Remember it, or fail.
        """
        self._setBy("setTcpKeepAlive", "keepAlive", enabled)

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """
        Remember it, as the socket does, or fail.
        """
        self._setBy("setsockopt", level, option, value)


ALIVE = (
    ("noDelay", True),
    ("keepAlive", True),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPINTVL", None), 1),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPCNT", None), 10),
)
"""What is set for a connection that is kept alive by the defaults."""


@pytest.mark.skipif(not HAS_KEEPIDLE, reason="the system has another name for it")
def test_apply() -> None:
    """
    All options are set, with a delay in whole seconds and only if there is one;
    SO_KEEPALIVE is left alone unless it is asked for.
    """
    for options, expected in {
        SocketOptions(): [("noDelay", True)],
        SocketOptions(False, False, 5): [("noDelay", False)],
        SocketOptions(True, True): [*ALIVE],
        SocketOptions(True, True, 0, 0, 0): [*ALIVE[:2]],
        SocketOptions(True, True, 5.9): [
            *ALIVE[:2],
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
            *ALIVE[2:],
        ],
    }.items():
        transport = Socket()
        options.apply(transport)
        assert transport.set == expected


def test_applyThroughWrappers() -> None:
    """
    Options reach the socket through any wrappers, and a UNIX socket is recognised
    below them.
    """
    for interfaces, expected in {(): [("noDelay", False)], (IUNIXTransport,): []}.items():
        transport: Any = Socket()
        directlyProvides(transport, *interfaces)
        wrapper: Any = ProtocolWrapper(WrappingFactory(TCPDemoFactory()), Protocol())
        wrapper.transport = transport
        SocketOptions(False).apply(wrapper)
        assert transport.set == expected


@pytest.mark.parametrize("refused", ["setTcpNoDelay", "setTcpKeepAlive", "setsockopt"])
def test_applyToTheDead(refused: str) -> None:
    """
    A socket that its peer has reset may refuse any option without an error: the
    connection's end reports the loss.
    """
    transport = Socket(refused)
    SocketOptions(True, True, 5).apply(transport)
    before = {"setTcpNoDelay": 0, "setTcpKeepAlive": 1, "setsockopt": 2}[refused]
    assert transport.set == [*ALIVE[:before]]


def test_applyElsewhere() -> None:
    """
    A UNIX socket has no such options, and neither has a transport without a socket.
    """
    unix = Socket()
    directlyProvides(unix, IUNIXTransport)
    SocketOptions(True, True, 5).apply(unix)
    assert unix.set == []
    SocketOptions(True, True, 5).apply(StringTransport())


# As attributes of a factory.


@pytest.fixture
def lines() -> Generator[list[str]]:
    """
    The lines logged during the test.
    """
    seen: list[str] = []

    def observe(event: LogEvent) -> None:
        seen.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


class Without(TCPDemoFactory):
    """
    A factory that calls no other's C{__init__}, and has its options in its class.
    """

    protocol = Discard
    noDelay = False
    keepAlive = True
    keepAliveInitialDelay = 7

    def __init__(self) -> None:
        pass


def connected(factory: TCPDemoFactory) -> Socket:
    """
    The options set on a new connection, which then ends.
    """

    class Transport(StringTransport, Socket):
        def __init__(self) -> None:
            StringTransport.__init__(self)
            Socket.__init__(self)

    transport = Transport()
    protocol = factory.buildProtocol(transport.getPeer())
    protocol.makeConnection(transport)
    protocol.connectionLost(Failure(ConnectionDone()))
    assert (factory.acceptedCount, factory.connectionCount) == (factory.closedCount, 0)
    return transport


def test_classAttributes() -> None:
    """
    A subclass may have its options in its class.
    """
    assert connected(Without()).set[:2] == [("noDelay", False), ("keepAlive", True)]


def test_setLater() -> None:
    """
    Options may be set at any time, and hold for later connections; any true value
    switches one on.
    """
    for factory in (TCPDemoFactory(Discard), Without()):
        later: Any = factory
        for noDelay, keepAlive in [(False, True), (True, False), (0, 1), (1, None)]:
            later.noDelay, later.keepAlive = noDelay, keepAlive
            later.keepAliveInitialDelay = 0
            expected = [("noDelay", bool(noDelay)), *(ALIVE[1:] if keepAlive else ())]
            assert connected(factory).set == expected


@pytest.mark.parametrize(("delay", "kind", "why"), BAD_DELAYS)
def test_badDelayLater(delay: Any, kind: type[Exception], why: str, lines: list[str]) -> None:
    """
    A wrong delay set as an attribute shows when a client connects: it costs one
    line in the log and no connection, and the system's own holds.
    """
    socketOptionsOf.cache_clear()
    factory = TCPDemoFactory(Discard, keepAlive=True)
    factory.keepAliveInitialDelay = delay
    for _ in range(3):
        assert connected(factory).set == [("noDelay", True), ("keepAlive", True)]
    assert lines == [f"keepAliveInitialDelay must be {why}; the system's own holds"]


def test_builtOnce() -> None:
    """
    A new connection builds no options as long as the attributes are the same.
    """
    one = socketOptionsOf(True, True, 9)
    assert socketOptionsOf(True, True, 9) is one
    assert socketOptionsOf(True, True, 10) is not one
