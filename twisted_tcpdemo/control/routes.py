"""
The routes of control.

Each route is one method of L{ControlResource}.  It takes the fields of a request's
JSON and the sender, and returns an L{Answer}.  A request is checked as a whole
before it changes anything, and each change is logged with its sender.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from hmac import compare_digest
from types import MappingProxyType
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.control import requests as values
from twisted_tcpdemo.control.access import Asker, askerOf
from twisted_tcpdemo.monitoring.snapshot import connectionOf, stateOf, statusOf
from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.shapes import AnyReactor, Transport
from twisted_tcpdemo.values.addresses import endpointOf
from twisted_tcpdemo.values.report import DRAIN_SUMMARY, CloseReason, DrainReport

_log = Logger(namespace="tcpdemo")

MAX_BODY = 4096
"""The most bytes of a request's body to keep."""

MAX_IGNORED = 2**20
"""The most bytes of a body to read and drop, so that the answer arrives: for a
socket that is closed with unread data the kernel sends RST."""


class Answer(NamedTuple):
    """
    The answer to a request.
    """

    status: int
    value: object
    headers: Mapping[str, str] = MappingProxyType({})


class BoundedRequest(Request):
    """
    A request with a bounded body, which cannot use up memory or disk.
    """

    transport: Transport  # type: ignore[assignment]
    bodySize = 0

    def handleContentChunk(self, data: bytes) -> None:
        """
        Keep the data up to L{MAX_BODY}, and drop the rest up to L{MAX_IGNORED}.
        Beyond that, abort the connection.
        """
        self.bodySize += len(data)
        if self.bodySize <= MAX_BODY:
            super().handleContentChunk(data)
        elif self.bodySize > MAX_IGNORED:
            self.transport.abortConnection()


Route = Callable[[dict[str, object], Asker], Answer]


class ControlResource(Resource):
    """
    All routes of control.
    """

    isLeaf = True

    def __init__(
        self, factory: TCPDemoFactory, clock: IReactorTime, token: bytes | None = None
    ) -> None:
        """
        @param factory: the server.
        @param clock: the source of time; the uptime begins now.
        @param token: the token that requests must bear; L{None} where the mode of
            the socket is enough.
        """
        super().__init__()
        self._factory = factory
        self._clock = steady(clock)
        self._token = token
        self._startedAt = self._clock.seconds()
        self._drains = False
        self._routes: dict[str, dict[str, Route]] = {
            "/status": {"GET": self._status},
            "/connections": {"GET": self._connections},
            "/limits": {"GET": self._limits, "PATCH": self._changeLimits},
            "/suspend": {"POST": self._suspend},
            "/resume": {"POST": self._resume},
            "/drain": {"POST": self._drain},
        }

    def render(self, request: BoundedRequest) -> bytes:
        """
        Answer a request, in JSON.
        """
        answer = self._answer(request)
        request.setResponseCode(answer.status)
        request.setHeader("content-type", "application/json")
        request.setHeader("cache-control", "no-store")
        for name, value in answer.headers.items():
            request.setHeader(name, value)
        body = json.dumps(answer.value).encode() + b"\n"
        if request.method != b"HEAD":
            return body
        request.setHeader("content-length", str(len(body)))
        return b""

    def _answer(self, request: BoundedRequest) -> Answer:
        if not self._mayAsk(request):
            return _error(401, "a token is needed", {"www-authenticate": "Bearer"})
        path = request.path.decode("ascii", "replace")
        routes = self._routes.get(path) or self._routesOfOne(path)
        if routes is None:
            return _error(404, f"there is no {json.dumps(path)}")
        method = request.method.decode("ascii", "replace")
        route = routes.get("GET" if method == "HEAD" else method)
        if route is None:
            allowed = ", ".join(routes)
            return _error(405, f"{path} takes {allowed}", {"allow": allowed})
        if request.bodySize > MAX_BODY:
            return _error(413, f"the body must have no more than {MAX_BODY} bytes")
        assert request.content is not None
        try:
            return route(values.parsed(request.content.read()), askerOf(request.transport))
        except values.BadRequestError as error:
            return _error(400, str(error))

    def _mayAsk(self, request: BoundedRequest) -> bool:
        if self._token is None:
            return True
        header = request.getHeader(b"authorization") or b""
        scheme, _, given = header.partition(b" ")
        # In constant time: a right byte must not show.
        return compare_digest(given.strip(), self._token) and scheme.lower() == b"bearer"

    # Requests that change nothing.

    def _status(self, fields: dict[str, object], asker: Asker) -> Answer:
        values.nothing(fields)
        uptime = self._clock.seconds() - self._startedAt
        return Answer(200, statusOf(self._factory, time.time(), uptime))

    def _connections(self, fields: dict[str, object], asker: Asker) -> Answer:
        values.nothing(fields)
        return Answer(200, [connectionOf(record) for record in self._factory.records])

    def _limits(self, fields: dict[str, object], asker: Asker) -> Answer:
        values.nothing(fields)
        return Answer(200, _limitsOf(self._factory))

    # Requests that change the server.

    def _changeLimits(self, fields: dict[str, object], asker: Asker) -> Answer:
        changes = values.limits(fields)
        for name, value in changes.items():
            before = getattr(self._factory, name)
            setattr(self._factory, name, value)
            _changed(asker, f"{name} from {_spoken(before)} to {_spoken(value)}")
        return Answer(200, _limitsOf(self._factory))

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
        return Answer(status, {"state": stateOf(self._factory), "connectionCount": count})

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
        record = next((r for r in self._factory.records if str(r.connectionID) == number), None)
        if record is None:
            return _error(404, f"there is no connection {json.dumps(number)}")
        _changed(asker, f"{verb} connection {number} of {endpointOf(record.peer)}")
        if verb == "close":
            record.close(CloseReason.LOCAL_CLOSE)
        else:
            record.abort(CloseReason.ABORTED)
        return Answer(
            202, {"id": record.connectionID, "state": "closing" if verb == "close" else "aborted"}
        )


class ControlSite(Site):
    """
    The HTTP server of control.

    It keeps no log of requests.  Routes log their changes, and a client that asks
    once a second must not fill the log.
    """

    noisy = False

    def __init__(
        self, factory: TCPDemoFactory, reactor: AnyReactor, token: bytes | None = None
    ) -> None:
        """
        @param factory: the server to control.
        @param reactor: the source of time.
        @param token: the token that requests must bear, or L{None}.
        """
        root = ControlResource(factory, reactor, token)
        super().__init__(root, BoundedRequest, reactor=reactor, parsePOSTFormSubmission=False)

    def startFactory(self) -> None:
        """
        Start nothing; Twisted's own method would start a clock for an access log.
        """

    def log(self, request: object) -> None:
        """
        Write nothing: there is no access log.
        """


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, {"error": message}, headers or {})


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
