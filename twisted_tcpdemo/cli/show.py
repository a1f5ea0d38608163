"""
C{tcpdemo status}.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from argparse import Namespace

from twisted_tcpdemo.cli.outcome import CommandError, Outcome
from twisted_tcpdemo.cli.table import connections, summary
from twisted_tcpdemo.cli.web import Client

MOST = 300_000
"""The number of connections for which an answer has room."""

HOME, REST_OF_LINE, REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


def show(options: Namespace) -> int:
    """
    Show the status of a server, once or again and again.
    """
    client = Client(options.server, options.timeout, options.token_file)
    onTerminal = sys.stdout.isatty()
    try:
        return _look(client, options, onTerminal)
    except KeyboardInterrupt:
        if onTerminal:
            print()  # so that the shell's prompt has a line of its own
        raise


def _look(client: Client, options: Namespace, onTerminal: bool) -> int:
    before: dict[str, object] | None = None
    if options.watch and onTerminal:
        sys.stdout.write(HOME + REST_OF_SCREEN)
    while True:
        columns, rows = _terminalSize()
        room = None if options.all or options.json or not onTerminal else rows
        status = statusFrom(client, MOST if room is None else room)
        if options.json:
            print(json.dumps(status), flush=True)
        else:
            lines = _page(status, before, room)
            if options.watch and onTerminal:
                lines = [f"{line[:columns]}{REST_OF_LINE}" for line in lines]
                sys.stdout.write(HOME + "\n".join(lines) + REST_OF_SCREEN)
                sys.stdout.flush()
            else:
                print("\n".join(lines), flush=True)
        if not options.watch:
            return Outcome.DONE
        before = status
        time.sleep(options.interval)


def statusFrom(client: Client, limit: int = MOST) -> dict[str, object]:
    """
    The status and the connections of a server, from its status page or else from
    its control.

    @param limit: the most connections to ask for.  A status page may give fewer,
        and says how many there are; control gives all.
    @raise CommandError: if the server gives no status.
    """
    answer = client.ask("GET", f"/status.json?limit={limit}")
    if answer.status == 404:
        answer = client.ask("GET", "/status")
        if answer.status == 200 and isinstance(answer.value, dict):
            answer.value["connections"] = client.ask("GET", "/connections").value
    if answer.status != 200:
        raise CommandError(Outcome.FAILED, f"the server says: {answer.error}")
    if not isinstance(answer.value, dict) or "connectionCount" not in answer.value:
        raise CommandError(Outcome.FAILED, "the server answers, but with no status")
    return answer.value


def _terminalSize() -> tuple[int, int]:
    """
    Columns and lines.  A terminal without a known size reports zero, and Python
    before 3.11 believes it.
    """
    size = shutil.get_terminal_size()
    return size.columns or 80, size.lines or 24


def _page(
    status: dict[str, object], before: dict[str, object] | None, room: int | None
) -> list[str]:
    lines = [*summary(status, before), ""]
    # One line is left for the prompt of the shell.
    lines += connections(
        status.get("connections"),
        None if room is None else max(3, room - len(lines) - 1),
        status.get("connectionsMatching"),
    )
    return lines
