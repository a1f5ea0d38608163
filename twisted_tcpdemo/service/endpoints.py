"""
Endpoints from strings, and UNIX sockets that a killed process has left behind.

Twisted tells such a socket by a lock file with a process number.  In a container
that restarts after a kill, the new process or another one has the number of the
old one, and the lock seems to be held.  The socket itself does not deceive: where
no process listens, connecting is refused.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from zope.interface import implementer

from twisted_tcpdemo.errors import needTLS
from twisted_tcpdemo.fast.endpoint import vacate
from twisted_tcpdemo.fast.proxied import putBehind
from twisted_tcpdemo.fast.proxy import Proxy
from twisted_tcpdemo.fast.reactor import fastReactor
from twisted_tcpdemo.shapes import AnyReactor

FIRST_DESCRIPTOR = 3
"""The first of systemd's descriptors (SD_LISTEN_FDS_START)."""


def serverEndpoint(reactor: AnyReactor, description: str) -> IStreamServerEndpoint:
    """
    Build the endpoint of a string.

    @raise TLSNotInstalledError: see L{needTLS}.
    @raise LookupError: if systemd has not handed the socket over.
    @raise Exception: if the string is no endpoint; the parser of its kind raises
        what it likes.
    """
    if description.startswith(("ssl:", "tls:")):
        needTLS()
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, description)
    except LookupError as error:
        if not description.startswith("systemd:"):
            raise
        descriptor = _handedOver(description)
        if descriptor is None:
            raise LookupError("systemd has handed over no such socket") from error
        endpoint = AdoptedStreamServerEndpoint(reactor, descriptor, socket.AF_INET)
    return endpoint


HAPROXY = "haproxy:"
"""How strings of endpoints behind a proxy begin."""


def proxiedEndpoint(
    reactor: AnyReactor, description: str, proxy: Proxy | None
) -> IStreamServerEndpoint:
    """
    Build the endpoint of a string as L{serverEndpoint} does, but have a C{haproxy:}
    string on the fast lane.

    @param proxy: the proxies; L{None} to leave such a string to Twisted.
    """
    if proxy is None or not description.startswith(HAPROXY):
        return serverEndpoint(reactor, description)
    inner = serverEndpoint(fastReactor(reactor), description.removeprefix(HAPROXY))
    return BehindProxy(inner, proxy)


@implementer(IStreamServerEndpoint)
class BehindProxy:
    """
    An endpoint whose clients come by way of proxies.
    """

    def __init__(self, endpoint: IStreamServerEndpoint, proxy: Proxy) -> None:
        """
        @param endpoint: an endpoint on the fast lane.
        """
        self._endpoint = endpoint
        self._proxy = proxy

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        Listen.

        @return: fails with a L{ValueError} if the endpoint is not on the fast lane.
        """
        return self._endpoint.listen(protocolFactory).addCallback(putBehind, self._proxy)


def _handedOver(description: str) -> int | None:
    """
    The descriptor of a C{systemd:} string with an index, where the sockets have no
    names.

    Twisted takes no socket then (LISTEN_FDNAMES), and has removed the number of
    sockets from the environment.  It still stands in that of the start (proc(5)).
    """
    given = dict(part.partition("=")[::2] for part in description.split(":")[1:])
    try:
        started = Path("/proc/self/environ").read_bytes().split(b"\0")
        environment = dict(line.partition(b"=")[::2] for line in started)
        index, count = int(given["index"]), int(environment[b"LISTEN_FDS"])
        isOurs = int(environment[b"LISTEN_PID"]) == os.getpid()
    except (KeyError, OSError, ValueError):
        return None
    return FIRST_DESCRIPTOR + index if isOurs and 0 <= index < count else None


def belongsToUser(description: str) -> bool:
    """
    Whether the endpoint of a string makes a path.  The path has to belong to the
    user of the running server, who removes it again.
    """
    return description.removeprefix(HAPROXY).startswith("unix:")


@implementer(IStreamServerEndpoint)
class Reclaiming:
    """
    An endpoint that takes over a UNIX socket whose process listens no longer.  It
    may wrap any endpoint.

    @ivar belongsToUser: see L{belongsToUser}.
    @ivar description: the string of the endpoint, without a proxy; L{None}: unknown.
    """

    def __init__(
        self,
        endpoint: IStreamServerEndpoint,
        belongsToUser: bool = False,
        description: str | None = None,
    ) -> None:
        """
        @param endpoint: the endpoint to listen with.
        """
        self.description = description
        self._endpoint = endpoint
        self.belongsToUser = belongsToUser

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        Listen, a second time after removing a socket that was left behind.
        """
        return Deferred.fromCoroutine(self._listen(protocolFactory))

    async def _listen(self, protocolFactory: IProtocolFactory) -> IListeningPort:
        try:
            port: IListeningPort = await self._endpoint.listen(protocolFactory)
        except CannotListenError as error:
            if not _reclaimed(error):
                raise
            port = await self._endpoint.listen(protocolFactory)
        return port


def _reclaimed(error: CannotListenError) -> bool:
    """
    Remove the lock and the socket that were left behind, if they were in the way.
    """
    path = error.port
    # A refusal by the system is an OSError; one by the lock is not.
    if isinstance(error.socketError, OSError) or not isinstance(path, bytes) or not vacate(path):
        return False
    with suppress(FileNotFoundError):
        os.unlink(path + b".lock")
    return True
