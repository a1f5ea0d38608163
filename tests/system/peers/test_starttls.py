"""
TLS that begins in the middle of a connection, as for mail, against OpenSSL's
C{s_client} and Python's C{smtplib} and C{ssl}.
"""

from __future__ import annotations

import smtplib
import socket
from ssl import SSLContext
from typing import Any

import pytest
from twisted.internet.threads import deferToThread

from tests.support.certificates import pemFile
from tests.support.clients import to
from tests.support.contexts import PythonContexts, everyContext
from tests.support.processes import running
from tests.system.peers.support import (
    Party,
    needs,
    ours,
    pattern,
    program,
)
from tests.system.peers.test_python import exactly, plain, secured, server
from twisted_tcpdemo import CloseReason

pytestmark = pytest.mark.deadline(20)

A_LOT = 3_000_000
"""Bytes that are under way, in the clear, when TLS begins."""


class Mail(Party):
    """
    A server's side of SMTP, as much of it as is needed.

    @cvar tls: the context.
    @ivar secret: whether TLS has begun.
    """

    tls: Any
    secret = False

    def connectionMade(self) -> None:
        """
        Greet.
        """
        super().connectionMade()
        self.transport.write(b"220 here\r\n")

    def dataReceived(self, data: bytes) -> None:
        """
        Answer each line.
        """
        super().dataReceived(data)
        for line in data.split(b"\r\n")[:-1]:
            self.lineReceived(line)

    def lineReceived(self, line: bytes) -> None:
        """
        Answer.
        """
        word = line[:4].upper()
        if word == b"EHLO":
            self.transport.write(
                b"250 here\r\n" if self.secret else b"250-here\r\n250 STARTTLS\r\n"
            )
        elif word == b"STAR":
            self.transport.write(b"220 go\r\n")
            self.transport.startTLS(self.tls)
            self.secret = True
        elif word == b"QUIT":
            self.transport.write(b"221 goodbye\r\n")
            self.transport.loseConnection()
        else:
            self.transport.write(b"250 " + line + b"\r\n")


def mail(tls: Any) -> type[Mail]:
    """
    A server's protocol with a context.
    """

    class Here(Mail):
        """
        See L{Mail}.
        """

    Here.tls = tls
    return Here


@everyContext
@needs("openssl")
@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_openssl(contexts: Any, version: str) -> None:
    """
    C{s_client} begins TLS, and both sides count what they said before and after.
    """
    async with ours(mail(contexts.server(version=version))) as serving:
        command = [program("openssl"), "s_client", "-starttls", "smtp", "-quiet", "-no_ign_eof"]
        command += ["-CAfile", str(pemFile()), "-verify_return_error"]
        async with running([*command, "-connect", f"127.0.0.1:{serving.port}"]) as child:
            protocol = await serving.protocol()
            await protocol.when(lambda: protocol.handshakes)
            before = (protocol.bytesRead, protocol.bytesWritten)
            child.transport.write(b"NOOP\r\n")
            await child.whenPrinted("250 NOOP")
            assert (protocol.bytesRead, protocol.bytesWritten) == (before[0] + 6, before[1] + 10)
            child.transport.write(b"quit\r\n")  # a line that begins with Q is a command
            await child.whenPrinted("221 goodbye")
            assert await child.whenEnded() == 0
        report = await serving.report()
        assert report.closeReason is CloseReason.LOCAL_CLOSE
        assert report.bytesRead == len(protocol.received)


@everyContext
@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_smtplib(contexts: Any, version: str) -> None:
    """
    Python's mail client begins TLS, and goes on in it.
    """

    def talk() -> list[Any]:
        with smtplib.SMTP("localhost", serving.port, timeout=10) as client:
            client.ehlo("me")
            client.starttls(context=PythonContexts.client(version=version))
            return [client.ehlo("me")[0], client.docmd("HELP"), client.sock.version()]

    async with ours(mail(contexts.server())) as serving:
        found = await deferToThread(talk)
        assert found == [250, (250, b"HELP"), f"TLSv{version}"]
        # It leaves without reading the close_notify, so its kernel resets.  That may be
        # before it has acknowledged what was read.
        report = await serving.report()
        if report.closeReason is CloseReason.RESET:
            assert report.bytesPending <= report.bytesWritten
        else:
            assert (report.closeReason, report.bytesPending) == (CloseReason.LOCAL_CLOSE, 0)


