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
import stat
from contextlib import suppress

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from zope.interface import implementer

from twisted_tcpdemo.errors import needTLS
from twisted_tcpdemo.shapes import AnyReactor


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
        raise LookupError("systemd has handed over no such socket") from error
    return endpoint


def vacate(path: str | bytes) -> bool:
    """
    Remove a UNIX socket on which no process listens, and nothing else.

    @return: whether the path is free now.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                os.unlink(path)
        except OSError:
            pass  # bind() will tell what is wrong
    return not os.path.lexists(path)


@implementer(IStreamServerEndpoint)
class Reclaiming:
    """
    An endpoint that takes over a UNIX socket whose process listens no longer.  It
    may wrap any endpoint.
    """

    def __init__(self, endpoint: IStreamServerEndpoint) -> None:
        """
        @param endpoint: the endpoint to listen with.
        """
        self._endpoint = endpoint

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
