"""
The routes of control.

Each route is one method of L{ControlSite}.  It takes the fields of a request's JSON and
the sender, and makes the answer.  A request is checked as a whole before it changes
anything, and each change is logged with its sender.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from twisted_tcpdemo.connection.record import Connection
from twisted_tcpdemo.control import requests as values
from twisted_tcpdemo.monitoring.snapshot import connectionOf, stateOf, statusOf
from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.shapes import AnyReactor
from twisted_tcpdemo.values.addresses import endpointOf
from twisted_tcpdemo.values.report import DRAIN_SUMMARY, CloseReason, DrainReport
from twisted_tcpdemo.web.access import Asker, askerOf
from twisted_tcpdemo.web.answer import JSON, Answer, Work, asJSON
from twisted_tcpdemo.web.door import SideDoor
from twisted_tcpdemo.web.visit import Visit

_log = Logger(namespace="tcpdemo")

MAX_BODY = 4096
"""The most bytes of a request's body to keep."""

LISTED_AT_ONCE: Final = 50
"""Connections in one piece of the list: about a millisecond."""


Route = Callable[[dict[str, object], Asker], Answer | Work]


class ControlSite(SideDoor):
    """
    The HTTP server of control, with all its routes.

    It keeps no log of requests.  Routes log their changes.
    """

    maxBody = MAX_BODY

    def __init__(
        self, factory: TCPDemoFactory, reactor: AnyReactor, token: bytes | None = None
    ) -> None:
        """
        @param factory: the server to control.
        @param reactor: the source of time; the uptime begins now.
        @param token: the token that requests must bear; L{None} where the mode of
            the socket is enough.
        """
        super().__init__(reactor, token)
        self._factory = factory
        self._startedAt = self.clock.seconds()
        self._drains = False
        self._routes: dict[str, dict[str, Route]] = {
            "/status": {"GET": self._status},
            "/connections": {"GET": self._connections},
            "/limits": {"GET": self._limits, "PATCH": self._changeLimits},
            "/suspend": {"POST": self._suspend},
            "/resume": {"POST": self._resume},
            "/drain": {"POST": self._drain},
            "/restart": {"POST": self._restart},
        }

    def denial(self, visit: Visit) -> Answer:
        """
        See L{SideDoor}.
        """
        return _error(401, "a token is needed", {b"WWW-Authenticate": b"Bearer"})

    def answer(self, visit: Visit) -> Work:
        """
        Answer a request, in JSON.
        """
        visit.setHeader(b"Cache-Control", b"no-store")
        path = visit.path.decode("ascii", "replace")
        routes = self._routes.get(path) or self._routesOfOne(path)
        if routes is None:
            return _error(404, f"there is no {json.dumps(path)}")
        method = visit.method.decode("ascii", "replace")
        route = routes.get("GET" if method == "HEAD" else method)
        if route is None:
            allowed = ", ".join(routes)
            return _error(405, f"{path} takes {allowed}", {b"Allow": allowed.encode()})
        if visit.bodySize > MAX_BODY:
            return _error(413, f"the body must have no more than {MAX_BODY} bytes")
        try:
            made = route(values.parsed(visit.body), askerOf(visit.transport))
            if not isinstance(made, Answer):
                made = yield from made
        except values.BadRequestError as error:
            return _error(400, str(error))
        return made

    # Requests that change nothing.

    def _status(self, fields: dict[str, object], asker: Asker) -> Work:
        values.nothing(fields)
        totals = yield from self._factory.totalling()
        uptime = self.clock.seconds() - self._startedAt
        return asJSON(200, statusOf(self._factory, time.time(), uptime, totals))

    def _connections(self, fields: dict[str, object], asker: Asker) -> Answer:
        values.nothing(fields)
        return Answer(200, _listed(self._factory.records), JSON)

    def _limits(self, fields: dict[str, object], asker: Asker) -> Answer:
        values.nothing(fields)
        return asJSON(200, _limitsOf(self._factory))

    # Requests that change the server.

    def _changeLimits(self, fields: dict[str, object], asker: Asker) -> Answer:
        changes = values.limits(fields)
        for name, value in changes.items():
            before = getattr(self._factory, name)
            setattr(self._factory, name, value)
            _changed(asker, f"{name} from {_spoken(before)} to {_spoken(value)}")
        return asJSON(200, _limitsOf(self._factory))

    def _suspend(self, fields: dict[str, object], asker: Asker) -> Answer:
        values.nothing(fields)
        return self._switch(self._factory.suspend, "suspended", asker)

    def _resume(self, fields: dict[str, object], asker: Asker) -> Answer:
        values.nothing(fields)
        return self._switch(self._factory.resume, "resumed", asker)

    def _switch(self, switch: Callable[[], None], what: str, asker: Asker) -> Answer:
        state = stateOf(self._factory)
        if state in ("draining", "stopped"):
            return _error(409, f"the server does not listen any more: it is {state}")
        switch()
        _changed(asker, what)
        return self._stateNow(200)

    def _restart(self, fields: dict[str, object], asker: Asker) -> Answer:
        values.nothing(fields)
        handOver = self._factory.handOver
        if handOver is None:
            return _error(409, "the server has no workers to replace")
        if stateOf(self._factory) in ("draining", "stopped"):
            return _error(409, f"the server is {stateOf(self._factory)}")
        _changed(asker, "restarts its workers")
        handOver.restart()
        return self._stateNow(202)

    def _drain(self, fields: dict[str, object], asker: Asker) -> Answer:
        deadline, spread = values.drain(fields)
        until = "without a deadline" if deadline is None else f"within {deadline:g} s"
        _changed(asker, f"drains {until}")
        drained: Deferred[DrainReport] = self._factory.drain(deadline, spread)
        if not self._drains:  # a second request may hasten the drain, which ends once
            self._drains = True
            drained.addCallback(self._drained)
        return self._stateNow(202)

    def _drained(self, report: DrainReport) -> None:
        self._drains = False
        _log.info(f"control: drained: {DRAIN_SUMMARY}", **asdict(report))

    def _stateNow(self, status: int) -> Answer:
        count = self._factory.connectionCount
        return asJSON(status, {"state": stateOf(self._factory), "connectionCount": count})

    # One connection.

    def _routesOfOne(self, path: str) -> dict[str, Route] | None:
        """
        The routes C{/connections/ID/close} and C{/connections/ID/abort}.
        """
        match path.split("/"):
            case ["", "connections", number, "close" | "abort" as verb]:
                return {"POST": lambda fields, asker: self._end(number, verb, fields, asker)}
        return None

    def _end(self, number: str, verb: str, fields: dict[str, object], asker: Asker) -> Answer:
        values.nothing(fields)
        known = self._factory.records if values.isNumber(number) else []
        record = next((r for r in known if r.connectionID == int(number)), None)
        if record is None:
            return _error(404, f"there is no connection {json.dumps(number)}")
        _changed(asker, f"{verb} connection {number} of {endpointOf(record.peer)}")
        if verb == "close":
            record.close(CloseReason.LOCAL_CLOSE)
        else:
            record.abort(CloseReason.ABORTED)
        return asJSON(
            202, {"id": record.connectionID, "state": "closing" if verb == "close" else "aborted"}
        )


def _listed(records: list[Connection]) -> Iterator[bytes]:
    """
    The facts of connections as JSON, in pieces.
    """
    for start in range(0, len(records), LISTED_AT_ONCE):
        part = records[start : start + LISTED_AT_ONCE]
        text = ", ".join(json.dumps(connectionOf(record)) for record in part)
        yield f"{', ' if start else '['}{text}".encode()
    yield b"]\n" if records else b"[]\n"


def _error(status: int, message: str, headers: Mapping[bytes, bytes] | None = None) -> Answer:
    return asJSON(status, {"error": message}, headers)


def _spoken(value: object) -> str:
    return "none" if value is None else str(value)


def _changed(asker: Asker, what: str) -> None:
    _log.info(
        "control: {what}, by {asker}",
        what=what,
        asker=str(asker),
        uid=asker.uid,
        pid=asker.pid,
        address=asker.address,
    )


def _limitsOf(factory: TCPDemoFactory) -> dict[str, object]:
    """
    The limits that can be changed, and the limit in force.
    """
    return {
        "maxConnections": factory.maxConnections,
        "effectiveLimit": factory.effectiveLimit,
        "overflow": factory.overflow,
    }