class Busy(Mail):
    """
    Says a lot before and after TLS begins, without waiting for anything.
    """

    def lineReceived(self, line: bytes) -> None:
        """
        Say it.
        """
        self.transport.write(pattern(A_LOT))
        super().lineReceived(line)
        self.transport.write(pattern(A_LOT))


@everyContext
@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_dataUnderWay(contexts: Any, version: str) -> None:
    """
    What the server wrote before TLS began goes out in the clear, what it wrote
    after it encrypted, and all of it in order.
    """

    def talk() -> None:
        with plain(serving.port) as below:
            below.sendall(b"STARTTLS\r\n")
            assert exactly(below, 10) == b"220 here\r\n"
            assert exactly(below, A_LOT) == pattern(A_LOT)
            assert exactly(below, 8) == b"220 go\r\n"
            context = PythonContexts.client(version=version)
            with context.wrap_socket(below, server_hostname="localhost") as peer:
                assert exactly(peer, A_LOT) == pattern(A_LOT)

    protocol = type("Here", (Busy,), {"tls": contexts.server()})
    async with ours(protocol) as serving:
        await deferToThread(talk)
        report = await serving.report()
        assert (report.bytesRead, report.bytesWritten) == (10, 2 * A_LOT + 18)
        assert report.bytesPending == 0


@everyContext
async def test_noHandshake(contexts: Any) -> None:
    """
    A client that goes on in the clear after it asked for TLS is a failure of TLS: the
    protocol sees none of it.
    """

    def talk() -> None:
        with plain(serving.port) as peer:
            peer.sendall(b"STARTTLS\r\n")
            exactly(peer, len(b"220 here\r\n220 go\r\n"))
            peer.sendall(b"NOOP\r\n")
            exactly(peer, 1000)

    async with ours(mail(contexts.server())) as serving:
        await deferToThread(talk)
        report = await serving.report()
        assert (report.bytesRead, report.closeReason) == (10, CloseReason.TLS_FAILED)


class Asking(Party):
    """
    A client that asks for TLS with a lot under way, and begins it at the answer.
    """

    tls: Any

    def connectionMade(self) -> None:
        """
        Ask.
        """
        super().connectionMade()
        self.transport.write(pattern(A_LOT) + b"STARTTLS\r\n")

    def dataReceived(self, data: bytes) -> None:
        """
        Begin, at the end of the answer.
        """
        super().dataReceived(data)
        if len(self.received) == A_LOT + 8:
            named = {"hostname": "localhost"} if isinstance(self.tls, SSLContext) else {}
            self.transport.startTLS(self.tls, **named)
            self.transport.write(pattern(A_LOT))


@everyContext
@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_client(contexts: Any, version: str) -> None:
    """
    A client of ours begins TLS with a server of Python's, with much under way in both
    directions.
    """

    def serve(accepted: socket.socket) -> bytes:
        assert exactly(accepted, A_LOT) == pattern(A_LOT)
        assert exactly(accepted, 10) == b"STARTTLS\r\n"
        accepted.sendall(pattern(A_LOT))
        accepted.sendall(b"220 go\r\n")
        peer = secured(accepted, version)
        got = exactly(peer, A_LOT)
        peer.sendall(b"thanks")
        with peer.unwrap():
            return got

    async with server(serve) as (port, served):
        party = Asking()
        party.tls = contexts.client()
        await to(port).connectProtocol(party)
        assert await served == pattern(A_LOT)
        await party.whenLost()
        assert party.received == pattern(A_LOT) + b"220 go\r\nthanks"
        assert party.bytesRead == len(party.received)
        assert party.bytesWritten == 2 * A_LOT + 10
        assert party.closeReason is CloseReason.PEER_CLOSED
