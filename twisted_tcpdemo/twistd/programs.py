"""
What C{--protocol} names: small servers, each a few lines on
L{TCPDemoProtocol}, or a protocol class of the user's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from inspect import signature
from typing import Final

from twisted.internet.interfaces import IProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.reflect import namedAny

from twisted_tcpdemo.connection.hosting import hosted
from twisted_tcpdemo.connection.protocol import TCPDemoProtocol
from twisted_tcpdemo.connection.writes import LOW_WATER
from twisted_tcpdemo.monitoring.logbudget import UNBOUNDED, LogBudget
from twisted_tcpdemo.values.addresses import Endpoint, endpointOf
from twisted_tcpdemo.values.text import printable, splitCharacter

_log = Logger(namespace="tcpdemo")


@lru_cache(maxsize=64)
def _greeting(server: Endpoint) -> str:
    """
    What a client is told.  A server has few addresses and many clients.
    """
    where = {"address": server.address, "family": server.family, "port": server.port}
    return f"client, the server address is {json.dumps(where)}\n"


class ReportProtocol(TCPDemoProtocol):
    """
    Greets each client with the server's address, and logs all that happens.
    """

    def __init__(self, preview: int = 256, budget: LogBudget = UNBOUNDED) -> None:
        """
        @param preview: how many bytes of received data to show.
        @param budget: bounds the lines.
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
        Where the server listens, or, without one that tells, where it is.
        """
        listenerOf = getattr(self.factory, "listenerOf", lambda host: None)
        return listenerOf(self.host) or endpointOf(self.host)

    def _sent(self, bytesWritten: int, message: str) -> None:
        if not self._budget.shows("sent", bytesWritten=len(message)):
            return
        _log.info(
            "sent {connectionID}: {message} ({bytesWritten} bytes written)",
            connectionID=self.connectionID,
            message=printable(message),
            bytesWritten=bytesWritten,
        )

    def _notSent(self, failure: Failure) -> None:
        if not self._budget.shows("not sent"):
            return
        _log.info(
            "not sent {connectionID}: {reason}",
            connectionID=self.connectionID,
            reason=failure.getErrorMessage(),
        )

    def dataReceived(self, data: bytes) -> None:
        """
        Show what came.
        """
        shown, self._partial = splitCharacter(self._partial + data)
        if not self._budget.shows("received", len(data)):
            return
        _log.info(
            "data {connectionID}: {data} ({bytesRead} bytes read)",
            connectionID=self.connectionID,
            data=printable(shown, self._preview),
            bytesRead=self.bytesRead,
        )

    def readConnectionLost(self) -> None:
        """
        Tell of the peer's FIN.
        """
        if self._budget.shows("ended by the client"):
            _log.info("end {connectionID}: the client has sent FIN", connectionID=self.connectionID)

    def timeoutConnection(self) -> None:
        """
        Tell of the timeout, and close.
        """
        if self._budget.shows("timed out"):
            _log.info(
                "timeout {connectionID}: nothing moved for {idle:.1f} s",
                connectionID=self.connectionID,
                idle=self.idle,
            )
        super().timeoutConnection()


class Echo(TCPDemoProtocol):
    """
    Sends back what comes (RFC 862), and does not read what it could not hold.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Send it back.
        """
        self.transport.write(data)
        if self.bytesPending > LOW_WATER:
            self.pause()
            self.whenWritable().addCallbacks(lambda _: self.resume(), lambda _: None)


class Discard(TCPDemoProtocol):
    """
    Throws away what comes (RFC 863).
    """


PROGRAMS: Final[dict[str, type[TCPDemoProtocol]]] = {
    "report": ReportProtocol,
    "echo": Echo,
    "discard": Discard,
}


def programNamed(name: str) -> Callable[[], TCPDemoProtocol]:
    """
    What builds the protocols that a name stands for.

    @param name: one of L{PROGRAMS}, or the dotted name of a protocol class; a
        class that knows nothing of ours is hosted.
    @raise ValueError: if there is no such protocol; the text is as that of
        L{twisted_tcpdemo.twistd.coercions}.
    """
    if name in PROGRAMS:
        return PROGRAMS[name]
    if "." not in name:
        known = f"{', '.join(PROGRAMS)}, or the dotted name of a protocol class"
        raise ValueError(f"must be one of {known}, not {name!r}")
    protocol = _imported(name)
    if not isinstance(protocol, type) or not IProtocol.implementedBy(protocol):
        raise ValueError(f"{name!r} is no protocol class")
    if not _takesNoArguments(protocol):
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


def _takesNoArguments(protocol: type) -> bool:
    try:
        signature(protocol).bind()
    except TypeError:
        return False
    except ValueError:  # a class that does not tell
        return True
    return True
