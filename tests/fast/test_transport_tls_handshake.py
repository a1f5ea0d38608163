"""
L{twisted_tcpdemo.fast.encrypting}: the handshake, and what may happen in it.
"""

from __future__ import annotations

import socket
import ssl
from functools import partial

import pytest
from twisted.internet.interfaces import IHandshakeListener
from zope.interface import implementer

from tests.support.clients import Client, installedReactor, to
from tests.support.engines import engine
from tests.support.hygiene import LoggedErrors
from tests.support.peers import hasEnded, rawConnection
from tests.support.secure import Sides, clientOf, ended, lastFlight, listening, stranger
from tests.support.waiting import failureOf, turn, until
from twisted_tcpdemo import Budgets, CloseReason


@implementer(IHandshakeListener)
class Listening(Client):
    """
    Remembers the handshake among the other events.
    """

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []

    def connectionMade(self) -> None:
        """
        Remember it.
        """
        self.events.append("made")
        super().connectionMade()

    def handshakeCompleted(self) -> None:
        """
        Remember it.
        """
        self.events.append("handshake")

    def dataReceived(self, data: bytes) -> None:
        """
        Remember it.
        """
        self.events.append("data")
        super().dataReceived(data)


async def test_listener(sides: Sides) -> None:
    """
    A protocol that wants to know of the handshake is told once, before any data.
    """
    async with sides.connected(Listening, Listening) as both:
        for side, other in both.bothWays():
            side.transport.write(b"hello")
            await other.whenReceived(5)
            side.transport.write(b"again")
            await other.whenReceived(10)
        for side, _ in both.bothWays():
            assert side.events == ["made", "handshake", "data", "data"]


async def test_early(sides: Sides) -> None:
    """
    Bytes written before the handshake are pending until it is done, and go first.
    """

    class Greeting(Listening):
        """
        Writes before and in the handshake.
        """

        def connectionMade(self) -> None:
            super().connectionMade()
            self.transport.write(b"early ")
            self.early = self.bytesPending

        def handshakeCompleted(self) -> None:
            super().handshakeCompleted()
            self.transport.write(b"later")

    async with sides.connected(Greeting) as both:
        await both.far.whenReceived(11)
        assert both.far.received == b"early later"
        assert (both.near.early, both.near.bytesPending) == (6, 0)
        assert both.near.bytesWritten == 11


async def test_listenerRaises(kind: str, loggedErrors: LoggedErrors) -> None:
    """
    An exception in handshakeCompleted is logged and ends the connection; the counts
    and the slot stay right.
    """

    class Raising(Listening):
        """
        Raises.
        """

        def handshakeCompleted(self) -> None:
            super().handshakeCompleted()
            raise ZeroDivisionError

    async with listening(kind, Raising) as server, stranger(server.port) as far:
        far.send(b"hello")
        report = await ended(server)
        assert report.closeReason is CloseReason.ERROR
        assert report.bytesRead == 0
        assert server.factory.connectionCount == 0
    assert len(loggedErrors.take(ZeroDivisionError)) == 1


async def test_closes(kind: str) -> None:
    """
    A protocol may close in the handshake; bytes that it has written go before that.
    """

    class Closing(Listening):
        """
        Writes and closes.
        """

        def handshakeCompleted(self) -> None:
            super().handshakeCompleted()
            self.transport.write(b"bye")
            self.transport.loseConnection()

    async with listening(kind, Closing) as server, stranger(server.port, shake=False) as far:
        await lastFlight(far, b"data")
        near = await server.protocol()
        await until(lambda: far.receive() is not None and far.engine.over)
        far.socket.close()
        assert (await ended(server)).closeReason is CloseReason.LOCAL_CLOSE
        assert near.events == ["made", "handshake"]
        assert far.got == b"bye"


@pytest.mark.parametrize("data", [b"", b"data"])
async def test_endsWithHandshake(kind: str, data: bytes) -> None:
    """
    A peer may end with the last bytes of its handshake.  Whoever has just heard of the
    handshake acts first, also by delayed calls.
    """

    class Answering(Listening):
        """
        Answers a little later.
        """

        def handshakeCompleted(self) -> None:
            super().handshakeCompleted()
            later = installedReactor().callLater
            later(0, lambda: later(0, self.transport.write, b"answer"))

    async with listening(kind, Answering) as server, stranger(server.port, shake=False) as far:
        await lastFlight(far, data, ending=True)
        near = await server.protocol()
        await until(lambda: far.receive() is not None and far.engine.over)
        far.socket.close()
        assert (await ended(server)).closeReason is CloseReason.PEER_CLOSED
        assert far.got == b"answer" and near.received == data


