"""
The choice and the order of connections on the status page.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from tests.support.status import ask, connected, finished, showing
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.connection.record import Connection
from twisted_tcpdemo.status import query
from twisted_tcpdemo.status.query import Query, QueryError
from twisted_tcpdemo.twistd.programs import Echo


def chosen(factory: TCPDemoFactory, **arguments: str) -> list[int]:
    """
    The connections that a query chooses, numbered in the order of their coming.
    """
    query = Query.fromArguments({k.encode(): [v.encode()] for k, v in arguments.items()})
    places = {record: place for place, record in enumerate(factory.records)}
    return [places[record] for record in finished(query.choosing(factory.records))[0]]


def test_order() -> None:
    """
    The newest connections come first; each column can be sorted in both directions.
    """
    clock = Clock()
    factory = TCPDemoFactory(Echo, clock=clock)
    protocols = []
    for size in (20, 30, 10):
        protocols += connected(factory)
        protocols[-1].dataReceived(b"x" * size)
        clock.advance(1)
    clock.advance(1)
    protocols[1].dataReceived(b"x")
    assert chosen(factory) == [2, 1, 0]
    assert chosen(factory, sort="id") == chosen(factory, sort="-age") == [0, 1, 2]
    assert chosen(factory, sort="age") == [2, 1, 0]
    assert chosen(factory, sort="-bytesRead") == chosen(factory, sort="-bytesWritten") == [1, 0, 2]
    assert chosen(factory, sort="bytesRead") == [2, 0, 1]
    assert chosen(factory, sort="-idle") == [0, 2, 1]
    for column in ("peer", "host", "bytesPending", "roundTripTime"):
        assert sorted(chosen(factory, sort=column)) == [0, 1, 2]


def test_orderByRoundTripTime(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The slowest connections come first; each look asks the kernel about a part of
    them, and after some looks the order is right.
    """
    factory = TCPDemoFactory(Echo)
    connected(factory, 5)
    times = dict(zip(factory.records, (0.3, 0.1, None, 0.5, 0.2), strict=True))
    asked = []

    def roundTripTime(record: Any) -> float | None:
        asked.append(record)
        return times[record]

    monkeypatch.setattr(Connection, "roundTripTime", property(roundTripTime), raising=False)
    monkeypatch.setattr(query, "ASKED_AT_ONCE", 2)
    for look in range(1, 4):
        order = chosen(factory, sort="-roundTripTime")
        assert len(asked) == 2 * look
    assert order == [3, 0, 4, 1, 2]
    assert set(asked) == set(factory.records)


def test_addressOrder() -> None:
    """
    Addresses are sorted by number, and any other text is sorted too.
    """
    from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

    factory = TCPDemoFactory(Echo)
    for peer in (
        IPv6Address("TCP", "fe80::1%eth0", 1),
        IPv4Address("TCP", "10.0.0.10", 1),
        IPv4Address("TCP", "10.0.0.9", 2),
        IPv4Address("TCP", "10.0.0.9", 1),
        UNIXAddress("/tmp/x"),
        UNIXAddress(None),
        IPv4Address("TCP", "\0", 1),  # possible in a PROXY header
    ):
        factory.buildProtocol(None).makeConnection(StringTransport(peerAddress=peer))
    assert chosen(factory, sort="peer") == [6, 3, 2, 1, 0, 5, 4]


def test_filter() -> None:
    """
    The filter finds text in the addresses, and the number of a connection.
    """
    from twisted.internet.address import IPv4Address, UNIXAddress

    factory = TCPDemoFactory(Echo)
    for peer in (IPv4Address("TCP", "10.0.0.10", 4711), UNIXAddress("/tmp/Somebody")):
        factory.buildProtocol(None).makeConnection(StringTransport(peerAddress=peer))
    assert chosen(factory, filter="0.10:47") == [0]
    assert chosen(factory, filter=" someBODY ") == [1]
    assert chosen(factory, filter=str(factory.records[0].connectionID)) == [0]
    assert chosen(factory, filter="nobody") == []
    assert chosen(factory, filter="") == [1, 0]


@pytest.mark.parametrize("order", ["id", "-id", "age", "-age", "bytesRead"])
def test_limit(order: str) -> None:
    """
    A limit shows the first connections of an order, and tells how many match.
    """
    factory = TCPDemoFactory(Echo)
    connected(factory, 5)
    whole = chosen(factory, sort=order)
    assert [chosen(factory, sort=order, limit=str(n)) for n in (0, 2, 5, 9)] == [
        [],
        whole[:2],
        whole,
        whole,
    ]
    assert finished(Query(limit=2).choosing(factory.records))[1] == 5


def test_limitHasALimit() -> None:
    """
    No query gets more than a thousand connections.
    """
    assert Query.fromArguments({b"limit": [b"5000"]}).limit == 1000
    assert Query.fromArguments({}).limit == 200


@pytest.mark.parametrize(
    "query", ["limit=-1", "limit=x", "limit=", "limit=%b2", "sort=no", "sort="]
)
async def test_badQuery(query: str) -> None:
    """
    A malformed query gets a clear answer in plain text.
    """
    async with showing(TCPDemoFactory(Echo)) as port:
        answer = await ask(port, f"/status.json?{query}")
        assert answer.code == 400
        assert answer.body.startswith(query.partition("=")[0].encode() + b" must be")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_queryError() -> None:
    """
    The error of a bad query is a ValueError, and one of this package's own.
    """
    with pytest.raises(QueryError, match="limit must be a whole number, 0 to 1000"):
        Query.fromArguments({b"limit": [b"many"]})
