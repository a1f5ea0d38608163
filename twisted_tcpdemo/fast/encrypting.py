"""
The part of a transport that has to do with TLS: how it begins, what the protocol is
told, and how it ends.

Bytes are no part of it.  A L{SecureSocket
<twisted_tcpdemo.tls.securesocket.SecureSocket>} takes the place of the socket, and
the transport reads and writes as it does without TLS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from twisted.internet.interfaces import IHandshakeListener, ISSLTransport
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.tcp import Connection
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface.declarations import Provides

from twisted_tcpdemo.interfaces import ITransportWatcher
from twisted_tcpdemo.shapes import Reactor
from twisted_tcpdemo.tls.context import engineMaker
from twisted_tcpdemo.tls.securesocket import SecureSocket


class Encrypting(Connection):
    """
    A connection that can speak TLS.

    @ivar hasBegunTLS: whether the peer has sent anything of a TLS handshake.
    @ivar handshaking: whether a TLS handshake has begun and not ended.
    """

    hasBegunTLS = False
    handshaking = False

    reactor: Reactor  # type: ignore[assignment]  # Twisted's type has no clock

    watcher: ITransportWatcher | None
    lastActivity: float
    bytesPending: int
    reading: bool
    getPeerCertificate: Callable[[], object]

    _direct: bool
    _secure: SecureSocket | None = None
    _failure: BaseException | None = None

    def startTLS(self, ctx: object, normal: bool = True, hostname: str | None = None) -> None:
        """
        Speak TLS from now on; see L{ITLSTransport
        <twisted.internet.interfaces.ITLSTransport>}.

        @param ctx: as in Twisted, or an C{ssl.SSLContext}.
        @param hostname: the name of the server, for an C{ssl.SSLContext} of a client.
        @raise ValueError: for such a context that is to check a name, without one.
        @raise RuntimeError: if it speaks TLS already.
        """
        if self._secure is not None:
            raise RuntimeError("TLS has been started on this connection")
        isClient: bool = self._tlsClientDefault is normal  # type: ignore[attr-defined]
        self.encrypt(SecureSocket(self.socket, engineMaker(ctx, isClient, hostname=hostname)))
        if self.watcher is not None:
            self.watcher.transportEncrypting()

    def encrypt(self, secure: SecureSocket) -> None:
        """
        Put TLS between this transport and its socket.
        """
        self._secure = self.socket = secure  # type: ignore[assignment]  # it is one to us
        self._direct = False
        self.TLS = self.handshaking = True
        self.__provides__ = _providing(type(self))
        self.getPeerCertificate = secure.engine.peerCertificate
        try:
            secure.begin(self, self._unsent())
        except OSError as error:
            self._refused(error)
            self._dueSoon()

    def _released(self) -> None:
        """
        Let TLS go: the connection is lost.
        """
        assert self._secure is not None
        self._secure.release()
        self._secure = None
        self.handshaking = False
        del self.getPeerCertificate

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """
        See L{INegotiated<twisted.internet.interfaces.INegotiated>}; L{None} without
        TLS.
        """
        return None if self._secure is None else self._secure.engine.negotiatedProtocol()

    def getHandle(self) -> object:  # type: ignore[override]  # as under TLS in Twisted
        """
        The socket, or under TLS the object of the engine's library.
        """
        return self.socket if self._secure is None else self._secure.engine.handle

    def secureReady(self) -> None:
        """
        Tell a protocol that listens for it that the handshake is done.
        """
        self.handshaking = False
        self._redirect()
        try:
            if IHandshakeListener.providedBy(self.protocol):
                self.protocol.handshakeCompleted()
        except BaseException:
            log.err()
            if self.watcher is not None:
                self.watcher.deliveryFailed()
            raise
        self.secureFreed()

    def secureFreed(self) -> None:
        """
        Send bytes that TLS has held back.
        """
        if self.bytesPending or self.disconnecting:
            self.startWriting()

    def secureWaits(self) -> None:
        """
        Send ciphertext when the kernel has room.
        """
        self.startWriting()

    def _readAgain(self) -> None:
        """
        Read what TLS has left.
        """
        if not self.reading:
            return  # startReading() asks again
        why = self.doRead()
        if why is CONNECTION_DONE:
            self._tellEnd()
        elif why is not None:
            self.connectionLost(Failure(why))

    def _secureEnded(self, reason: Failure) -> None:
        """
        Handle the end of the peer's stream.  TLS has no half-open connections in
        Twisted: written bytes are sent, then this side ends too.
        """
        if self.disconnecting:
            self.startWriting()  # bytes may wait, which the peer can still read
        elif self._writeDisconnected:
            self.connectionLost(reason)
        elif self.watcher is None:
            self.loseConnection()
        else:
            self.watcher.transportReadEnded(self.loseConnection)

    # What it asks of the transport.

    def _unsent(self) -> Iterable[bytes | memoryview]:
        """
        The bytes that have been accepted and not sent.
        """
        raise NotImplementedError

    def _refused(self, error: OSError) -> int:
        """
        Note a failed send.
        """
        raise NotImplementedError

    def _redirect(self) -> None:
        """
        Decide whether C{write} may give its bytes straight to the socket.
        """
        raise NotImplementedError

    def _dueSoon(self) -> None:
        """
        Go on with what is to be done, outside any application's call.
        """
        raise NotImplementedError

    def readSoon(self) -> None:
        """
        Read without an event.
        """
        raise NotImplementedError

    def secureMoved(self) -> None:
        """
        Note that bytes have come which are no plaintext yet.
        """
        raise NotImplementedError

    def _tellEnd(self) -> None:
        """
        Tell the end of the peer's stream, now or later.
        """
        raise NotImplementedError


_provisions: Final[dict[type, object]] = {}


def _providing(kind: type) -> object:
    """
    What C{directlyProvides} makes for a connection with TLS, once for each class.
    """
    made = _provisions.get(kind)
    if made is None:
        _provisions[kind] = made = Provides(kind, ISSLTransport)
    return made
