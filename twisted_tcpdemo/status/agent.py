"""
The state of a server in one line, as HAProxy's agent-check reads it.

HAProxy connects, reads a line and acts on its words ("agent-check" in its manual).  It
keeps C{drain} and C{maint} until it reads C{ready}, so each line of a server that accepts
has it: one that was suspended, or has been started anew, gets clients again.  A weight is a
percentage of the one in HAProxy's configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol

from twisted_tcpdemo.monitoring.snapshot import stateOf
from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.service.companion import Companion
from twisted_tcpdemo.service.startup import dashed
from twisted_tcpdemo.shapes import AnyReactor
from twisted_tcpdemo.web.access import accessFor

_PAUSED: Final = ("suspended", "waiting")
"""States in which a server takes nobody for now.  Any other, but C{"accepting"}, is that of
a server which comes to rest, or has: HAProxy goes on checking its health."""

LEAST: Final = 1
"""The weight of a full server, in percent.  By C{0} HAProxy would take it out, and a
client that comes when all are full would not even find a place that was left since."""


def wordsOf(factory: TCPDemoFactory) -> str:
    """
    What HAProxy is told of a server at this moment.
    """
    state = stateOf(factory)
    if state == "accepting":
        return f"up ready {weightOf(factory)}%"
    return "maint" if state in _PAUSED else "drain"


def weightOf(factory: TCPDemoFactory) -> int:
    """
    The places that are left, in percent of all places.
    """
    limit = factory.effectiveLimit
    if limit is None:
        return 100
    if not limit:
        return 0
    return max(LEAST, 100 * (limit - factory.connectionCount) // limit)


class Agent(Factory):
    """
    Tells each visitor the state of a server, and closes.  It reads nothing.
    """

    noisy = False

    def __init__(self, factory: TCPDemoFactory) -> None:
        """
        @param factory: the server.
        """
        self._factory = factory

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """
        Build the protocol of a visitor.
        """
        return _Telling(wordsOf(self._factory))


class _Telling(Protocol):
    def __init__(self, words: str) -> None:
        self._words = words

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(f"{self._words}\n".encode())
        self.transport.loseConnection()


def companionFor(
    reactor: AnyReactor,
    factory: TCPDemoFactory,
    where: str,
    said: Callable[[str], str] = dashed,
) -> Companion:
    """
    Build the companion that C{--agent} asks for.

    @param factory: the server to tell of.
    @param where: see L{privateEndpoint<twisted_tcpdemo.web.access.privateEndpoint>}.
    @param said: see L{accessFor<twisted_tcpdemo.web.access.accessFor>}.
    @raise StartError: if the endpoint is unusable.
    """
    access = accessFor("agent", reactor, where, said=said)
    privileged = not access.isPrivate
    return Companion(
        "the agent-check", where, access.endpoint, Agent(factory), reactor, privileged=privileged
    )
