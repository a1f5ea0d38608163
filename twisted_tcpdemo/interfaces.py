"""
The contracts of this package: what it calls, and what it lets others replace.

Nothing here has an implementation; each docstring is the whole contract.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IProtocol,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface

from twisted_tcpdemo.values.report import ConnectionReport, Refusal, WatermarkCrossing


class ITransportWatcher(Interface):
    """
    What a counting transport tells the one who accounts for its connection.

    None of these methods raises, except what C{tell()} raises.
    """

    def transportFlushed() -> None:
        """
        The operating system has taken some of the bytes that were pending.

        Called only where bytes had to wait: after a write that was taken at
        once, C{bytesPending} is already zero when C{write()} returns.
        """

    def transportWaiting() -> None:
        """
        Bytes have been written that had to wait.  Called from within
        C{write()}; it may abort the connection.
        """

    def transportClosing() -> None:
        """
        This side has asked for the end, with C{loseConnection()}, for the
        first time.
        """

    def transportAborting() -> None:
        """
        This side breaks the connection off, with C{abortConnection()}.
        """

    def deliveryFailed() -> None:
        """
        The protocol's C{dataReceived} has raised, and the transport is about
        to end the connection.
        """

    def transportEncrypting() -> None:
        """
        C{startTLS()} has been called.  From now on the transport counts
        ciphertext; who wants to count the protocol's own bytes must do it.
        """

    def transportReadEnded(tell: Callable[[], object]) -> None:
        """
        The peer has ended its side, and the protocol can be half-closed.

        @param tell: tells the protocol.  It must be called, unless the
            connection is over; what it raises is to be raised.
        """

    def transportWriteEnded(tell: Callable[[], object]) -> None:
        """
        This side has ended its half.

        @param tell: as for L{transportReadEnded}.
        """

    def transportLost(reason: Failure) -> None:
        """
        The connection is gone.  Called once, before the protocol's
        C{connectionLost}, with the counters at their final values.

        @param reason: what the protocol is about to be told.
        """


class ICountingTransport(ITransport):
    """
    A transport that accounts for its own bytes, so that nothing needs to stand
    between it and the protocol.

    Everything that is not a transport of this kind is metered from outside;
    see L{twisted_tcpdemo.transports.meter}.
    """

    bytesRead: int = Attribute("Bytes delivered to the protocol; never falls.")
    bytesWritten: int = Attribute(
        "Bytes accepted by C{write} and C{writeSequence}; never falls.  Bytes given after the "
        "write side has ended are not accepted."
    )
    bytesPending: int = Attribute("Of C{bytesWritten}, those the operating system has not taken.")
    lastActivity: float = Attribute(
        "When a byte last moved in either direction, in seconds of the reactor's clock.  Bytes "
        "that wait because the peer does not read do not count as moving.  It may lag by the "
        "length of one batch of events."
    )
    watcher: ITransportWatcher | None = Attribute(
        "Whom to tell; settable, L{None} at first and after the loss."
    )

    def tellFlushedSoon() -> None:
        """
        Call C{watcher.transportFlushed()} when none of the code that is running
        now is on the stack any more.

        It is for the layers above, which may write what they have kept for
        long.  That it has left is then to be told, though nothing had to wait
        here, but not while they are at work.
        """

    def getHost() -> IAddress:
        """
        This side's address, after the loss too.
        """

    def getPeer() -> IAddress:
        """
        The other side's address, after the loss too.
        """


class IConnectionHooks(IProtocol, IHalfCloseableProtocol):
    """
    What happens to a connection, as the author of a protocol sees it.

    Every method may be overridden, with or without a call to C{super()}, and
    may raise: the exception is logged, the connection is closed with
    L{CloseReason.ERROR}, and the accounting stays right.
    """

    allowHalfOpen: bool | None = Attribute(
        "Whether the connection outlives the peer's FIN; L{None}: as the factory says."
    )

    def readConnectionLost() -> None:
        """
        The peer has ended its side (its FIN; Node's C{end} event).  Afterwards,
        unless half-open connections were asked for, everything already written
        is flushed and the connection closes.
        """

    def writeConnectionLost() -> None:
        """
        This side has ended its half, after C{transport.loseWriteConnection()},
        and the FIN is on its way.
        """

    def timeoutConnection() -> None:
        """
        No byte has moved for as long as C{setTimeout} allows.  By default the
        connection is closed.  Called once for each idle period.
        """

    def drainStarted() -> None:
        """
        The server has stopped accepting and waits for this connection to end.
        """


class IConnectionObserver(Interface):
    """
    Somebody who is told of a server's connections.

    An observer that raises is logged and harms nothing.  Observers are called
    synchronously, in the order in which they were added; they must not block.
    """

    def listening(address: IAddress) -> None:
        """
        Connections are accepted on an address from now on.

        @param address: the address in use, with the real port where 0 was
            asked for.
        """

    def listeningStopped(address: IAddress) -> None:
        """
        Nothing is accepted on an address any more.
        """

    def connectionOpened(report: ConnectionReport) -> None:
        """
        A connection has been admitted, and its protocol is about to hear
        C{connectionMade}.
        """

    def connectionRefused(refusal: Refusal) -> None:
        """
        A connection was not admitted; its client is sent away.
        """

    def connectionClosed(report: ConnectionReport) -> None:
        """
        A connection has ended and its slot is free.

        @param report: the final report, C{closeReason} included.
        """

    def watermarkCrossed(crossing: WatermarkCrossing) -> None:
        """
        The number of connections has risen to a fraction of the limit, or has
        fallen from it.
        """

    def serverError(failure: Failure) -> None:
        """
        A listener failed, or code of this server raised outside any
        connection.
        """


class IAdmissionPolicy(Interface):
    """
    Who may come in.

    The factory asks C{decide} for each connection for which there is a slot,
    before anything is read from it or written to it, and before a TLS
    handshake; if nothing refuses it, the factory calls C{opened}, and C{closed}
    when it is over.  For each C{opened} and each C{adopted} there is exactly
    one C{closed}, with the same address; for a connection that was refused
    there is neither.

    The clock is that of the reactor.  It may be set back.

    What this raises is logged.  The connection is then refused by the rule
    C{"admissionFailed"}, if it was not admitted already.
    """

    def decide(host: IAddress, peer: IAddress, now: float) -> str | None:
        """
        Tell whether a connection may come in.  To ask changes nothing, and may
        be done any number of times.

        @param host: our side of it.
        @param peer: the other side, as the transport knows it at this moment:
            behind a PROXY header that has not been read, the proxy.
        @param now: seconds of the clock.
        @return: the name of the rule that refuses it, or L{None}.
        """

    def opened(host: IAddress, peer: IAddress, now: float) -> None:
        """
        A connection has come in.
        """

    def adopted(peer: IAddress) -> None:
        """
        A connection is open that came in before this policy was in force.
        """

    def closed(peer: IAddress) -> None:
        """
        A connection of which this policy was told is over.
        """
