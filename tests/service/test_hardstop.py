"""
Tests for the hard stop.  tests/system/test_hardstop.py has whole processes, which
really end.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest
from twisted.internet.testing import StringTransport

from tests.support.records import PEER
from twisted_tcpdemo.connection.protocol import TCPDemoProtocol
from twisted_tcpdemo.connection.record import Connection
from twisted_tcpdemo.service import hardstop
from twisted_tcpdemo.service.hardstop import HardStop, named


def record() -> Connection:
    """
    The record of a connection.
    """
    return Connection(TCPDemoProtocol(), StringTransport(peerAddress=PEER))


def test_named() -> None:
    """
    The open connections are named by number and peer, the first ten of them.
    """
    assert named([]) == "no connection is open"
    one = record()
    assert named([one]) == f"open: {one.connectionID} (192.0.2.2:4000)"
    assert named([one] * 12).endswith(" and 2 more")


def test_unspeakable(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A connection whose transport does not tell its peer is named by its number.
    """
    monkeypatch.setattr(hardstop, "endpointOf", lambda _: sys.exit())
    one = record()
    assert named([one]) == f"open: {one.connectionID}"


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], list[float]]:
    """
    What is counted by the thread of a hard stop, and by that of C{faulthandler}; neither
    runs.
    """
    begun: list[Any] = []
    late: list[float] = []
    monkeypatch.setattr(hardstop, "start_new_thread", lambda *args: begun.append(args[1]))
    monkeypatch.setattr(
        hardstop.faulthandler, "dump_traceback_later", lambda seconds, **_: late.append(seconds)
    )
    return begun, late


def test_once(timers: tuple[list[Any], list[float]]) -> None:
    """
    The time runs from the first call on.
    """
    begun, late = timers
    stop = HardStop(3, list)
    stop.begin()
    stop.begin()
    assert begun == [(3,)]
    assert late == [5]


def test_delayed(timers: tuple[list[Any], list[float]]) -> None:
    """
    With a delay the time begins at its end, or when the delay is cut short; and once only.
    """
    begun, late = timers
    stop = HardStop(3, list)
    stop.hasten()
    stop.begin(60)
    stop.hasten()
    stop.hasten()
    stop.begin()
    assert begun == [(63,), (3,)]
    assert late == [65, 5]


@pytest.mark.parametrize("seconds", [0, None])
def test_never(seconds: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without a time, nothing begins.
    """
    monkeypatch.setattr(hardstop, "start_new_thread", None)
    stop = HardStop(seconds, list)
    stop.begin(1)
    stop.hasten()


def test_threads() -> None:
    """
    The threads are told by name, with the place where each is, and their stacks.
    """
    ready, end = threading.Event(), threading.Event()

    def work() -> None:
        ready.set()
        end.wait()

    thread = threading.Thread(target=work, name="worker")
    thread.start()
    ready.wait()
    try:
        assert "worker in threading.py:" in hardstop._threads()
        assert ", in work\n    end.wait()" in hardstop._stacks()
    finally:
        end.set()
        thread.join()
