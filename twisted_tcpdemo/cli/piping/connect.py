"""
C{tcpdemo connect}.
"""

from __future__ import annotations

from argparse import Namespace

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twisted_tcpdemo.cli.outcome import CommandError, Outcome
from twisted_tcpdemo.cli.piping.pipe import pipeFor
from twisted_tcpdemo.cli.places import placeFor, unreached
from twisted_tcpdemo.cli.session import clientReactor, explained, finish, run
from twisted_tcpdemo.cli.showing.progress import Progress


def connect(options: Namespace) -> int:
    """
    Connect, and pipe until the connection is over.

    @return: the exit status.
    @raise CommandError: if there is no connection, or if standard input or output
        fails.
    """
    reactor = clientReactor()
    place = placeFor(reactor, options)
    try:
        pipe = pipeFor(reactor, options, place.preface)
    except OSError as error:
        raise CommandError(Outcome.FAILED, f"standard input or output: {error}") from None
    progress = Progress(pipe, reactor) if options.progress else None
    connecting = place.endpoint.connectProtocol(pipe)

    def connected(_: object) -> Deferred[Outcome]:
        if progress is not None:
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
        result = run(reactor, ended, interrupted)
    finally:
        connecting.cancel()
        if progress is not None:
            progress.stop()
        pipe.sink.close()
    if isinstance(result, Failure):
        raise unreached(options, *explained(result.value))
    report = None if pipe.closeReason is None else pipe.report()
    return finish(result, report, options, pipe.trouble, pipe.failure)
