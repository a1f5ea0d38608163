"""
The same contracts as L{interfaces<twisted_tcpdemo.interfaces>}, for type checkers.

A zope interface is a type only with mypy's zope plugin.  Every other checker
reads its methods as functions without C{self}, which no class has.  The public
signatures therefore take one of these shapes, or the interface.  So mypy checks a
program with the plugin or without it, and pyright checks it too.

The shapes have no implementation.  At run time the interface decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocolFactory,
    IReadDescriptor,
    ITransport,
    IWriteDescriptor,
)
from twisted.python.failure import Failure

from twisted_tcpdemo.values.report import ConnectionReport, Refusal, WatermarkCrossing

Overflow: TypeAlias = Literal["refuse", "reset", "wait"]
"""What a server does with a client when no slot is free."""

AnyReactor: TypeAlias = Any
"""The reactor of an application.  Twisted has many interfaces for parts of a reactor
and no type for all of it; to a checker, the installed reactor is a module."""


class Clock(Protocol):
    """
    See L{IReactorTime<twisted.internet.interfaces.IReactorTime>}.
    """

    def seconds(self) -> float:
        """
        The time, in seconds since an unspecified moment.
        """

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kwargs: object
    ) -> IDelayedCall:
        """
        Call a function after a number of seconds.
        """


class Reactor(Clock, Protocol):
    """
    The parts of a reactor that this package uses.
    """

    def addReader(self, reader: IReadDescriptor, /) -> None:
        """
        See L{IReactorFDSet<twisted.internet.interfaces.IReactorFDSet>}.
        """

    def removeReader(self, reader: IReadDescriptor, /) -> None:
        """
        See L{IReactorFDSet<twisted.internet.interfaces.IReactorFDSet>}.
        """

    def addWriter(self, writer: IWriteDescriptor, /) -> None:
        """
        See L{IReactorFDSet<twisted.internet.interfaces.IReactorFDSet>}.
        """

    def removeWriter(self, writer: IWriteDescriptor, /) -> None:
        """
        See L{IReactorFDSet<twisted.internet.interfaces.IReactorFDSet>}.
        """

    def addSystemEventTrigger(
        self,
        phase: str,
        eventType: str,
        callable: Callable[..., object],
        *args: object,
        **kwargs: object,
    ) -> object:
        """
        See L{IReactorCore<twisted.internet.interfaces.IReactorCore>}.
        """

    def removeSystemEventTrigger(self, triggerID: Any, /) -> None:
        """
        See L{IReactorCore<twisted.internet.interfaces.IReactorCore>}.
        """


class Connectable(Protocol):
    """
    See L{IProtocol<twisted.internet.interfaces.IProtocol>}.
    """

    def makeConnection(self, transport: ITransport, /) -> None:
        """
        Connect the protocol to a transport.
        """

    def connectionMade(self) -> None:
        """
        Handle the beginning of the connection.
        """

    def dataReceived(self, data: bytes, /) -> None:
        """
        Handle bytes that have arrived.
        """

    def connectionLost(self, reason: Failure, /) -> None:
        """
        Handle the end of the connection.
        """


class ProtocolFactory(Protocol):
    """
    See L{IProtocolFactory<twisted.internet.interfaces.IProtocolFactory>}.
    """

    def buildProtocol(self, addr: IAddress, /) -> Any:
        """
        Build a protocol, or return L{None}.
        """

    def doStart(self) -> None:
        """
        Handle the opening of a port, or the start of a connector.
        """

    def doStop(self) -> None:
        """
        Handle the close of a port, or the end of a connector.
        """


class ListeningPort(Protocol):
    """
    See L{IListeningPort<twisted.internet.interfaces.IListeningPort>}.
    """

    def startListening(self) -> None:
        """
        Listen.
        """

    def stopListening(self) -> Deferred[None] | None:
        """
        Close.
        """

    def getHost(self) -> IAddress:
        """
        The address on which it listens.
        """


class StreamServer(Protocol):
    """
    See L{IStreamServerEndpoint<twisted.internet.interfaces.IStreamServerEndpoint>}.
    """

    def listen(self, protocolFactory: IProtocolFactory, /) -> Deferred[Any]:
        """
        Listen.

        @return: a Deferred that fires with a L{ListeningPort}.
        """


class Transport(Protocol):
    """
    A stream transport of Twisted's.  See
    L{ITCPTransport<twisted.internet.interfaces.ITCPTransport>},
    L{IConsumer<twisted.internet.interfaces.IConsumer>} and
    L{IPushProducer<twisted.internet.interfaces.IPushProducer>}.
    """

    def write(self, data: bytes, /) -> None:
        """
        Send bytes, in order and without waiting.
        """

    def writeSequence(self, data: Iterable[bytes], /) -> None:
        """
        Send several pieces, as if they were one.
        """

    def loseConnection(self) -> None:
        """
        Close when all written bytes are sent.
        """

    def loseWriteConnection(self) -> None:
        """
        End this side when all written bytes are sent.
        """

    def abortConnection(self) -> None:
        """
        Close at once; nothing more is sent.
        """

    def getHost(self) -> IAddress:
        """
        This side's address.
        """

    def getPeer(self) -> IAddress:
        """
        The other side's address.
        """

    def getTcpNoDelay(self) -> bool:
        """
        Whether TCP_NODELAY is on.
        """

    def setTcpNoDelay(self, enabled: bool, /) -> None:
        """
        Switch TCP_NODELAY.
        """

    def getTcpKeepAlive(self) -> bool:
        """
        Whether SO_KEEPALIVE is on.
        """

    def setTcpKeepAlive(self, enabled: bool, /) -> None:
        """
        Switch SO_KEEPALIVE.
        """

    def registerProducer(self, producer: object, streaming: bool, /) -> None:
        """
        Take bytes from a producer.
        """

    def unregisterProducer(self) -> None:
        """
        Take no more bytes from the producer.
        """

    def pauseProducing(self) -> None:
        """
        Stop reading.
        """

    def resumeProducing(self) -> None:
        """
        Go on reading.
        """

    def stopProducing(self) -> None:
        """
        Close: the consumer of the bytes read wants no more.
        """


class TLSTransport(Transport, Protocol):
    """
    The transport of an encrypted connection.  See
    L{ISSLTransport<twisted.internet.interfaces.ISSLTransport>}.
    """

    def getPeerCertificate(self) -> Any:
        """
        The peer's certificate as pyOpenSSL has it, or L{None}.
        """


class ContextFactory(Protocol):
    """
    A factory of TLS contexts, such as
    L{CertificateOptions<twisted.internet.ssl.CertificateOptions>}.
    """

    def getContext(self) -> object:
        """
        A pyOpenSSL context.
        """


class Observer(Protocol):
    """
    See L{IConnectionObserver<twisted_tcpdemo.interfaces.IConnectionObserver>}.
    """

    def listening(self, address: IAddress, /) -> None:
        """
        Connections are accepted on an address.
        """

    def listeningStopped(self, address: IAddress, /) -> None:
        """
        Connections are accepted on an address no more.
        """

    def connectionOpened(self, report: ConnectionReport, /) -> None:
        """
        A connection has been admitted.
        """

    def connectionRefused(self, refusal: Refusal, /) -> None:
        """
        A client was refused.
        """

    def connectionClosed(self, report: ConnectionReport, /) -> None:
        """
        A connection has ended.
        """

    def watermarkCrossed(self, crossing: WatermarkCrossing, /) -> None:
        """
        The connection count has crossed a fraction of the limit.
        """

    def serverError(self, failure: Failure, /) -> None:
        """
        A listener failed, or code of the server raised outside a connection.
        """


class AdmissionPolicy(Protocol):
    """
    See L{IAdmissionPolicy<twisted_tcpdemo.interfaces.IAdmissionPolicy>}.
    """

    def decide(self, host: IAddress, peer: IAddress, now: float, /) -> str | None:
        """
        The name of the rule that refuses a connection, or L{None}.
        """

    def opened(self, host: IAddress, peer: IAddress, now: float, /) -> None:
        """
        Count a connection that has come in.
        """

    def adopted(self, peer: IAddress, /) -> None:
        """
        Count a connection that came in before this policy was in force.
        """

    def closed(self, peer: IAddress, /) -> None:
        """
        Count a connection no more: it is over.
        """


class ProcessLog(Protocol):
    """
    The log of a process, as its service sees it: L{BoundedProcessLog
    <twisted_tcpdemo.monitoring.processlog.BoundedProcessLog>}.
    """

    def begin(self) -> None:
        """
        Bound the log, before the first client.
        """

    def check(self) -> None:
        """
        Say what the log cannot do: the process has its last privileges now.
        """

    def reopen(self, signalName: str) -> None:
        """
        Open the files of the log again.
        """

    def end(self) -> None:
        """
        Bound the log no more.
        """
