"""
Accepting: a listening port that takes its clients in a few calls.

Twisted's port runs a generator for each accepted client, and makes a socket object
by way of two enumerations.  This port needs a few calls for the same.

When the process runs out of descriptors, a client is refused like any other: counted,
and in the log as far as its budget goes.  Twisted's reserved descriptor is used for
that.  Where clients are to wait for a slot they wait in the kernel's queue, and the port
looks again after L{REST} seconds: the queue stays readable all the time.  When
C{accept(2)} fails in another way, or for a foreign factory, Twisted's own generator
takes over; if it accepts nobody either, the port looks again later, too.
"""

from __future__ import annotations

import os
import select
from contextlib import suppress
from errno import ECONNABORTED, EMFILE, ENFILE, EPERM, EPROTO
from socket import SOCK_STREAM, fromfd, socket
from typing import Any, Final, Protocol

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IProtocolFactory
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.tcp import Port, _accept, _BuffersLogs, _reservedFD
from twisted.python import log
from twisted.python.failure import Failure

from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.fast.offered import accountOf, handOverOf
from twisted_tcpdemo.fast.poller import Poller, pollerOf
from twisted_tcpdemo.fast.proxyheader import ProxyHeader
from twisted_tcpdemo.interfaces import IHandOver
from twisted_tcpdemo.shapes import Reactor
from twisted_tcpdemo.tls.context import EngineMaker
from twisted_tcpdemo.tls.securesocket import SecureSocket
from twisted_tcpdemo.values.descriptors import NO_DESCRIPTOR

PRIVATE_NAMES: Final = {
    "twisted.internet.tcp": ("_accept", "_BuffersLogs", "_reservedFD"),
    "twisted.internet.tcp.Port": ("_logger",),
}

_GONE = (ECONNABORTED, EPERM, EPROTO)
"""Errors of accept(2) that concern one client alone: the client has left, or a
firewall forbids it."""

_EXHAUSTED = (EMFILE, ENFILE)
"""Errors of C{accept} when the process, or the system, has no descriptor left."""

REST: Final = 0.5
"""Seconds until a port looks again for clients that it cannot take."""


class Stage(Protocol):
    """
    What a client has to pass between C{accept} and its protocol.
    """

    def receive(self, client: socket, name: Any, peer: IAddress) -> None:
        """
        Take an accepted client, and connect it by L{AcceptingPort.connect} or close
        its socket, now or later.
        """

    def stop(self, isOrderly: bool) -> None:
        """
        Hold no client any longer: the port closes.

        @param isOrderly: C{False} if the reactor has stopped.
        """


