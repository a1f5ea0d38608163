"""
Two files and a connection, and nothing that piles up between them.

The socket is not read while standard output is full, and standard input is not
read while the socket is: there is at most one piece on the way in either
direction.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from twisted_tcpdemo.cli.outcome import Outcome
from twisted_tcpdemo.cli.streams import PIECE, Sink, Source
from twisted_tcpdemo.connection.protocol import TCPDemoProtocol
from twisted_tcpdemo.connection.writes import LOW_WATER
from twisted_tcpdemo.shapes import Reactor
from twisted_tcpdemo.transports.layers import bottomOf, tlsOf
from twisted_tcpdemo.values.report import CloseReason

_OUTCOMES = {
    CloseReason.PEER_CLOSED: Outcome.DONE,
    CloseReason.LOCAL_CLOSE: Outcome.DONE,
    CloseReason.RESET: Outcome.RESET,
    CloseReason.IDLE: Outcome.TIMED_OUT,
    CloseReason.CLOSE_FLUSH: Outcome.TIMED_OUT,
    CloseReason.TLS_FAILED: Outcome.TLS_FAILED,
}


class Pipe(TCPDemoProtocol):
    """
    Standard input to the socket, the socket to standard output.

    @ivar done: fires with the L{Outcome} when the connection is over and
        standard output has taken all of it.
    @ivar trouble: what went wrong with one of the two files, or L{None}.
    """

    def __init__(
        self,
        reactor: Reactor,
        *,
        input: int = 0,
        output: int = 1,
        idle: float = 0.0,
        linger: float | None = None,
        keepSending: bool = False,
    ) -> None:
        """
        @param input: the descriptor of standard input.
        @param output: that of standard output.
        @param idle: seconds in which something must move; C{0}: any number.
        @param linger: seconds until the end of the connection after that of the
            input; L{None} to wait for the peer.
        @param keepSending: whether to go on after the peer's end.
        """
        self.allowHalfOpen = keepSending
        self.done: Deferred[Outcome] = Deferred()
        self.trouble: str | None = None
        self.source = Source(reactor, input, self._inputReceived, self._inputEnded)
        self.inputSize = self.source.size
        self.sink = Sink(reactor, output, self._outputEmptied, self._outputFailed)
        self._reactor = reactor
        self._idle = idle
        self._linger = linger
        self._farewell: IDelayedCall | None = None
        self._outcome: Outcome | None = None
        self._over = False

    def connectionMade(self) -> None:
        """
        Begin.
        """
        bottom = bottomOf(self.transport)
        if hasattr(bottom, "bufferSize"):
            bottom.bufferSize = PIECE
        if self._idle:
            self.setTimeout(self._idle)
        self.source.resume()

    # From the input to the socket.

    def _inputReceived(self, data: bytes) -> None:
        self.transport.write(data)
        if self.bytesPending > LOW_WATER:
            self.source.pause()
            self.whenWritable().addCallbacks(lambda _: self.source.resume(), lambda _: None)

    def _inputEnded(self, error: OSError | None) -> None:
        if error is not None:
            self._give(Outcome.FAILED, f"standard input: {error.strerror}")
            self.transport.abortConnection()
            return
        if self._linger is not None:
            self._farewell = self._reactor.callLater(self._linger, self.transport.loseConnection)
        if self._linger != 0 and tlsOf(self.transport) is None:
            self.transport.loseWriteConnection()

    # From the socket to the output.

    def dataReceived(self, data: bytes) -> None:
        """
        Hand it on.
        """
        if not self.sink.write(data):
            self.pause()

    def _outputEmptied(self) -> None:
        self.resume()
        self._perhapsDone()

    def _outputFailed(self, error: OSError) -> None:
        if isinstance(error, BrokenPipeError):
            self._give(Outcome.CLOSED_OUTPUT)
        else:
            self._give(Outcome.FAILED, f"standard output: {error.strerror}")
        self._leave()

    # The end.

    def readConnectionLost(self) -> None:
        """
        The peer has ended; unless told otherwise, so do we.
        """
        if not self.allowHalfOpen:
            if self.source.hasMore():
                self._give(Outcome.CUT_SHORT)
            self.source.stop()

    def timeoutConnection(self) -> None:
        """
        Nothing has moved for too long.
        """
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        It is over; what is pending for the output still goes there.
        """
        if self._farewell is not None and self._farewell.active():
            self._farewell.cancel()
        wasOpen = self.source.open
        assert self.closeReason is not None
        outcome = _OUTCOMES.get(self.closeReason, Outcome.FAILED)
        if outcome is Outcome.DONE and (self.bytesPending or (wasOpen and self.source.hasMore())):
            outcome = Outcome.CUT_SHORT
        self._give(outcome)
        self.source.stop()
        self._over = True
        self._perhapsDone()

    def end(self, outcome: Outcome) -> None:
        """
        End it now, whether standard output has taken everything or not.
        """
        self._outcome = outcome
        self.sink.close()
        self._leave()

    def _leave(self) -> None:
        self.source.stop()
        if self._connection is not None and self.closeReason is None:
            self.transport.abortConnection()
        self._perhapsDone()

    def _give(self, outcome: Outcome, trouble: str | None = None) -> None:
        """
        Note how it ends; the first trouble counts.
        """
        if self._outcome in (None, Outcome.DONE):
            self._outcome, self.trouble = outcome, trouble

    def _perhapsDone(self) -> None:
        if self._over and not self.sink.pending and not self.done.called:
            assert self._outcome is not None
            self.done.callback(self._outcome)
