"""
C{tcpdemo load}.
"""

from __future__ import annotations

import gc
import json
import sys
from argparse import Namespace

from twisted.python.failure import Failure

from twisted_tcpdemo.cli.load.histogram import Results
from twisted_tcpdemo.cli.load.plot import svg
from twisted_tcpdemo.cli.load.results import liveLine, shown, values
from twisted_tcpdemo.cli.load.traffic import Plan, Traffic
from twisted_tcpdemo.cli.outcome import CommandError, Outcome
from twisted_tcpdemo.cli.places import named, placeFor, unreached
from twisted_tcpdemo.cli.session import clientReactor, explained, run
from twisted_tcpdemo.cli.showing.display import displayOn
from twisted_tcpdemo.cli.showing.progress import LiveLine
from twisted_tcpdemo.shapes import AnyReactor


def load(options: Namespace) -> int:
    """
    Put a server under load, and print what has come of it.

    @return: the exit status; L{Outcome.FAILED} if anything went wrong on the way.
    @raise CommandError: if there is no connection at all.
    """
    reactor = clientReactor()
    place = placeFor(reactor, options)
    plan = planFor(options)
    traffic = Traffic(reactor, place.endpoint, plan, place.preface)
    outcomes = [Outcome.DONE]

    def interrupted(outcome: Outcome) -> None:
        outcomes.append(outcome)
        traffic.stop()

    ended = traffic.done.addCallback(lambda _: outcomes[-1])
    live = None if options.quiet or options.json else Live(traffic.results, reactor)
    # What is there stays: it need not be looked at while the load goes on.
    gc.collect()
    gc.freeze()
    reactor.callWhenRunning(traffic.connect)
    if live is not None:
        live.start()
    try:
        result = run(reactor, ended, interrupted)
    finally:
        gc.unfreeze()
        if live is not None:
            live.stop()
    if isinstance(result, Failure):
        raise unreached(options, *explained(result.value))
    return _finish(traffic, options, result)


def planFor(options: Namespace) -> Plan:
    """
    The plan that the options describe.
    """
    message = b"x" * (options.size - 1)
    if options.message is not None:
        message = options.message.encode("utf-8", "surrogateescape")
    return Plan(
        message=message + b"\n",
        lines=options.answer == "line",
        connections=options.connections,
        rate=options.rate,
        duration=options.duration,
        requests=options.requests,
        patience=options.timeout,
    )


def _finish(traffic: Traffic, options: Namespace, outcome: Outcome) -> int:
    results, connections = traffic.results, traffic.plan.connections
    try:
        if options.json:
            print(json.dumps(values(results, connections)))
        else:
            displayOn(sys.stdout).show(shown(results, connections))
    finally:  # neither is lost with the other
        if options.plot is not None:
            _draw(results, options)
    wrong = results.unanswered or results.errors or not results.answered
    return int(Outcome.FAILED if outcome is Outcome.DONE and wrong else outcome)


def _draw(results: Results, options: Namespace) -> None:
    """
    Draw the plot.

    @raise CommandError: if its file cannot be written.
    """
    pace = "" if options.rate is None else f", {options.rate:g} messages/s"
    title = f"{named(options)}, {options.connections} connections{pace}"
    try:
        with open(options.plot, "w", encoding="utf-8") as file:
            file.write(svg(results, title))
    except OSError as error:
        raise CommandError(Outcome.FAILED, f"--plot {options.plot!r}: {error.strerror}") from None


class Live(LiveLine):
    """
    Shows the figures of a load while it goes on.
    """

    def __init__(self, results: Results, reactor: AnyReactor) -> None:
        """
        @param results: what has come of it so far.
        """
        super().__init__(reactor)
        self._results = results
        self._startedAt = self._clock.seconds()
        self._before = 0, 0.0

    def line(self) -> str:
        """
        The figures of this moment.
        """
        now = self._clock.seconds() - self._startedAt
        line = liveLine(self._results, self._before, now)
        self._before = self._results.answered, now
        return line
