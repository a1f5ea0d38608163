"""
The same contracts as L{interfaces<twisted_tcpdemo.interfaces>}, for type checkers.

A zope interface is a type only with mypy's zope plugin.  Every other checker
reads its methods as functions without C{self}, which no class has.  The public
signatures therefore take one of these shapes, or the interface: a program is
checked with the plugin, without it, and by pyright.

Nothing here has an implementation.  At run time the interface decides.
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
"""What happens to a client for whom there is no slot."""

AnyReactor: TypeAlias = Any
"""A reactor as an application has it.  Twisted has many interfaces for parts of
one and no type for all of it, and the installed one is a module to a checker."""


class Clock(Protocol):
    """
    See L{IReactorTime<twisted.internet.interfaces.IReactorTime>}.
    """

    def seconds(self) -> float:
        """
        The time, in seconds since some moment.
        """

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kwargs: object
    ) -> IDelayedCall:
        """
        Call something when some seconds have passed.
        """


class Reactor(Clock, Protocol):
    """
    What this package uses of a reactor, beside the time.
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
        Connect it.
        """

    def connectionMade(self) -> None:
        """
        It is connected.
        """

    def dataReceived(self, data: bytes, /) -> None:
        """
        Bytes have arrived.
        """

    def connectionLost(self, reason: Failure, /) -> None:
        """
        The connection is over.
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
        A port opens, or a connector begins.
        """

    def doStop(self) -> None:
        """
        A port has closed, or a connector has ended.
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
        Listen; the Deferred fires with a L{ListeningPort}.
        """


class Transport(Protocol):
    """
    See L{ITCPTransport<twisted.internet.interfaces.ITCPTransport>},
    L{IConsumer<twisted.internet.interfaces.IConsumer>} and
    L{IPushProducer<twisted.internet.interfaces.IPushProducer>}: what a stream
    transport of Twisted's is.
    """

    def write(self, data: bytes, /) -> None:
        """
        Send bytes, in order and without waiting.
        """

    def writeSequence(self, data: Iterable[bytes], /) -> None:
        """
        Send several.
        """

    def loseConnection(self) -> None:
        """
        Close when all is sent.
        """

    def loseWriteConnection(self) -> None:
        """
        End this side when all is sent.
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
        The producer has no more.
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
        Close, for a consumer that wants no more.
        """


class TLSTransport(Transport, Protocol):
    """
    See L{ISSLTransport<twisted.internet.interfaces.ISSLTransport>}: the
    transport of a connection that is encrypted.
    """

    def getPeerCertificate(self) -> Any:
        """
        The peer's certificate as pyOpenSSL has it, or L{None}.
        """


class ContextFactory(Protocol):
    """
    What makes TLS contexts, such as
    L{CertificateOptions<twisted.internet.ssl.CertificateOptions>}.
    """

    def getContext(self) -> object:
        """
        A context of pyOpenSSL's.
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
        Nothing is accepted there any more.
        """

    def connectionOpened(self, report: ConnectionReport, /) -> None:
        """
        A connection has been admitted.
        """

    def connectionRefused(self, refusal: Refusal, /) -> None:
        """
        A connection was not admitted.
        """

    def connectionClosed(self, report: ConnectionReport, /) -> None:
        """
        A connection has ended.
        """

    def watermarkCrossed(self, crossing: WatermarkCrossing, /) -> None:
        """
        The number of connections has crossed a fraction of the limit.
        """

    def serverError(self, failure: Failure, /) -> None:
        """
        Something failed outside any connection.
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
        A connection has come in.
        """

    def adopted(self, peer: IAddress, /) -> None:
        """
        A connection is open that came in before.
        """

    def closed(self, peer: IAddress, /) -> None:
        """
        A connection is over.
        """