class AcceptingPort(Port):
    """
    A listening port of any family.

    The port accepts at most C{numberAccepts} clients in one turn of the reactor.
    Changing that number and calling C{stopReading} take effect before the next
    client, even while clients are being accepted.

    @ivar noDelay: whether connections inherit TCP_NODELAY.
    @ivar engineMaker: makes the TLS engine of each connection, if they are to be
        encrypted.
    @ivar stage: the stage before the protocol; L{None} for none.
    @ivar handOver: takes the clients into other processes; L{None} to serve them here.
    """

    reactor: Reactor  # type: ignore[assignment]  # with the time

    transport: Any  # a class of ours

    poller: Poller | None = None
    noDelay = False
    engineMaker: EngineMaker | None = None
    stage: Stage | None = None
    handOver: IHandOver | None = None
    _accepting = False
    _isAsked = False
    _isFull = False
    _rest: IDelayedCall | None = None

    def startListening(self) -> None:
        """
        Bind and listen.
        """
        # The port keeps the poller alive while no connection is open.
        self.poller = pollerOf(self.reactor)
        self.handOver = handOverOf(self.factory)
        super().startListening()

    def _getLogPrefix(self, obj: object) -> str:
        prefix: str = super()._getLogPrefix(obj)
        return prefix if self.engineMaker is None else f"{prefix} (TLS)"

    def startReading(self) -> None:
        """
        Accept clients.
        """
        self._isAsked = True
        if not self._isFull:
            self._accepting = True
            super().startReading()

    def stopReading(self) -> None:
        """
        Accept no clients; the kernel's queue holds them.
        """
        self._isAsked = self._accepting = False
        super().stopReading()

    def setFull(self, isFull: bool) -> None:
        """
        Accept nobody as long as the stage is full, whatever C{startReading} asks.
        """
        self._isFull = isFull
        if isFull:
            self._accepting = False
            super().stopReading()
        elif self._isAsked:
            self.startReading()

    def connectionLost(self, reason: Failure) -> None:
        """
        Close the port, after its stage.
        """
        if self._rest is not None and self._rest.active():
            self._rest.cancel()
        if self.stage is not None:
            self.stage.stop(reason.check(ConnectionDone) is not None)
        # Not the next class's: Twisted's UNIX port would remove any path.
        Port.connectionLost(self, reason)

    def doRead(self) -> None:
        """
        Accept the waiting clients, up to C{numberAccepts}.
        """
        accepted = 0
        # A drain calls this on a port that has stopped accepting, to empty the queue.
        asked = not self._accepting
        try:
            listener: Any = self.socket
            accept, family, kind = listener._accept, self.addressFamily, self.socketType
            while accepted < self.numberAccepts and (self._accepting or asked):
                try:
                    descriptor, name = accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno in _GONE:
                        accepted += 1  # or the loop might never end
                        continue
                    left = self.numberAccepts - accepted
                    if error.errno in _EXHAUSTED and accountOf(self.factory) is not None:
                        accepted += self._acceptNobody(left, error)
                    else:
                        accepted += self._acceptSlowly(left)
                    break
                accepted += 1
                try:
                    self._accepted(socket(family, kind, 0, descriptor), name)
                except BaseException:
                    log.err()  # the next one need not wait, or be lost with a port that closes
            if accepted == self.numberAccepts:
                self.numberAccepts += 20
            else:
                self.numberAccepts = max(1, accepted)
            if self.poller is not None:
                self.poller.announce()
        except BaseException:
            log.err()
        if self.handOver is not None:
            self._flush(self.handOver)

    def _flush(self, handOver: IHandOver) -> None:
        """
        Send clients to other processes, whatever has become of those after them.
        """
        try:
            handOver.flush()
        except BaseException:
            log.err()

    def _acceptNobody(self, most: int, why: OSError) -> int:
        """
        Refuse clients for which the process has no descriptor, or leave them in the
        queue.

        @return: how many were refused.
        """
        account = accountOf(self.factory)
        assert account is not None
        refused: list[Any] = []
        if account.refuses() and _reservedFD.available():
            with suppress(OSError), _reservedFD:
                while len(refused) < most:
                    client, name = self.socket.accept()
                    client.close()
                    refused.append(name)
        self.sessionno += len(refused)  # so that they count as accepted: a drain goes on
        if not refused:
            self._restAWhile()
        for name in refused:
            host, peer = self.getHost(), self.addressOf(name)
            account.refuse(host, peer, NO_DESCRIPTOR, os.strerror(why.errno or EMFILE))
        return len(refused)

    def _restAWhile(self) -> None:
        """
        Accept nobody for a while, unless it is asked for: a slot may be free.
        """
        super().stopReading()
        if self._rest is None or not self._rest.active():
            self._rest = steady(self.reactor).callLater(REST, self._lookAgain)

    def _lookAgain(self) -> None:
        if self._isAsked:
            self.startReading()

    def addressOf(self, name: Any) -> IAddress:
        """
        The address of a client as one of Twisted's.

        @param name: as for L{_accepted}.
        """
        raise NotImplementedError

    def _acceptSlowly(self, most: int) -> int:
        """
        Accept by Twisted's own code.

        @return: how many clients there were.
        """
        count = 0
        with _BuffersLogs(self._logger.namespace, self._logger.observer) as logger:
            for client, name in _accept(logger, range(most), self.socket, _reservedFD):
                count += 1
                try:
                    self._accepted(client, name)
                except BaseException:
                    log.err()
        if not count:
            self._restAWhile()  # the queue may stay readable, as long as no memory is free
        return count

    def _accepted(self, client: socket, name: Any) -> None:
        """
        Take a client: give it to L{connect}, or to L{_stage} if there is a stage.

        @param name: its address, as C{accept} returns it.
        """
        raise NotImplementedError

    def hostOf(self, client: socket) -> IAddress:
        """
        This side's address of a client that has no transport.
        """
        raise NotImplementedError

    def _stage(self, client: socket, name: Any, peer: IAddress) -> None:
        """
        Let the stage have a client.
        """
        assert self.stage is not None
        self.sessionno += 1  # so that it counts as accepted, whatever comes of it
        self.stage.receive(client, name, peer)

    def connect(
        self, client: socket, name: Any, peer: IAddress, header: ProxyHeader | None = None
    ) -> None:
        """
        Give a client its protocol and its transport, and connect them.

        @param name: as for L{_accepted}.
        @param peer: the address that the factory and the protocol are told, unless
            a header has another.
        """
        source = peer if header is None else header.source or peer
        number = self.sessionno
        self.sessionno = number + 1  # it counts as accepted, whatever comes of it
        try:
            protocol: IProtocol | None
            if self.handOver is None:
                protocol = self.factory.buildProtocol(source)  # type: ignore[union-attr]
                if protocol is None:
                    client.close()
                    return
            else:
                protocol = self.handOver.take(client, name, self, peer, header)
                if protocol is None:
                    return
            maker = self.engineMaker
            secure = None if maker is None else SecureSocket(client, maker)
            try:
                transport = self.transport(client, protocol, name, self, number, self.reactor)
            except OSError as error:
                if self._refuseUnwatched(client, source, error):
                    return
                raise
        except BaseException:
            client.close()
            raise
        transport.peerAddress = peer
        transport.inheritedNoDelay = self.noDelay
        if header is not None:
            transport.tellProxied(header)
            transport.hostname = getattr(source, "host", "unix")  # for its log prefix
        if secure is not None:
            transport.encrypt(secure)
        protocol.makeConnection(transport)

    def _refuseUnwatched(self, client: socket, peer: IAddress, why: OSError) -> bool:
        """
        Refuse a client whose descriptor the kernel does not watch (epoll_ctl(2), ENOMEM
        and ENOSPC), if the factory has an account of clients.
        """
        account = accountOf(self.factory)
        if account is None:
            return False
        host = self.hostOf(client)
        client.close()
        account.refuse(host, peer, NO_DESCRIPTOR, os.strerror(why.errno or EMFILE))
        return True


