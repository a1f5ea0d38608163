"""
The data of the status page: status.json.
"""

from __future__ import annotations

import socket
from importlib.metadata import version
from pathlib import Path

from tests.support.certificates import pemFile
from tests.support.peers import serving
from tests.support.status import ask, showing
from tests.support.waiting import until
from twisted_tcpdemo import Proxy, ServerEndpoint, TCPDemoFactory, fastReactor
from twisted_tcpdemo.twistd.programs import Echo


async def test_schema() -> None:
    """
    status.json has all of its documented fields, for a server with one client.
    """
    factory = TCPDemoFactory(Echo, maxConnections=3)
    async with serving(factory) as server, showing(factory) as port:
        peer = await server.connect()
        peer.transport.write(b"12345")
        await peer.whenReceived(5)
        answer = await ask(port)
        status = answer.data
        [row] = status.pop("connections")
        history = status.pop("history")
        highest = status.pop("highest")
        durations, times = status.pop("durations"), status.pop("roundTripTimes")
        own = peer.transport.getHost()
        assert answer.headers["content-type"] == "application/json"
        assert {key: status.pop(key) > 0 for key in ("time", "uptime", "pid")}
        assert status == {
            "version": 1,
            "state": "accepting",
            "hostName": socket.gethostname(),
            "packageVersion": version("twisted-tcpdemo"),
            "actions": False,
            "drain": None,
            "listeners": [
                {
                    "address": "127.0.0.1",
                    "port": server.port,
                    "family": "IPv4",
                    "queue": 0,
                    "backlog": 50,
                    "tls": False,
                    "proxy": False,
                }
            ],
            "connectionCount": 1,
            "peakCount": 1,
            "maxConnections": 3,
            "effectiveLimit": 3,
            "overflow": "refuse",
            "acceptedCount": 1,
            "refusedCount": 0,
            "closedCount": 0,
            "bytesRead": 5,
            "bytesWritten": 5,
            "bytesPending": 0,
            "refusedBy": {},
            "wouldRefuseBy": {},
            "closedBy": {},
            "connectionsShown": 1,
            "connectionsMatching": 1,
        }
        assert (history.pop("range"), history.pop("interval")) == (300, 1.0)
        assert set(history) == {"times", "connections", "peaks", "limits", *highest}
        assert set(highest) == {"bytesRead", "bytesWritten", "accepted", "refused", "closed"}
        for shown in (durations, times):
            assert len(shown["counts"]) == len(shown["bounds"]) + 1
        assert row.pop("id") == factory.connections[0].connectionID
        assert row.pop("age") >= row.pop("idle") >= 0
        row.pop("roundTripTime")
        assert row == {
            "peer": f"127.0.0.1:{own.port}",
            "host": f"127.0.0.1:{server.port}",
            "bytesRead": 5,
            "bytesWritten": 5,
            "bytesPending": 0,
        }


async def test_reasons() -> None:
    """
    Ended and refused connections are counted by their reasons.
    """
    factory = TCPDemoFactory(Echo, maxConnections=1)
    async with serving(factory) as server, showing(factory) as port:
        first = await server.connect()
        second = await server.connect()
        await second.whenEnded()
        first.transport.write(b"hello")
        first.transport.loseConnection()
        await factory.whenEmpty()
        status = (await ask(port)).data
        assert status["refusedBy"] == {"maxConnections": 1}
        assert status["closedBy"] == {"peer closed": 1}
        assert (status["closedCount"], status["refusedCount"], status["connections"]) == (1, 1, [])


async def test_hostilePeer(tmp_path: Path) -> None:
    """
    Text that a peer has chosen stays a JSON string, without control characters.
    """
    path = str(tmp_path / "s")
    factory = TCPDemoFactory(Echo)
    async with serving(factory, f"unix:{path}", f"unix:{path}"), showing(factory) as port:
        with socket.socket(socket.AF_UNIX) as hostile:
            hostile.bind(b"\0</script><img src=x>\x1b[2J\n\xff")
            hostile.connect(path)
            await until(lambda: factory.connectionCount)
            answer = await ask(port)
        [row] = answer.data["connections"]
        assert "</script><img src=x>\\x1b[2J\\n" in row["peer"]
        assert row["peer"].isprintable() and answer.body.isascii()


async def test_listeners(tmp_path: Path) -> None:
    """
    Each listener tells what its clients begin with, on both transports.
    """
    from twisted.internet import reactor
    from twisted.internet.endpoints import serverFromString

    tls = f"ssl:0:privateKey={pemFile()}:interface=127.0.0.1"
    lane = fastReactor(reactor)
    endpoints = [
        ServerEndpoint(reactor, 0, interface="127.0.0.1", proxy=Proxy(trusted=["127.0.0.1"])),
        serverFromString(lane, tls),
        serverFromString(lane, f"unix:{tmp_path}/lane"),
        serverFromString(reactor, tls),
        serverFromString(reactor, f"unix:{tmp_path}/other"),
        serverFromString(reactor, "haproxy:tcp:0:interface=127.0.0.1"),
    ]
    factory = TCPDemoFactory(Echo)
    for endpoint in endpoints:
        await factory.listen(endpoint)
    async with showing(factory) as port:
        listeners = (await ask(port)).data["listeners"]
    assert [(one["proxy"], one["tls"]) for one in listeners] == [
        *((True, False), (False, True), (False, False), (False, True), (False, False)),
        (True, False),
    ]
    assert [one["queue"] for one in listeners] == [0, 0, None, 0, None, 0]
    await factory.close()


async def test_drain() -> None:
    """
    A drain tells its deadline, and how many are left.
    """
    factory = TCPDemoFactory(Echo)
    async with serving(factory) as server, showing(factory) as port:
        peers = [await server.connect() for _ in range(2)]
        await until(lambda: factory.connectionCount == 2)
        drained = factory.drain()
        await until(lambda: not factory.listening)
        drain = (await ask(port)).data["drain"]
        assert drain.pop("age") >= 0
        assert drain == {"left": 2, "ended": 0, "aborted": 0, "timeLeft": None}
        peers[0].transport.loseConnection()
        await until(lambda: factory.connectionCount == 1)
        hastened = factory.drain(60, spread=60)
        drain = (await ask(port)).data["drain"]
        assert (drain["left"], drain["ended"]) == (1, 1)
        assert 50 < drain["timeLeft"] <= 60
        await factory.drain(0)
        await drained
        await hastened
        assert (await ask(port)).data["drain"] is None
