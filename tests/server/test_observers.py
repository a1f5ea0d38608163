"""
Telling others what happens: the fan-out of events, and the log.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyClass, verifyObject

from tests.support.peers import Events, serving
from tests.support.waiting import until
from twisted_tcpdemo import CloseReason, ConnectionReport, TCPDemoFactory
from twisted_tcpdemo.interfaces import IConnectionObserver
from twisted_tcpdemo.monitoring.log import LoggingObserver
from twisted_tcpdemo.server.observers import ConnectionObserver, Observers
from twisted_tcpdemo.values.report import Refusal

HOST, PEER = IPv4Address("TCP", "192.0.2.1", 80), IPv6Address("TCP", "2001:db8::7", 4000)
FINAL = ConnectionReport(HOST, PEER, 9, 1, 20, 3, 1.5, 0.5, CloseReason.RESET)


@pytest.fixture
def events() -> Generator[list[LogEvent]]:
    """
    What has been logged.
    """
    seen: list[LogEvent] = []
    globalLogPublisher.addObserver(seen.append)
    yield seen
    globalLogPublisher.removeObserver(seen.append)


def test_interfaces() -> None:
    """
    Our observers, and the one of the tests, keep the contract.
    """
    verifyClass(IConnectionObserver, ConnectionObserver)
    verifyClass(IConnectionObserver, LoggingObserver)
    verifyObject(IConnectionObserver, LoggingObserver(TCPDemoFactory()))
    verifyObject(IConnectionObserver, Events())


def test_observerThatDoesNothing() -> None:
    """
    A subclass overrides what it wants to know; the rest does nothing.
    """
    observer: Any = ConnectionObserver()
    for name in IConnectionObserver.names():
        assert getattr(observer, name)(None) is None


# The fan-out.


def test_order() -> None:
    """
    All are told, in the order in which they came.
    """
    told: list[str] = []

    class Named(ConnectionObserver):
        def __init__(self, name: str) -> None:
            self._name = name

        def listening(self, address: object) -> None:
            told.append(f"{self._name} {address}")

    observers = Observers()
    assert not observers
    for name in ("first", "second"):
        observers.add(Named(name))
    assert observers
    observers.tell("listening", "x")
    assert told == ["first x", "second x"]


def test_observerThatRaises(loggedErrors: Any) -> None:
    """
    One that raises is logged, and the others are told all the same.
    """

    class Broken(ConnectionObserver):
        def listening(self, address: object) -> None:
            raise ZeroDivisionError

    observers, other = Observers(), Events()
    for observer in (Broken(), other):
        observers.add(observer)
    observers.tell("listening", "x")
    assert other.all == [("listening", "x")]
    assert len(loggedErrors.take(ZeroDivisionError)) == 1


def test_remove() -> None:
    """
    Who is removed is told no more; who was not there is not missed.  One that
    only equals another is not removed in its place.
    """

    @implementer(IConnectionObserver)
    class Alike(Events):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    observers, kept, removed = Observers(), Alike(), Alike()
    observers.remove(removed)
    observers.add(kept)
    observers.add(removed)
    observers.remove(removed)
    observers.tell("listening", "x")
    assert (kept.names, removed.names) == (["listening"], [])


def test_changedMeanwhile() -> None:
    """
    An observer may remove itself, or add another, while it is told: that holds
    from the next event on.
    """
    observers, late = Observers(), Events()

    class Leaving(ConnectionObserver):
        def listening(self, address: object) -> None:
            observers.remove(self)
            observers.add(late)

    observers.add(Leaving())
    observers.tell("listening", 1)
    observers.tell("listening", 2)
    assert late.all == [("listening", 2)]


@pytest.mark.parametrize("thing", [None, object(), print, ConnectionObserver])
def test_noObserver(thing: Any) -> None:
    """
    What is no observer is refused when it is added.
    """
    with pytest.raises(TypeError, match="does not provide IConnectionObserver"):
        Observers().add(thing)


# The log.


def logged(
    events: list[LogEvent], event: str, fact: object, **options: Any
) -> tuple[str, LogEvent]:
    """
    What one event looks like in the log, and its fields.
    """
    observer = LoggingObserver(TCPDemoFactory(**options))
    getattr(observer, event)(fact)
    [logged] = [e for e in events if e.get("log_namespace") == "tcpdemo"]
    return formatEvent(logged), logged


def test_listening(events: list[LogEvent]) -> None:
    """
    Where it listens: address, port and family.
    """
    line, fields = logged(events, "listening", IPv6Address("TCP", "::", 18001))
    assert line == "listening on [::]:18001 (IPv6)"
    assert (fields["address"], fields["port"], fields["family"]) == ("::", 18001, "IPv6")


def test_listeningStopped(events: list[LogEvent]) -> None:
    """
    Where it listens no longer.
    """
    line, fields = logged(events, "listeningStopped", HOST)
    assert line == "no longer listening on 192.0.2.1:80"
    assert fields["port"] == 80


@pytest.mark.parametrize(("limit", "text"), [(None, "no limit"), (0, "limit 0"), (5, "limit 5")])
def test_opened(events: list[LogEvent], limit: int | None, text: str) -> None:
    """
    A connection: its number, both ends, how many there are, and the limit.
    """
    line, fields = logged(events, "connectionOpened", FINAL, maxConnections=limit)
    assert line == (f"connection 9: [2001:db8::7]:4000 (IPv6) to 192.0.2.1:80; 0 connected, {text}")
    assert (fields["remoteAddress"], fields["remotePort"]) == ("2001:db8::7", 4000)
    assert (fields["localAddress"], fields["localPort"]) == ("192.0.2.1", 80)
    assert (fields["localFamily"], fields["remoteFamily"]) == ("IPv4", "IPv6")


@pytest.mark.parametrize(
    ("given", "text"),
    [(None, "limit 50 (descriptors)"), (60, "limit 50 (descriptors)"), (9, "limit 9")],
)
def test_openedWithFewDescriptors(events: list[LogEvent], given: int | None, text: str) -> None:
    """
    The limit in the line is the one that holds, be it that of the descriptors.
    """
    factory = TCPDemoFactory(maxConnections=given)
    factory.descriptorLimit = 50
    LoggingObserver(factory).connectionOpened(FINAL)
    assert formatEvent(events[-1]).endswith(f"; 0 connected, {text}")


def test_refused(events: list[LogEvent]) -> None:
    """
    A refusal: both ends, and the rule.
    """
    line, fields = logged(events, "connectionRefused", Refusal(HOST, PEER, "maxConnections"))
    assert line == "refused: [2001:db8::7]:4000 (IPv6) to 192.0.2.1:80, by maxConnections"
    assert (fields["rule"], fields["remotePort"]) == ("maxConnections", 4000)


def test_closed(events: list[LogEvent]) -> None:
    """
    A close: the reason, the duration, the final counts.
    """
    line, fields = logged(events, "connectionClosed", FINAL)
    assert line == (
        "close 9: reset after 1.500 s; 1 bytes read, 20 written, 3 unsent; [2001:db8::7]:4000"
    )
    assert (fields["reason"], fields["duration"], fields["bytesWritten"]) == ("reset", 1.5, 20)


@pytest.mark.parametrize(
    ("claim", "shown"),
    [
        (b"TCP4 \x1b[31m\n\xe2\x80\xae", r"\x1b[31m\n\u202e:7"),
        (b"TCP6 ::ffff:zzz", "[::ffff:zzz]:7"),
    ],
)
async def test_claimed(events: list[LogEvent], claim: bytes, shown: str) -> None:
    """
    The end of a connection is one line, whatever its PROXY header says that its
    address were.
    """
    factory = TCPDemoFactory()
    factory.addObserver(LoggingObserver(factory))
    async with serving(factory, "haproxy:tcp:0:interface=127.0.0.1") as server:
        peer = await server.connect()
        peer.transport.write(b"PROXY " + claim + b" ::1 7 8\r\nx")
        await until(lambda: factory.bytesRead == 1)
        peer.transport.loseConnection()
        await until(lambda: factory.closedCount)
    lines = [formatEvent(e) for e in events if e.get("log_namespace") == "tcpdemo"]
    [line] = [line for line in lines if line.startswith("close ")]
    assert line.endswith(f"; {shown}")


def test_error(events: list[LogEvent]) -> None:
    """
    An error of the server is one line; whoever raised it tells of the rest.
    """
    line, fields = logged(events, "serverError", Failure(OSError(98, "Address already in use")))
    assert line == "error: [Errno 98] Address already in use"
    assert fields["log_level"].name == "error"
