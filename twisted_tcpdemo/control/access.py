"""
Who may control a server: where it listens, the token, and who has asked.

A UNIX socket is protected by its mode, from before it listens.  Anything else
can be reached by more people than its owner thinks of, so it takes a token.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
import struct
from typing import NamedTuple

from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from zope.interface import implementer

from twisted_tcpdemo.service.endpoints import Reclaiming, serverEndpoint, vacate
from twisted_tcpdemo.shapes import AnyReactor, Transport
from twisted_tcpdemo.transports.layers import bottomOf
from twisted_tcpdemo.values.addresses import endpointOf

MAX_TOKEN_FILE = 4096

_TOKEN = re.compile(rb"[\x21-\x7e]+")
"""What fits into an C{Authorization} header as one word."""

_CREDENTIALS = struct.Struct("3i")
"""C{struct ucred}: pid, uid, gid (unix(7))."""


class AccessError(ValueError):
    """
    Control cannot be had in this way.
    """


class Access(NamedTuple):
    """
    Where control listens.

    @ivar endpoint: the endpoint.
    @ivar isPrivate: whether its file mode decides who can connect.
    """

    endpoint: IStreamServerEndpoint
    isPrivate: bool


def controlEndpoint(reactor: AnyReactor, text: str) -> Access:
    """
    Understand C{--control}.

    @param text: the path of a UNIX socket, or the string of an endpoint.  The
        socket has mode 600, if the string gives no other.
    @raise AccessError: if it is no endpoint.
    """
    if "/" in text.partition(":")[0]:
        return Access(_PathEndpoint(reactor, text), True)
    kind, _, rest = text.partition(":")
    if kind == "unix":
        # Of two arguments with one name, Twisted takes the later.
        text = f"unix:mode=600:{rest}"
    try:
        endpoint = serverEndpoint(reactor, text)
    except Exception as error:
        raise AccessError(f"it is no endpoint: {error}") from None
    return Access(Reclaiming(endpoint), isinstance(endpoint, UNIXServerEndpoint))


@implementer(IStreamServerEndpoint)
class _PathEndpoint:
    """
    A UNIX socket of mode 600 that takes the place of one nobody listens on,
    without a lock beside it.
    """

    def __init__(self, reactor: AnyReactor, path: str) -> None:
        self._path = path
        self._endpoint = UNIXServerEndpoint(reactor, path, mode=0o600, wantPID=False)

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        Listen.
        """
        if not vacate(self._path):
            taken = OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            return fail(CannotListenError(None, self._path, taken))
        listening: Deferred[IListeningPort] = self._endpoint.listen(protocolFactory)
        return listening


def tokenFrom(path: str) -> bytes:
    """
    Read a token from a file that nobody but its owner and group can read.

    @raise AccessError: if others can, or there is no token in it.
    """
    try:
        # Not to wait for the writer of a FIFO.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise AccessError(f"it cannot be read: {why}") from None
    with open(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise AccessError("it is no regular file")
        if mode & stat.S_IROTH:
            raise AccessError("everybody can read it; try chmod 600")
        content = file.read(MAX_TOKEN_FILE + 1)
    token = content.strip()
    if not token:
        raise AccessError("there is no token in it")
    if len(content) > MAX_TOKEN_FILE or not _TOKEN.fullmatch(token):
        raise AccessError("the token must be one word of printable ASCII")
    return token


class Asker(NamedTuple):
    """
    Who has sent a request.

    @ivar uid: the user, on a UNIX socket, where the system tells.
    @ivar pid: the process.
    @ivar address: the address, where there is one.
    """

    uid: int | None
    pid: int | None
    address: str | None

    def __str__(self) -> str:
        if self.uid is None:
            return self.address or "somebody"
        return f"uid {self.uid}, pid {self.pid}"


def askerOf(transport: Transport) -> Asker:
    """
    Find out who is at the other end.

    The process is the one that has connected; it may have handed the socket to
    another one since.
    """
    connection = getattr(bottomOf(transport), "socket", None)
    isLocal = getattr(connection, "family", None) == getattr(socket, "AF_UNIX", object())
    option = getattr(socket, "SO_PEERCRED", None)
    if connection is not None and isLocal and option is not None:
        packed = connection.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(packed)
        return Asker(uid, pid, None)
    return Asker(None, None, str(endpointOf(transport.getPeer())))
