"""
Accepting: a listening port that takes its clients in a few calls.

Twisted's port runs a generator for each accepted client, and makes a socket object
by way of two enumerations.  This port needs a few calls for the same.  When
C{accept(2)} fails, Twisted's own code takes over: it knows what to do when
descriptors run out.
"""

from __future__ import annotations

import select
from errno import ECONNABORTED, EPERM, EPROTO
from socket import socket
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.tcp import Port
from twisted.python import log

from twisted_tcpdemo.fast.poller import Poller, pollerOf
from twisted_tcpdemo.shapes import Reactor
from twisted_tcpdemo.tls.context import EngineMaker
from twisted_tcpdemo.tls.securesocket import SecureSocket

_GONE = (ECONNABORTED, EPERM, EPROTO)
"""Errors of accept(2) that concern one client alone: the client has left, or a
firewall forbids it."""


class AcceptingPort(Port):
    """
    A listening port of any family.

    The port accepts at most C{numberAccepts} clients in one turn of the reactor.
    Changing that number and calling C{stopReading} take effect before the next
    client, even while clients are being accepted.

    @ivar noDelay: whether connections inherit TCP_NODELAY.
    @ivar engineMaker: makes the TLS engine of each connection, if they are to be
        encrypted.
    """

    reactor: Reactor  # type: ignore[assignment]  # with the time

    transport: Any  # a class of ours

    poller: Poller | None = None
    noDelay = False
    engineMaker: EngineMaker | None = None
    _accepting = False

    def startListening(self) -> None:
        """
        Bind and listen.
        """
        # The port keeps the poller alive while no connection is open.
        self.poller = pollerOf(self.reactor)
        super().startListening()

    def _getLogPrefix(self, obj: object) -> str:
        prefix: str = super()._getLogPrefix(obj)
        return prefix if self.engineMaker is None else f"{prefix} (TLS)"

    def startReading(self) -> None:
        """
        Accept clients.
        """
        self._accepting = True
        super().startReading()

    def stopReading(self) -> None:
        """
        Accept no clients; the kernel's queue holds them.
        """
        self._accepting = False
        super().stopReading()

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
                    self.numberAccepts -= accepted
                    super().doRead()
                    return
                accepted += 1
                self._accepted(socket(family, kind, 0, descriptor), name)
            if accepted == self.numberAccepts:
                self.numberAccepts += 20
            else:
                self.numberAccepts = max(1, accepted)
            if self.poller is not None:
                self.poller.announce()
        except BaseException:
            log.err()

    def _accepted(self, client: socket, name: Any) -> None:
        """
        Take a client.

        @param name: its address, as C{accept} returns it.
        """
        raise NotImplementedError

    def _serve(self, client: socket, name: Any, peer: IAddress) -> None:
        """
        Give a client its protocol and its transport, and connect them.

        @param name: as for L{_accepted}.
        @param peer: the address that the factory and the protocol are told.
        """
        try:
            protocol = self.factory.buildProtocol(peer)  # type: ignore[union-attr]
            if protocol is None:
                client.close()
                return
            maker = self.engineMaker
            secure = None if maker is None else SecureSocket(client, maker)
            number = self.sessionno
            self.sessionno = number + 1
            transport = self.transport(client, protocol, name, self, number, self.reactor)
        except BaseException:
            client.close()
            raise
        transport.peerAddress = peer
        transport.inheritedNoDelay = self.noDelay
        if secure is not None:
            transport.encrypt(secure)
        protocol.makeConnection(transport)


def canPoll(reactor: object) -> bool:
    """
    Whether a reactor can have a L{Poller<twisted_tcpdemo.fast.poller.Poller>}: it is
    one of Twisted's POSIX reactors, and the system has epoll.
    """
    return isinstance(reactor, PosixReactorBase) and hasattr(select, "epoll")