def adopted(  # noqa: PLR0917
    kind: Any,
    descriptor: int,
    family: int,
    factory: IProtocolFactory,
    reactor: Reactor,
    maker: EngineMaker | None,
) -> Any:
    """
    Serve a connected socket of another program, on a descriptor of our own, which is
    closed whatever goes wrong.

    @param kind: the class of its transport.
    @param maker: makes its TLS engine, if it is to be encrypted.
    @return: the transport; L{None} if the factory builds no protocol.
    """
    sock = fromfd(descriptor, family, SOCK_STREAM)
    try:
        name, peer = kind.peerOf(sock)
        protocol = factory.buildProtocol(peer)
        if protocol is None:
            sock.close()
            return None
        secure = None if maker is None else SecureSocket(sock, maker)
        # Nobody has numbered it: as Twisted does, the log tells it by the client's port.
        transport = kind(sock, protocol, name, None, getattr(peer, "port", 0), reactor)
    except BaseException:
        sock.close()
        raise
    transport.peerAddress = peer
    if secure is not None:
        transport.encrypt(secure)
    protocol.makeConnection(transport)
    return transport


def canPoll(reactor: object) -> bool:
    """
    Whether a reactor can have a L{Poller<twisted_tcpdemo.fast.poller.Poller>}: it is
    one of Twisted's POSIX reactors, and the system has epoll.
    """
    return isinstance(reactor, PosixReactorBase) and hasattr(select, "epoll")
