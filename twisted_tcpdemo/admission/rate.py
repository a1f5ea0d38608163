"""
The rate at which a peer may connect: a token bucket for each.

Unlike a count of connections, a rate has to remember peers that have gone.  A full
bucket carries no information, and is forgotten.  When more peers come than may be
remembered, the peer with the fullest bucket is forgotten: it gains the few tokens
that were missing.  No peer is refused because others came.  A peer that is held
back stays so, unless as many other peers as the table holds, each with an emptier
bucket, are admitted meanwhile.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from typing import Final

from twisted.internet.interfaces import IAddress

from twisted_tcpdemo.admission.rules import Rule
from twisted_tcpdemo.values.checks import number, positive, whole
from twisted_tcpdemo.values.networks import peerKey

MAX_PEERS: Final = 65536
"""The most peers that are remembered."""

_ROUNDING: Final = 1e-6
"""Seconds by which a token may come early: the clock has no finer steps."""


class PeerRate(Rule):
    """
    Refuses a peer that connects too often.  Each peer has a bucket of C{burst}
    tokens, to which C{rate} tokens come every second; an admitted connection takes
    one.  A refused one takes none, so a peer that never stops trying is admitted at
    the rate all the same.

    Of a bucket only the time is kept at which it will be full; all else follows
    from that.  The rule has a clock of its own, which stands still when the clock
    outside is set back.
    """

    name = "peerRate"

    def __init__(
        self,
        rate: float | None,
        burst: float = 1,
        *,
        maxPeers: int = MAX_PEERS,
        name: str | None = None,
    ) -> None:
        """
        @param rate: see the property.
        @param burst: see the property.
        @param maxPeers: how many peers are remembered; see the module.
        @raise TypeError: for a value of the wrong type.
        @raise ValueError: for one that is out of range.
        """
        super().__init__(name=name)
        self._fullAt: dict[int, float] = {}
        # One entry for each peer, which may be earlier than the truth.
        self._queue: list[tuple[float, int]] = []
        self._now = 0.0
        self._outside: float | None = None
        self._rate = _checkedRate(rate)
        self._burst = number("burst", burst, 1)
        self._maxPeers = whole("maxPeers", maxPeers, 1)

    @property
    def rate(self) -> float | None:
        """
        Connections of one peer each second, in the long run; L{None} for any
        number.  When it changes, each peer keeps the tokens that it has.

        @raise TypeError: when it is set to anything but a number or L{None}.
        @raise ValueError: when it is set to a number that is not above zero, or
            not finite.
        """
        return self._rate

    @rate.setter
    def rate(self, rate: float | None) -> None:
        self._change(_checkedRate(rate), self._burst)

    @property
    def burst(self) -> float:
        """
        How many connections a peer may make at once, after a pause.  When it is
        raised, each peer gets the difference; when it is lowered, no bucket falls
        below empty.

        @raise TypeError: when it is set to anything but a number.
        @raise ValueError: when it is set to a number less than 1, or not finite.
        """
        return self._burst

    @burst.setter
    def burst(self, burst: float) -> None:
        self._change(self._rate, number("burst", burst, 1))

    def __len__(self) -> int:
        """
        How many peers are remembered.
        """
        return len(self._fullAt)

    def tokensOf(self, peer: IAddress) -> float:
        """
        How many tokens a peer has, at the time of the latest call.
        """
        key = peerKey(peer)
        if self._rate is None or key is None:
            return self._burst
        missing = max(0.0, self._fullAt.get(key, self._now) - self._now)
        return self._burst - missing * self._rate

    def decide(self, host: IAddress, peer: IAddress, now: float) -> str | None:
        """
        See L{IAdmissionPolicy}.
        """
        if self._rate is None:
            return None
        self._advance(now)
        key = peerKey(peer)
        missing = self._fullAt.get(key, self._now) - self._now if key is not None else 0.0
        return None if missing <= (self._burst - 1) / self._rate + _ROUNDING else self.name

    def opened(self, host: IAddress, peer: IAddress, now: float) -> None:
        """
        See L{IAdmissionPolicy}.

        A peer that comes in without a token, because another policy decided so,
        has an empty bucket and no debt.
        """
        key = peerKey(peer)
        if self._rate is None or key is None:
            return
        self._advance(now)
        self._forgetFull()
        fullAt = self._fullAt.get(key)
        if fullAt is None:
            if len(self._fullAt) >= self._maxPeers:
                self._forgetFullest()
            self._fullAt[key] = fullAt = self._now + 1 / self._rate
            heappush(self._queue, (fullAt, key))
        else:
            emptyUntil = self._now + self._burst / self._rate
            self._fullAt[key] = min(max(fullAt, self._now) + 1 / self._rate, emptyUntil)

    def _advance(self, outside: float) -> None:
        if self._outside is not None and outside > self._outside:
            self._now += outside - self._outside
        self._outside = outside

    def _forgetFull(self) -> None:
        # A few at a time, but more than one arrival can add: never a long stop.
        # Entries that are too early are corrected on the way.
        for _ in range(4):
            if not self._queue:
                return
            entry, key = self._queue[0]
            if entry > self._now and entry == self._fullAt[key]:
                return
            self._settle(self._now)

    def _forgetFullest(self) -> None:
        peers = len(self._fullAt)
        while len(self._fullAt) == peers:
            self._settle(None)

    def _settle(self, upTo: float | None) -> None:
        """
        Correct the first entry of the queue if it is too early, else forget its
        peer if the bucket is full by a given time.

        Each arrival makes at most one entry too early, so the steps for each
        arrival are constant in the long run.
        """
        entry, key = self._queue[0]
        fullAt = self._fullAt[key]
        if fullAt > entry:
            heapreplace(self._queue, (fullAt, key))
        elif upTo is None or fullAt <= upTo:
            heappop(self._queue)
            del self._fullAt[key]

    def _change(self, rate: float | None, burst: float) -> None:
        """
        Keep the number of missing tokens of each bucket.
        """
        before, self._rate, self._burst = self._rate, rate, burst
        missing = {key: at - self._now for key, at in self._fullAt.items() if at > self._now}
        self._fullAt.clear()
        if before is not None and rate is not None:
            for key, seconds in missing.items():
                self._fullAt[key] = self._now + min(seconds * before, burst) / rate
        self._queue = [(at, key) for key, at in self._fullAt.items()]
        heapify(self._queue)


def _checkedRate(rate: float | None) -> float | None:
    return None if rate is None else positive("rate", rate)
