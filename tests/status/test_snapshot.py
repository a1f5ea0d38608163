"""
The data of the status page: status.json.
"""

from __future__ import annotations

from pathlib import Path

from tests.support.peers import serving
from tests.support.status import ask, showing
from tests.support.waiting import until
from twisted_tcpdemo import TCPDemoFactory
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
        own = peer.transport.getHost()
        assert answer.headers["content-type"] == "application/json"
        assert {key: status.pop(key) > 0 for key in ("time", "uptime", "pid")}
        assert status == {
            "version": 1,
            "state": "accepting",
            "listeners": [{"address": "127.0.0.1", "port": server.port, "family": "IPv4"}],
            "connectionCount": 1,
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
        assert history == {"interval": 1.0, "connections": [], "bytesRead": [], "bytesWritten": []}
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
    import socket

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