def hasBytes(peer: socket.socket) -> bool:
    """
    Whether something has come.
    """
    try:
        return bool(peer.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


async def test_lastFlight(kind: str) -> None:
    """
    The last flight of a server's handshake waits for an answer to what came with the
    client's, and no longer.
    """
    async with listening(kind, Listening) as server, stranger(server.port, shake=False) as far:
        await lastFlight(far, b"data")
        near = await server.protocol()
        await until(lambda: near.received == b"data")
        await until(partial(hasBytes, far.socket))


async def test_aborts(kind: str) -> None:
    """
    A protocol may abort in the handshake, and gets no data then.
    """

    class Aborting(Listening):
        """
        Aborts.
        """

        def handshakeCompleted(self) -> None:
            super().handshakeCompleted()
            self.transport.abortConnection()

    async with listening(kind, Aborting) as server, stranger(server.port, shake=False) as far:
        await lastFlight(far, b"data")
        report = await ended(server)
        assert (report.closeReason, report.bytesRead) == (CloseReason.ABORTED, 0)


async def test_pauses(kind: str) -> None:
    """
    A protocol that pauses in the handshake gets no data until it resumes, though the
    data came together with the last bytes of the handshake.
    """

    class Pausing(Listening):
        """
        Pauses.
        """

        def handshakeCompleted(self) -> None:
            super().handshakeCompleted()
            self.pause()

    async with listening(kind, Pausing) as server, stranger(server.port, shake=False) as far:
        await lastFlight(far, b"early")
        near = await server.protocol()
        await until(lambda: len(near.events) == 2)
        for _ in range(3):
            await turn()
        assert near.events == ["made", "handshake"]
        near.resume()
        await near.whenReceived(5)
        far.end()
        await ended(server)


async def test_pauseOnConnect(sides: Sides) -> None:
    """
    A connection that begins paused shakes hands when it is resumed.
    """
    async with listening(sides.server, Listening, pauseOnConnect=True) as server:
        connecting = to(
            server.port, "localhost", tls=clientOf(sides.client), timeout=5
        ).connectProtocol(Client())
        near = await server.protocol()
        for _ in range(3):
            await turn()
        assert not connecting.called
        assert near.events == ["made"]
        near.resume()
        far = await connecting
        far.transport.write(b"hello")
        await near.whenReceived(5)
        assert near.events == ["made", "handshake", "data"]
        far.transport.loseConnection()
        await far.whenLost()


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02"])
async def test_budget(kind: str, said: bytes) -> None:
    """
    A handshake that does not end in its time is a reset, also where it has begun.
    """
    async with listening(kind, budgets=Budgets(handshake=0.1)) as server:
        with rawConnection(server.port) as raw:
            if said:
                raw.send(said)
            assert (await ended(server)).closeReason is CloseReason.HANDSHAKE


async def test_budgetEnds(sides: Sides) -> None:
    """
    After the handshake its budget is of no concern.
    """
    async with sides.connected(budgets=Budgets(handshake=0.1, idle=0.3)) as both:
        assert (await both.report()).closeReason is CloseReason.IDLE


async def test_closesBefore(kind: str) -> None:
    """
    A connection that is closed before its handshake has closed in order.
    """
    made: list[Client] = []

    class Leaving(Client):
        """
        Closes at once.
        """

        def connectionMade(self) -> None:
            made.append(self)
            self.transport.loseConnection()

    async with listening(kind, Leaving) as server:
        with rawConnection(server.port):
            assert (await ended(server)).closeReason is CloseReason.LOCAL_CLOSE


@pytest.mark.parametrize("why", ["untrusted", "name"])
async def test_wrongCertificate(sides: Sides, why: str) -> None:
    """
    A client that does not accept the server's certificate fails with the reason; the
    server's connection ends with one reason too, and has never had data.
    """
    if why == "untrusted":
        tls, host = clientOf(sides.client, trusting=False), "localhost"
    else:
        tls, host = clientOf(sides.client, "127.0.0.2"), "127.0.0.2"
    async with listening(sides.server, interface="0.0.0.0") as server:
        error = await failureOf(to(server.port, host, tls=tls).connectProtocol(Client()))
        origin = type(error).__module__.partition(".")[0]
        assert origin in {"OpenSSL", "ssl", "service_identity"}
        if sides.client == "standard":
            assert isinstance(error, ssl.SSLCertVerificationError)
        report = await ended(server)
        assert report.closeReason is CloseReason.TLS_FAILED
        assert (report.bytesRead, report.bytesWritten) == (0, 0)


async def test_plainClient(kind: str) -> None:
    """
    A client that speaks no TLS ends with that reason.
    """
    async with listening(kind) as server:
        with rawConnection(server.port) as raw:
            raw.send(b"GET / HTTP/1.1\r\n\r\n")
            assert (await ended(server)).closeReason is CloseReason.TLS_FAILED
            assert hasEnded(raw)


async def test_leavesInHandshake(kind: str) -> None:
    """
    A client that leaves in the middle of its handshake gives its slot back.
    """
    async with listening(kind) as server:
        with rawConnection(server.port) as raw:
            client = engine("standard", True)
            client.shake(b"")
            raw.send(client.take(0)[:50])
            await server.protocol()
        assert (await ended(server)).closeReason is CloseReason.RESET
        assert server.factory.connectionCount == 0
