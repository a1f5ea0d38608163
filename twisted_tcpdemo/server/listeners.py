"""
The ports of a factory: where it listens, and whether it accepts.

One of Twisted's ports accepts as many clients in a batch as its C{numberAccepts}
says.  For C{overflow="wait"} the batch is cut to the free slots before each
wake-up, so a client without a slot stays in the kernel's queue.  That makes the
limit exact with every L{twisted.internet.tcp.Port}, UNIX sockets included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IAddress
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.internet.tcp import Port
from twisted.python.failure import Failure

from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.errors import ListeningStoppedError, needTLS
from twisted_tcpdemo.interfaces import IFastReactor
from twisted_tcpdemo.server.observers import Observers
from twisted_tcpdemo.shapes import ListeningPort, StreamServer
from twisted_tcpdemo.transports.patches import Patches
from twisted_tcpdemo.values.addresses import Endpoint, endpointOf
from twisted_tcpdemo.values.checks import whole
from twisted_tcpdemo.values.readiness import isReadable

MOST_BATCHES: Final = 1000
"""Batches that a closing port accepts from a queue that does not become empty."""

_DONE: Final = Failure(CONNECTION_DONE)


class Listeners:
    """
    Ports that share one limit, and are opened, paused and closed together.
    """

    def __init__(self, observers: Observers, room: Callable[[], int | None]) -> None:
        """
        @param observers: are told of ports that open and close.
        @param room: how many clients may be accepted in a batch, or L{None} for
            any number; at C{0} clients wait in the kernel's queue.
        """
        self._observers = observers
        self._room = room
        self._ports: dict[ListeningPort, IAddress] = {}
        self._patches: dict[ListeningPort, Patches] = {}
        self._closing: dict[ListeningPort, Deferred[None]] = {}
        self._stops = 0

    def __bool__(self) -> bool:
        return bool(self._ports)

    def __iter__(self) -> Iterator[ListeningPort]:
        return iter(list(self._ports))

    @property
    def open(self) -> bool:
        """
        Whether any port is open and not closing.
        """
        return not self._ports.keys() <= self._closing.keys()

    def listen(self, endpoint: StreamServer, factory: Factory[Any]) -> Deferred[ListeningPort]:
        """
        Open one more port.
        """
        listening = maybeDeferred(endpoint.listen, factory)
        return listening.addCallbacks(self._opened, self._failed, callbackArgs=(self._stops,))

    def _opened(self, port: ListeningPort, stops: int) -> ListeningPort:
        if not hasattr(port, "stopListening"):
            return port  # C{stdio:} is connected at once, and listens nowhere
        if stops != self._stops:
            # Cancelling could not have helped: an endpoint that ignores it opens
            # its port all the same, and no one would own it.
            stopped = maybeDeferred(port.stopListening)
            stopped.addErrback(partial(self._observers.tell, "serverError"))
            raise ListeningStoppedError
        self._ports[port] = address = port.getHost()
        if hasattr(port, "doRead") and hasattr(port, "numberAccepts"):
            self._patches[port] = patches = Patches()
            patches.place(port, "doRead", partial(self._accept, port, port.doRead))
        self._observers.tell("listening", address)
        self.adjust()
        return port

    def _failed(self, failure: Failure) -> Failure:
        self._observers.tell("serverError", failure)
        return failure

    def _accept(self, port: Any, doRead: Callable[[], object]) -> object:
        """
        C{doRead} of a port, for as many clients as there is room for.
        """
        room = self._room()
        if room is None:
            return doRead()
        if room <= 0:
            port.stopReading()
            return None
        port.numberAccepts = min(port.numberAccepts, room)
        result = doRead()
        if self._room() == 0:
            self.adjust()
        return result

    def adjust(self) -> None:
        """
        Let every port accept if there is room, and none if there is not.
        """
        room = self._room()
        for port in self._patches.keys() - self._closing.keys():
            if room is None or room > 0:
                port.startReading()  # type: ignore[attr-defined]
            else:
                port.stopReading()  # type: ignore[attr-defined]

    @property
    def addresses(self) -> list[Endpoint]:
        """
        The address, port and family of each port.
        """
        return [endpointOf(address) for address in self._ports.values()]

    def listenerOf(self, host: IAddress) -> Endpoint | None:
        """
        The port through which a connection came: the one with the same address, or
        else the same number, else the first; L{None} when there is none.
        """
        own = endpointOf(host)
        exact = [listener for listener in self.addresses if listener == own]
        same = [listener for listener in self.addresses if own.port and listener.port == own.port]
        return next(iter(exact or same or self.addresses), None)

    def stop(self) -> Deferred[None]:
        """
        Close every port, after accepting the clients in its queue.  A port that
        is still to open is closed when it does.

        @return: fires when all are closed, also those that were closing already;
            at once if there was none.
        """
        self._stops += 1
        stopping = [port for port in self if port not in self._closing]
        # All are marked before the first closes: its observers may ask.
        self._closing.update((port, Deferred()) for port in stopping)
        stopped: Deferred[None] = Deferred()  # a caller that cancels it stops no other's
        closed = gatherResults(list(self._closing.values()))
        closed.addCallback(lambda _: stopped.callback(None))
        for port in stopping:
            self._stop(port)
        return stopped

    def _stop(self, port: Any) -> None:
        def stopped(result: object) -> None:
            self._closed(port)
            if isinstance(result, Failure):
                self._observers.tell("serverError", result)
            self._closing.pop(port).callback(None)

        if port in self._patches:
            self._release(port)
            self._patches[port] = patches = Patches()
            closed = _stopServed(port, patches)
        else:
            closed = maybeDeferred(port.stopListening)
        closed.addBoth(stopped)

    def forgetClosed(self) -> None:
        """
        List no port that has closed, for whatever reason.
        """
        for port in self:
            if not getattr(port, "connected", True):
                self._closed(port)

    def _closed(self, port: ListeningPort) -> None:
        self._release(port)
        address = self._ports.pop(port, None)
        if address is not None:
            self._observers.tell("listeningStopped", address)

    def _release(self, port: ListeningPort) -> None:
        patches = self._patches.pop(port, None)
        if patches is not None:
            patches.remove()


def _stopServed(port: Any, patches: Patches) -> Deferred[None]:
    """
    Close one of Twisted's ports, and serve clients that come until it has closed.

    Told to close twice in a turn, it would close twice, the second time without a
    socket: other callers of C{stopListening} get the same Deferred.
    """
    _acceptQueued(port)
    lose = port.connectionLost

    def connectionLost(reason: Failure) -> None:
        _acceptQueued(port)  # clients that have come since
        patches.remove()
        lose(reason)

    patches.place(port, "connectionLost", connectionLost)
    closed = port.deferred if port.disconnecting else _close(port)
    patches.place(port, "stopListening", lambda: closed)
    return closed


def _close(port: Any) -> Deferred[None]:
    """
    Close a port in the next turn of the reactor.

    Twisted's own code does the same by the system's clock.  If that is set back in
    between, the port would close hours later.
    """
    if "stopListening" in vars(port) or type(port).stopListening is not Port.stopListening:
        return maybeDeferred(port.stopListening)
    port.disconnecting = True
    port.stopReading()
    closed: Deferred[None] = deferLater(steady(port.reactor), 0, port.connectionLost, _DONE)
    port.deferred = closed
    return closed


def _acceptQueued(port: Any) -> None:
    """
    Accept the clients that the kernel has connected already: closing the port
    would reset them.

    Twisted's port ends a batch at a client whose protocol cannot be built, and does not
    number it.
    """
    for _ in range(MOST_BATCHES):
        before = port.sessionno
        port.doRead()
        if port.sessionno == before and not isReadable(port.fileno()):
            return


def endpointFor(where: object) -> StreamServer:
    """
    The endpoint that a port number, a string or an endpoint stands for.

    A number stands for a C{fasttcp:} string.  Twisted finds what a string stands for,
    and makes it on the fast lane.

    @raise TypeError: if it is none of the three.
    @raise ValueError: if the number is out of range, or the string describes no
        endpoint.
    """
    if isinstance(where, int) and not isinstance(where, bool):
        return _described(f"fasttcp:{whole('port', where, 0, 65535)}")
    if isinstance(where, str):
        return _described(where)
    if isinstance(where, type) or not callable(getattr(where, "listen", None)):
        raise TypeError(
            f"listen() takes a port number, an endpoint string or an endpoint, not {where!r}"
        )
    return where  # type: ignore[return-value]  # it has the method


def _described(description: str) -> StreamServer:
    from twisted.internet import reactor

    if description.startswith(("ssl:", "tls:")):
        needTLS()
    try:
        endpoint: StreamServer = serverFromString(IFastReactor(reactor, reactor), description)
    except OSError:
        raise  # a file that it names
    except Exception as error:
        raise ValueError(f"{description!r} describes no endpoint: {error}") from error
    return endpoint
