"""
Both engines of TLS, each with the other or itself, in memory.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from typing import Any

from OpenSSL import SSL
from twisted.internet.ssl import CertificateOptions

from tests.support.certificates import pemFile
from tests.support.contexts import PythonContexts
from twisted_tcpdemo.tls.engine import Engine
from twisted_tcpdemo.tls.openssl import OpenSSLEngine
from twisted_tcpdemo.tls.standard import StandardEngine

KINDS = ("openssl", "standard")

VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}

PROTOCOLS = (b"h2", b"http/1.1")
"""What ALPN may choose from; a server prefers the first."""


def engine(kind: str, isClient: bool, version: str = "1.3", alpn: bool = False) -> Engine:
    """
    An engine of one kind.

    @param alpn: whether it names L{PROTOCOLS}.
    """
    made = _openssl if kind == "openssl" else _standard
    return made(isClient, version, alpn)


def _openssl(isClient: bool, version: str, alpn: bool) -> Engine:
    context = CertificateOptions().getContext()
    if not isClient:
        context.use_privatekey_file(str(pemFile()))
        context.use_certificate_file(str(pemFile()))
    context.set_min_proto_version(VERSIONS[version])
    context.set_max_proto_version(VERSIONS[version])
    if alpn and isClient:
        context.set_alpn_protos(list(PROTOCOLS))
    elif alpn:
        context.set_alpn_select_callback(
            lambda _, offered: next(name for name in PROTOCOLS if name in offered)
        )
    connection = SSL.Connection(context, None)
    if isClient:
        connection.set_connect_state()
    else:
        connection.set_accept_state()
    return OpenSSLEngine(connection, isClient)


def _standard(isClient: bool, version: str, alpn: bool) -> Engine:
    make = PythonContexts.client if isClient else PythonContexts.server
    words = [name.decode() for name in PROTOCOLS] if alpn else []
    context = make(alpn=words, version=version)
    return StandardEngine(context, isClient, "localhost")


def pieces(data: bytes, size: int) -> Iterable[bytes]:
    """
    Some bytes in pieces of a size.
    """
    return (data[start : start + size] for start in range(0, len(data), size))


def shaken(one: Engine, other: Engine, size: int = 1 << 20) -> None:
    """
    Bring two engines through their handshake.

    @param size: bytes that each takes at a time.
    """
    done = {one: one.shake(b""), other: other.shake(b"")}
    while not all(done.values()):
        moved = False
        for source, target in ((one, other), (other, one)):
            for piece in pieces(source.take(0), size):
                moved = True
                if done[target]:
                    assert target.decrypt(piece) == b""
                else:
                    done[target] = target.shake(piece)
        assert moved, "the handshake makes no progress"
    for source, target in ((one, other), (other, one)):  # session tickets
        assert target.decrypt(source.take(0)) == b""


def encrypted(source: Engine, data: bytes) -> bytes:
    """
    All of some plaintext, encrypted.
    """
    taken = 0
    while taken < len(data):
        taken += source.encrypt(memoryview(data)[taken:])
    return source.take(len(data))


def libraryErrors() -> tuple[type[Any], ...]:
    """
    The errors of the libraries.
    """
    return (SSL.Error, ssl.SSLError)


class Far:
    """
    The other side: an engine on a plain socket.

    @ivar got: the plaintext that has come.
    """

    def __init__(self, plain: socket.socket, made: Engine) -> None:
        self.socket = plain
        self.engine = made
        self.got = b""
        self.ready = self._begun = False

    def read(self, size: int = 1 << 20) -> bool:
        """
        Read once.

        @return: whether there was anything.
        """
        try:
            data = self.socket.recv(size)
        except BlockingIOError:
            return False
        if self.ready:
            self.got += self.engine.decrypt(data)
        else:
            self.ready = self.engine.shake(data)
            if self.ready:
                self.got += self.engine.decrypt(b"")
        self.flush()
        return bool(data)

    def flush(self) -> None:
        """
        Send what the engine has made.
        """
        made = self.engine.take(0)
        if made:
            self.socket.sendall(made)

    def send(self, data: bytes) -> None:
        """
        Send plaintext.
        """
        self.socket.sendall(encrypted(self.engine, data))

    def handshake(self) -> bool:
        """
        Go on with the handshake.

        @return: whether it is done.
        """
        if not self._begun:
            self._begun = True
            self.engine.shake(b"")
            self.flush()
        self.read()
        return self.ready

    def receive(self) -> bytes:
        """
        Read all that is there.

        @return: all plaintext so far.
        """
        while self.read():
            pass
        return self.got

    def end(self) -> None:
        """
        Send a close_notify.
        """
        self.engine.end()
        self.flush()
