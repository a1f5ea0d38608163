"""
Rounds among connections.
"""

from __future__ import annotations

from tests.support.status import connected
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.server.rounds import Rounds
from twisted_tcpdemo.twistd.programs import Echo


def test_rounds() -> None:
    """
    Each connection is visited once before any is visited again; those that have ended are
    left out, and new ones come into the next round.
    """
    factory = TCPDemoFactory(Echo)
    protocols = connected(factory, 5)
    records = factory.records
    rounds = Rounds(lambda: factory.records)
    assert rounds.next(2) == records[:2]
    protocols[3].connectionLost()
    connected(factory)
    assert rounds.next(2) == [records[2]]
    assert rounds.next(2) == [records[4]]
    assert rounds.next(9) == factory.records


def test_nobody() -> None:
    """
    Without connections there is nobody to visit.
    """
    assert Rounds(list).next(5) == []
