"""
The contracts of this package: interfaces that it calls, and that others may
implement.

Nothing here has code; each docstring is the whole contract.  They are in one file, where
users find all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from socket import socket
from typing import Any

from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IProtocol,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface

from twisted_tcpdemo.values.budgets import Budgets
from twisted_tcpdemo.values.report import (
    ConnectionReport,
    Refusal,
    WatermarkCrossing,
    WorkerReport,
)


class ITransportWatcher(Interface):
    """
    The accountant of a connection, as a counting transport calls it.

    None of these methods raises, except what C{tell()} raises.
    """

    def transportFlushed() -> None:
        """
        The operating system has taken some of the pending bytes.

        Called only when bytes had to wait: after a write that was taken at once,
        C{bytesPending} is zero already when C{write()} returns.
        """

    def transportWaiting() -> None:
        """
        Written bytes have to wait.  Called from within C{write()}; it may abort
        the connection.
        """

    def transportClosing() -> None:
        """
        This side has called C{loseConnection()} for the first time.
        """

    def transportAborting() -> None:
        """
        This side has called C{abortConnection()}.
        """

    def deliveryFailed() -> None:
        """
        The protocol's C{dataReceived} has raised, and the transport is about
        to end the connection.
        """

    def transportEncrypting() -> None:
        """
        C{startTLS()} has been called, and a handshake begins.
        """

    def transportReadEnded(tell: Callable[[], object]) -> bool:
        """
        The peer has ended its side, and the protocol can be half-closed.

        @param tell: tells the protocol.  The watcher must call it, unless the
            connection is over, and let through what it raises.
        @return: whether this side ends as well, when all written bytes are sent.
            That is up to the caller.
        """

    def transportWriteEnded(tell: Callable[[], object]) -> None:
        """
        This side has ended its half.

        @param tell: as for L{transportReadEnded}.
        """

    def transportLost(reason: Failure) -> None:
        """
        The connection is over.  Called once, before the protocol's
        C{connectionLost}, with the counters at their final values.

        @param reason: the reason that the protocol is about to be told.
        """


class ICountingTransport(ITransport):
    """
    A transport that counts its own bytes, so that nothing needs to stand between
    it and the protocol.  Under TLS they are those of the plaintext.

    Every other transport is metered from outside; see
    L{twisted_tcpdemo.transports.meter}.
    """

    bytesRead: int = Attribute("Bytes delivered to the protocol; never falls.")
    bytesWritten: int = Attribute(
        "Bytes accepted by C{write} and C{writeSequence}; never falls.  Bytes given after the "
        "write side has ended are not accepted."
    )
    bytesPending: int = Attribute(
        "Of C{bytesWritten}, those the operating system has not taken; after a loss that was not "
        "in order, nor the peer's, as far as is known."
    )
    lastActivity: float = Attribute(
        "When a byte last moved in either direction, in seconds of C{time.monotonic}, or of a "
        "reactor's own clock where that is not the system's.  Bytes that wait for a peer that "
        "does not read have not moved.  The time may lag by the length of one batch of events."
    )
    handshaking: bool = Attribute("Whether a TLS handshake has begun and not ended.")
    budgets: Budgets = Attribute(
        "The limits of its lingering, C{linger} and C{lingerBytes}; settable."
    )
    lingering: bool = Attribute(
        "Whether the peer has taken all that was written, and after a close only its own end is "
        "waited for."
    )
    watcher: ITransportWatcher | None = Attribute(
        "The watcher to call; settable, L{None} at first and after the loss."
    )

    def tellFlushedSoon() -> None:
        """
        Call C{watcher.transportFlushed()} when none of the code that runs now is
        on the stack any more.

        A layer above calls this after it has written bytes that it had kept.
        The watcher has to hear that they have left, though they did not wait
        here, but not while that layer is at work.
        """

    def getHost() -> IAddress:
        """
        This side's address, after the loss too.
        """

    def getPeer() -> IAddress:
        """
        The other side's address, after the loss too.
        """


class IFastReactor(Interface):
    """
    A reactor whose ports and connections are on the fast lane, if it can have such.

    C{IFastReactor(reactor)} is C{fastReactor(reactor)}.  So a server, which does not
    know the fast lane, puts its listeners there.
    """


class IConnectionHooks(IProtocol, IHalfCloseableProtocol):
    """
    The hooks of a protocol: the events of its connection.

    Each method may be overridden, with or without a call to C{super()}, and may
    raise.  The exception is logged, the connection is closed with
    L{CloseReason.ERROR}, and the accounts stay right.
    """

    allowHalfOpen: bool | None = Attribute(
        "Whether the connection outlives the peer's FIN; L{None}: as the factory says."
    )

    def readConnectionLost() -> None:
        """
        The peer has ended its side by a FIN (Node's C{end} event).  Afterwards
        written bytes are flushed and the connection closes, unless
        C{allowHalfOpen} holds.
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
        The server has stopped accepting, and waits for this connection to end.
        """


class IConnectionObserver(Interface):
    """
    An observer of a server's connections.

    What an observer raises is logged and harms nothing.  Observers are called
    synchronously, in the order in which they were added; they must not block.
    """

    def listening(address: IAddress) -> None:
        """
        Connections are accepted on an address from now on.

        @param address: the address in use, with the real port in place of 0.
        """

    def listeningStopped(address: IAddress) -> None:
        """
        Connections are accepted on an address no more.
        """

    def connectionOpened(report: ConnectionReport) -> None:
        """
        A connection has been admitted, and its protocol is about to hear
        C{connectionMade}.
        """

    def connectionRefused(refusal: Refusal) -> None:
        """
        A client was refused.
        """

    def connectionClosed(report: ConnectionReport) -> None:
        """
        A connection has ended and its slot is free.

        @param report: the final report, C{closeReason} included.
        """

    def watermarkCrossed(crossing: WatermarkCrossing) -> None:
        """
        The connection count has risen to a fraction of the limit, or fallen from
        it.
        """

    def serverError(failure: Failure) -> None:
        """
        A listener failed, or code of this server raised outside a connection.
        """


class IHeldClient(Interface):
    """
    A client that a port has accepted, and has not connected to a protocol yet.
    """

    def enterSoon() -> None:
        """
        Ask once more for room, when none of the code that runs now is on the stack
        any more.
        """


class IHeldClients(Interface):
    """
    The account of clients that are held, as a port calls it.  A factory offers it by
    the attribute C{heldClients}.
    """

    def hold(client: IHeldClient) -> bool:
        """
        Count the descriptor of a client.

        @return: C{False} if there is none for it: it has to be refused.
        """

    def letGo(client: IHeldClient) -> None:
        """
        Count a client no more.  Nothing happens if it was not counted.
        """

    def mayEnter(client: IHeldClient | None) -> bool:
        """
        Whether a client may be connected now, if only to be refused.  Otherwise it
        has to wait.

        @param client: L{None} stands for one that is not counted.
        """

    def wait(client: IHeldClient) -> None:
        """
        Count a client, and call its C{enterSoon} when there may be room.
        """

    def retry() -> None:
        """
        Call the first waiting client if there is room.
        """

    def refuses() -> bool:
        """
        Whether a client for which there is no descriptor is to be refused, rather than
        left in the kernel's queue.
        """

    def refuse(host: IAddress, peer: IAddress, rule: str, detail: str) -> None:
        """
        Count a client that the port has refused.

        @param rule: the name of the rule.
        @param detail: what was wrong, in a bounded text that is safe in a log; may
            be empty.
        """


class IHandOver(Interface):
    """
    What takes accepted clients into other processes, as a port and its factory call it.  A
    factory offers it by the attribute C{handOver}.
    """

    processes: int = Attribute("How many processes share the connections.")
    isOpen: bool = Attribute("Whether a process can take a client now.")
    elsewhere: int = Attribute("Open connections whose sockets are in other processes.")
    parentCPU: float = Attribute("The share of a processor that this process has.")

    def take(client: socket, name: Any, port: Any, peer: IAddress, header: Any) -> IProtocol | None:
        """
        Take a client, if the factory admits it.

        @param name: its address, as C{accept} returns it.
        @param port: the port that has accepted it.
        @param peer: its address, or that of the proxy before it.
        @param header: its PROXY header, or L{None}.
        @return: L{None} if it was taken, and its socket too; else the protocol that refuses
            it, and is to be connected here.
        """

    def flush() -> None:
        """
        Send the clients off: a batch of them has been accepted.
        """

    def restart() -> None:
        """
        Replace the processes by others that have imported the program anew.
        """

    def update() -> None:
        """
        Tell the processes of settings of the factory that have changed: what builds its
        protocols, its budgets, the options of its sockets.  They hold for clients that come
        after that.
        """

    def reports(isTotal: bool = False) -> list[WorkerReport]:
        """
        The processes at this moment.

        @param isTotal: whether those that have ended are reported, too, in one report for
            each number.
        """


class IAdmissionPolicy(Interface):
    """
    A policy that decides which clients may come in.

    The factory calls C{decide} for each connection for which there is a slot,
    before a byte is read or written, and before a TLS handshake.  If nothing
    refuses the connection, the factory calls C{opened}, and C{closed} when it is
    over.  For each C{opened} and each C{adopted} there is exactly one C{closed},
    with the same address; for a refused connection there is neither.

    The clock is the factory's.  It only goes forward, unless the factory was given
    another one.

    What a policy raises is logged.  The connection is then refused by the rule
    C{"admissionFailed"}, if it was not admitted already.
    """

    def decide(host: IAddress, peer: IAddress, now: float) -> str | None:
        """
        Decide whether a connection may come in.  The call changes nothing, and
        may come any number of times.

        @param host: the address of our side.
        @param peer: the address of the other side, as the transport knows it at
            this moment: under Twisted's own PROXY wrapper the proxy, behind a
            L{Proxy<twisted_tcpdemo.fast.proxy.Proxy>} the client.
        @param now: seconds of the clock.
        @return: the name of the rule that refuses it, or L{None}.
        """

    def opened(host: IAddress, peer: IAddress, now: float) -> None:
        """
        Count a connection that has come in.
        """

    def adopted(peer: IAddress) -> None:
        """
        Count a connection that came in before this policy was in force.
        """

    def closed(peer: IAddress) -> None:
        """
        Count a connection no more: it is over.
        """
