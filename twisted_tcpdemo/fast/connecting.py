"""
Connecting: the waiting of a client's transport until the kernel has connected it.

Twisted's own client makes its socket, connects and fails; only the waiting is ours.
While the kernel connects, the poller waits for the socket to become writable, and
for nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from socket import socket
from typing import Any, Final

from twisted.internet.base import BaseConnector
from twisted.internet.error import ConnectError, TimeoutError, getConnectError
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import BaseClient
from twisted.python import log
from twisted.python.failure import Failure

from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.fast.poller import READ, WRITE, Poller
from twisted_tcpdemo.nextturn import NextTurn
from twisted_tcpdemo.shapes import Reactor
from twisted_tcpdemo.tls.context import EngineMaker
from twisted_tcpdemo.tls.securesocket import SecureSocket

PRIVATE_NAMES: Final = {
    "twisted.internet.tcp.BaseClient": (
        "_commonConnection",
        "_connectDone",
        "_finishInit",
        "_stopReadingAndWriting",
        "_collectSocketDetails",
    ),
}


class Connecting(BaseClient):
    """
    The client's side of a connection of any family, from the attempt to connect on.

    It stands before L{WriteThroughTransport
    <twisted_tcpdemo.fast.transport.WriteThroughTransport>} among the bases of a
    transport.
    """

    reactor: Reactor  # type: ignore[assignment]  # Twisted's type has no clock
    connector: BaseConnector

    # What the other base has.
    _poller: Poller
    _logstr: str | None
    _direct: bool
    _name: str
    _prefix: Callable[[], str]
    __getitem__: Callable[[object], dict[str, object]]
    doSoon: Callable[[], BaseException | None]
    encrypt: Callable[[SecureSocket], None]
    descriptor: int
    interest: int
    reading: bool
    writing: bool
    hasWaited: bool
    lastActivity: float

    def _finishInit(
        self,
        whenDone: Callable[[], object] | None,
        skt: socket | None,
        error: object,
        reactor: Reactor,
    ) -> None:
        # Twisted's own goes by the system's clock, and forgets a socket that is not bound.
        if whenDone is not None:
            self._commonConnection.__init__(self, skt, None, reactor)  # type: ignore[arg-type]
        else:
            whenDone = partial(self.failIfNotConnected, error)
            if skt is not None:
                skt.close()
        NextTurn(reactor, whenDone)

    def startReading(self) -> None:
        """
        Read when data comes; while it connects, none can.
        """
        if self.connected:
            super().startReading()

    def startWriting(self) -> None:
        """
        Send pending bytes; while it connects, wait for the socket to be writable.
        """
        if self.connected:
            super().startWriting()
        elif self.descriptor < 0:
            self.writing = True
            self._watch(WRITE)

    def _watch(self, interest: int) -> bool:
        """
        Have the poller serve the socket.

        @return: whether it does.  If not, connecting has failed: nothing would ever tell
            what happens to the socket.
        """
        self.descriptor = self.socket.fileno()
        try:
            self._poller.add(self, interest)
        except OSError as error:
            self.descriptor = -1
            self.failIfNotConnected(getConnectError(error))
            return False
        self._poller.announce()
        return True

    def loseWriteConnection(self) -> None:
        """
        End this side when pending bytes are sent.  Without a connection there is
        nothing to end: Twisted's own would wait for a socket that has gone.
        """
        if self.connected:
            super().loseWriteConnection()

    def _connectDone(self) -> None:
        # A UNIX socket connects in a delayed call: nobody else ends the attempt, or the
        # connection, if the application's code raises.
        try:
            self._makeConnection()
        except BaseException:
            log.err()
            self.connectionLost(Failure())

    def _makeConnection(self) -> None:
        """
        Build the protocol, and connect it.
        """
        maker: EngineMaker | None = getattr(self.connector, "engineMaker", None)
        try:
            secure = None if maker is None else SecureSocket(self.socket, maker)
        except Exception as error:
            self.failIfNotConnected(error)
            return
        if self.descriptor >= 0:
            self._poller.watch(self, READ)
        elif not self._watch(READ):
            return
        self._poller.holdBack(self)
        protocol = self.connector.buildProtocol(self.getPeer())
        self.connected = 1
        self._logstr = None
        self.lastActivity = self._poller.now or self._poller.seconds()
        self._direct = True
        self.protocol = Protocol() if protocol is None else protocol
        self._name = self.protocol.__class__.__name__
        if protocol is None:
            self.loseConnection()
            return
        self.startReading()
        if secure is not None:
            self.encrypt(secure)
        protocol.makeConnection(self)

    def _stopReadingAndWriting(self) -> None:
        self.reading = self.writing = False
        if self.descriptor >= 0:
            self._poller.remove(self)

    def _collectSocketDetails(self) -> None:
        del self.socket

    def connectionLost(self, reason: Failure) -> None:
        """
        Tell the protocol, and then the connector, whatever the protocol raises.
        """
        if self.connected:
            try:
                super().connectionLost(reason)
            finally:
                self.connector.connectionLost(reason)
        else:
            self.failIfNotConnected(ConnectError(string=reason))

    def _madeLogstr(self) -> str:
        return f"{self._prefix()},client" if self.connected else "Uninitialized"


class SteadyConnector(BaseConnector):
    """
    A connector whose timeout goes by the steady clock of its reactor.
    """

    def connect(self) -> None:
        """
        See L{IConnector<twisted.internet.interfaces.IConnector>}.
        """
        super().connect()
        transport: Any = self.transport if self.state == "connecting" else None
        if transport is not None and self.timeoutID is not None:
            self.timeoutID.cancel()  # the reactor's own
            call: Any = steady(self.reactor).callLater(
                self.timeout, transport.failIfNotConnected, TimeoutError()
            )
            self.timeoutID = call
