"""
Plain Twisted, with what its users have for this: C{LimitTotalConnectionsFactory}, timers
of their own, a producer for back-pressure, and an end that waits.
"""

from __future__ import annotations

import sys
from typing import Any

from tests.harness.peers.entry import Entry


def main(entry: Entry) -> None:
    """
    Run it.
    """
    from twisted.internet import reactor as installed
    from twisted.internet.interfaces import IPushProducer
    from twisted.internet.protocol import Protocol
    from twisted.protocols.policies import LimitTotalConnectionsFactory
    from twisted.python import log
    from zope.interface import implementer

    from tests.harness.peers.probe import serveOnReactor
    from tests.harness.peers.program import answer

    wanted, reactor = entry.wanted, installed
    loop: Any = reactor
    log.startLogging(sys.stdout, setStdout=False)
    living: set[Any] = set()

    @implementer(IPushProducer)
    class Attacked(Protocol):
        """
        The program.
        """

        transport: Any
        idle: Any = None
        life: Any = None

        def connectionMade(self) -> None:
            living.add(self)
            self.transport.setTcpNoDelay(True)
            self.transport.registerProducer(self, True)
            self.life = loop.callLater(wanted.lifetime, self.transport.abortConnection)
            self.idle = loop.callLater(wanted.firstByte, self.transport.abortConnection)

        def dataReceived(self, data: bytes) -> None:
            self.idle.reset(wanted.idle)
            self.transport.write(answer(data))

        def pauseProducing(self) -> None:
            self.transport.pauseProducing()
            self.idle.reset(wanted.stall)

        def resumeProducing(self) -> None:
            self.transport.resumeProducing()
            self.idle.reset(wanted.idle)

        def stopProducing(self) -> None:
            pass

        def connectionLost(self, reason: Any = None) -> None:
            living.discard(self)
            for call in (self.idle, self.life):
                if call is not None and call.active():
                    call.cancel()
            if wanted.overflow == "wait":
                port.resumeProducing()

    class Sent(Protocol):
        """
        A client too many, for the policy reset.
        """

        transport: Any

        def connectionMade(self) -> None:
            self.transport.abortConnection()

    class Limited(LimitTotalConnectionsFactory):
        """
        The limit; with the policy wait the port pauses when it is reached.
        """

        noisy = False

        def buildProtocol(self, addr: Any) -> Any:
            built = super().buildProtocol(addr)
            if wanted.overflow == "wait" and self.connectionCount >= wanted.limit:
                port.pauseProducing()
            return built

    factory = Limited()
    factory.protocol = Attacked
    factory.connectionLimit = wanted.limit  # type: ignore[assignment]
    if wanted.overflow == "reset":
        factory.overflowProtocol = Sent  # type: ignore[assignment]
    port = loop.listenTCP(0, factory, backlog=4096, interface="127.0.0.1")
    serveOnReactor(entry.probe, wanted.probe)

    def stop(*_: object) -> None:
        port.stopListening()
        for protocol in list(living):
            protocol.transport.unregisterProducer()
            protocol.transport.loseConnection()
        loop.callLater(wanted.drain, abort)
        look()

    def look() -> None:
        if living:
            loop.callLater(0.05, look)
        else:
            loop.stop()

    def abort() -> None:
        for protocol in list(living):
            protocol.transport.abortConnection()

    def catch() -> None:
        import signal

        signal.signal(signal.SIGTERM, lambda *_: loop.callFromThread(stop))

    loop.callWhenRunning(catch)
    print(f"listening on 127.0.0.1:{port.getHost().port}", flush=True)
    loop.run()


if __name__ == "__main__":
    main(Entry(sys.argv[1]))
