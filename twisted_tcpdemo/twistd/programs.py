"""
The protocols for C{--protocol}: small servers, each a few lines on
L{TCPDemoProtocol}, or a protocol class of the user's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache, partial
from inspect import iscoroutinefunction, signature
from typing import Final

from twisted.internet.interfaces import IProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.reflect import namedAny

from twisted_tcpdemo.connection.hosting import hosted
from twisted_tcpdemo.connection.protocol import TCPDemoProtocol
from twisted_tcpdemo.connection.stream import Handle, HandledStream, Stream, handled
from twisted_tcpdemo.connection.writes import LOW_WATER
from twisted_tcpdemo.monitoring.logbudget import UNBOUNDED, LogBudget
from twisted_tcpdemo.values.addresses import Endpoint, endpointOf
from twisted_tcpdemo.values.text import printable, splitCharacter

_log = Logger(namespace="tcpdemo")


@lru_cache(maxsize=64)
def _greeting(server: Endpoint) -> str:
    """
    The greeting of a client.  It is cached: a server has few addresses and many
    clients.
    """
    where = {"address": server.address, "family": server.family, "port": server.port}
    return f"client, the server address is {json.dumps(where)}\n"


class ReportProtocol(TCPDemoProtocol):
    """
    Greets each client with the server's address, and logs every event.
    """

    def __init__(self, preview: int = 256, budget: LogBudget = UNBOUNDED) -> None:
        """
        @param preview: the most received bytes to show in a line.
        @param budget: the budget of log lines.
        """
        self._preview = preview
        self._budget = budget
        self._partial = b""

    def connectionMade(self) -> None:
        """
        Greet the client.
        """
        message = _greeting(self._server())
        self.write(message).addCallbacks(self._sent, self._notSent, callbackArgs=(message,))

    def _server(self) -> Endpoint:
        """
        The address of the listener; this side of the connection, if the factory
        knows no listener.
        """
        listenerOf = getattr(self.factory, "listenerOf", lambda host: None)
        return listenerOf(self.host) or endpointOf(self.host)

    def _sent(self, bytesWritten: int, message: str) -> None:
        if not self._budget.shows("sent", bytesWritten=len(message)):
            return
        _log.info(
            "sent {connectionID}: {message} ({bytesWritten} bytes written)",
            event="sent",
            connectionID=self.connectionID,
            message=printable(message),
            bytesWritten=bytesWritten,
        )

    def _notSent(self, failure: Failure) -> None:
        if not self._budget.shows("not sent"):
            return
        _log.info(
            "not sent {connectionID}: {reason}",
            event="notSent",
            connectionID=self.connectionID,
            reason=failure.getErrorMessage(),
        )

    def dataReceived(self, data: bytes) -> None:
        """
        Log the received bytes.
        """
        shown, self._partial = splitCharacter(self._partial + data)
        if not self._budget.shows("received", len(data)):
            return
        _log.info(
            "data {connectionID}: {data} ({bytesRead} bytes read)",
            event="data",
            connectionID=self.connectionID,
            data=printable(shown, self._preview),
            bytesRead=self.bytesRead,
        )

    def readConnectionLost(self) -> None:
        """
        Log the client's FIN.
        """
        if self._budget.shows("ended by the client"):
            _log.info(
                "end {connectionID}: the client has sent FIN",
                event="end",
                connectionID=self.connectionID,
            )

    def timeoutConnection(self) -> None:
        """
        Log the timeout, and close.
        """
        if self._budget.shows("timed out"):
            _log.info(
                "timeout {connectionID}: nothing moved for {idle:.1f} s",
                event="timeout",
                connectionID=self.connectionID,
                idle=self.idle,
            )
        super().timeoutConnection()


@lru_cache(maxsize=1)
def _budgetOf(rate: int | None) -> LogBudget:
    """
    The one budget of a worker.
    """
    return LogBudget(rate)


def reportWithin(rate: int | None, preview: int) -> ReportProtocol:
    """
    Build the protocol in a worker, which has no budget but its own.  The parent's holds
    for the lines of all workers.

    @param rate: see L{LogBudget}.
    """
    return ReportProtocol(preview, _budgetOf(rate))


def showsWithin(what: str, rate: int | None) -> bool:
    """
    Whether an event may have a line in the log of a worker.

    @param rate: see L{LogBudget}.
    """
    return _budgetOf(rate).shows(what)


class Echo(TCPDemoProtocol):
    """
    Sends back received bytes (RFC 862), and does not read while many wait to be
    sent.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Send the bytes back, and pause while the client does not take them.
        """
        self.transport.write(data)
        if self.bytesPending > LOW_WATER:
            self.pause()
            self.whenWritable().addCallbacks(lambda _: self.resume(), lambda _: None)


class Discard(TCPDemoProtocol):
    """
    Drops received bytes (RFC 863).
    """


class StreamBuilder:
    """
    Builds streams that a coroutine function handles, with the budget of the log for what
    it raises.
    """

    def __init__(self, handle: Handle) -> None:
        """
        @param handle: the coroutine function.
        """
        self._handle = handle

    def __call__(self, budget: LogBudget | None = None) -> Stream:
        """
        Build one.
        """
        return HandledStream(self._handle, (budget or _budgetOf(None)).shows)

    def forWorkers(self, rate: int | None) -> Callable[[], Stream]:
        """
        What builds them in a worker, which has a budget of its own.

        @param rate: see L{LogBudget}.
        """
        return handled(self._handle, partial(showsWithin, rate=rate))


PROGRAMS: Final[dict[str, type[TCPDemoProtocol]]] = {
    "report": ReportProtocol,
    "echo": Echo,
    "discard": Discard,
}


def programNamed(name: str) -> Callable[[], TCPDemoProtocol]:
    """
    The builder of a protocol, by the protocol's name.

    @param name: one of L{PROGRAMS}, or the dotted name of a protocol class or of a
        coroutine function that handles a L{Stream<twisted_tcpdemo.Stream>}.  A class
        that is no L{TCPDemoProtocol} is hosted.
    @raise ValueError: if there is no such protocol.  The text goes on after the name
        of the option, as in L{twisted_tcpdemo.twistd.coercions}.
    """
    if name in PROGRAMS:
        return PROGRAMS[name]
    if "." not in name:
        known = f"{', '.join(PROGRAMS)}, or the dotted name of a protocol class or a handler"
        raise ValueError(f"must be one of {known}, not {name!r}")
    protocol = _imported(name)
    if iscoroutinefunction(protocol):
        if not _takes(protocol, 1):
            raise ValueError(f"{name!r} cannot be called with a stream alone")
        return StreamBuilder(protocol)
    if not isinstance(protocol, type) or not IProtocol.implementedBy(protocol):
        raise ValueError(f"{name!r} is no protocol class, and no coroutine function")
    if not _takes(protocol, 0):
        raise ValueError(f"{name!r} cannot be built without arguments")
    return protocol if issubclass(protocol, TCPDemoProtocol) else hosted(protocol)


def _imported(name: str) -> object:
    try:
        found: object = namedAny(name)
    except (Exception, SystemExit) as error:  # a script that exits when it is imported
        why = error if isinstance(error, Exception) else repr(error)
        raise ValueError(
            f"{name!r} cannot be imported: {why} "
            "(twistd does not look in the current folder: set PYTHONPATH=.)"
        ) from None
    return found


def _takes(called: Callable[..., object], count: int) -> bool:
    try:
        signature(called).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # a class without a signature
        return True
    return True
