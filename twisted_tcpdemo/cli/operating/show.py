"""
C{tcpdemo status}.
"""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace

from twisted_tcpdemo.cli.operating.web import Client
from twisted_tcpdemo.cli.outcome import CommandError, Outcome
from twisted_tcpdemo.cli.showing.columns import Choice
from twisted_tcpdemo.cli.showing.display import Display, Part, displayOn
from twisted_tcpdemo.cli.showing.table import connections, summary

MOST = 300_000
"""The number of connections for which an answer has room."""


def show(options: Namespace) -> int:
    """
    Show the status of a server, once or again and again.
    """
    client = Client(options.server, options.timeout, options.token_file)
    display = displayOn(sys.stdout)
    try:
        return _look(client, options, display)
    finally:
        display.close()


def _look(client: Client, options: Namespace, display: Display) -> int:
    choice = Choice(options.sort, options.reverse, options.filter)
    before: dict[str, object] | None = None
    while True:
        size = None if options.json else display.size()
        room = None if options.all or size is None else size[1]
        status = statusFrom(client, MOST if room is None else room, choice)
        if options.json:
            print(json.dumps(status), flush=True)
        else:
            page = _page(status, before, size, room)
            (display.update if options.watch else display.show)(page)
        if not options.watch:
            return Outcome.DONE
        before = status
        time.sleep(options.interval)


NEWEST_FIRST = Choice()


def statusFrom(
    client: Client, limit: int = MOST, choice: Choice = NEWEST_FIRST
) -> dict[str, object]:
    """
    The status and the connections of a server, from its status page or else from
    its control.

    @param limit: the most connections to ask for.  A status page may give fewer,
        and says how many there are; control gives all.
    @param choice: which connections, and in which order.
    @raise CommandError: if the server gives no status.
    """
    answer = client.ask("GET", f"/status.json?{choice.query(limit)}")
    if answer.status == 404:
        answer = client.ask("GET", "/status")
        if answer.status == 200 and isinstance(answer.value, dict):
            answer.value["connections"] = client.ask("GET", "/connections").value
    if answer.status != 200:
        raise CommandError(Outcome.FAILED, f"the server says: {answer.error}")
    if not isinstance(answer.value, dict) or "connectionCount" not in answer.value:
        raise CommandError(Outcome.FAILED, "the server answers, but with no status")
    if isinstance(found := answer.value.get("connections"), list):
        answer.value["connections"] = choice.of(found)
    return answer.value


def _page(
    status: dict[str, object],
    before: dict[str, object] | None,
    size: tuple[int, int] | None,
    room: int | None,
) -> list[Part]:
    """
    The whole page.

    @param size: the columns and lines of the terminal, if it is one.
    @param room: the lines that it may have; L{None} for no limit.
    """
    counters = summary(status, before)
    # One line is left for the prompt of the shell.
    left = None if room is None else max(3, room - len(counters.rows) - 2)
    found = status.get("connections")
    rows = found if isinstance(found, list) else []
    return [
        counters,
        "",
        *connections(rows, (size and size[0], left), status.get("connectionsMatching")),
    ]
