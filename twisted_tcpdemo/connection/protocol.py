"""
The protocol that an application subclasses.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IAddress, ITransport
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from twisted_tcpdemo.connection.beginning import begins, beginsFirst, isBeginning
from twisted_tcpdemo.connection.record import Connection, ISlots, recordOf
from twisted_tcpdemo.connection.writes import encoded
from twisted_tcpdemo.errors import NotConnectedError
from twisted_tcpdemo.interfaces import IConnectionHooks
from twisted_tcpdemo.shapes import Transport
from twisted_tcpdemo.transports.layers import isOver
from twisted_tcpdemo.values.addresses import Endpoint, endpointOf
from twisted_tcpdemo.values.checks import nonNegative
from twisted_tcpdemo.values.report import CloseReason, ConnectionReport


@implementer(IConnectionHooks)
class TCPDemoProtocol(Protocol):
    """
    A protocol that knows its connection: addresses, byte counts, age, and why
    it ended.

    Subclass it and override the hooks you need: C{connectionMade},
    C{dataReceived}, C{readConnectionLost}, C{writeConnectionLost},
    C{timeoutConnection}, C{drainStarted}, C{connectionLost}.  None of them
    needs a call to C{super()}, and none that raises spoils the accounting.  To
    count another protocol, mix this class in::

        class Chat(LineReceiver, TCPDemoProtocol): ...

    It works over every transport that Twisted has, on the server's and on the
    client's side, with a L{TCPDemoFactory}, any other factory, or none.

    The properties below hold from C{connectionMade} on, in C{connectionLost}, and
    for ever after.

    @cvar allowHalfOpen: what happens at the peer's FIN (Node's
        C{allowHalfOpen}).  C{False}: written bytes are flushed, then the
        connection closes.  C{True}: only the read side ends; close when you are
        done.  L{None}: as the factory says, C{False} without one.  TLS has no
        half-open connections in Twisted.
    """

    transport: Transport  # type: ignore[assignment]  # C{ITransport | None} in Twisted
    allowHalfOpen: bool | None = None

    _connection: Connection | None = None
    _beginsPaused = False
    _firstTimeout: float | None = None
    _countedBy: ISlots | None = None  # the one that has built it, whatever its factory is

    def __init_subclass__(cls, **options: Any) -> None:
        """
        Count before a C{makeConnection} that need not call C{super()}, such as that of
        L{AMP<twisted.protocols.amp.AMP>}, is called.
        """
        super().__init_subclass__(**options)
        if not isBeginning(cls.makeConnection):
            cls.makeConnection = beginsFirst(  # type: ignore[method-assign, assignment]
                cls.makeConnection
            )

    @begins
    def makeConnection(self, transport: ITransport) -> None:
        """
        Begin to count, and call C{connectionMade} if the factory has a slot.

        If C{connectionMade} raises, the connection is aborted and the exception
        goes on to the transport.
        """
        if self._beginRecord(transport):
            try:
                super().makeConnection(transport)
            except BaseException:
                self._abortRecord()
                raise

    def _beginRecord(self, transport: ITransport) -> bool:
        """
        Begin to count a socket, unless that has begun.

        @return: whether the protocol hears of it: not if there is no slot for it.
        """
        slots, factory = self._countedBy, self.factory
        if factory is not slots and ISlots.providedBy(factory):
            slots = factory
        connection = recordOf(transport, slots)
        if connection is not None:
            connection.handOver(self, transport)
        elif isOver(transport):
            return True  # the slot of a socket that is closed would never be free again
        else:
            if self._connection is not None:
                self._connection.detach()
            connection = Connection(self, transport, slots)
            try:
                if slots is None:
                    connection.attach()
                elif not slots.admit(connection):
                    return False
            except BaseException:
                connection.fail()
                raise
        self._connection = connection
        if self._beginsPaused or self._firstTimeout is not None:
            try:
                self._applyEarlyWishes(connection)
            except BaseException:
                self._abortRecord()
                raise
        return True

    def _abortRecord(self) -> None:
        """
        Abort a connection whose beginning has raised.
        """
        if self._connection is not None and self._connection.closeReason is None:
            self._connection.abort(CloseReason.ERROR)

    def _applyEarlyWishes(self, connection: Connection) -> None:
        """
        Do what was asked for before there was a connection.
        """
        if self._firstTimeout is not None:
            connection.setTimeout(self._firstTimeout)
            self._firstTimeout = None
        if self._beginsPaused:
            self._beginsPaused = False
            connection.transport.pauseProducing()

    # Identity.

    @property
    def connectionID(self) -> int:
        """
        A number that no other connection of this process has or will have.

        @raise NotConnectedError: before there is a connection.
        """
        return self._established().connectionID

    @property
    def host(self) -> IAddress:
        """
        This side's address, as an L{IAddress<twisted.internet.interfaces.IAddress>}.

        @raise NotConnectedError: before there is a connection.
        """
        return self._established().host

    @property
    def peer(self) -> IAddress:
        """
        The other side's address, as an L{IAddress<twisted.internet.interfaces.IAddress>}.

        @raise NotConnectedError: before there is a connection.
        """
        return self._established().peer

    @property
    def localAddress(self) -> str | None:
        """
        This side's IP address, or the path of its UNIX socket.  Node forgets its
        C{socket.localAddress} when the socket closes; this one is kept.
        """
        return self._local.address

    @property
    def localPort(self) -> int | None:
        """
        This side's port; L{None} on a UNIX socket.
        """
        return self._local.port

    @property
    def localFamily(self) -> str | None:
        """
        C{"IPv4"}, C{"IPv6"} or C{"UNIX"}.
        """
        return self._local.family

    @property
    def remoteAddress(self) -> str | None:
        """
        The other side's IP address, or the path of its UNIX socket, or L{None}.
        An IPv4 client of a dual-stack listener has its plain IPv4 address.
        """
        return self._remote.address

    @property
    def remotePort(self) -> int | None:
        """
        The other side's port; L{None} on a UNIX socket.
        """
        return self._remote.port

    @property
    def remoteFamily(self) -> str | None:
        """
        C{"IPv4"}, C{"IPv6"} or C{"UNIX"}.
        """
        return self._remote.family

    @property
    def proxied(self) -> Any:
        """
        What the PROXY header told beside the client's addresses, a L{Proxied
        <twisted_tcpdemo.fast.proxyheader.Proxied>}; L{None} without one.
        """
        return self._connection.proxied if self._connection else None

    @property
    def _local(self) -> Endpoint:
        return endpointOf(self._connection.host if self._connection else None)

    @property
    def _remote(self) -> Endpoint:
        return endpointOf(self._connection.peer if self._connection else None)

    # Counters.

    @property
    def bytesRead(self) -> int:
        """
        Bytes delivered to C{dataReceived}, plaintext under TLS.  The count never
        falls, and is kept after the loss.
        """
        return self._connection.counts.bytesRead if self._connection else 0

    @property
    def bytesWritten(self) -> int:
        """
        Bytes accepted by C{transport.write} and C{writeSequence}.  The count
        never falls, and unlike Node's is kept after the loss.  Accepted does
        not mean sent: subtract L{bytesPending}.
        """
        return self._connection.counts.bytesWritten if self._connection else 0

    @property
    def bytesPending(self) -> int:
        """
        Of L{bytesWritten}, the bytes that the operating system has not taken
        (Node's C{writableLength}).  After the loss: those it never took, and, if the
        connection did not end in order, those that the peer's has not acknowledged.
        """
        return self._connection.counts.bytesPending if self._connection else 0

    @property
    def age(self) -> float:
        """
        Seconds since the connection was made; after the loss, its duration.
        """
        return self._connection.age if self._connection else 0.0

    @property
    def idle(self) -> float:
        """
        Seconds since a byte last moved in either direction.
        """
        return self._connection.idle if self._connection else 0.0

    @property
    def closeReason(self) -> CloseReason | None:
        """
        Why the connection ended; L{None} while it is open.
        """
        return self._connection.closeReason if self._connection else None

    def report(self) -> ConnectionReport:
        """
        All of the above at this moment, and on Linux the kernel's own figures,
        as a value that does not change.

        After the loss the kernel's figures are its last ones: those of the
        latest report before, renewed when either side began to close.

        @raise NotConnectedError: before there is a connection.
        """
        return self._established().report()

    # Actions.

    def write(self, data: bytes | str, encoding: str = "utf-8") -> Deferred[int]:
        """
        Write, and learn when the operating system has taken the bytes.

        C{transport.write} does the same without a Deferred, and a little faster.

        @param data: bytes, or text to be encoded.
        @param encoding: the encoding of text.
        @return: fires once, when the operating system has taken these bytes,
            with L{bytesWritten} of that moment; only the peer can tell that it
            has them.  It fails with L{WriteFailedError
            <twisted_tcpdemo.errors.WriteFailedError>} when they can no longer
            go, and with L{NotConnectedError
            <twisted_tcpdemo.errors.NotConnectedError>} before there is a
            connection.  Cancelling it takes nothing back.  If nobody looks at
            it, a failure to write is not logged.
        @raise TypeError: if it is neither bytes nor text.
        """
        data = encoded(data, encoding)
        if self._connection is None:
            return fail(NotConnectedError("write() before the connection was made"))
        return self._connection.write(data)

    def whenWritable(self) -> Deferred[None]:
        """
        Wait until the write buffer is low: no more than 64 KiB are pending
        (Node's C{drain} event, asyncio's C{drain()}).

        @return: a new Deferred each time.  It has fired already if the buffer
            is low, but for one now and then, which lets the reactor have its
            turn.  It fails as that of L{write} does, also when this side has
            ended.
        """
        if self._connection is None:
            return fail(NotConnectedError("whenWritable() before the connection was made"))
        return self._connection.whenWritable()

    def pause(self) -> None:
        """
        Stop reading.  The peer's FIN is not noticed meanwhile.

        Before there is a connection, the call holds for the first one, which then
        begins paused.
        """
        if self._connection is None:
            self._beginsPaused = True
        elif self.closeReason is None:
            self._connection.transport.pauseProducing()

    def resume(self) -> None:
        """
        Go on reading; no byte is missing.
        """
        if self._connection is None:
            self._beginsPaused = False
        elif self.closeReason is None:
            self._connection.transport.resumeProducing()

    def setTimeout(self, seconds: float | None) -> None:
        """
        Call L{timeoutConnection} when no byte has moved for some time.

        Bytes that wait for a peer that does not read do not postpone the call.
        The timeout costs nothing per read or write.  Set before there is a
        connection, it begins with the first one.

        @param seconds: the time, kept to a twentieth of a second; L{None} or
            C{0} switches it off.
        @raise ValueError: if it is negative or not finite.
        @raise TypeError: if it is no number.
        """
        timeout = nonNegative("the timeout", seconds)
        if self._connection is None:
            self._firstTimeout = timeout
        else:
            self._connection.setTimeout(timeout)

    def _established(self) -> Connection:
        if self._connection is None:
            raise NotConnectedError(f"{type(self).__name__} has no connection yet")
        return self._connection

    # Hooks.  connectionMade, dataReceived and connectionLost stay Protocol's, so
    # that this class may stand on either side of a protocol it is mixed with.

    def readConnectionLost(self) -> None:
        """
        See L{IConnectionHooks}.
        """

    def writeConnectionLost(self) -> None:
        """
        See L{IConnectionHooks}.
        """

    def timeoutConnection(self) -> None:
        """
        See L{IConnectionHooks}.
        """
        self._established().close(CloseReason.IDLE)

    def drainStarted(self) -> None:
        """
        See L{IConnectionHooks}.
        """
