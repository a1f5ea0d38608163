"""
C{tcpdemo listen}.
"""

from __future__ import annotations

import ssl
from argparse import Namespace

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from twisted_tcpdemo.cli.outcome import CommandError, Outcome
from twisted_tcpdemo.cli.piping.pipe import Pipe, pipeFor
from twisted_tcpdemo.cli.places import descriptionIn, fileTrouble, isPath, misnamed
from twisted_tcpdemo.cli.session import finish, run
from twisted_tcpdemo.cli.showing.progress import Progress
from twisted_tcpdemo.cli.showing.telling import say
from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.fast.endpoint import ServerEndpoint
from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.server.observers import ConnectionObserver
from twisted_tcpdemo.shapes import AnyReactor
from twisted_tcpdemo.values.report import ConnectionReport
from twisted_tcpdemo.values.text import printable


def listen(options: Namespace) -> int:
    """
    Listen, and pipe until the connection is over, or with C{--keep} until a signal.

    @return: the exit status.
    @raise CommandError: if it cannot listen, if no client comes in time, or if
        standard input or output fails.
    """
    from twisted.internet import reactor

    listening = Listening(reactor, options)
    try:
        result = run(reactor, listening.begin(placeFor(reactor, options)), listening.interrupted)
    finally:
        listening.release()
    if isinstance(result, Failure):
        raise _failed(result.value)
    pipe = listening.pipe
    if pipe is None or pipe.closeReason is None:
        return int(result)
    return finish(result, pipe.report(), options, pipe.trouble, pipe.failure)


def placeFor(reactor: AnyReactor, options: Namespace) -> str | ServerEndpoint:
    """
    The endpoint for C{HOST} and C{PORT}.

    @raise CommandError: if they are wrong.
    """
    where, port = options.where, options.port
    tls = None if options.certificate is None else _context(options.certificate)
    try:
        if port is None and where.isdecimal():
            where, port = "", int(where)
        if port is not None:
            return ServerEndpoint(reactor, port, where.strip("[]"), tls=tls)
        if isPath(where):
            return ServerEndpoint(reactor, path=where, mode=0o600, tls=tls)
        if tls is not None:
            raise ValueError("--certificate goes with a PORT or a path")
        return descriptionIn(options)
    except (TypeError, ValueError) as error:
        raise misnamed(options, error) from None


def _context(path: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(path)
    except OSError as error:
        why = f"--certificate {path!r}: {fileTrouble(error)}"
        raise CommandError(Outcome.BAD_INPUT, printable(why)) from None
    return context


class Listening(ConnectionObserver):
    """
    One client after another, each with a pipe.

    The next one is accepted when standard output has all of the one before.

    @ivar pipe: the latest pipe.
    """

    def __init__(self, reactor: AnyReactor, options: Namespace) -> None:
        """
        @param options: those of the command line.
        """
        self.pipe: Pipe | None = None
        self._reactor = reactor
        self._options = options
        self._hasInput = not options.receive_only
        self._waiting: IDelayedCall | None = None
        self._progress: Progress | None = None
        self._ended: Deferred[Outcome] = Deferred()
        self._factory = TCPDemoFactory(self._build, maxConnections=1, overflow="wait")
        self._factory.addObserver(self)

    def begin(self, where: str | ServerEndpoint) -> Deferred[Outcome]:
        """
        Listen.

        @return: fires with the outcome when all is over, and no socket is left.
        """
        try:
            opening = self._factory.listen(where)
        except ValueError as error:
            raise misnamed(self._options, error) from None
        opening.addCallbacks(lambda _: self._wait(), self._end)
        ended: Deferred[Outcome] = Deferred()
        self._ended.addBoth(self._stop, ended)
        return ended

    def _wait(self) -> None:
        if not self._options.quiet:
            say(f"listening on {', '.join(map(str, self._factory.addresses()))}")
        if self._options.timeout:
            self._waiting = steady(self._reactor).callLater(
                self._options.timeout, self._end, Outcome.TIMED_OUT
            )

    def _end(self, result: Outcome | Failure) -> None:
        if not self._ended.called:
            self._ended.callback(result)

    def _stop(self, result: Outcome | Failure, ended: Deferred[Outcome]) -> None:
        self._arrived()
        self._factory.close().addCallback(lambda _: ended.callback(result))

    def _arrived(self) -> None:
        if self._waiting is not None and self._waiting.active():
            self._waiting.cancel()

    def _build(self) -> Pipe:
        self.release()
        self.pipe = pipe = pipeFor(
            self._reactor, self._options, input=0 if self._hasInput else None
        )
        pipe.done.addCallback(self._over, pipe)
        return pipe

    def connectionOpened(self, report: ConnectionReport) -> None:
        """
        Accept nobody else for now.
        """
        self._arrived()
        self._factory.suspend()
        if not self._options.keep:
            self._factory.stopListening()
        if self._options.progress and self.pipe is not None:
            self._progress = Progress(self.pipe, self._reactor)
            self._progress.start()

    def _over(self, outcome: Outcome, pipe: Pipe) -> None:
        """
        End, or accept the next client.
        """
        if self._progress is not None:
            self._progress.stop()
        broken = outcome is Outcome.CLOSED_OUTPUT or pipe.trouble is not None
        if self._ended.called or not self._options.keep or broken:
            self._end(outcome)
            return
        try:
            finish(outcome, pipe.report(), self._options, None, pipe.failure)
        except CommandError as error:
            say(str(error))
        self._hasInput = self._hasInput and not pipe.inputEnded
        self.pipe = None
        self._factory.resume()

    def interrupted(self, outcome: Outcome) -> None:
        """
        End now, because of a signal.
        """
        if self.pipe is not None:
            self.pipe.end(outcome)
        self._end(outcome)

    def release(self) -> None:
        """
        Close what the last pipe has opened.
        """
        if self.pipe is not None:
            self.pipe.sink.close()


def _failed(error: BaseException | None) -> CommandError:
    if isinstance(error, CannotListenError):
        why = getattr(error.socketError, "strerror", None) or str(error.socketError)
        where = f"{error.interface or 'any address'}:{error.port}"
        if not isinstance(error.port, int):
            where = error.port.decode() if isinstance(error.port, bytes) else str(error.port)
        return CommandError(Outcome.FAILED, printable(f"cannot listen on {where}: {why}"))
    return CommandError(Outcome.BAD_INPUT, printable(str(error)))
