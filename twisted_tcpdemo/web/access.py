"""
Access to the status page and to control: the endpoint, the token, and the sender of a
request.

The mode of a UNIX socket protects it, from before it listens.  Any other endpoint
can be reached by more people than its owner thinks of, so it takes a token.  The status
page does without one on a loopback address: to change anything takes that of control.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
import struct
from collections.abc import Callable
from typing import NamedTuple

from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from zope.interface import implementer

from twisted_tcpdemo.fast.endpoint import vacate
from twisted_tcpdemo.service.endpoints import Reclaiming, serverEndpoint
from twisted_tcpdemo.service.startup import dashed, giveUp
from twisted_tcpdemo.shapes import AnyReactor, Transport
from twisted_tcpdemo.transports.layers import bottomOf
from twisted_tcpdemo.values.addresses import endpointOf
from twisted_tcpdemo.values.files import contentOf

MAX_TOKEN_FILE = 4096

_TOKEN = re.compile(rb"[\x21-\x7e]+")
"""One word of an C{Authorization} header."""

_CREDENTIALS = struct.Struct("3i")
"""C{struct ucred}: pid, uid, gid (unix(7))."""


class AccessError(ValueError):
    """
    An endpoint or a token is unusable; the text says why.
    """


class Access(NamedTuple):
    """
    An endpoint, and its protection.

    @ivar endpoint: the endpoint.
    @ivar isPrivate: whether a file mode protects it.
    @ivar token: the token that requests must bear, if any.
    """

    endpoint: IStreamServerEndpoint
    isPrivate: bool
    token: bytes | None = None


def accessFor(
    option: str,
    reactor: AnyReactor,
    where: str,
    tokenFile: str | None = None,
    said: Callable[[str], str] = dashed,
) -> Access:
    """
    The access that C{--control}, C{--status} or C{--agent} names.

    @param option: the name of the option; that of its token's file begins with it.
    @param where: see L{privateEndpoint}.
    @param tokenFile: the path of the file with the token, or L{None}.
    @param said: makes of an option's name what its user knows it by.
    @raise StartError: if the endpoint or the token is unusable.
    """
    try:
        access = privateEndpoint(reactor, where)
    except AccessError as error:
        giveUp(f"{said(option)} {where!r}: {error}")
    if tokenFile is None:
        return access
    return access._replace(token=tokenFor(option, tokenFile, said))


def tokenFor(option: str, tokenFile: str, said: Callable[[str], str] = dashed) -> bytes:
    """
    The token of C{--control} or C{--status}.

    @param option: see L{accessFor}, as for all parameters.
    @raise StartError: if the token is unusable.
    """
    try:
        return tokenFrom(tokenFile)
    except AccessError as error:
        giveUp(f"{said(f'{option}-token-file')} {tokenFile!r}: {error}")


def privateEndpoint(reactor: AnyReactor, text: str) -> Access:
    """
    Build the endpoint that a word names.

    @param text: the path of a UNIX socket, or the string of an endpoint.  A UNIX
        socket has mode 600, unless the string gives another.
    @raise AccessError: if the text is no endpoint.
    """
    if "/" in text.partition(":")[0]:
        return Access(_PathEndpoint(reactor, text), True)
    kind, _, rest = text.partition(":")
    if kind == "unix":
        # Twisted takes the later of two arguments with one name.
        text = f"unix:mode=600:{rest}"
    try:
        endpoint = serverEndpoint(reactor, text)
    except Exception as error:
        raise AccessError(f"it is no endpoint: {error}") from None
    return Access(Reclaiming(endpoint), isinstance(endpoint, UNIXServerEndpoint))


@implementer(IStreamServerEndpoint)
class _PathEndpoint:
    """
    A UNIX socket of mode 600, without a lock file.  It replaces a socket on which
    no process listens.
    """

    def __init__(self, reactor: AnyReactor, path: str) -> None:
        self._path = path
        self._endpoint = UNIXServerEndpoint(reactor, path, mode=0o600, wantPID=False)

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        Listen, unless another process listens on the path.
        """
        if not vacate(self._path):
            taken = OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            return fail(CannotListenError(None, self._path, taken))
        listening: Deferred[IListeningPort] = self._endpoint.listen(protocolFactory)
        return listening


def tokenFrom(path: str) -> bytes:
    """
    Read a token from a file.  Nobody but its owner and group may be able to read
    it.

    @raise AccessError: if others can, or if the file holds no token.
    """
    try:
        content, mode = contentOf(path, MAX_TOKEN_FILE)
    except ValueError as error:
        raise AccessError(str(error)) from None
    if mode & stat.S_IROTH:
        raise AccessError("everybody can read it; try chmod 600")
    token = content.strip()
    if not token:
        raise AccessError("there is no token in it")
    if len(content) > MAX_TOKEN_FILE or not _TOKEN.fullmatch(token):
        raise AccessError("the token must be one word of printable ASCII")
    return token


class Asker(NamedTuple):
    """
    The sender of a request.

    @ivar uid: the user, on a UNIX socket where the system tells.
    @ivar pid: the process, likewise.
    @ivar address: the address, on any other socket.
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
    Find the sender at the other end of a transport.

    On a UNIX socket the sender is the process that has connected.  It may have
    passed the socket to another process since.
    """
    connection = getattr(bottomOf(transport), "socket", None)
    isLocal = getattr(connection, "family", None) == getattr(socket, "AF_UNIX", object())
    option = getattr(socket, "SO_PEERCRED", None)
    if connection is not None and isLocal and option is not None:
        packed = connection.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(packed)
        return Asker(uid, pid, None)
    return Asker(None, None, str(endpointOf(transport.getPeer())))
