"""
A socket that encrypts: the place of TLS in a transport that writes through.

A L{SecureSocket} stands where the transport has its socket, and has the methods of
one: C{send} takes plaintext, C{recv} returns plaintext.  So everything that a
transport does with its bytes holds under TLS as it does without: they are counted,
kept, sent and told as plaintext, and a transport without TLS pays nothing.

Four consequences are easily got wrong:

  - The kernel may take a part of a record.  The plaintext in it has been sent only
    when the kernel has all of it: C{send} takes it when it is called the next time,
    for a stream that goes on with the same bytes.
  - The engine may have to read before it can write, as in a handshake.  The plaintext
    waits then, and the transport must not wait for the socket to be writable.
  - Bytes that the engine has taken from the kernel cause no event any more.  What
    C{recv} does not return at once, it asks the transport to come for.
  - The peer's C{close_notify} ends the stream, its FIN alone cuts it short (RFC 8446,
    section 6.1).  After a C{close_notify} of ours it does not matter how it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from socket import SHUT_RD, SHUT_WR, socket
from typing import Any, Final, Protocol

from twisted_tcpdemo.tls.engine import Engine, StreamBrokenError

LARGE: Final = 262144
"""Bytes of ciphertext asked of the kernel in one read: sixteen records."""

SMALL: Final = 448
"""Bytes asked for after a read that returned fewer."""

CHUNK: Final = 262144
"""Bytes of plaintext encrypted at a time.  More would be held twice while the kernel
takes no more."""


class Owner(Protocol):
    """
    A transport, as its L{SecureSocket} sees it.

    @ivar reading: whether it wants to read.
    """

    reading: bool

    def secureReady(self) -> None:
        """
        The handshake is done.
        """

    def secureFreed(self) -> None:
        """
        Plaintext that had to wait for a read can be sent.
        """

    def secureMoved(self) -> None:
        """
        Ciphertext has come.
        """

    def secureWaits(self) -> None:
        """
        Ciphertext waits for room in the kernel.
        """

    def readSoon(self) -> None:
        """
        C{recv} has more to return and no event will tell, or C{settle} is to be called.
        """


class SecureSocket:
    """
    A connected socket with TLS on it.

    @ivar ready: whether the handshake is done.
    @ivar held: whether plaintext waits until the engine has read.
    @ivar ended: whether our C{close_notify} is on its way.
    @ivar over: whether the peer's stream has ended.
    @ivar factory: for Twisted's creators of TLS connections, which look here for
        the protocols that a factory speaks.
    """

    __slots__ = (
        "_failure",
        "_more",
        "_out",
        "_owesFIN",
        "_owesFlight",
        "_owner",
        "_promised",
        "_size",
        "_socket",
        "ended",
        "engine",
        "factory",
        "held",
        "ready",
    )

    factory: Any

    def __init__(self, plain: socket, makeEngine: Callable[[SecureSocket], Engine]) -> None:
        self._socket = plain
        self._size = LARGE
        self._out: bytes | memoryview = b""
        self._promised = 0
        self._owner: Any = None
        self._failure: BaseException | None = None
        self._more = self._owesFIN = self._owesFlight = False
        self.ready = self.ended = False
        self.held = True
        self.engine = makeEngine(self)

    def __getattr__(self, name: str) -> Any:
        # All that has nothing to do with its bytes: names, options, close().
        return getattr(self._socket, name)

    @property
    def over(self) -> bool:
        """
        Whether the peer has ended its stream.
        """
        return self.engine.over

    @property
    def waiting(self) -> bool:
        """
        Whether ciphertext waits for room in the kernel.
        """
        return bool(self._out)

    def failVerification(self, reason: Any) -> None:
        """
        Twisted's verification of certificates has failed, in a callback of the
        engine's.

        @param reason: a L{Failure<twisted.python.failure.Failure>}.
        """
        self._failure = reason.value

    # Beginning.

    def begin(self, owner: Owner, before: Iterable[bytes | memoryview] = ()) -> None:
        """
        Begin the handshake.

        @param before: plaintext that has been accepted and not sent.  It goes out as
            it is; C{send} takes it when that is done.
        """
        self._owner = owner
        self._out = memoryview(b"".join(before))
        self._promised = len(self._out)
        if self.engine.isClient:
            self._shake(b"")
        elif self._out:
            self._push()  # the engine itself says nothing before the client

    def release(self) -> None:
        """
        Let the transport and the engine go: the connection is over.
        """
        self._owner = None
        # Twisted's creators have this object as the data of the engine's connection.
        del self.engine

    def _shake(self, data: bytes) -> None:
        """
        Go on with the handshake.  Of the last flight of this side L{_decrypted} takes
        care: an answer may take it along.
        """
        try:
            self.ready = self.engine.shake(data)
        except StreamBrokenError as error:
            # What Twisted's verification says is plainer than the engine's error.
            self._failure = self._failure or error.cause
        if self._failure is not None:
            self._push()
            raise StreamBrokenError(self._failure)
        if not self.ready:
            self._push()
            return
        self.held = False
        try:
            self._owner.secureReady()
        except BaseException as error:
            self._push()
            raise StreamBrokenError(error) from error

    # Reading.

    def recv(self, _: int) -> bytes:
        """
        Read.  How many bytes are asked of the kernel is decided here.

        @return: plaintext; none at the end of the peer's stream.
        @raise BlockingIOError: if there is none yet.
        @raise StreamBrokenError: if TLS cannot go on.
        @raise ConnectionError: if the stream has been cut short.
        """
        if self._more:
            return self._rest()
        wanted = self._size
        data = self._socket.recv(wanted)
        size = len(data)
        if size < SMALL:
            self._size = SMALL
        elif size == wanted:
            self._size = LARGE
        wasReady = self.ready
        plain = self._decrypted(data) if size else self._peerClosed()
        if plain or not size:
            return plain
        over = self.engine.over
        if not (over and wasReady):
            self._owner.secureMoved()
        if over:
            return plain
        if size == wanted == SMALL and self._owner.reading:
            return self.recv(0)  # the rest of a record that is not small
        raise BlockingIOError

    def _decrypted(self, data: bytes) -> bytes:
        """
        The plaintext of some ciphertext, as far as it is complete.
        """
        isLast = not self.ready
        if isLast:
            self._shake(data)
            if not self.ready:
                return b""
            data = b""
            if not self._owner.reading:
                self._more = True  # the protocol has paused, or ended, at the handshake
                self._push()
                return b""
        engine = self.engine
        try:
            plain = engine.decrypt(data)
        except StreamBrokenError:
            self._push()  # an alert that says why
            raise
        if self.held:
            self.held = False
            self._owner.secureFreed()
        if engine.over:
            self._more = True  # no event tells of the end after data, or if it is held back
        elif not plain:
            self._push()
        if plain and (isLast or engine.over):
            self._owesFlight = isLast
            self._owner.readSoon()
        return plain

    def _rest(self) -> bytes:
        """
        What the engine has taken from the kernel and has not returned.
        """
        self._more = False
        plain = self._decrypted(b"")
        if not (plain or self.engine.over):
            raise BlockingIOError
        return plain

    def settle(self) -> None:
        """
        Send the last flight of the handshake, if no answer has taken it along.
        """
        if self._owesFlight:
            self._owesFlight = False
            self._push()

    def _peerClosed(self) -> bytes:
        """
        Nothing, at the peer's FIN.
        """
        if self.engine.over or self.ended:
            return b""
        raise ConnectionAbortedError("the TLS stream was cut short")

    @property
    def more(self) -> bool:
        """
        Whether C{recv} has something to return that no event will tell of.
        """
        return self._more

    # Writing.

    def send(self, data: bytes | memoryview) -> int:
        """
        Encrypt and send.

        @return: how many bytes the kernel has taken, encrypted.  If it has taken a
            part of them, the next call has to begin with the same bytes.
        @raise BlockingIOError: if it takes none, or if the engine has to read first.
        @raise StreamBrokenError: if TLS cannot go on.
        """
        if self._promised or self._out:
            self.flush()
            if self._out:
                return 0
            if self._promised:
                sent, self._promised = self._promised, 0
                return sent
        if not self.ready:
            raise BlockingIOError
        if not data:
            return 0  # for the engine this would look as if it had to read first
        part = data if len(data) <= CHUNK else memoryview(data)[:CHUNK]
        taken = self.engine.encrypt(part)
        if not taken:
            self.held = True
            raise BlockingIOError
        made = self.engine.take(taken)
        try:
            sent = self._socket.send(made)
        except OSError:
            self._out, self._promised = made, taken
            raise
        if sent == len(made):
            return taken
        self._out, self._promised = memoryview(made)[sent:], taken
        return 0

    def sendmsg(self, pieces: Iterable[bytes | memoryview]) -> int:
        """
        Send several pieces; see L{send}.
        """
        if self._promised:
            return self.send(b"")  # which is about bytes of the call before
        joined: list[bytes | memoryview] = []
        room = CHUNK
        for piece in pieces:
            joined.append(piece[:room])
            room -= len(piece)
            if room <= 0:
                break
        return self.send(b"".join(joined))

    def _push(self) -> None:
        """
        Send what the engine has made by itself: a handshake, an alert.
        """
        made = self.engine.take(0)
        if made:
            self._out = bytes(self._out) + made if self._out else made
        elif not (self._out or self._owesFIN):
            return
        try:
            self.flush()
        except BlockingIOError:
            pass
        except OSError:
            # A broken connection shows at the next read or write.
            if self.ended:
                self._out = b""  # and no write comes any more
        if self._out:
            self._owner.secureWaits()

    def flush(self) -> None:
        """
        Send ciphertext that waits.

        @raise OSError: if the kernel takes none.
        """
        if self._out:
            sent = self._socket.send(self._out)
            self._out = b"" if sent == len(self._out) else memoryview(self._out)[sent:]
        if self._owesFIN and not self._out:
            self._owesFIN = False
            self._socket.shutdown(SHUT_WR)

    # Ending.

    def shutdown(self, how: int) -> None:
        """
        End our stream with a C{close_notify}, and then our side of the connection.
        While the kernel has no room for a C{close_notify}, the FIN waits with it.
        """
        if how != SHUT_RD and not self.ended:
            self.ended = True
            self.engine.end()
            self._push()
            if self._out:
                self._owesFIN = True
                return
        self._socket.shutdown(how)
