"""
The last minutes of a server, sampled while the page is watched.
"""

from __future__ import annotations

from twisted.internet.task import Clock

from tests.support.status import ask, connected, showing
from tests.support.waiting import turn
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.status.history import History
from twisted_tcpdemo.twistd.programs import Echo


def test_history() -> None:
    """
    Samples begin at the first look, with the connection count and the bytes of each
    interval.
    """
    clock = Clock()
    factory = TCPDemoFactory(Echo, clock=clock)
    history = History(factory, clock)
    [protocol] = connected(factory)
    protocol.dataReceived(b"before")
    assert history.look()["connections"] == []
    protocol.dataReceived(b"12345")
    clock.advance(1)
    connected(factory)
    clock.advance(1)
    assert history.look() == {
        "interval": 1.0,
        "connections": [1, 2],
        "bytesRead": [5, 0],
        "bytesWritten": [5, 0],
    }
    history.stop()


def test_historyEnds() -> None:
    """
    When no look comes any more, sampling ends, no timer is left, and the next look
    begins anew.
    """
    clock = Clock()
    history = History(TCPDemoFactory(Echo, clock=clock), clock)
    assert not clock.getDelayedCalls()
    history.look()
    for _ in range(40):
        clock.advance(1)
    assert len(history.look()["connections"]) == 40  # type: ignore[arg-type]
    for _ in range(62):
        clock.advance(1)
    assert not history.sampling
    assert not clock.getDelayedCalls()
    assert history.look()["connections"] == []
    history.stop()


def test_historyIsBounded() -> None:
    """
    Five minutes are kept, however long the page is watched.
    """
    clock = Clock()
    history = History(TCPDemoFactory(Echo, clock=clock), clock)
    for _ in range(400):
        samples = history.look()["connections"]
        clock.advance(1)
    assert len(samples) == History.LENGTH  # type: ignore[arg-type]
    history.stop()


def test_busyReactor() -> None:
    """
    Bytes moved while the reactor was busy are spread over the seconds it took, and
    none is lost.
    """
    clock = Clock()
    factory = TCPDemoFactory(Echo, clock=clock)
    history = History(factory, clock)
    [protocol] = connected(factory)
    history.look()
    protocol.dataReceived(b"x" * 10)
    clock.advance(3.5)
    assert history.look()["bytesRead"] == [3, 3, 4]
    protocol.dataReceived(b"x" * 10)
    clock.advance(30)
    assert sum(history.look()["bytesRead"]) == 20  # type: ignore[call-overload]
    history.stop()


async def test_costsNothing() -> None:
    """
    The page has no timer until it is watched; the page itself and the health check
    start none.
    """
    from twisted.internet import reactor

    await turn()  # the test's own deadline is a timer
    async with showing(TCPDemoFactory(Echo)) as port:
        before = set(reactor.getDelayedCalls())  # type: ignore[attr-defined]
        for path in ("/", "/healthz"):
            assert (await ask(port, path)).headers
            await turn()
            assert set(reactor.getDelayedCalls()) <= before  # type: ignore[attr-defined]
