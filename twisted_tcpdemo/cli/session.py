"""
A command in a reactor: how it runs, how it ends, and what is said of a failure.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import ssl
from argparse import Namespace
from collections.abc import Callable
from threading import Thread
from typing import Any, Final

from twisted.internet import error as errors
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from twisted_tcpdemo.cli.outcome import CommandError, Outcome
from twisted_tcpdemo.cli.showing.telling import facts, note, say, told
from twisted_tcpdemo.shapes import AnyReactor
from twisted_tcpdemo.values.report import ConnectionReport
from twisted_tcpdemo.values.text import printable

LOOK_UPS: Final = 10
"""Names that are looked up at the same time."""


class _Transient(Thread):
    """
    A thread that the end of the process does not wait for.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options, daemon=True)


def clientReactor() -> AnyReactor:
    """
    The reactor for a command that connects.  Look-ups that the system has not answered end
    with the process: the reactor would wait for threads of its own.
    """
    from twisted.internet import reactor

    made: AnyReactor = reactor
    if made.threadpool is None and not made.running:  # else it is another program's
        lookUps = ThreadPool(0, LOOK_UPS, "tcpdemo")
        lookUps.threadFactory = _Transient
        made.threadpool = lookUps
        made.callWhenRunning(lookUps.start)
    return made


def run(
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


def finish(
    outcome: Outcome,
    report: ConnectionReport | None,
    options: Namespace,
    trouble: str | None = None,
    failure: BaseException | None = None,
) -> int:
    """
    Tell how a connection has ended.

    @param report: its last figures, if there was one.
    @param trouble: the error of standard input or output.
    @param failure: the error with which it was lost.
    @return: the exit status.
    @raise CommandError: if there is an error to tell.
    """
    if report is not None and not options.quiet:
        if options.json:
            note(json.dumps(facts(report, outcome)))
        else:
            say(told(report))
    if trouble is None and outcome is Outcome.TLS_FAILED:
        trouble = explained(failure)[1]
    if trouble is not None:
        raise CommandError(outcome, trouble)
    return int(outcome)


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
    if isinstance(error, ssl.SSLError) or _moduleOf(error) in ("OpenSSL", "service_identity"):
        return Outcome.TLS_FAILED, f"TLS: {_tlsWords(error)}"
    number = getattr(error, "osError", None)
    if isinstance(number, int) and number > 0:  # those of getaddrinfo(3) are negative
        return _NUMBERS.get(number, Outcome.FAILED), os.strerror(number)
    return Outcome.FAILED, printable(str(error), 200) or type(error).__name__


def _moduleOf(error: BaseException | None) -> str:
    return type(error).__module__.partition(".")[0]


DISTRUST = "--cafile FILE trusts those who vouch for it, --insecure trusts anyone"


def _tlsWords(error: BaseException | None) -> str:
    """
    What a library of TLS says, or why a certificate is not trusted.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        why = printable(error.verify_message, 200).rstrip(".")
        why = why if why[1:2].isupper() else f"{why[:1].lower()}{why[1:]}"
        return f"the certificate is not trusted: {why}; {DISTRUST}"
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "reason", None) or str(error)
        return printable(reason, 200).replace("_", " ").lower()
    if _moduleOf(error) == "service_identity":
        return "the certificate is not trusted: it is for another name"
    if "certificate verify failed" in str(error):
        return "the certificate is not trusted: nobody whom this client trusts vouches for it"
    return printable(str(error), 200)
