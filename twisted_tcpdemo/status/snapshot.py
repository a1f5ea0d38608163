"""
A server at one moment, as the data of C{/status.json}.

To choose among ten thousand connections, and to describe a thousand, takes 20 ms.  So
it is done in steps, and what has been made serves all who ask the same for a moment.
The state, the counters and the limits are always those of the answer's own moment.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Final

from twisted.internet.interfaces import IReactorTime

from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.monitoring.distributions import Distribution, Distributions
from twisted_tcpdemo.monitoring.snapshot import connectionOf, statusOf
from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.status.history import Cooperate, History
from twisted_tcpdemo.status.peers import topPeers
from twisted_tcpdemo.status.query import Query
from twisted_tcpdemo.values.report import Totals
from twisted_tcpdemo.web.answer import encoded

MOMENT: Final = 0.25
"""Seconds for which the choice of a query serves."""

PEERS_MOMENT: Final = 3.0
"""The same for the peers, for which all connections have to be looked at."""

MOST_KEPT: Final = 4
"""The most choices to keep.  Each is up to 250 kB, and a visitor may ask for any
number of different ones."""

ROWS_AT_ONCE: Final = 50
"""Connections to describe in one step.  One takes 11 us, measured."""


class Choice:
    """
    The connections that a query chooses, as JSON.  Whoever waits for it drives its
    making: any of them may go away.

    @ivar madeAt: when its making began.
    @ivar isMade: whether the other attributes have their values.
    @ivar rows: JSON of the chosen connections, in pieces.
    @ivar shown: how many they are.
    @ivar matching: the number of those that match the filter.
    @ivar totals: the bytes of all connections.
    """

    def __init__(self, factory: TCPDemoFactory, query: Query, madeAt: float) -> None:
        self.madeAt = madeAt
        self.isMade = False
        self.rows: list[bytes] = []
        self.shown = self.matching = 0
        self.totals = Totals()
        self._making = self._make(factory, query)

    def made(self) -> Generator[None, None, None]:
        """
        Make it, or help to.
        """
        while not self.isMade:
            if next(self._making, self) is self and not self.isMade:
                raise RuntimeError("the choice has failed before")
            yield

    def _make(self, factory: TCPDemoFactory, query: Query) -> Generator[None, None, None]:
        self.totals = yield from factory.totalling()
        chosen, self.matching = yield from query.choosing(factory.records)
        self.shown = len(chosen)
        for start in range(0, len(chosen), ROWS_AT_ONCE):
            described = map(connectionOf, chosen[start : start + ROWS_AT_ONCE])
            self.rows.append((b"," if start else b"") + b",".join(map(encoded, described)))
            yield
        self.isMade = True


class Snapshots:
    """
    Takes snapshots of a server.

    @ivar hasActions: whether the page can steer the server.
    """

    def __init__(
        self,
        factory: TCPDemoFactory,
        clock: IReactorTime,
        cooperate: Cooperate,
        distributions: Distributions,
    ) -> None:
        """
        @param factory: the server.
        @param clock: the source of time; the uptime begins now.
        @param cooperate: runs work in slices.
        @param distributions: those of the server.
        """
        self.factory = factory
        self.history = History(factory, clock, cooperate, distributions)
        self.hasActions = False
        self._distributions = distributions
        self._clock = steady(clock)
        self._startedAt = self._clock.seconds()
        self._kept: dict[Query, Choice] = {}
        self._peers: dict[str, tuple[float, dict[str, object]]] = {}

    def take(
        self, query: Query, seconds: int, peers: str | None = None
    ) -> Generator[None, None, list[bytes]]:
        """
        The figures of this moment, and the connections that a query chooses.

        @param seconds: the range of the history.
        @param peers: the order of the peers to tell of; L{None} for none.
        @return: the text of C{status.json}, in pieces.
        """
        yield from self.history.look()
        choice = self._choice(query)
        yield from choice.made()
        history = yield from self.history.telling(seconds)
        most = {} if peers is None else (yield from self._peersBy(peers))
        uptime = self._clock.seconds() - self._startedAt
        status = {
            **statusOf(self.factory, time.time(), uptime, choice.totals),
            "actions": self.hasActions,
            "highest": self.history.highest,
            "durations": _shown(self._distributions.durations),
            "roundTripTimes": _shown(self._distributions.recentRoundTripTimes()),
            **most,
            "connectionsShown": choice.shown,
            "connectionsMatching": choice.matching,
        }
        text = encoded(status)[:-1]
        return [text, b',"history":', *history, b',"connections":[', *choice.rows, b"]}\n"]

    def _peersBy(self, order: str) -> Generator[None, None, dict[str, object]]:
        madeAt, peers = self._peers.get(order, (0.0, {}))
        now = self._clock.seconds()
        if not peers or now - madeAt >= PEERS_MOMENT:
            peers = yield from topPeers(self.factory.records, order)
            self._peers[order] = now, peers
        return peers

    def _choice(self, query: Query) -> Choice:
        now = self._clock.seconds()
        self._kept = {
            asked: choice for asked, choice in self._kept.items() if now - choice.madeAt < MOMENT
        }
        choice = self._kept.get(query)
        if choice is None:
            choice = Choice(self.factory, query, now)
            if len(self._kept) < MOST_KEPT:
                self._kept[query] = choice
        return choice


def _shown(distribution: Distribution) -> dict[str, object]:
    return {"bounds": distribution.bounds, "counts": distribution.counts}
