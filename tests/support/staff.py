"""
Servers with workers: the parent is the process of the test, the workers are real ones.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.endpoints import clientFromString, connectProtocol, wrapClientTLS
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver

from tests.support.contexts import TwistedContexts
from tests.support.crowds import Highest
from tests.support.peers import Events, Peer
from tests.support.waiting import until
from twisted_tcpdemo import ServerEndpoint, Stream, TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.service.service import TCPDemoService
from twisted_tcpdemo.values.report import WorkerReport

_log = Logger(namespace="app")


def chat(number: int) -> None:
    """
    Fill the log, from a thread.
    """
    for line in range(2000):
        _log.info("line {line} of {number}", line=line, number=number)


class Telling(TCPDemoProtocol):
    """
    Does what its client says: answers with facts, misbehaves, or echoes.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Obey.
        """
        match data.split():
            case [b"pid"]:
                self.write(f"{os.getpid()}\n")
            case [b"who"]:
                self.write(f"{self.connectionID} {self.remoteAddress}:{self.remotePort}\n")
            case [b"listeners"]:
                self.write(f"{len(self.factory.addresses())}\n")
            case [b"hang"]:
                while True:
                    pass
            case [b"exit"]:
                os._exit(3)
            case [b"leak"]:
                kept: list[int] = []
                try:
                    while True:
                        kept.append(os.dup(0))
                except OSError:
                    self.transport.write(b"leaked\n")
            case [b"raise"]:
                raise ZeroDivisionError
            case [b"threads"]:
                sys.setswitchinterval(1e-6)
                chats = [deferToThread(chat, number) for number in range(3)]
                gatherResults(chats).addCallback(lambda _: self.write("said\n"))
            case _:
                self.transport.write(data)

    def drainStarted(self) -> None:
        """
        Tell the client.
        """
        self.transport.write(b"draining\n")


class Raising(TCPDemoProtocol):
    """
    Raises for each client, with text that could be a peer's.
    """

    def connectionMade(self) -> None:
        """
        Raise.
        """
        raise ValueError("\x1b[31m red")


class Chatter(Telling):
    """
    A L{Telling} that says something every tenth of a second, once its client has spoken, and
    not asked for quiet.
    """

    chat: Any = None

    def dataReceived(self, data: bytes) -> None:
        """
        Begin, or keep quiet.
        """
        from twisted.internet import reactor

        super().dataReceived(data)
        if data != b"quiet\n" and self.chat is None:
            self.chat = LoopingCall(self.transport.write, b".")
            self.chat.clock = reactor
            self.chat.start(0.1, now=False)

    def connectionLost(self, reason: object = None) -> None:
        """
        Stop.
        """
        if self.chat is not None:
            self.chat.stop()


class Second(Telling):
    """
    Leaves the process, if it is the second one.
    """

    count = 0

    def __init__(self) -> None:
        Second.count += 1
        if Second.count == 2:
            sys.exit("as it likes")


async def obey(stream: Stream) -> None:
    """
    Handle a stream as its client says.
    """
    stream.whenDraining().addCallbacks(lambda _: stream.write("draining\n"), lambda _: None)
    async for line in stream.lines():
        match line:
            case b"pid":
                await stream.write(f"{os.getpid()}\n")
            case b"raise":
                raise ZeroDivisionError
            case b"stay":
                with suppress(CancelledError):
                    await Deferred()
                await stream.read()
            case b"quit":
                break


class Foreign(LineReceiver):
    """
    A protocol that is none of ours.
    """

    delimiter = b"\n"

    def lineReceived(self, line: bytes) -> None:
        """
        Send it back.
        """
        self.sendLine(line)


class Staffed:
    """
    A server with workers.
    """

    def __init__(self, factory: TCPDemoFactory, service: TCPDemoService) -> None:
        self.factory = factory
        self.service = service
        self.highest = Highest(factory)
        self.events = Events()
        self.peers: list[Peer] = []
        factory.addObserver(self.events)

    @property
    def workers(self) -> list[WorkerReport]:
        """
        The reports of the workers.
        """
        assert self.factory.handOver is not None
        return self.factory.handOver.reports()

    async def whenServing(self, count: int = 2) -> list[WorkerReport]:
        """
        Wait until a number of workers can serve, and no other is there.
        """

        def serving() -> list[WorkerReport] | None:
            all_ = self.workers
            able = [worker for worker in all_ if worker.state == "serving"]
            return able if len(able) == len(all_) == count else None

        found = await until(serving)
        assert found is not None
        return found

    def kill(self, number: int = 1, how: int = signal.SIGKILL) -> None:
        """
        Send a signal to the worker with a number.
        """
        for worker in self.workers:
            if worker.number == number and worker.state == "serving" and worker.pid is not None:
                os.kill(worker.pid, how)

    async def connect(self, where: str = "", tls: bool = False) -> Peer:
        """
        Connect a client.

        @param tls: whether it speaks TLS.
        """
        from twisted.internet import reactor

        peer = Peer()
        port = self.factory.addresses()[0].port
        where = where or f"tcp:127.0.0.1:{port}"
        endpoint: Any = clientFromString(reactor, where)
        if tls:
            endpoint = wrapClientTLS(TwistedContexts.client(), endpoint)
        await connectProtocol(endpoint, peer)
        self.peers.append(peer)
        return peer

    async def ask(self, peer: Peer, what: bytes) -> str:
        """
        Ask a L{Telling}, and wait for its line.
        """
        before = len(peer.received)
        peer.transport.write(what)
        await peer.when(lambda: peer.received[before:].endswith(b"\n") or peer.ended or peer.reason)
        return peer.received[before:].decode()


@asynccontextmanager
async def staffed(
    factory: TCPDemoFactory | None = None,
    endpoint: Any = None,
    workers: int = 2,
    drain: float | None = 2.0,
    **options: Any,
) -> AsyncGenerator[Staffed]:
    """
    Serve with workers as long as the block lasts.
    """
    from twisted.internet import reactor

    factory = TCPDemoFactory(Telling) if factory is None else factory
    if endpoint is None:
        endpoint = ServerEndpoint(reactor, 0, "127.0.0.1")
    service = TCPDemoService(
        factory, [("here", endpoint)], reactor=reactor, workers=workers, drain=drain, **options
    )
    server = Staffed(factory, service)
    service.privilegedStartService()
    service.startService()
    try:
        yield server
    finally:
        for peer in server.peers:
            if peer.reason is None:
                peer.transport.abortConnection()
                await peer.whenLost()
        await service.stopService()
