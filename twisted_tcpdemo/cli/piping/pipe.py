"""
Standard input and output, piped through a connection without a growing buffer.

The socket is not read while standard output is full, and standard input is not
read while the socket is full.  So little more than one piece is on the way in
either direction.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_tcpdemo.cli.outcome import Outcome
from twisted_tcpdemo.cli.piping.crlf import ToCRLF
from twisted_tcpdemo.cli.piping.streams import PIECE, NoSource, Sink, Source
from twisted_tcpdemo.cli.showing.telling import say, secured
from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.connection.protocol import TCPDemoProtocol
from twisted_tcpdemo.connection.writes import LOW_WATER
from twisted_tcpdemo.shapes import Reactor, Transport
from twisted_tcpdemo.transports.layers import bottomOf, isEncrypted
from twisted_tcpdemo.values.report import CloseReason

_OUTCOMES = {
    CloseReason.PEER_CLOSED: Outcome.DONE,
    CloseReason.PROBE: Outcome.DONE,
    CloseReason.LOCAL_CLOSE: Outcome.DONE,
    CloseReason.RESET: Outcome.RESET,
    CloseReason.IDLE: Outcome.TIMED_OUT,
    CloseReason.CLOSE_FLUSH: Outcome.TIMED_OUT,
    CloseReason.TLS_FAILED: Outcome.TLS_FAILED,
}


@implementer(IHandshakeListener)
class Pipe(TCPDemoProtocol):
    """
    Sends standard input to the peer, and writes received bytes to standard output.

    @ivar done: fires with the L{Outcome} when the connection is over and no byte
        waits for standard output.
    @ivar inputEnded: whether the input is over.
    @ivar failure: the error with which the connection was lost.
    @ivar trouble: the error of standard input or output in words, or L{None}.
    """

    def __init__(
        self,
        reactor: Reactor,
        *,
        input: int | None = 0,
        output: int = 1,
        idle: float = 0.0,
        linger: float | None = None,
        keepSending: bool = False,
        preface: Callable[[Transport], None] | None = None,
        translate: Callable[[bytes], bytes] = bytes,
        tell: Callable[[str], object] = str,
    ) -> None:
        """
        @param input: the descriptor of standard input; L{None} for no input, and no
            end of one.
        @param output: the descriptor of standard output.
        @param idle: seconds without a byte in either direction, after which the
            connection is aborted; C{0} for no limit.
        @param linger: seconds from the end of the input to the end of the
            connection; L{None} to wait for the peer.
        @param keepSending: whether to send the rest of the input after the peer's
            end.
        @param preface: what begins the connection.
        @param translate: what makes of each piece of the input the bytes to send.
        @param tell: is told in words what happens.
        """
        self.allowHalfOpen = keepSending
        self.done: Deferred[Outcome] = Deferred()
        self.trouble: str | None = None
        self.inputEnded = False
        self.failure: BaseException | None = None
        self.source: Source | NoSource = NoSource()
        if input is not None:
            self.source = Source(reactor, input, self._inputReceived, self._inputEnded)
        self.inputSize = self.source.size
        self.sink = Sink(reactor, output, self._outputEmptied, self._outputFailed)
        self._reactor = reactor
        self._preface = preface
        self._translate = translate
        self._tell = tell
        self._idle = idle
        self._linger = linger
        self._farewell: IDelayedCall | None = None
        self._outcome: Outcome | None = None
        self._over = False

    def connectionMade(self) -> None:
        """
        Begin to read the input.
        """
        self._tell(f"connected: {self.report().local} to {self.report().remote}")
        if self._preface is not None:
            self._preface(self.transport)
        bottom = bottomOf(self.transport)
        if hasattr(bottom, "bufferSize"):
            bottom.bufferSize = PIECE
        if self._idle:
            self.setTimeout(self._idle)
        self.source.resume()

    def handshakeCompleted(self) -> None:
        """
        Tell of TLS.
        """
        self._tell(secured(self.transport))

    # From the input to the socket.

    def _inputReceived(self, data: bytes) -> None:
        self.transport.write(self._translate(data))
        if self.bytesPending > LOW_WATER:
            self.source.pause()
            self.whenWritable().addCallbacks(lambda _: self.source.resume(), lambda _: None)

    def _inputEnded(self, error: OSError | None) -> None:
        if error is not None:
            self._give(Outcome.FAILED, f"standard input: {error.strerror}")
            self.transport.abortConnection()
            return
        if self._linger is not None:
            self._farewell = steady(self._reactor).callLater(
                self._linger, self.transport.loseConnection
            )
        self.inputEnded = True
        self._tell("the input has ended")
        if self._linger != 0 and not isEncrypted(self.transport):
            self.transport.loseWriteConnection()

    # From the socket to the output.

    def dataReceived(self, data: bytes) -> None:
        """
        Write the bytes to standard output, and pause while it is full.
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
        Stop reading the input, unless C{keepSending} holds.  The outcome is
        L{Outcome.CUT_SHORT} if there was more.
        """
        self._tell("the peer has ended its side")
        if not self.allowHalfOpen:
            if self.source.hasMore():
                self._give(Outcome.CUT_SHORT)
            self.source.stop()

    def timeoutConnection(self) -> None:
        """
        Abort the connection.
        """
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Note the outcome.  Bytes that are pending for standard output still go
        there.
        """
        if self._farewell is not None and self._farewell.active():
            self._farewell.cancel()
        wasOpen = self.source.open
        assert self.closeReason is not None
        self.failure = reason.value
        outcome = _OUTCOMES.get(self.closeReason, Outcome.FAILED)
        if outcome is Outcome.DONE and (self.bytesPending or (wasOpen and self.source.hasMore())):
            outcome = Outcome.CUT_SHORT
        self._give(outcome)
        self.source.stop()
        self._over = True
        self._perhapsDone()

    def end(self, outcome: Outcome) -> None:
        """
        End the connection now.  Bytes that are pending for standard output are
        lost.
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
        Note the outcome; the first failure counts.
        """
        if self._outcome in (None, Outcome.DONE):
            self._outcome, self.trouble = outcome, trouble

    def _perhapsDone(self) -> None:
        if self._over and not self.sink.pending and not self.done.called:
            assert self._outcome is not None
            self.done.callback(self._outcome)


def pipeFor(
    reactor: Reactor,
    options: Namespace,
    preface: Callable[[Transport], None] | None = None,
    input: int | None = 0,
) -> Pipe:
    """
    The pipe that the options of a command describe.

    @raise OSError: if standard input or output cannot be used.
    """
    return Pipe(
        reactor,
        input=input,
        idle=options.idle_timeout,
        linger=options.linger,
        keepSending=options.keep_sending,
        preface=preface,
        translate=ToCRLF() if options.crlf else bytes,
        tell=say if options.verbose else str,
    )
