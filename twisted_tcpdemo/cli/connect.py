"""
C{tcpdemo connect}.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
from argparse import Namespace
from collections.abc import Callable

from twisted.internet import error as errors
from twisted.internet.abstract import isIPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from twisted_tcpdemo.cli.outcome import CommandError, Outcome
from twisted_tcpdemo.cli.pipe import Pipe
from twisted_tcpdemo.cli.progress import Progress
from twisted_tcpdemo.client.endpoint import ClientEndpoint
from twisted_tcpdemo.errors import TLSNotInstalledError
from twisted_tcpdemo.shapes import AnyReactor
from twisted_tcpdemo.values.text import printable


def connect(options: Namespace) -> int:
    """
    Connect, and pipe until the connection is over.

    @return: the exit status.
    @raise CommandError: if there is no connection, or if standard input or output
        fails.
    """
    from twisted.internet import reactor

    endpoint = endpointFor(reactor, options)
    try:
        pipe = Pipe(
            reactor,
            idle=options.idle_timeout,
            linger=options.linger,
            keepSending=options.keep_sending,
        )
    except OSError as error:
        raise CommandError(Outcome.FAILED, f"standard input or output: {error}") from None
    progress = Progress(pipe, reactor)
    connecting = endpoint.connectProtocol(pipe)

    def connected(_: object) -> Deferred[Outcome]:
        if options.progress:
            progress.start()
        return pipe.done

    def interrupted(outcome: Outcome) -> None:
        pipe.end(outcome)
        if not connecting.called:
            ended.callback(outcome)

    ended: Deferred[Outcome] = Deferred()
    connecting.addCallback(connected)
    connecting.addBoth(lambda result: None if ended.called else ended.callback(result))
    try:
        result = _run(reactor, ended, interrupted)
    finally:
        connecting.cancel()
        progress.stop()
        pipe.sink.close()
    if isinstance(result, Failure):
        raise failed(result, options)
    if pipe.closeReason is not None and not options.quiet:
        print(f"tcpdemo: {told(pipe)}", file=sys.stderr)
    if pipe.trouble is not None:
        raise CommandError(result, pipe.trouble)
    return int(result)


_HOST_PORT = re.compile(r"(?!(tcp|ssl|tls):)[^:]+:\d+|\[.*\]:\d+")


def endpointFor(reactor: AnyReactor, options: Namespace) -> ClientEndpoint:
    """
    The endpoint for C{HOST} and C{PORT}.

    @raise CommandError: if they are wrong, or if they ask for TLS and it is not
        installed.
    """
    where, port, timeout = options.where, options.port, options.timeout
    try:
        if port is not None:
            return ClientEndpoint(reactor, where.strip("[]"), port, timeout=timeout)
        if "/" in where.partition(":")[0]:
            return ClientEndpoint(reactor, path=where, timeout=timeout)
        if ":" not in where or isIPv6Address(where.strip("[]")):
            raise ValueError(f"with the host {where!r} goes a port: connect HOST PORT")
        return ClientEndpoint.fromString(where, reactor, timeout=timeout)
    except (TypeError, ValueError) as error:
        hint = "; connect HOST PORT, not HOST:PORT" if _HOST_PORT.fullmatch(where) else ""
        raise CommandError(Outcome.BAD_INPUT, printable(str(error)) + hint) from None
    except TLSNotInstalledError as error:
        raise CommandError(Outcome.FAILED, str(error)) from None


def _run(
    reactor: AnyReactor, ended: Deferred[Outcome], interrupted: Callable[[Outcome], object]
) -> Outcome | Failure:
    """
    Run the reactor until C{ended} fires.

    A signal calls C{interrupted}.  The reactor's own handlers would stop the
    reactor before the connection has ended.
    """
    results: list[Outcome | Failure] = []

    def stop(result: Outcome | Failure) -> None:
        results.append(result)
        reactor.callWhenRunning(reactor.stop)

    def handle(number: int, frame: object) -> None:
        outcome = Outcome.INTERRUPTED if number == signal.SIGINT else Outcome.TERMINATED
        reactor.callFromThread(interrupted, outcome)

    handlers = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
    ended.addBoth(stop)
    try:
        reactor.run(installSignalHandlers=False)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return results[0]


def told(pipe: Pipe) -> str:
    """
    The line about an ended connection.
    """
    report = pipe.report()
    assert report.closeReason is not None
    pending = f", {report.bytesPending} unsent" if report.bytesPending else ""
    return (
        f"{report.local} to {report.remote}: {report.bytesRead} bytes read, "
        f"{report.bytesWritten} written{pending}, {report.age:.3f} s, {report.closeReason.value}"
    )


def failed(failure: Failure, options: Namespace) -> CommandError:
    """
    The error of a failed attempt to connect.
    """
    where = printable(options.where if options.port is None else f"{options.where}:{options.port}")
    outcome, why = explained(failure.value)
    return CommandError(outcome, f"cannot connect to {where}: {why}")


_KINDS: tuple[tuple[tuple[type[BaseException], ...], Outcome, str], ...] = (
    (
        (errors.TimeoutError, errors.TCPTimedOutError, CancelledError),
        Outcome.TIMED_OUT,
        "timed out",
    ),
    ((errors.ConnectionRefusedError,), Outcome.REFUSED, "connection refused"),
    ((errors.NoRouteError,), Outcome.UNREACHABLE, "no route to host"),
    (
        (errors.ConnectionClosed,),
        Outcome.RESET,
        "the connection was closed before it was ready",
    ),
)

_NUMBERS = {
    errno.ENOENT: Outcome.REFUSED,  # no UNIX socket is there
    errno.ENETUNREACH: Outcome.UNREACHABLE,
    errno.EHOSTUNREACH: Outcome.UNREACHABLE,
    errno.ENETDOWN: Outcome.UNREACHABLE,
    errno.EHOSTDOWN: Outcome.UNREACHABLE,
}


def explained(error: BaseException | None) -> tuple[Outcome, str]:
    """
    The outcome that an error of Twisted's stands for, and its words.
    """
    if isinstance(error, errors.DNSLookupError):
        why = getattr(error, "why", "") or " ".join(map(str, error.args))
        return Outcome.NO_SUCH_NAME, printable(why, 200) or "the name has no address"
    for kinds, outcome, why in _KINDS:
        if isinstance(error, kinds):
            return outcome, why
    if type(error).__module__.partition(".")[0] in ("OpenSSL", "service_identity"):
        return Outcome.TLS_FAILED, f"TLS: {printable(str(error), 200)}"
    number = getattr(error, "osError", None)
    if isinstance(number, int) and number > 0:  # those of getaddrinfo(3) are negative
        return _NUMBERS.get(number, Outcome.FAILED), os.strerror(number)
    return Outcome.FAILED, printable(str(error), 200) or type(error).__name__
