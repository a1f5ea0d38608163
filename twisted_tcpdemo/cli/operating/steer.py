"""
C{tcpdemo control}.
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace

from twisted_tcpdemo.cli.operating.web import Client
from twisted_tcpdemo.cli.outcome import CommandError, Outcome
from twisted_tcpdemo.cli.showing.columns import Choice
from twisted_tcpdemo.cli.showing.display import Part, displayOn
from twisted_tcpdemo.cli.showing.table import connections, limit
from twisted_tcpdemo.cli.showing.words import count, text


def steer(options: Namespace) -> int:
    """
    Send one request to a server, and print its answer.
    """
    method, path, body = requestFor(options)
    client = Client(options.server, options.timeout, options.token_file)
    answer = client.ask(method, path, body)
    if answer.status >= 300:
        raise CommandError(Outcome.FAILED, f"the server says: {answer.error}")
    value = answer.value
    if isinstance(value, list) and options.verb == "connections":
        value = Choice(options.sort, options.reverse, options.filter).of(value)
    display = displayOn(sys.stdout)
    size = display.size()
    told = _told(value, size and size[0])
    if options.json:
        print(json.dumps(value))
    else:
        display.show(told)
    return Outcome.DONE


def requestFor(options: Namespace) -> tuple[str, str, dict[str, object] | None]:
    """
    The request for a command: method, path and body.

    @raise CommandError: for C{--spread} without a deadline.
    """
    match options.verb:
        case "limit" if options.limit is not False:
            return "PATCH", "/limits", {"maxConnections": options.limit}
        case "overflow":
            return "PATCH", "/limits", {"overflow": options.overflow}
        case "drain":
            if options.spread and options.deadline is None:
                raise CommandError(Outcome.BAD_INPUT, "--spread goes with SECONDS")
            return "POST", "/drain", {"deadline": options.deadline, "spread": options.spread}
        case "close" | "abort":
            return "POST", f"/connections/{options.id}/{options.verb}", None
        case verb:
            shows = {"limit": "/limits", "connections": "/connections"}
            return ("GET", shows[verb], None) if verb in shows else ("POST", f"/{verb}", None)


def _told(value: object, width: int | None) -> list[Part]:
    """
    What shows an answer.
    """
    if isinstance(value, list):
        return connections([row for row in value if isinstance(row, dict)], (width, None))
    if not isinstance(value, dict):
        raise CommandError(Outcome.FAILED, "the server answers, but not in the language of control")
    if "id" in value:
        return [f"connection {text(value['id'])}: {text(value.get('state'))}"]
    if "state" in value:
        return [f"{text(value['state'])}, {count(value.get('connectionCount'))} connected"]
    return [f"{limit(value)}, {text(value.get('overflow'))} beyond"]
