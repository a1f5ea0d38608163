"""
Taking the place of a UNIX socket that nobody listens on.

Twisted tells such a socket by a lock beside it, with the number of a process.
In a container that is restarted after it was killed, the new process has the
number of the old one, or another has it, and would wait for itself.  The socket
itself does not deceive: where nobody listens, nobody can connect.
"""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from zope.interface import implementer

from twisted_tcpdemo.errors import needTLS


def serverEndpoint(reactor: Any, description: str) -> IStreamServerEndpoint:
    """
    The endpoint that a string stands for.

    @raise TLSNotInstalledError: see L{needTLS}.
    @raise LookupError: if systemd has not handed the socket over.
    @raise Exception: if it is no endpoint, what the endpoint's kind raises.
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
    Remove a UNIX socket on which nobody listens, and nothing else.

    @return: whether there is nothing at this path, now.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                os.unlink(path)
        except OSError:
            pass  # bind() will say what is wrong, if anything is
    return not os.path.lexists(path)


@implementer(IStreamServerEndpoint)
class Reclaiming:
    """
    An endpoint that is not kept from a UNIX socket by the lock of a process
    that listens no longer.  It may be any endpoint, and wrapped in others.
    """

    def __init__(self, endpoint: IStreamServerEndpoint) -> None:
        """
        @param endpoint: the endpoint.
        """
        self._endpoint = endpoint

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        Listen.
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
    Remove the lock and the socket that were left, if that was in the way.
    """
    path = error.port
    # What the system refuses is an OSError; the lock is not.
    if isinstance(error.socketError, OSError) or not isinstance(path, bytes) or not vacate(path):
        return False
    with suppress(FileNotFoundError):
        os.unlink(path + b".lock")
    return True
