"""
The laws that the accounts of a factory keep at any time.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock

from tests.support.memory import connect, lose, peerAddress
from tests.support.peers import serving
from tests.support.waiting import until
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.admission.policy import Admission
from twisted_tcpdemo.admission.rules import PerPeerLimit
from twisted_tcpdemo.twistd.programs import Discard, Echo


def test_whatIsWrongIsSaid() -> None:
    """
    The check names each law that does not hold.
    """
    server = TCPDemoFactory(admission=PerPeerLimit(9))
    connect(server)
    assert server.conservation() == []
    server._ledger.accepted += 1
    server._ledger.closed += 2
    server._ledger.refused += 3
    assert server.conservation() == [
        "accepted is open and closed: 2 and 3",
        "closed is the sum over reasons: 2 and 0",
        "refused is the sum over rules: 3 and 0",
    ]
    server._ledger.open.clear()
    assert "none that is over is counted by the policy: 0 and 1" in server.conservation()


def test_bytesThatFall() -> None:
    """
    The check notices a byte count that has fallen since the last check.
    """
    server = TCPDemoFactory(Echo)
    connect(server).dataReceived(b"hello")
    assert server.conservation() == []
    server._ledger.open.clear()
    assert "bytes never fall: (5, 5) and (0, 0)" in server.conservation()


async def test_storm() -> None:
    """
    Waves of twice the limit never exceed it, lose no client, and give all slots
    back.
    """
    limit = PerPeerLimit(10)
    limited = TCPDemoFactory(Discard, maxConnections=15, admission=Admission(limit))
    most = 0
    async with serving(limited) as server:
        for wave in range(1, 6):
            peers = [await server.connect() for _ in range(20)]
            await until(lambda: limited.acceptedCount + limited.refusedCount == 20 * wave)  # noqa: B023
            most = max(most, limited.connectionCount)
            assert limited.conservation() == []
            for peer in peers:
                peer.transport.abortConnection()
            await until(lambda: not limited.connectionCount)
            assert len(limit) == 0
    assert most == 10
    assert limited.report().refusedBy == {"perPeerLimit": 50}
    assert limited.conservation() == []


HOSTS = ["192.0.2.1", "198.51.100.1", "2001:db8::1"]


class Server(RuleBasedStateMachine):
    """
    A factory with a limit and a policy, both of which change, against a list of its
    clients.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.server = TCPDemoFactory(Echo, clock=self.clock)
        self.limit = PerPeerLimit(2)
        self.server.admission = self.limit
        self.inside: list[tuple[Any, str]] = []
        self.refused: list[str] = []
        self.sent = 0
        self.arrivals = 0

    @rule(host=st.sampled_from(HOSTS))
    def arrive(self, host: str) -> None:
        """
        A client connects, and hears if it is refused.
        """
        self.arrivals += 1
        total, ofPeer = self.server.maxConnections, self.limit.limit
        mine = sum(its == host for _, its in self.inside)
        protocol = connect(self.server, host, self.arrivals)
        if total is not None and len(self.inside) >= total:
            self.refused.append("maxConnections")
        elif ofPeer is not None and mine >= ofPeer:
            self.refused.append("perPeerLimit")
        else:
            self.inside.append((protocol, host))
            return
        assert protocol.wire.disconnecting
        lose(protocol)

    @precondition(lambda self: self.inside)
    @rule(data=st.data(), reason=st.sampled_from([ConnectionDone, ConnectionLost]))
    def leave(self, data: st.DataObject, reason: type[Exception]) -> None:
        """
        A connection ends; the end is reported once or twice.
        """
        protocol, _ = self.inside.pop(data.draw(st.integers(0, len(self.inside) - 1)))
        lose(protocol, reason)
        if data.draw(st.booleans()):
            lose(protocol, reason)

    @precondition(lambda self: self.inside)
    @rule(data=st.data(), size=st.integers(1, 1000))
    def send(self, data: st.DataObject, size: int) -> None:
        """
        A client sends bytes, and gets an answer.
        """
        protocol, _ = data.draw(st.sampled_from(self.inside))
        protocol.dataReceived(bytes(size))
        self.sent += size

    @rule(limit=st.none() | st.integers(0, 4))
    def changeTotal(self, limit: int | None) -> None:
        """
        Change the limit of all connections.
        """
        self.server.maxConnections = limit

    @rule(limit=st.none() | st.integers(0, 3))
    def changeLimit(self, limit: int | None) -> None:
        """
        Change the limit of a peer.
        """
        self.limit.limit = limit

    @rule()
    def replace(self) -> None:
        """
        Put another policy into force.
        """
        before, self.limit = self.limit, PerPeerLimit(self.limit.limit)
        self.server.admission = Admission(self.limit)
        assert len(before) == 0

    @invariant()
    def asTheModel(self) -> None:
        """
        The counts, the bytes and the refusals are those of the list.
        """
        server = self.server
        assert server.conservation() == []
        assert server.connections == [protocol for protocol, _ in self.inside]
        assert server.acceptedCount + server.refusedCount == self.arrivals
        assert server.bytesRead == server.bytesWritten == self.sent
        for host in HOSTS:
            mine = sum(its == host for _, its in self.inside)
            assert self.limit.connectionsOf(peerAddress(host)) == mine
        rules = {name: self.refused.count(name) for name in set(self.refused)}
        assert server.report().refusedBy == rules

    def teardown(self) -> None:
        """
        When all clients have left, every count is zero.
        """
        for protocol, _ in self.inside:
            lose(protocol)
        assert (len(self.limit), self.server.connectionCount) == (0, 0)
        assert self.server.conservation() == []


TestServer = Server.TestCase
TestServer.settings = settings(deadline=None, max_examples=40, stateful_step_count=30)
